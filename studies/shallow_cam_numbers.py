"""What the study `shallow-cam` found, as numbers that can be compared: boards of methods by stage, margins, goals.

A margin is a mean paired difference on the same images, with its 95 % bootstrap interval. A method that was measured on the
first images only is compared on exactly those, and is the best where it is better on them than the best of the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.core.registry import get
from pellucid.evaluation import Interval, bootstrap

MAIN, BASE, BLURRED = "shallow-cam", "layercam", "layercam-blurred"
CONTROLS = {
    BLURRED: "blurred LayerCAM",
    "center": "center Gaussian",
    "edges": "edges",
    "random": "random map",
}
EVERYWHERE = "*"  # the layer of a control that is the same at every one
GOAL, GOAL_LAST = 2.73, 0.24
PUBLISHED = {
    "ILSVRC2012": (0.24, 2.73),
    "CUB-200-2011": (0.38, 1.31),
}  # least and greatest margin, Cheng 2025
ORDER = (
    "squeezenet1_0", "resnet18", "resnet50",
    "scenes-vgg", "scenes-resnet", "scenes-vgg-confounded", "scenes-resnet-confounded",
)  # fmt: skip
Numbers = Sequence[float | None]


@dataclass(frozen=True)
class Board:
    """One quantity, higher is better: method → layer → one number per image. ``fewer``: measured on fewer images."""

    values: Mapping[str, Mapping[str, Tensor]]
    fewer: frozenset[str] = frozenset()

    @cached_property
    def methods(self) -> list[str]:
        """No controls; the main one and its baseline first, the others by their mean margin."""
        listed = [name for name in self.values if name not in CONTROLS]
        return sorted(listed, key=lambda name: (name != MAIN, name != BASE, -self._overall(name), name))

    @property
    def controls(self) -> list[str]:
        """The controls that were measured."""
        return [name for name in CONTROLS if name in self.values]

    def at(self, method: str, layer: str) -> Tensor | None:
        """A method's numbers at a layer; None where it has none."""
        found = self.values.get(method, {})
        values = found.get(layer, found.get(EVERYWHERE))
        return None if values is None or bool(values.isnan().all()) else values

    def mean(self, method: str, layer: str) -> float | None:
        """A method's mean at a layer; None where it has none."""
        values = self.at(method, layer)
        return None if values is None else float(values.nanmean())

    def margin(self, method: str, layer: str, over: str = BASE) -> Interval | None:
        """How far a method lies above another at a layer; None where they have no image in common."""
        one, other = self.at(method, layer), self.at(over, layer)
        if one is None or other is None:
            return None
        if len(one) != len(other) and not self.fewer & {method, over}:
            raise ValueError(
                f"Expected {method} and {over} on the same images at {layer}, got {len(one)} and {len(other)}; "
                "try naming the shorter one in `fewer`."
            )
        count = min(len(one), len(other))
        found = bootstrap(one[:count] - other[:count])
        return found if found.count else None

    def above(self, method: str, layer: str, other: str) -> bool:
        """Whether a method's mean is higher than the other's on the images that both were measured on."""
        found = self.margin(method, layer, other)
        return found is not None and found.mean > 0

    def best(self, layer: str) -> list[str]:
        """The best method at a layer, and any measured on fewer images that is better on exactly those."""
        full = {name: self.mean(name, layer) for name in self.methods if name not in self.fewer}
        known = {name: value for name, value in full.items() if value is not None}
        if not known:
            return []
        first = max(known, key=lambda name: known[name])
        return [
            first,
            *(name for name in self.methods if name in self.fewer and self.above(name, layer, first)),
        ]

    def rivals(self, layer: str, *, controls: bool = True) -> dict[str, Interval]:
        """Who is above the main method, and by how much, the farthest first."""
        names = [*self.methods, *(self.controls if controls else [])]
        found = {name: self.margin(name, layer, MAIN) for name in names if name != MAIN}
        higher = {name: margin for name, margin in found.items() if margin is not None and margin.mean > 0}
        return dict(sorted(higher.items(), key=lambda entry: -entry[1].mean))

    def _overall(self, method: str) -> float:
        margins = [self.margin(method, layer) for layer in self.values[method]]
        means = [found.mean for found in margins if found is not None]
        return sum(means) / len(means) if means else float("-inf")


@dataclass(frozen=True)
class Study:
    """The results of one network; ``found`` is the content of its file."""

    found: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What the network is called by `pellucid.load`."""
        return str(self.found["network"])

    @property
    def title(self) -> str:
        """What it is called in headings."""
        return str(self.found["title"])

    @property
    def layers(self) -> list[str]:
        """Its stages, the shallowest first."""
        return list(self.found["layers"])

    @property
    def few(self) -> int:
        """On how many images the methods of `fewer` were measured."""
        return int((self.found.get("fewer") or {}).get("images", 0))

    @cached_property
    def composite(self) -> Board:
        """Insertion − deletion, times 100."""
        return self._board(
            self.found["faithfulness"],
            lambda curves: 100 * (numbers(curves["insertion"]) - numbers(curves["deletion"])),
        )

    def truth(self, quantity: str) -> Board:
        """Agreement with the true effects of parts: ``rank`` or ``gain``; empty where there is no such truth."""
        return self._board(self.found.get("intervention") or {}, lambda values: numbers(values[quantity]))

    def goal(self, layer: str) -> float:
        """What the margin over LayerCAM should be."""
        return GOAL_LAST if layer in self.layers[-2:] else GOAL

    def short_of(self, layer: str) -> float | None:
        """By how much the goal is missed; None where it is reached. At the last two stages it must be exceeded."""
        found, goal = self.composite.margin(MAIN, layer), self.goal(layer)
        if found is None:
            return goal
        reached = found.mean > goal if goal == GOAL_LAST else found.mean >= goal
        return None if reached else goal - found.mean

    def _board(self, at: Mapping[str, Any], read: Any) -> Board:
        fewer = frozenset((self.found.get("fewer") or {}).get("methods", ()))
        values = {
            name: {layer: read(entry) for layer, entry in layers.items()} for name, layers in at.items()
        }
        return Board(values, fewer)


def numbers(values: Numbers) -> Tensor:
    """One number per image, NaN where undefined. Raises ValueError for what is no area, share or correlation."""
    found = torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float64)
    if bool((found.abs() > 2).any()):
        raise ValueError(
            f"Expected numbers from −2 to 2, got {float(found.abs().nan_to_num().max()):g}; try shares, not percent."
        )
    return found


def called(method: str) -> str:
    """What a method or control is called: the start of the first line of its documentation."""
    if method in CONTROLS:
        return CONTROLS[method]
    return (get("attribution", method).__doc__ or method).strip().partition(":")[0]


def read(folder: Path) -> list[Study]:
    """The finished results of all networks in a folder, in the order of the study. Raises FileNotFoundError without any."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    studies = [Study(each) for each in found if "faithfulness" in each]
    if not studies:
        raise FileNotFoundError(
            f"Expected results of a network in {folder}, got none; try `studies/shallow_cam.py`."
        )
    return sorted(studies, key=lambda study: [*ORDER, study.name].index(study.name))
