"""What dissecting costs: against the forward passes alone, against the old loop over units, and in memory.

    PELLUCID_ASSETS=... python benchmarks/speed/dissection.py passes --net resnet18
    python benchmarks/speed/dissection.py loop
    python benchmarks/speed/dissection.py memory
    python benchmarks/speed/dissection.py report

*passes*: all stages of a pretrained network on the real part sets, against the same pictures read and passed through the
network without anything else. *loop*: the tally alone on real activations, against a literal transcription of the loop over
units that Network Dissection's light version runs (one map upsampled with Pillow, one search, one count per label map), with
the same counts asserted. *memory*: peak resident memory at 500 and 5,000 scenes, each in a process of its own.
Each part updates its share of ``benchmarks/speed/results/dissection.json``; *report* writes ``dissection.md`` from it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from PIL import Image

import pellucid as pl
from pellucid.core.capture import capture
from pellucid.data.concepts import ConceptSource, open_concepts
from pellucid.dissection import dissect
from pellucid.dissection.counting import BestPictures, Counter
from pellucid.dissection.labels import LabelBlock
from pellucid.dissection.placement import Placement
from pellucid.dissection.sampling import Sampler
from pellucid.dissection.settings import Settings
from pellucid.dissection.shards import Cells, LayerShard, Shard
from pellucid.world.concepts import SceneConcepts

RESULTS = Path(__file__).parent / "results" / "dissection.json"
WEIGHTS = {
    "resnet18": "resnet18_pqf.safetensors",
    "resnet50": "resnet50_pqf.safetensors",
    "squeezenet1_0": "squeezenet1_0.safetensors",
}
SETS = "carparts,msrc,ccp,dtd10"


def assets() -> Path:
    return Path(os.environ["PELLUCID_ASSETS"])


def network(name: str) -> pl.Network:
    return pl.load(
        f"torchvision:{name}", weights=str(assets() / "weights" / WEIGHTS[name]), classes="imagenet"
    )


def clocks(run: Any) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def passes(name: str, threads: int, rounds: int, count: int | None) -> dict[str, Any]:
    torch.set_num_threads(threads)
    net, source = network(name), open_concepts(f"folder:{assets() / 'parts'}:{SETS}")
    number = min(count or len(source), len(source))
    order = np.random.default_rng(0).permutation(len(source))[:number]
    source = Part(source, order)
    sampler = Sampler(source, net.preprocess, (224, 224), 2)

    def plain(layout: torch.memory_format = torch.contiguous_format) -> None:
        """The same pictures in the same batches, read one step ahead in a thread as well."""
        chunks = [list(range(first, min(first + 32, number))) for first in range(0, number, 32)]
        with torch.inference_mode():
            for sample in sampler.batches(chunks):
                net(sample.batch.contiguous(memory_format=layout))

    def plain_last() -> None:
        """In the memory layout that dissecting uses."""
        plain(torch.channels_last)

    def whole() -> None:
        dissect(net, source, progress=False)

    dissect(net, Part(source, np.arange(40)), progress=False)  # compiles
    found = [(clocks(plain), clocks(plain_last), clocks(whole)) for _ in range(rounds)]
    return {
        "network": name,
        "layers": list(net.default_layers),
        "images": number,
        "threads": threads,
        "rounds": rounds,
        "wall_ratio": sorted(round(c[0] / a[0], 3) for a, _, c in found),
        "processor_ratio": sorted(round(c[1] / a[1], 3) for a, _, c in found),
        "processor_ratio_same_layout": sorted(round(c[1] / b[1], 3) for _, b, c in found),
        "plain_ms_per_image": round(1e3 * min(a[1] for a, _, _ in found) / number, 2),
    }


class Part(ConceptSource):
    """Some pictures of a set."""

    def __init__(self, source: ConceptSource, chosen: Any) -> None:
        super().__init__(source.name, source.concepts, source.view)
        self._source, self._chosen = source, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def picture_name(self, index: int) -> str:
        """Of the set."""
        return self._source.picture_name(int(self._chosen[index]))

    def picture(self, index: int) -> Any:
        """Of the set."""
        return self._source.picture(int(self._chosen[index]))

    def labels(self, index: int) -> Any:
        """Of the set."""
        return self._source.labels(int(self._chosen[index]))

    def split(self, index: int) -> str:
        """Of the set."""
        return self._source.split(int(self._chosen[index]))


def old_loop(acts: Any, thresholds: Any, maps: Any, wholes: Any, category: Any) -> tuple[Any, Any]:
    """One unit after the other: skip quiet maps, upsample the others, find the mask's pixels, count the labels there.

    ``maps`` [map h w] and ``wholes`` hold 1 + a concept's place, ``category`` [1 + concept, category] what each is of; areas
    are counted by the paper's definition, in pictures where the category occurs.
    """
    hits = np.zeros((len(thresholds), len(category)), np.int64)
    areas = np.zeros((len(thresholds), category.shape[1]), np.int64)
    occurring = (np.bincount(maps.ravel(), minlength=len(category)) > 0).astype(np.int64)
    occurring[wholes] = 1
    occurring[0] = 0
    here = occurring @ category > 0
    height, width = maps.shape[1:]
    for unit in range(len(thresholds)):
        plane = acts[unit]
        if plane.max() > thresholds[unit]:
            large = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
            places = np.argwhere(large > thresholds[unit])
            counted = np.bincount(maps[:, places[:, 0], places[:, 1]].ravel(), minlength=len(category))
            counted[wholes] += len(places)
            hits[unit] += counted
            areas[unit] += len(places) * here
    return hits, areas


def loop(images: int, rounds: int) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    places = (("resnet18", "layer4"), ("resnet18", "layer3"), ("resnet50", "layer4"), ("resnet18", "layer1"))
    return [against(name, layer, images, rounds) for name, layer in places]


def against(name: str, layer: str, images: int, rounds: int) -> dict[str, Any]:
    net, source = network(name), SceneConcepts.of(images, size=224)
    sampler = Sampler(source, net.preprocess, (224, 224), 2)
    samples = [sampler.read(range(first, min(first + 32, images))) for first in range(0, images, 32)]
    acts = np.concatenate(
        [
            capture(net, one.batch, [layer], gradients=False).activations[layer].float().numpy()
            for one in samples
        ]
    )
    labels = LabelBlock.of([one for sample in samples for one in sample.labels])
    flat = acts.transpose(1, 0, 2, 3).reshape(acts.shape[1], -1)
    thresholds = np.quantile(flat, 0.995, axis=1, method="higher").astype(np.float32)
    about = net.layer(layer)
    placement = halves(about, acts.shape[2:], sampler.grid)
    place = {concept.number: k for k, concept in enumerate(source.concepts, 1)}
    table = np.array([place.get(number, 0) for number in range(max(place) + 1)])
    rows, columns = sampler.preprocess.positions((224, 224), (224, 224), sampler.grid)
    at = np.ix_((rows * 224).astype(int), (columns * 224).astype(int))
    maps = [np.stack([table[one[at]] for one in source.labels(i).maps]) for i in range(images)]
    wholes = [np.array([place[number] for number in source.labels(i).whole]) for i in range(images)]
    category = np.zeros((1 + len(source.concepts), len(source.categories)), np.int64)
    for k, concept in enumerate(source.concepts, 1):
        category[k, source.categories.index(concept.category)] = 1
    settings = Settings(draws=0, resamples=0, examples=0)
    fits = np.ones(images, np.bool_)

    def ours() -> Counter:
        counter = Counter(
            about, source, placement, settings, thresholds, None, fits,
            BestPictures(acts.shape[1], 0), Path("."), "compiled", torch.device("cpu"),
        )  # fmt: skip
        maxima = torch.from_numpy(acts).amax((2, 3)).numpy()
        cells = Cells.above(acts, maxima, thresholds)
        share = LayerShard(maxima, np.zeros((1, acts.shape[1]), np.float32), cells)
        counter.count(Shard(np.arange(images), labels, {layer: share}), cells, 0)
        return counter

    def old() -> tuple[Any, Any]:
        found = [
            old_loop(*one, category) for one in zip(acts, [thresholds] * images, maps, wholes, strict=True)
        ]
        return sum(one[0] for one in found), sum(one[1] for one in found)

    (hits, areas), counts = old(), ours().table({}).counts
    difference = np.abs(counts.intersection - hits[:, 1:]).sum() + np.abs(counts.activation - areas).sum()
    times = [(clocks(old)[1], clocks(ours)[1]) for _ in range(rounds)]
    found = {
        "network": name,
        "layer": layer,
        "maps": [*acts.shape[1:]],
        "images": images,
        "label_maps": len(maps[0]) + 1,
        "pixels_counted_differently": int(difference),
        "pixels_counted": int(hits[:, 1:].sum()),
        "old_ms_per_image": round(1e3 * min(a for a, _ in times) / images, 3),
        "ours_ms_per_image": round(1e3 * min(b for _, b in times) / images, 3),
        "ratio": sorted(round(a / b, 1) for a, b in times),
    }
    print(found, flush=True)
    return found


def halves(layer: Any, cells: Any, grid: tuple[int, int]) -> Placement:
    """Pillow's own placement (cells as equal parts of the picture), so that both count the same."""
    stride = (224 / cells[0], 224 / cells[1])
    geometry = replace(layer.geometry, stride=stride, start=((stride[0] - 1) / 2, (stride[1] - 1) / 2))
    return Placement.of(replace(layer, geometry=geometry), (224, 224), grid, "nominal")


def memory(images: int) -> dict[str, Any]:
    """Peak of a process of its own that dissects so many scenes."""
    code = (
        "import sys, json, resource, pellucid as pl\n"
        "net = pl.load('scenes-resnet')\n"
        "pl.dissect(net, 'scenes:val/0-99', progress=False)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"found = pl.dissect(net, 'scenes:val/0-{images - 1}', progress=False)\n"
        "facts = [t.facts for t in found.values()]\n"
        "print(json.dumps({'before_mb': before / 1024, 'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,"
        " 'largest_selection_mb': max(f['selection_bytes'] for f in facts) / 2**20,"
        " 'bound_mb': sum(f['bound_bytes'] for f in facts) / 2**20}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {"images": images, **{key: round(value, 1) for key, value in json.loads(done.stdout).items()}}


def store(part: str, value: Any) -> None:
    held = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    held[part] = {
        "measured": value,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        },
        "versions": {"torch": torch.__version__, "numba": numba.__version__, "numpy": np.__version__},
    }
    RESULTS.write_text(json.dumps(held, indent=1) + "\n")
    print(json.dumps(value, indent=1))


def report() -> str:
    held = json.loads(RESULTS.read_text())
    lines = [
        "# What dissecting costs",
        "",
        "Written by `benchmarks/speed/dissection.py report` from `results/dissection.json`.",
        "",
    ]
    rows = [(key, value["measured"]) for key, value in sorted(held.items()) if key.startswith("passes")]
    lines += [
        "## Against the forward passes over the same pictures and their loading (goal ≤ 1.10)", "",
        "Dissecting passes pictures through the network with the channels of a pixel next to each other, in which",
        "processors are faster; so it can cost less than plain passes in the usual layout.",
        "The last column but one compares with plain passes in the same layout.", "",
        "| network | pictures | threads | wall clock | processor time | the same, same layout | plain, ms a picture |",
        "|---|---|---|---|---|---|---|",
        *[
            f"| {one['network']} | {one['images']} | {one['threads']} | {middle(one['wall_ratio'])} | "
            f"{middle(one['processor_ratio'])} | {middle(one['processor_ratio_same_layout'])} | {one['plain_ms_per_image']} |"
            for _, one in rows
        ], "",
    ]  # fmt: skip
    lines += [
        "## The tally alone against the old loop on the same maps (goal ≥ 45)", "",
        "| maps | label maps | old loop, ms a picture | ours | ratio | pixels counted differently |", "|---|---|---|---|---|---|",
        *[
            f"| {one['network']} {one['layer']}: {' × '.join(map(str, one['maps']))} | {one['label_maps']} | "
            f"{one['old_ms_per_image']} | {one['ours_ms_per_image']} | {middle(one['ratio'])} | "
            f"{one['pixels_counted_differently']} of {one['pixels_counted']:,} |"
            for one in held["loop"]["measured"]
        ], "",
    ]  # fmt: skip
    lines += [
        "## Peak memory, scenes-resnet, all stages", "",
        "| scenes | before, MB | peak, MB | of it values thresholds are picked from (largest layer) |", "|---|---|---|---|",
        *[
            f"| {one['images']:,} | {one['before_mb']} | {one['peak_mb']} | {one['largest_selection_mb']} |"
            for one in held["memory"]["measured"]
        ],
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def middle(values: list[float]) -> str:
    return f"{values[len(values) // 2]} ({values[0]}–{values[-1]})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("passes", "loop", "memory", "report"))
    parser.add_argument("--net", default="resnet18", choices=tuple(WEIGHTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int)
    chosen = parser.parse_args()
    if chosen.part == "passes":
        found = passes(chosen.net, chosen.threads, chosen.rounds, chosen.images)
        store(f"passes {chosen.net} {chosen.threads}", found)
    elif chosen.part == "loop":
        store("loop", loop(chosen.images or 64, chosen.rounds))
    elif chosen.part == "memory":
        store("memory", [memory(500), memory(5000)])
    else:
        Path(__file__).with_suffix(".md").write_text(report())


if __name__ == "__main__":
    main()
