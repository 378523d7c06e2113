"""Which way of painting what a class wants to see carries over to another network, and looks like real pictures?

The components of the pyramid method are switched on one after the other; its other arm (pyramid on the image) and the other
methods stand beside it, and Lucent where it is installed (``--lucent FOLDER``, see ``benchmarks/speed/visualization.py``):
same classes, size and number of steps for all. Of every picture:

* certificate: class score over that of the best real picture (≥ 1: stronger than any), and the same of units of three layers
* transfer: probability and rank of the class on a *different* network, which had no part in it
* spectrum: mean distance of log₁₀ radial power to that of real pictures, over all frequencies
* kernel distance (MMD² with the cubic kernel of KID) of the other network's pooled features to those of real pictures
* total variation: mean difference of neighboring pixels

Embedded networks against each other on scenes; ResNet-18 against ResNet-50 on photographs where ``PELLUCID_ASSETS`` names the
folder of weights and photographs. Differences to the full method are paired by class, with 95 % bootstrap intervals over classes.

Run: ``python studies/visualization.py [--networks scenes-vgg scenes-resnet resnet18] [--lucent FOLDER]``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import warnings
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import pellucid as pl
from pellucid.data.preprocess import to_batch
from pellucid.data.scenes import SceneDataset
from pellucid.data.tensors import to_bytes, to_picture
from pellucid.visualization import Channel, Class, certificates, visualize
from pellucid.visualization.sheet import sheet
from shallow_cam import assets, network

RESULTS = Path(__file__).parent / "results"
OTHER = {"scenes-vgg": "scenes-resnet", "scenes-resnet": "scenes-vgg", "resnet18": "resnet50"}
FULL = "pyramid"
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


def arms() -> dict[str, tuple[str, dict[str, Any]]]:
    """Name → (method, parameters): components one after the other, the full method, its variants, the other methods."""
    found: dict[str, tuple[str, dict[str, Any]]] = {"raw": ("pyramid", dict(_RAW))}
    given = dict(_RAW)
    for name, change in _SWITCHES:
        given = {**given, **change}
        found[name] = ("pyramid", dict(given))
    found[FULL] = ("pyramid", {})
    found["pyramid on the image"] = ("pyramid", {"laplacian": "image"})
    found["pyramid, bands equal, weighted 0.5 to 2"] = (
        "pyramid",
        {"equalize": 1.0, "bands": (0.5, 1.0, 1.5, 2.0)},
    )
    for name in ("fourier", "maco", "yosinski", "pixels"):
        found[name] = (name, {})
    return found


SHORT = ("raw", FULL, "pyramid on the image", "fourier", "maco", "yosinski")


def lucent_tools(folder: Path | None) -> tuple[Any, Any] | None:
    """Lucent, and the benchmark's module that calls it; None where it is not installed."""
    file = Path(__file__).parents[1] / "benchmarks" / "speed" / "visualization.py"
    spec = importlib.util.spec_from_file_location("visualization_speed", file)
    assert spec is not None
    assert spec.loader is not None
    import sys

    sys.path.append(str(file.parent))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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


def log_spectrum(pictures: Tensor) -> Tensor:
    """log₁₀ of the power at every whole radius [batch radius], windowed, of the mean over colors."""
    gray = pictures.double().mean(1)
    gray = gray - gray.mean((1, 2), keepdim=True)
    side = gray.shape[-1]
    window = torch.hann_window(side, dtype=torch.float64)
    power = torch.fft.fft2(gray * window[:, None] * window).abs().square().flatten(1)
    f = torch.fft.fftfreq(side, dtype=torch.float64) * side
    radius = (f[:, None] ** 2 + f**2).sqrt().round().long().clamp(max=side // 2).flatten()
    total = torch.zeros(len(gray), side // 2 + 1, dtype=torch.float64).index_add_(1, radius, power)
    return (total / torch.bincount(radius) + 1e-8).log10()[:, 1 : side // 2]


def features(net: pl.Network, batch: Tensor) -> Tensor:
    """Pooled activation of the last stage [batch channel]."""
    layer = net.default_layers[-1]
    with torch.no_grad():
        parts = [
            pl.capture(net, batch[k : k + 16], [layer], 0, gradients=False).activations[layer].mean((2, 3))
            for k in range(0, len(batch), 16)
        ]
    return torch.cat(parts).double()


def kernel_distance(one: Tensor, other: Tensor) -> float:
    """Unbiased MMD² with ``(x·y/d + 1)³``, features scaled by the deviation of the other's."""
    scale = other.std(0).clamp(min=1e-9)
    x, y = one / scale, other / scale

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        k = kernel(a, a)
        return (k.sum() - k.diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


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
        width = [(layer, self.net.layer(layer).shape[0]) for layer in self.net.default_layers[-3:]]
        self.units = [pl.Unit(layer, k * count // 16) for layer, count in width for k in range(16)]

    def paint(self, method: str, options: dict[str, Any]) -> Tensor:
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
        return {
            "certificate": [round(one.ratio, 3) for one in held],
            "transfer": self._by_class(mine),
            "rank": self._by_class(rank.double()),
            "spectrum": self._by_class(distance),
            "kernel distance": round(kernel_distance(features(self.judge, batch), self.features), 3),
            "total variation": round(float(variation.mean()), 4),
        }

    def _by_class(self, values: Tensor) -> list[float]:
        return [round(float(v), 4) for v in values.view(-1, self.copies).double().mean(1)]

    def units_held(self, method: str) -> dict[str, Any]:
        """Certificates of units of three layers: of the mean, and of the peak; units no real picture excites are left out."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = visualize(self.net, self.units, method, steps=self.steps, certify=False, progress=False)
        held = certificates(
            self.net, [Channel(unit.layer, unit.index) for unit in self.units], found.images, self.real
        )
        living = [one for one in held if one.best > 0]
        return {
            "units": len(living),
            "certified": round(sum(one.ratio >= 1 for one in living) / len(living), 3),
            "certified peaks": round(sum(one.peak_ratio >= 1 for one in living) / len(living), 3),
            "median": round(sorted(one.ratio for one in living)[len(living) // 2], 2),
        }


def interval(differences: list[float], draws: int = 2000) -> list[float]:
    """Mean and 95 % bootstrap interval over classes."""
    values = torch.tensor(differences, dtype=torch.float64)
    lots = torch.randint(len(values), (draws, len(values)), generator=torch.Generator().manual_seed(0))
    low, high = values[lots].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return [round(float(values.mean()), 4), round(low, 4), round(high, 4)]


def measured(
    name: str, options: argparse.Namespace, tools: tuple[Any, Any] | None
) -> tuple[dict[str, Any], Image.Image]:
    """Every arm on one network, and a sheet: a row per arm, a column per class."""
    photographs = name == "resnet18"
    bench = Bench(name, *((8, 1) if photographs else (10, options.copies)), options.steps, options.real)
    chosen = {arm: how for arm, how in arms().items() if not (photographs or options.short) or arm in SHORT}
    rows, shown = [], []
    for arm in [*chosen, *(["Lucent"] if tools else [])]:
        pictures = bench.lucent(tools) if arm == "Lucent" and tools else bench.paint(*chosen[arm])
        rows.append({"arm": arm, **bench.judged(pictures)})
        shown += [to_picture(one) for one in to_bytes(pictures[:: bench.copies])]
        print(name, arm, f"transfer {sum(rows[-1]['transfer']) / len(rows[-1]['transfer']):.2f}", flush=True)
    full = next(row for row in rows if row["arm"] == FULL)
    for row in rows:
        for key in ("transfer", "spectrum"):
            row[f"{key} over {FULL}"] = interval([a - b for a, b in zip(row[key], full[key], strict=True)])
    units = (
        {}
        if photographs or options.short
        else {way: bench.units_held(way) for way in ("pyramid", "fourier", "maco")}
    )
    page = sheet(shown, None, columns=len(bench.classes), size=96)
    return {
        "network": name,
        "judge": OTHER[name],
        "classes": bench.classes,
        "arms": rows,
        "units": units,
    }, page


def verdict(result: dict[str, Any], key: str, better: int) -> str:
    """Is the full method best, or is the interval of the best arm's difference around zero?"""
    best = max(result["arms"], key=lambda row: better * sum(row[key]))
    mean, low, high = best[f"{key} over {FULL}"]
    if best["arm"] == FULL:
        return "best"
    inside = low <= 0 <= high
    where = "within" if inside else "**outside**"
    return f"{where} the interval of the best, {best['arm']} ({mean:+.2f}, {low:+.2f} to {high:+.2f})"


def table(results: list[dict[str, Any]], about: str) -> str:
    """All networks in Markdown."""
    lines = ["# What a class wants to see, by every way of painting", "", about, ""]
    for result in results:
        lines += [
            f"## {result['network']}, judged by {result['judge']}",
            "",
            f"Transfer: {FULL} is {verdict(result, 'transfer', 1)}. Spectrum: {FULL} is {verdict(result, 'spectrum', -1)}.",
            "",
            "| | certificate, median | certified | transfer | difference (95 %) | rank | spectrum | kernel distance "
            "| total variation |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for row in result["arms"]:
            ratios = sorted(row["certificate"])
            mean, low, high = row[f"transfer over {FULL}"]
            against = "" if row["arm"] == FULL else f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"
            lines.append(
                f"| {row['arm']} | {ratios[len(ratios) // 2]:.1f} | {100 * sum(r >= 1 for r in ratios) / len(ratios):.0f} % | "
                f"{_mean(row['transfer']):.2f} | {against} | {_mean(row['rank']):.1f} | {_mean(row['spectrum']):.2f} | "
                f"{row['kernel distance']:.3g} | {row['total variation']:.3f} |"
            )
        lines.append("")
        for way, held in result["units"].items():
            lines.append(
                f"Units by {way}: {100 * held['certified']:.0f} % of {held['units']} certified "
                f"(peaks {100 * held['certified peaks']:.0f} %), median {held['median']:.1f}."
            )
        lines.append("")
    return "\n".join(lines)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    """Measure, and write JSON, Markdown and sheets of the embedded networks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [*list(OTHER)[:2], *(["resnet18"] if "PELLUCID_ASSETS" in os.environ else [])]
    parser.add_argument("--networks", nargs="+", default=known, choices=list(OTHER))
    parser.add_argument("--steps", type=int, default=96)
    parser.add_argument("--copies", type=int, default=3, help="pictures per class of the embedded networks")
    parser.add_argument("--short", action="store_true", help="the full method and the main others alone")
    parser.add_argument("--real", type=int, default=200, help="real pictures")
    parser.add_argument("--lucent", type=Path, help="folder in which Lucent and kornia are installed")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tools = lucent_tools(options.lucent)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "visualization.json"
    results = json.loads(file.read_text())["networks"] if file.is_file() else []
    metadata = {
        "steps": options.steps,
        "copies": options.copies,
        "real": options.real,
        "lucent": tools is not None,
    }
    metadata |= {"pellucid": pl.__version__, "torch": torch.__version__, "machine": platform.machine()}
    about = (
        f"{options.steps} steps for all; {options.copies} pictures of each of ten classes (one of eight for ResNet-18); "
        f"{options.real} real pictures. Difference: of transfer to the full method, paired by class. "
        "Networks with fewer rows were run with `--short`. By `python studies/visualization.py`; what the columns are is said "
        "at its head."
    )
    for name in options.networks:
        found, page = measured(name, options, tools)
        results = [*(one for one in results if one["network"] != name), found]
        results.sort(key=lambda one: list(OTHER).index(one["network"]))
        if name in known[:2]:
            page.quantize(160).save(options.out / f"visualization-{name}.png", optimize=True)
        file.write_text(
            json.dumps({"networks": results, "metadata": metadata}, indent=1) + "\n", encoding="utf-8"
        )
        (options.out / "visualization.md").write_text(table(results, about), encoding="utf-8")


if __name__ == "__main__":
    main()
