"""One healthy file of every kind that pellucid writes and reads again, small, with what reading it gives.

`KINDS` names them; each is made in a folder of its own and read there. What is read is summed up in one text, so that a file that
is read as something else is noticed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save
from torch import nn

from pellucid.core.bundle import digest
from pellucid.core.geometry import Geometry
from pellucid.core.layers import Layer
from pellucid.core.run import RunDirectory
from pellucid.core.storage import fingerprint, write_json
from pellucid.data.concepts.base import Concept
from pellucid.data.parts.source import PartKey
from pellucid.dissection import storing as unit_tables
from pellucid.dissection.counts import Counts
from pellucid.dissection.published import read_published, write_published
from pellucid.dissection.table import Examples, HeldOut, UnitTable
from pellucid.explanation.recognizer import recognizer
from pellucid.interpretable.parts import storing as part_tables
from pellucid.interpretable.parts.table import Examples as PartExamples
from pellucid.interpretable.parts.table import PartTable
from pellucid.training.loop import Job, train
from pellucid.units.classes import ClassScores, load
from pellucid.units.patterns.patterns import Occurrence, Pattern, Patterns, Summary, load_patterns
from pellucid.units.patterns.settings import Mining
from pellucid.units.patterns.shares import Shares
from pellucid.visualization.certificate import Certificate
from pellucid.visualization.decoder.model import Decoder, load_decoder
from pellucid.visualization.result import Visualization, stored
from pellucid.world import Scene, draw
from pellucid.zoo.embedded import WEIGHTS
from pellucid.zoo.interpretable.saved import read_network

SHA256 = "0123456789abcdef" * 4


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        make: writes the healthy file into a folder and gives its path
        read: reads it; the result stands for what a user would be told
        free: fields that are only shown or may be anything of any type, by the beginning of their path
        optional: fields that may be null or away, by the beginning of their path or by their name
        only: the fields that are read, where most are not
        spare: arrays that may be away
        facts: where the facts are: in the header's "bundle", a whole JSON file, or one name of the metadata
        closed: whether fields that are not known are refused
        defaults: whether fields may be away
        files: whether it is a file that pellucid opens
        weights: whether the arrays are weights, which may be negative
        arrays: how many of its arrays are tried, at most
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    free: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    spare: str = ""
    facts: str = "bundle"
    closed: bool = False
    defaults: bool = False
    files: bool = True
    weights: bool = False
    arrays: int = 99


def _units(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    concepts = (
        Concept(1, "sky", "scene"),
        Concept(2, "wheel", "part", ("tyre",)),
        Concept(5, "door", "part"),
    )

    def counts() -> Counts:
        return Counts(rng.integers(0, 20, (4, 3)), rng.integers(20, 60, (4, 2)), rng.integers(20, 60, 3))

    table = UnitTable(
        "layer4",
        concepts,
        counts(),
        rng.random(4, np.float32),
        HeldOut(rng.random(4, np.float32), counts(), counts(), (7, 3)),
        (counts(),),
        np.tile(np.arange(2), (4, 1)),
        np.sort(rng.random((4, 2, 2)), -1),
        Examples(
            np.arange(8).reshape(4, 2),
            rng.random((4, 2), np.float32),
            rng.random((4, 2, 3, 11)) < 0.5,
        ),
        facts={
            "network": {"name": "net", "sha256": SHA256},
            "concepts": {"name": "set"},
            "settings": {"ratio": 2},
            "images": 10,
        },
    )
    return folder / unit_tables.save(table, folder)[0]


def _published(folder: Path) -> Path:
    return write_published(unit_tables.read_table(_units(folder)), folder / "table.csv")


def _scores(folder: Path) -> Path:
    layer = Layer("layer4", "ReLU", (4, 7, 7), Geometry((32.0, 32.0), (0.0, 0.0), (99.0, 99.0)), 9)
    rng = torch.Generator().manual_seed(0)
    scores = ClassScores(
        torch.rand(3, 4, generator=rng),
        torch.rand(3, 4, generator=rng),
        torch.tensor([4, 5, 6]),
        ("cat", "dog", "owl"),
        layer,
        "cgnis",
        {"arm": "signed"},
        1.0,
        "net",
        SHA256,
    )
    return folder / scores.save(folder)[0]


def _parts(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    keys = (PartKey("car", "wheel"), PartKey("car", "door"), PartKey("bird", "wing"))
    table = PartTable(
        "layer4",
        keys,
        np.array([9, 8]),
        np.array([5, 6, 7]),
        np.array([5, 6, 7]),
        rng.random(4, np.float32),
        rng.random((4, 2)),
        {"valid": rng.random((4, 3))},
        rng.random((4, 3)),
        rng.integers(1, 9, (4, 3)),
        {"valid": rng.random((4, 3))},
        rng.random((4, 3)),
        rng.random(3),
        {"interpretability": rng.random(5), "filter instability": rng.random((5, 4))},
        PartExamples(
            np.arange(8).reshape(4, 2),
            rng.integers(0, 7, (4, 2, 2)),
            rng.random((4, 2)),
            {k: f"{k}.jpg" for k in range(8)},
        ),
        {
            "network": {"name": "net"},
            "parts": {"name": "set"},
            "settings": {"seed": 0},
            "images": 17,
            "input_size": [64, 64],
            "start": [0.5, 0.5],
            "stride": [8.0, 8.0],
            "cells": [7, 7],
        },
    )
    return folder / part_tables.save_parts({"layer4": table}, folder)[0]


def _patterns(folder: Path) -> Path:
    where = Occurrence(3, True, ((1, 2), (3, 4)), ((0, 0, 9, 9), (8, 8, 20, 20)), torch.rand(7, 7))
    pattern = Pattern("cat", 1, "layer4", (0, 3), Shares(5, 9, 1, 20), Shares(4, 8, 1, 19), (where,))
    patterns = Patterns(
        "layer4",
        (pattern,),
        (Summary("cat", 9, 8, 3, 1, 0.5, 0.9),),
        torch.rand(4) + 0.5,
        Mining(),
        Geometry(),
        (64, 64),
        "net",
        SHA256,
        "given",
        ("a note",),
    )
    return patterns.save(folder) / "patterns.safetensors"


def _decoder(folder: Path) -> Path:
    decoder = Decoder((4, 4, 4), (3, 16, 16), 0.1, 1)
    decoder.facts = {"layer": "layer4", "network": "net", "sha256": SHA256, "seconds": 3.5}
    folder.mkdir(parents=True, exist_ok=True)
    decoder.save(folder / "decoder.safetensors")
    return folder / "decoder.safetensors"


def _painted(folder: Path) -> Path:
    painted = Visualization(
        torch.rand(2, 3, 16, 16),
        ("layer4:1", "class cat"),
        torch.rand(2),
        torch.rand(5, 2),
        ("ok", "never active"),
        "pyramid",
        {"steps": 5},
        0,
        "net",
        (Certificate(1.5, 1.0, 1.2, 1.0, 0, 4), Certificate(0.5, 1.0, 0.2, 1.0, 1, 4)),
    )
    return painted.save(folder) / "visualization.safetensors"


def _run(folder: Path) -> Path:
    with RunDirectory(folder, "dissect", {"a": 1}, network={"name": "net", "sha256": SHA256}) as run:
        stem = run.claim("a.png", [".html"])
        (folder / f"{stem}.html").write_text("made")
        run.add({"image": "a.png"}, stem)
    return folder / "run.json"


def _read_run(file: Path) -> Any:
    with RunDirectory(file.parent, "explain", {}) as run:
        return run.facts["files"]


def _copied(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(WEIGHTS / f"{name}.safetensors", folder))

    return make


class _Fit(Job):
    """The smallest training there is."""

    title, epochs = "line", 2

    def __init__(self) -> None:
        self.settings = Mining()
        torch.manual_seed(0)
        self.module = nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(self.module.parameters(), 0.1, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, 0.1, total_steps=8)

    def steps(self) -> int:
        return 4

    def batches(self, epoch: int) -> Any:
        return iter(torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(epoch)))

    def loss(self, forward: nn.Module, batch: Any) -> Any:
        return forward(batch).square().mean(), {}


def _checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    job = _Fit()
    job.epochs = 1
    train(job, folder / "line.checkpoint.pt", precision="float32", progress=False)
    return folder / "line.checkpoint.pt"


def _read_checkpoint(file: Path) -> Any:
    job = _Fit()
    return train(job, file, precision="float32", progress=False).history, job.module.state_dict()


def _scene(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "scene.json"
    file.write_text(draw(7).to_json(), encoding="utf-8")
    return file


def _read_scene(file: Path) -> Scene:
    return Scene.from_json(file.read_text(encoding="utf-8"))


def _as_pair(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """The two files that were written before version 2."""

    def made(folder: Path) -> Path:
        file = make(folder)
        with safe_open(file, "numpy") as opened:
            head = json.loads(opened.metadata()["bundle"])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        file.write_bytes(save(arrays))
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        content = {"kind": head["kind"], "schema": 1, **head["facts"], "sha256": sha256}
        write_json(file.with_suffix(".json"), content)
        return file.with_suffix(".json")

    return made


def _old_painted(folder: Path) -> Path:
    file = _painted(folder)
    with safe_open(file, "numpy") as opened:
        facts = json.loads(opened.metadata()["bundle"])["facts"]
    file.unlink()
    write_json(folder / "visualization.json", {"schema": 1, **facts})
    return folder / "visualization.json"


def _old_decoder(folder: Path) -> Path:
    file = _decoder(folder)
    with safe_open(file, "numpy") as opened:
        facts = json.loads(opened.metadata()["bundle"])["facts"]
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    text = {name: json.dumps(value) for name, value in facts.items()}
    file.write_bytes(save(arrays, {"kind": "pellucid decoder", "schema": "1", **text}))
    return file


def _recognized(file: Path) -> Any:
    seen = recognizer(file)
    return seen.names, seen.categories, seen.thresholds, seen.size, fingerprint(seen.module)


def _interpreted(file: Path) -> Any:
    module, preprocess, classes = read_network(file)
    return fingerprint(module), preprocess, classes


_UNITS = {
    "free": ("facts.settings", "facts.concepts"),
    "optional": ("facts", "held_out", "examples", "chance"),
    "spare": r"thresholds|ranking|interval|chance\.\d+\.truth",
}
_SCORES = {"free": ("parameters",), "optional": ("temperature",)}
_PARTS = {
    "free": ("summary", "facts.settings.seed"),
    "optional": ("facts", "names"),
    "spare": "chance/.*|chance_spread|center_spread|draws/.*|examples/images",
}
_MINED = {
    "free": tuple(f"settings.{name}" for name in ("seed", "top", "cells", "keep", "examples", "longest")),
    "optional": ("settings", "geometry", "patterns[0].held_out"),
}
_PAINTED = {
    "only": ("network", "method", "images"),
    "optional": ("images[0].certificate", "images[1].certificate", "schema"),
}
_NULLS = ("thing", "surface", "material", "texture", "color")
_SEEN = ("names", "categories", "thresholds", "size", "architecture")


def _kind(
    make: Callable[[Path], Path], read: Callable[[Path], Any], *more: Mapping[str, Any], **options: Any
) -> Kind:
    for each in more:
        options = {**each, **options}
    return Kind(make, read, **options)


def _in_folder(load_all: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda file: load_all(file.parent)


KINDS: dict[str, Kind] = {
    "unit table": _kind(_units, unit_tables.read_table, _UNITS),
    "unit table in a folder": _kind(_units, _in_folder(unit_tables.load), _UNITS),
    "unit table, two files": _kind(_as_pair(_units), unit_tables.read_table, _UNITS, facts="json"),
    "published table": _kind(_published, read_published, facts="text"),
    "class scores": _kind(_scores, load, _SCORES),
    "class scores, two files": _kind(_as_pair(_scores), load, _SCORES, facts="json"),
    "part table": _kind(_parts, part_tables.read_parts, _PARTS),
    "part table, two files": _kind(_as_pair(_parts), part_tables.read_parts, _PARTS, facts="json"),
    "patterns": _kind(_patterns, load_patterns, _MINED),
    "patterns, two files": _kind(_as_pair(_patterns), load_patterns, _MINED, facts="json"),
    "decoder": _kind(_decoder, load_decoder, free=("facts.seconds",), optional=("facts",), weights=True),
    "decoder, version 1": _kind(
        _old_decoder, load_decoder, only=("layer", "network", "sha256"), optional=("layer", "network", "sha256"),
        facts="facts", weights=True,
    ),
    "painted pictures": _kind(_painted, _in_folder(stored), _PAINTED, spare="history", arrays=0),
    "painted pictures, before": _kind(_old_painted, _in_folder(stored), _PAINTED, facts="json"),
    "run.json": _kind(_run, _read_run, only=("schema", "command", "files"), facts="json"),
    "recognizer": _kind(_copied("scenes-irenet"), _recognized, only=_SEEN, facts="irenet", weights=True, arrays=4),
    "interpretable network": _kind(
        _copied("scenes-vgg-interpretable"), _interpreted, optional=("above", "templates"), facts="interpretation",
        weights=True, arrays=4,
    ),
    "training checkpoint": _kind(_checkpoint, _read_checkpoint, facts="pickle"),
    "scene": _kind(
        _scene, _read_scene, facts="json", files=False, defaults=True, optional=_NULLS,
        free=("seed",), closed=True,
    ),
}  # fmt: skip


def summed(value: Any) -> str:
    """What was read, in one text: equal for equal things, down to the last bit of an array."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return digest({"": value})
    if isinstance(value, nn.Module):
        return fingerprint(value) + summed(getattr(value, "facts", None))
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}({', '.join(summed(getattr(value, each.name)) for each in dataclasses.fields(value))})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{summed(key)}: {summed(each)}' for key, each in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(summed, value))}]"
    return repr(value)
