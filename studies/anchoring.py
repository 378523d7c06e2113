"""Where do the cells of a layer look? Nominal, balanced and measured receptive-field centers, and what localization prefers.

Kernel sizes and padding give the *nominal* center of a cell. A strided convolution with symmetric padding leaves the grid
hanging towards the upper left (ResNet's last stage: centers 0, 32 … 192 of 223). `Geometry.effective` balances such a grid
about the middle of the input. This study measures, for pretrained networks and the embedded one,

1. the center of mass of the squared input gradient of random combinations of a cell's channels (the effective receptive field,
   Luo et al. 2016), for the middle cell of each stage;
2. the correlation between LayerCAM maps and object boxes (photographs) or object masks (scenes) for grids shifted from −½ to
   +1 stride, away from the border; and which shift is best.

Run: ``python studies/anchoring.py [--images 240]``; pretrained networks and photographs need ``PELLUCID_ASSETS``.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import kit
import pellucid as pl
from pellucid.core.geometry import Geometry, upsample
from pellucid.world import SceneDataset

RESULTS = Path(__file__).parent / "results"
SHIFTS = (-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
PRETRAINED = {"resnet18": "resnet18_pqf", "resnet50": "resnet50_pqf", "squeezenet1_0": "squeezenet1_0"}


def photographs(assets: Path, count: int, preprocess: pl.Preprocess) -> tuple[Tensor, Tensor]:
    """Animals with one object box each: normalized images squashed to the input size, and box masks."""
    boxes: dict[str, list[list[float]]] = {}
    with (assets / "parts/animals/boxes.csv").open() as stream:
        for row in csv.DictReader(stream):
            if row["kind"] == "object":
                boxes.setdefault(row["image"], []).append(
                    [float(row[key]) for key in ("x0", "y0", "x1", "y1")]
                )
    chosen = [name for name in sorted(boxes) if len(boxes[name]) == 1]
    chosen = [
        chosen[i]
        for i in torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))[:count].tolist()
    ]
    images, masks = [], torch.zeros(len(chosen), 224, 224)
    for index, name in enumerate(chosen):
        with Image.open(assets / "parts" / name) as opened:
            picture = opened.convert("RGB")
        images.append(preprocess(picture))
        x0, y0, x1, y1 = boxes[name][0]
        rows, columns = 224 / picture.height, 224 / picture.width
        masks[index, int(y0 * rows) : int(y1 * rows) + 1, int(x0 * columns) : int(x1 * columns) + 1] = 1
    return torch.stack(images), masks


def scenes(count: int, preprocess: pl.Preprocess) -> tuple[Tensor, Tensor]:
    """Test scenes of the concept world and the exact masks of their objects."""
    data = SceneDataset("test", count)
    renderings = [data.rendering(index) for index in range(count)]
    pixels = torch.stack([torch.from_numpy(rendering.image).permute(2, 0, 1) for rendering in renderings])
    return preprocess.normalize(pixels), torch.stack(
        [torch.from_numpy(r.object_mask()).float() for r in renderings]
    )


def measured_center(net: pl.Network, images: Tensor, layer: str, draws: int = 4) -> tuple[float, float]:
    """Center of mass of the squared input gradient of the middle cell, over random combinations of its channels."""
    _, height, width = net.layer(layer).shape
    energy = torch.zeros(images.shape[2:])
    generator = torch.Generator().manual_seed(0)
    for _ in range(draws):
        weights = torch.randn(net.layer(layer).shape[0], generator=generator)
        x = images.clone().requires_grad_()
        kept: list[Tensor] = []
        handle = net.module.get_submodule(layer).register_forward_hook(lambda _m, _a, out: kept.append(out))  # noqa: B023
        with torch.enable_grad():
            net.module(x)
            score = (kept[0][:, :, height // 2, width // 2] * weights).sum()
        handle.remove()
        energy += torch.autograd.grad(score, x)[0].square().sum((0, 1))
    rows, columns = (torch.arange(size, dtype=torch.float32) for size in energy.shape)
    total = energy.sum()
    return float((energy.sum(1) * rows).sum() / total), float((energy.sum(0) * columns).sum() / total)


def correlation(maps: Tensor, masks: Tensor) -> float:
    """Mean over images of the correlation of map and mask, a margin at the border left out."""
    margin = maps.shape[1] // 6
    inner = slice(margin, -margin)
    a, b = maps[:, inner, inner].flatten(1), masks[:, inner, inner].flatten(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    usable = b.norm(dim=1) > 1
    return float(((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-9))[usable].mean())


def study(net: pl.Network, images: Tensor, masks: Tensor) -> list[dict[str, Any]]:
    """One row per stage."""
    size = (int(images.shape[2]), int(images.shape[3]))
    rows = []
    for layer, heatmap in pl.attribute(net, images, "layercam", normalized=True).items():
        _, height, width = heatmap.layer.shape
        nominal, stride = heatmap.layer.geometry, heatmap.layer.geometry.stride[0]
        shifted = {
            shift: correlation(
                upsample(
                    heatmap.values, Geometry((stride, stride), (shift * stride, shift * stride)), size, size
                ),
                masks,
            )
            for shift in SHIFTS
        }
        rows.append(
            {
                "layer": layer,
                "stride": stride,
                "middle cell": [height // 2, width // 2],
                "nominal center": nominal.center(height // 2, width // 2)[0],
                "effective center": heatmap.grid.center(height // 2, width // 2)[0],
                "measured center": [round(value, 1) for value in measured_center(net, images[:8], layer)],
                "nominal start in strides": round(nominal.start[0] / stride, 3),
                "effective start in strides": round(heatmap.grid.start[0] / stride, 3),
                "correlation by start in strides": {
                    str(shift): round(value, 4) for shift, value in shifted.items()
                },
                "correlation nominal": round(correlation(heatmap.upsample(anchor="nominal"), masks), 4),
                "correlation effective": round(correlation(heatmap.upsample(), masks), 4),
            }
        )
    return rows


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Receptive-field centers: nominal, effective, measured",
        "",
        "Center of the middle cell along one axis, in pixels (measured: vertical, horizontal); correlation of LayerCAM",
        f"with object boxes of {results['photographs']} photographs, or object masks of {results['scenes']} scenes.",
        "By `python studies/anchoring.py`.",
        "",
    ]
    head = (
        "network",
        "layer",
        "nominal",
        "effective",
        "measured",
        "correlation nominal",
        "correlation effective",
    )
    rows = [
        (
            network,
            row["layer"],
            f"{row['nominal center']:g}",
            f"{row['effective center']:g}",
            f"{row['measured center'][0]:g}, {row['measured center'][1]:g}",
            f"{row['correlation nominal']:.3f}",
            f"{row['correlation effective']:.3f}",
        )
        for network, listed in results["networks"].items()
        for row in listed
    ]
    return "\n".join(lines) + "\n" + kit.table(head, rows) + "\n"


def main() -> None:
    parser = kit.parser(__doc__)
    parser.add_argument("--images", type=int, default=240)
    options = parser.parse_args()
    networks: dict[str, Any] = {}
    assets = os.environ.get("PELLUCID_ASSETS")
    if assets:
        preprocess = pl.Preprocess(224, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), crop_mode="squash")
        images, masks = photographs(Path(assets), options.images, preprocess)
        for name, weights in PRETRAINED.items():
            file = Path(assets) / "weights" / f"{weights}.safetensors"
            networks[name] = study(
                pl.load(f"torchvision:{name}", weights=file, preprocess=preprocess), images, masks
            )
    for name in ("scenes-vgg", "scenes-resnet"):
        net = pl.load(name)
        networks[name] = study(net, *scenes(options.images, net.preprocess))
    results = {
        "photographs": options.images if assets else 0,
        "scenes": options.images,
        "networks": networks,
        "metadata": kit.metadata(seed=0),
    }
    kit.write(options.out, "anchoring", results, table(results))


if __name__ == "__main__":
    main()
