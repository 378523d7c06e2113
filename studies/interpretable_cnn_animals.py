"""Interpretable networks on photographs of animals: the source's own part data, with AlexNet's pretrained convolutions below.

Categories are those with the most boxes of both head and legs. Of each one every second picture is for training (image labels
alone), the others are tested and measured on; pictures are crops of the animal, as in the source. A network for one category
tells it from the others; one network tells all of them apart. Layers up to the fourth convolution are frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from interpretable_cnn_runs import CONDITIONS, Shared, Study, one
from pellucid.data.tensors import to_pixels
from pellucid.dissection.sampling import seen_as
from pellucid.interpretable.parts import PartSource, open_parts
from pellucid.interpretable.pictures import Pictures
from pellucid.interpretable.settings import InterpretableTraining
from pellucid.zoo.interpretable.backbones import ALEXNET, open_backbone

SIDE = 227
SETTINGS: dict[str, Any] = {
    "backbone": ALEXNET, "data": "animals", "freeze": "relu4", "layers": ("relu5",), "epochs": 12, "batch_size": 32,
    "learning_rate": 0.01, "weight": 0.001,
}  # fmt: skip


def animals(study: Study, assets: Path, names: Sequence[str]) -> None:
    """Trainings on photographs under the named conditions."""
    weights, folder = assets / "weights" / "alexnet_bvlc_conv.safetensors", assets / "parts" / "animals"
    if not (weights.is_file() and folder.is_dir()):
        study.say(f"no photographs of animals in {assets}: left out")
        return
    source: Any = open_parts(f"animals:{folder}")
    chosen = categories(source, study.plan.categories)
    for kind in chosen:
        _category(study, source, kind, weights, names)
    _all(study, source, chosen, weights, names)


def categories(source: Any, count: int) -> tuple[str, ...]:
    """Those with the most pictures in which both head and legs are marked, the most first."""
    found = dict.fromkeys(source.classes, 0)
    for index, item in enumerate(source.items):
        marked = {source.names[box.number] for box in item.boxes if box.part}
        found[source.class_name(index)] += marked >= {"head", "legs"}
    return tuple(sorted(found, key=lambda kind: (-found[kind], kind))[:count])


def _numbers(source: Any, kind: str, side: int) -> list[int]:
    """Every second picture of a category."""
    mine = [index for index in range(len(source)) if source.class_name(index) == kind]
    return mine[side::2]


def _category(study: Study, source: Any, kind: str, weights: Path, names: Sequence[str]) -> None:
    def pictures(side: int) -> Pictures:
        own = _numbers(source, kind, side)
        rest = [_numbers(source, each, side) for each in source.classes if each != kind]
        turns = [
            numbers[turn] for turn in range(max(map(len, rest))) for numbers in rest if turn < len(numbers)
        ]
        others = turns[: len(own)]
        return _read(source, own + others, [1] * len(own) + [0] * len(others), ("background", kind))

    _run(study, source, (kind,), weights, pictures, f"animal {kind}", {"target": kind}, names)


def _all(study: Study, source: Any, kinds: Sequence[str], weights: Path, names: Sequence[str]) -> None:
    def pictures(side: int) -> Pictures:
        pairs = [(index, label) for label, kind in enumerate(kinds) for index in _numbers(source, kind, side)]
        return _read(source, [index for index, _ in pairs], [label for _, label in pairs], tuple(kinds))

    change = {"epochs": 6}
    _run(study, source, tuple(kinds), weights, pictures, "animals together", change, names)


class _Animals(Shared):
    """Photographs of one training, read when the first condition needs them."""

    def __init__(self, base: InterpretableTraining, preprocess: Any, read: Any) -> None:
        super().__init__(base, preprocess)
        self._read = read

    def pictures(self) -> Pictures:
        """The first half of every category."""
        if self._pictures is None:
            self._pictures = self._read(0)
        return self._pictures

    def test(self) -> Pictures:
        """The other half."""
        if self._test is None:
            self._test = self._read(1)
        return self._test


def _run(
    study: Study,
    source: Any,
    kinds: tuple[str, ...],
    weights: Path,
    read: Any,
    key: str,
    change: dict[str, Any],
    names: Sequence[str],
) -> None:
    base = InterpretableTraining(**{**SETTINGS, "weights": weights, **change})
    if study.plan.single_epochs == 1:  # only to see that it runs
        base = replace(base, epochs=1)
    shared = study.shared.setdefault(key, _Animals(base, None, read))
    held = [index for kind in kinds for index in _numbers(source, kind, 1)]
    tested: PartSource = replace(
        source,
        classes={kind: source.classes[kind] for kind in kinds},
        items=tuple(source.items[index] for index in held),
    )
    for name in names:

        def compute(name: str = name) -> dict[str, Any]:
            settings = InterpretableTraining(**{**asdict(base), **CONDITIONS[name]})
            return one(shared, settings, tested, regions=("upsampled", "receptive-field", "cells"))

        study.run(f"{key} {name}", compute)


def _read(source: Any, numbers: Sequence[int], labels: Sequence[int], classes: tuple[str, ...]) -> Pictures:
    preprocess = open_backbone(ALEXNET).preprocess
    squashed = seen_as(preprocess, (SIDE, SIDE), "whole")
    images = [to_pixels(squashed.view(source[number].image)) for number in numbers]
    return Pictures(torch.stack(images), torch.tensor(labels), classes)
