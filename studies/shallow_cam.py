"""Does Shallow-CAM explain better than LayerCAM at every stage? Faithfulness, localization and intervention truth.

For each stage of each network: areas of deletion and insertion (16 steps; deletion to the mean color, insertion from a blur of
kernel 51, σ 20), of Shallow-CAM, every other method and the controls. Forms of Shallow-CAM and the σ of the control "blurred
LayerCAM" are chosen on a *tuning* half of the images (even positions of the sorted list, or validation scenes) and everything
else is measured on the other half. Curves run in bfloat16, channels last, which the file checks against float32.

    python studies/shallow_cam.py --network resnet18 --images 100          one file in studies/results/shallow-cam/
    python studies/shallow_cam_report.py                                   tables, plot and a page from all of them

Embedded networks run as they are; pretrained ones and photographs need ``PELLUCID_ASSETS``.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import kit
import pellucid as pl
from pellucid.attribution.shallow_cam import ShallowCAM
from pellucid.core.storage import write_text
from pellucid.data.preprocess import to_batch
from pellucid.evaluation.controls import blurred, center_gaussian, edges, random_maps
from pellucid.evaluation.curves import InsertionDeletion, area, curves
from pellucid.evaluation.intervention import agreement, part_effects
from pellucid.evaluation.localization import energy, iou, pointing
from pellucid.world import SceneDataset, render
from shallow_cam_arms import ShallowCAMArm

RESULTS = Path(__file__).parent / "results" / "shallow-cam"
PROTOCOL = InsertionDeletion(preset="quick")
PRETRAINED = {
    "squeezenet1_0": ("squeezenet1_0", "SqueezeNet 1.0, pretrained"),
    "resnet18": ("resnet18_pqf", "ResNet-18, pretrained"),
    "resnet50": ("resnet50_pqf", "ResNet-50, pretrained"),
}
FORMS: dict[str, dict[str, Any]] = {
    "shallow-cam": {},
    "stages only": {"through": "stages"},
    "not smoothed": {"smooth": 0.0},
    "plain power": {"power": 1.0},
    "mask not scaled": {"mask": "plain", "power": 1.0},
    "relevance alone": {"mask": "none"},
    "arm spatial": {"arm": "spatial"},
    "arm channel": {"arm": "channel"},
    "arm spatial, relevance alone": {"arm": "spatial", "mask": "none"},
    "seed softmax-gradient": {"seed": "softmax-gradient"},
    "seed logit": {"seed": "logit"},
    "seed layercam": {"seed": "layercam"},
    "seed contrastive": {"seed": "contrastive"},
    "next stage only": {"reach": "next"},
}
SIGMAS = (2.0, 4.0, 8.0, 16.0)
CORE = ("shallow-cam", "layercam", "relevance-cam", "fg-cam")
OTHERS = (
    "relevance-cam", "fg-cam", "gradcam", "hirescam", "gradcam++", "xgradcam", "gradcam-elementwise", "eigencam",
    "eigengradcam", "integrated-gradcam", "rsi-gradcam", "hierarchical", "tsgb", "cf-cam", "lrp", "clrp", "sglrp",
    "gradient-x-input",
)  # fmt: skip


def assets() -> Path:
    """The folder of real weights and photographs."""
    if "PELLUCID_ASSETS" not in os.environ:
        raise SystemExit("Expected PELLUCID_ASSETS to name the folder of pretrained weights and photographs.")
    return Path(os.environ["PELLUCID_ASSETS"])


def network(name: str) -> pl.Network:
    """An embedded network, or a pretrained one from the assets."""
    if name not in PRETRAINED:
        return pl.load(name)
    weights = assets() / "weights" / f"{PRETRAINED[name][0]}.safetensors"
    return pl.load(f"torchvision:{name}", weights=str(weights), classes="imagenet")


def quick(net: pl.Network) -> pl.Network:
    """The same network in bfloat16, channels last: for curves."""
    module = copy.deepcopy(net.module).bfloat16().to(memory_format=torch.channels_last)
    return pl.Network(
        module, preprocess=net.preprocess, classes=net.classes, input_shape=net.input_shape, head=net.head
    )


def pictures(net: pl.Network, name: str, count: int, tuning: bool) -> list[tuple[str, Tensor, Any]]:
    """(name, normalized image, scene or None) of one half."""
    if name in PRETRAINED:
        files = sorted((assets() / "images" / "imagenet_sample").glob("*.jpg"))[0 if tuning else 1 :: 2]
        chosen = [files[k] for k in np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)]
        return [(file.name, to_batch(str(file), net.preprocess)[0], None) for file in chosen]
    dataset = SceneDataset("val" if tuning else "test", count)
    scenes = [dataset.scene(k) for k in range(count)]
    return [
        (f"{k}", to_batch(render(scene).image, net.preprocess)[0], scene) for k, scene in enumerate(scenes)
    ]


def maps_of(net: pl.Network, image: Tensor, method: str | ShallowCAM) -> dict[str, pl.Heatmap]:
    """The method's maps at every stage (at the input, for methods that are at home there)."""
    return pl.attribute(net, image, method, list(net.default_layers), normalized=True, progress=False)


class Curves:
    """Areas of many maps of one image, all in one run of the quick network."""

    def __init__(self, net: pl.Network) -> None:
        self.net, self.quick = net, quick(net)

    def __call__(
        self, image: Tensor, maps: Sequence[Tensor], net: pl.Network | None = None
    ) -> list[dict[str, float]]:
        """``deletion`` and ``insertion`` of every map [1 height width]."""
        target = self.net.resolve_target(None, self.net(image))
        found = curves(
            net or self.quick, image, torch.stack(list(maps)).float(), target, PROTOCOL, progress=False
        )
        areas = zip(area(found.deletion)[:, 0].tolist(), area(found.insertion)[:, 0].tolist(), strict=True)
        return [{"deletion": one, "insertion": other} for one, other in areas]


def composite(areas: dict[str, float]) -> float:
    """Insertion − deletion."""
    return areas["insertion"] - areas["deletion"]


def tune(
    net: pl.Network, name: str, count: int, forms: Sequence[str] = tuple(FORMS)
) -> tuple[dict[str, Any], dict[str, float]]:
    """Composite of every form on the tuning half, and the best σ of the blurred control at each stage."""
    measure = Curves(net)
    found: dict[str, dict[str, list[float]]] = {}
    for _, image, _ in pictures(net, name, count, tuning=True):
        drawn: dict[tuple[str, str], Tensor] = {}
        for form in forms:
            for layer, heatmap in maps_of(net, image, ShallowCAMArm(**FORMS[form])).items():
                drawn[form, layer] = heatmap.upsample()
        for layer, heatmap in maps_of(net, image, "layercam").items():
            drawn["layercam", layer] = heatmap.upsample()
            for sigma in SIGMAS:
                drawn[f"layercam blurred, σ {sigma:g}", layer] = blurred(heatmap.upsample(), sigma)
        for (form, layer), areas in zip(drawn, measure(image, list(drawn.values())), strict=True):
            found.setdefault(form, {}).setdefault(layer, []).append(composite(areas))
    best = {
        layer: max(SIGMAS, key=lambda s, layer=layer: np.nanmean(found[f"layercam blurred, σ {s:g}"][layer]))
        for layer in net.default_layers
    }
    return found, best


def measured(
    net: pl.Network,
    name: str,
    count: int,
    fewer: int,
    sigmas: dict[str, float],
    methods: Sequence[str],
    others: Sequence[str],
) -> dict[str, Any]:
    """Faithfulness on the reporting half; intervention truth where the scenes are known."""
    measure = Curves(net)
    faith: dict[str, dict[str, list[dict[str, float]]]] = {}
    truth: dict[str, dict[str, dict[str, list[float]]]] = {}
    for place, (_, image, scene) in enumerate(pictures(net, name, count, tuning=False)):
        drawn = dict(_all_maps(net, image, [*methods, *(others if place < fewer else ())], sigmas, place))
        for (method, layer), areas in zip(drawn, measure(image, list(drawn.values())), strict=True):
            faith.setdefault(method, {}).setdefault(layer, []).append(areas)
        if scene is not None:
            (effects,) = part_effects(net, [scene])
            for (method, layer), saliency in drawn.items():
                row = truth.setdefault(method, {}).setdefault(layer, {"rank": [], "gain": []})
                agreed = agreement(saliency[0], effects)
                row["rank"].append(float(agreed.rank))
                row["gain"].append(float(agreed.gain))
    return {
        "faithfulness": {
            method: {
                layer: {key: [one[key] for one in rows] for key in ("deletion", "insertion")}
                for layer, rows in layers.items()
            }
            for method, layers in faith.items()
        },
        "intervention": truth,
    }


def _all_maps(
    net: pl.Network, image: Tensor, methods: Sequence[str], sigmas: dict[str, float], seed: int
) -> Iterator[tuple[tuple[str, str], Tensor]]:
    for method in methods:
        for layer, heatmap in maps_of(net, image, method).items():
            yield (method, layer), heatmap.upsample()
            if method == "layercam":
                yield ("layercam-blurred", layer), blurred(heatmap.upsample(), sigmas[layer])
    size = (int(image.shape[2]), int(image.shape[3]))
    yield ("random", "*"), random_maps(1, size, seed)
    yield ("center", "*"), center_gaussian(size)[None]
    yield ("edges", "*"), edges(image)


def localization(net: pl.Network, name: str, count: int) -> dict[str, Any]:
    """Pointing, energy and relative IoU on object boxes, heads and car parts (photographs), or objects (scenes)."""
    sets = _masked(net, name, count)
    found: dict[str, Any] = {}
    for title, items in sets.items():
        rows: dict[str, Any] = {"images": len(items)}
        for image, mask in items:
            for method in ("shallow-cam", "layercam", "relevance-cam", "fg-cam", "gradcam"):
                for layer, heatmap in maps_of(net, image, method).items():
                    saliency = heatmap.upsample()
                    row = rows.setdefault(method, {}).setdefault(
                        layer, {"pointing": [], "energy": [], "relative": []}
                    )
                    row["pointing"].append(float(pointing(saliency, mask, 15)[0]))
                    row["energy"].append(float(energy(saliency, mask)[0]))
                    row["relative"].append(float(_relative(heatmap, mask)))
        found[title] = rows
    return found


def _relative(heatmap: pl.Heatmap, mask: Tensor) -> float:
    from pellucid.evaluation.localization import best_iou

    equal, attainable = iou(heatmap, mask, None), best_iou(heatmap, mask)
    return float(equal[0] / attainable[0])


def _masked(net: pl.Network, name: str, count: int) -> dict[str, list[tuple[Tensor, Tensor]]]:
    if name not in PRETRAINED:
        dataset = SceneDataset("test", count)
        found = []
        for k in range(count):
            drawn = render(dataset.scene(k))
            found.append(
                (
                    to_batch(drawn.image, net.preprocess)[0],
                    net.preprocess.view_mask(drawn.object_mask())[None],
                )
            )
        return {"scenes: object": found}
    folder = assets() / "parts"
    boxes: dict[str, dict[str, list[list[float]]]] = {}
    with (folder / "animals/boxes.csv").open() as stream:
        for row in csv.DictReader(stream):
            sides = [float(row[key]) for key in ("x0", "y0", "x1", "y1")]
            boxes.setdefault(row["image"], {}).setdefault(row["kind"], []).append(sides)
    single = sorted(
        one for one, kinds in boxes.items() if len(kinds["object"]) == 1 and len(kinds.get("head", ())) == 1
    )
    chosen = [single[k] for k in np.linspace(0, len(single) - 1, count).astype(int)]
    sets: dict[str, list[tuple[Tensor, Tensor]]] = {
        "animals: object box": [],
        "animals: head box": [],
        "car parts: car": [],
    }
    for one in chosen:
        image, _ = to_batch(str(folder / one), net.preprocess)
        width, height = Image.open(folder / one).size
        for kind in ("object", "head"):
            x0, y0, x1, y1 = boxes[one][kind][0]
            mask = np.zeros((height, width), bool)
            mask[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
            seen = net.preprocess.view_mask(mask)
            if seen.any():
                sets[f"animals: {kind} box"].append((image, seen[None]))
    with (folder / "index.csv").open() as stream:
        cars = [row for row in csv.DictReader(stream) if row["set"] == "carparts"][:count]
    for row in cars:
        mask = np.asarray(Image.open(folder / row["mask"])) > 0
        image, _ = to_batch(str(folder / row["image"]), net.preprocess)
        sets["car parts: car"].append((image, net.preprocess.view_mask(mask)[None]))
    return sets


def check(net: pl.Network, name: str, count: int = 4) -> dict[str, Any]:
    """Largest and mean difference in composite between bfloat16 and the network's own precision, over LayerCAM's maps."""
    measure, differences = Curves(net), []
    for _, image, _ in pictures(net, name, count, tuning=True):
        maps = [heatmap.upsample() for heatmap in maps_of(net, image, "layercam").values()]
        for one, other in zip(measure(image, maps), measure(image, maps, net), strict=True):
            differences.append(composite(one) - composite(other))
    found = np.array(differences)
    return {
        "images": count,
        "largest_difference": float(np.abs(found).max()),
        "mean_difference": float(found.mean()),
    }


def main() -> None:
    """Measure one network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--network", default="scenes-resnet", help="embedded name, or " + ", ".join(PRETRAINED)
    )
    parser.add_argument("--images", type=int, default=100, help="images of the reporting half")
    parser.add_argument("--tuning", type=int, default=24, help="images of the tuning half")
    parser.add_argument(
        "--fewer", type=int, default=24, help="images on which all other methods are measured"
    )
    parser.add_argument("--localized", type=int, default=100, help="images with masks")
    parser.add_argument("--methods", nargs="+", default=CORE, help="methods measured on all images")
    parser.add_argument("--others", nargs="*", default=OTHERS, help="methods measured on fewer")
    parser.add_argument("--only-default", action="store_true", help="tune nothing but the control's σ")
    parser.add_argument("--part", choices=("tune", "report", "localize", "all"), default="all")
    given = parser.parse_args()
    torch.manual_seed(0)
    net = network(given.network)
    path = RESULTS / f"{given.network}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = kit.read(path, {})
    known = PRETRAINED.get(given.network)
    found |= {
        "network": given.network,
        "title": known[1] if known else given.network,
        "real": known is not None,
        "layers": list(net.default_layers),
        "metadata": kit.metadata(),
    }
    if given.part in ("tune", "all"):
        found["protocol"] = {
            "steps": PROTOCOL.in_full().steps, "blur": PROTOCOL.in_full().blur, "precision": "bfloat16",
            "check": check(net, given.network),
        }  # fmt: skip
        found["tuning"], found["blur_sigma"] = tune(
            net, given.network, given.tuning, tuple(FORMS)[: 1 if given.only_default else None]
        )
        found["tuning_images"] = given.tuning
        _write(path, found)
    if given.part in ("report", "all"):
        others = [name for name in given.others if name not in given.methods]
        found |= measured(
            net, given.network, given.images, given.fewer, found["blur_sigma"], given.methods, others
        )
        found |= {"images": given.images, "fewer": {"images": given.fewer, "methods": others}}
        _write(path, found)
    if given.part in ("localize", "all"):
        found["localization"] = localization(net, given.network, given.localized)
        _write(path, found)


def _write(path: Path, found: dict[str, Any]) -> None:
    compact = json.dumps(kit.plain(found, 5), ensure_ascii=False, separators=(",", ":"))
    write_text(path, compact + "\n")


if __name__ == "__main__":
    main()
