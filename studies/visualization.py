"""Which way of painting what a class wants to see carries over to another network, and looks like real pictures?

The components of the pyramid method are switched on one after the other; its other arm (pyramid on the image) and the other
methods stand beside it, and Lucent where it is installed (``--lucent FOLDER``, see ``benchmarks/speed/visualization.py``):
same classes, size and number of steps for all. Of every picture:

* certificate: class score over that of the best real picture (≥ 1: stronger than any), and the same of units of three layers
* transfer: probability and rank of the class on a *different* network, which had no part in it
* spectrum: mean distance of log₁₀ radial power to that of real pictures, over all frequencies
* kernel distance (MMD² with the cubic kernel of KID) of the other network's pooled features to those of real pictures
* total variation: mean difference of neighboring pixels
* evidence: share of the other network's LayerCAM of the class inside the region that the painting network's own LayerCAM marks
  (≥ 0.3 of its maximum), and that region's share of the picture
* recognition of units' pictures by the other network's units of the same concept (see ``visualization_measures.py``)

Embedded networks against each other on scenes; ResNet-18 against ResNet-50 on photographs where ``PELLUCID_ASSETS`` names the
folder of weights and photographs (classes, and
certificates of 24 units; no concepts are known there). Differences to the full method are paired by class, with 95 % bootstrap
intervals over classes.

Run: ``python studies/visualization.py [--networks scenes-vgg scenes-resnet resnet18] [--lucent FOLDER]``; every network's
numbers carry the options, the date and a digest of the code they were made with. ``--only-units`` and ``--only-report`` redo a
part. The report is written by ``visualization_report.py``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import kit
import pellucid as pl
from pellucid.data.preprocess import to_batch
from pellucid.data.tensors import to_bytes, to_picture
from pellucid.visualization import Certificate, Channel, Class, certificates, visualize
from pellucid.visualization.sheet import sheet
from pellucid.world import SceneDataset
from shallow_cam import assets, network
from visualization_arms import PyramidArm
from visualization_measures import Recognition, concepts_of, evidence, features, kernel_distance, log_spectrum
from visualization_report import FULL, table

RESULTS = Path(__file__).parent / "results"
OTHER = {"scenes-vgg": "scenes-resnet", "scenes-resnet": "scenes-vgg", "resnet18": "resnet50"}
_RAW = {
    "normalize": False, "momentum": 0.0, "laplacian": "off", "gaussian": "off", "region": False, "octaves": 1,
    "decorrelate": 0.0, "jitter": 0, "scale": 0.0, "rotate": 0.0,
}  # fmt: skip
_SWITCHES = (
    ("+ normalize", {"normalize": True}),
    ("+ momentum", {"momentum": 0.9}),
    ("+ Laplacian", {"laplacian": "gradient"}),
    ("+ Gaussian", {"gaussian": "image"}),
    ("+ region", {"region": True}),
    ("+ octaves", {"octaves": 3}),
)


def arms() -> dict[str, tuple[str | PyramidArm, dict[str, Any]]]:
    """Name → (method, parameters): components one after the other, the full method, its variants, the other methods."""
    found: dict[str, tuple[str | PyramidArm, dict[str, Any]]] = {"raw": (PyramidArm(**_RAW), {})}
    given = dict(_RAW)
    for name, change in _SWITCHES:
        given = {**given, **change}
        found[name] = (PyramidArm(**given), {})
    found[FULL] = ("pyramid", {})
    found["pyramid on the image"] = (PyramidArm(laplacian="image"), {})
    found["pyramid, bands equal, weighted 0.5 to 2"] = (
        PyramidArm(equalize=1.0, bands=(0.5, 1.0, 1.5, 2.0)),
        {},
    )
    for name in ("fourier", "maco", "yosinski", "pixels"):
        found[name] = (name, {})
    return found


SHORT = ("raw", FULL, "pyramid on the image", "fourier", "maco", "yosinski")


def benchmark() -> Any:
    """The benchmark's module, which calls Lucent."""
    file = Path(__file__).parents[1] / "benchmarks" / "speed" / "visualization.py"
    spec = importlib.util.spec_from_file_location("visualization_speed", file)
    assert spec is not None
    assert spec.loader is not None
    sys.path.append(str(file.parent))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lucent_tools(folder: Path | None) -> tuple[Any, Any] | None:
    """Lucent, and the benchmark's module that calls it; None where it is not installed."""
    module = benchmark()
    peer = module.lucent(folder)
    return None if peer is None else (peer, module)


def real_pictures(name: str, net: pl.Network, count: int) -> tuple[Tensor, list[int]]:
    """Normalized scenes or photographs, and their classes."""
    if name in ("scenes-vgg", "scenes-resnet"):
        data = SceneDataset("val", count)
        pairs = [data[k] for k in range(count)]
        return net.preprocess.normalize(torch.stack([one for one, _ in pairs])), [label for _, label in pairs]
    files = sorted((assets() / "images" / "imagenet_sample").glob("*.jpg"))[:: max(1, 800 // count)]
    return to_batch([str(file) for file in files], net.preprocess)[0], [int(file.name[:4]) for file in files]


class Bench:
    """One network, its judge, real pictures, and the classes that are painted."""

    def __init__(self, name: str, classes: int, copies: int, steps: int, real: int) -> None:
        self.name, self.net, self.judge = name, network(name), network(OTHER[name])
        self.copies, self.steps = copies, steps
        self.real, labels = real_pictures(name, self.net, real)
        present = sorted(set(labels)) if name == "resnet18" else list(range(len(self.net.classes)))
        self.classes = [present[k * len(present) // classes] for k in range(classes)]
        self.targets = [c for c in self.classes for _ in range(copies)]
        self.spectrum = log_spectrum(self.net.preprocess.denormalize(self.real)).mean(0)
        self.features = features(self.judge, self.real)
        self.each = 8 if name == "resnet18" else 16
        self.layers = self.net.default_layers[-3:]
        self.units = [
            pl.Unit(layer, k * self.net.layer(layer).shape[0] // self.each)
            for layer in self.layers
            for k in range(self.each)
        ]

    def paint(self, method: str | PyramidArm, options: dict[str, Any]) -> Tensor:
        """Pictures [class × copy 3 h w]."""
        return visualize(
            self.net, self.classes, method, steps=self.steps, count=self.copies, certify=False, progress=False,
            images=self.real if method == "maco" else None, normalized=True, **options,
        ).images  # fmt: skip

    def lucent(self, tools: tuple[Any, Any]) -> Tensor:
        """The same by Lucent: its transforms and steps, this network's normalization."""
        peer, module = tools
        head = [
            name for name, child in self.net.module.named_modules() if isinstance(child, torch.nn.Linear)
        ][-1]
        found = []
        for first in range(0, len(self.targets), 10):
            names = [(head, target) for target in self.targets[first : first + 10]]
            torch.manual_seed(first)
            np.random.seed(first)  # noqa: NPY002 – its transforms draw from this one
            fresh = network(self.name)
            for parameter in fresh.module.parameters():
                parameter.requires_grad_(True)
            size = self.net.input_shape[1]
            mean, std = (
                torch.tensor(v)[:, None, None] for v in (self.net.preprocess.mean, self.net.preprocess.std)
            )
            found.append(
                module.rendered(
                    peer, fresh.module, names, size, self.steps, size, lambda x, m=mean, s=std: (x - m) / s
                )
            )
        return torch.cat([torch.as_tensor(part).permute(0, 3, 1, 2).float() for part in found])

    def judged(self, pictures: Tensor) -> dict[str, Any]:
        """All measures of the pictures; lists have one value per class, the mean over copies."""
        objectives = [Class(target).bound(self.net, self.net.layers.__getitem__) for target in self.targets]
        held = certificates(self.net, objectives, pictures, self.real)
        batch = self.judge.preprocess.normalize(to_bytes(pictures))
        with torch.no_grad():
            likely = torch.cat([self.judge(part) for part in batch.split(16)]).softmax(1)
        mine = likely[torch.arange(len(likely)), self.targets]
        rank = (likely > mine[:, None]).sum(1) + 1
        distance = (log_spectrum(pictures) - self.spectrum).abs().mean(1)
        variation = (
            pictures.diff(dim=2).abs().mean((1, 2, 3)) + pictures.diff(dim=3).abs().mean((1, 2, 3))
        ) / 2
        share, area = evidence(self.net, self.judge, pictures, self.targets)
        return {
            "certificate": [round(one.ratio, 3) for one in held],
            "transfer": self._by_class(mine),
            "rank": self._by_class(rank.double()),
            "spectrum": self._by_class(distance),
            "kernel distance": round(kernel_distance(features(self.judge, batch), self.features), 3),
            "total variation": round(float(variation.mean()), 4),
            "evidence": self._by_class(share.nan_to_num()),
            "area": self._by_class(area.nan_to_num()),
        }

    def _by_class(self, values: Tensor) -> list[float]:
        return [round(float(v), 4) for v in values.view(-1, self.copies).double().mean(1)]

    def units_judged(self) -> dict[str, Any]:
        """Certificates of units of three layers by some ways, and who recognizes their concepts; the best real scene beside."""
        photographs = self.name == "resnet18"
        recognition = None if photographs else Recognition(self.judge, self.real)
        concepts = [] if photographs else concepts_of(self.net, self.units)
        ways: dict[str, Any] = {}
        for way in ("pyramid",) if photographs else ("pyramid", "fourier", "maco"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pictures = visualize(
                    self.net, self.units, way, steps=self.steps, certify=False, progress=False,
                    images=self.real if way == "maco" else None, normalized=True,
                ).images  # fmt: skip
            objectives = [Channel(unit.layer, unit.index) for unit in self.units]
            held = certificates(self.net, objectives, pictures, self.real)
            ways[way] = certified(held)
            if recognition is not None:
                shown = self.judge.preprocess.normalize(to_bytes(pictures))
                ways[way]["recognition"] = recognition.judged(shown, concepts)
        if recognition is not None:
            best = self.real[[one.image for one in held]]
            ways["best real scene"] = {"recognition": recognition.judged(best, concepts)}
        return {"layers": list(self.layers), "each": self.each, "ways": ways}


def certified(held: Sequence[Certificate]) -> dict[str, Any]:
    """Shares of certificates that hold, of the mean and of the peak; units no real picture excites are left out."""
    living = [one for one in held if one.best > 0]
    return {
        "units": len(living),
        "certified": round(sum(one.ratio >= 1 for one in living) / len(living), 3),
        "certified peaks": round(sum(one.peak_ratio >= 1 for one in living) / len(living), 3),
        "median": round(sorted(one.ratio for one in living)[len(living) // 2], 2),
    }


def measured(
    bench: Bench, short: bool, tools: tuple[Any, Any] | None
) -> tuple[list[dict[str, Any]], Image.Image]:
    """Every arm on one network, and a sheet: a row per arm, a column per class."""
    chosen = {arm: how for arm, how in arms().items() if not short or arm in SHORT}
    rows, shown = [], []
    for arm in [*chosen, *(["Lucent"] if tools else [])]:
        start = time.process_time()
        pictures = bench.lucent(tools) if arm == "Lucent" and tools else bench.paint(*chosen[arm])
        spent = time.process_time() - start
        rows.append({"arm": arm, **bench.judged(pictures)})
        shown += [to_picture(one) for one in to_bytes(pictures[:: bench.copies])]
        print(
            f"{bench.name} {arm} transfer {sum(rows[-1]['transfer']) / len(rows[-1]['transfer']):.2f}, {spent:.0f} s",
            flush=True,
        )
    full = next(row for row in rows if row["arm"] == FULL)
    for row in rows:
        for key in ("transfer", "spectrum"):
            row[f"{key} over {FULL}"] = kit.mean_interval(
                [a - b for a, b in zip(row[key], full[key], strict=True)], 4
            )
    return rows, sheet(shown, None, columns=len(bench.classes), size=96)


def how_made(bench: Bench, options: argparse.Namespace, real: int) -> dict[str, Any]:
    """What a part of the results was made with; the code is a digest of the package's painting files."""
    code = (kit.PACKAGE / "visualization").glob("*.py")
    return kit.metadata(code, steps=options.steps, copies=bench.copies, real=real)


def refreshed(
    name: str, before: dict[str, Any], options: argparse.Namespace, tools: tuple[Any, Any] | None
) -> tuple[dict[str, Any], Image.Image | None]:
    """One network's results, of which the options may leave a part as it was."""
    photographs = name == "resnet18"
    bench = Bench(name, *((8, 1) if photographs else (10, options.copies)), options.steps, options.real)
    made = how_made(bench, options, len(bench.real))
    result, page = dict(before), None
    if not options.only_units:
        rows, page = measured(bench, photographs or options.short, tools)
        result |= {
            "network": name,
            "judge": OTHER[name],
            "classes": bench.classes,
            "made": made,
            "arms": rows,
        }
    result["units"] = {"made": made, **bench.units_judged()}
    return result, page


def main() -> None:
    """Measure, and write JSON, Markdown and sheets of the embedded networks."""
    parser = kit.parser(__doc__)
    known = [*list(OTHER)[:2], *(["resnet18"] if "PELLUCID_ASSETS" in os.environ else [])]
    parser.add_argument("--networks", nargs="+", default=known, choices=list(OTHER))
    parser.add_argument("--steps", type=int, default=96)
    parser.add_argument("--copies", type=int, default=3, help="pictures per class of the embedded networks")
    parser.add_argument("--short", action="store_true", help="the full method and the main others alone")
    parser.add_argument("--only-units", action="store_true", help="units alone, arms as they are")
    parser.add_argument("--only-report", action="store_true", help="Markdown of the JSON that is there")
    parser.add_argument("--real", type=int, default=200, help="real pictures")
    parser.add_argument("--lucent", type=Path, help="folder in which Lucent and kornia are installed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tools = None if options.only_report else lucent_tools(options.lucent)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "visualization.json"
    results = kit.read(file, {"networks": []})["networks"]
    for name in [] if options.only_report else options.networks:
        before = next((one for one in results if one["network"] == name), {})
        found, page = refreshed(name, before, options, tools)
        results = [*(one for one in results if one["network"] != name), found]
        results.sort(key=lambda one: list(OTHER).index(one["network"]))
        if page is not None and name in known[:2]:
            page.quantize(160).save(options.out / f"visualization-{name}.png", optimize=True)
        kit.write(options.out, "visualization", {"networks": results, "metadata": kit.metadata()})
    kit.write(options.out, "visualization", None, table(kit.read(file)))


if __name__ == "__main__":
    main()
