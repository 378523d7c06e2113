"""Settings of a recognizer's training: one declaration for the library, the flags and the model card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.training.irenet.build import ARMS, NETWORKS
from pellucid.training.irenet.network import STRIDES
from pellucid.training.settings import check_numbers

CATEGORIES = ("part", "object", "material", "texture", "color", "scene")
_LEAST = {
    "pictures": 1,
    "epochs": 1,
    "batch_size": 2,
    "size": 32,
    "depth": 1,
    "positives": 1,
    "checked": 2,
    "seed": 0,
    "units": 1,
    "balance": 1,
}


@dataclass(frozen=True)
class RecognizerTraining:
    """How IRENet, or a network it is compared with, is trained.

    Raises UnknownNameError for an unknown network, ValueError for a value out of range.

    Attributes:
        network: irenet, vgg16, vgg16-eca, vgg16-sirm, resnet18, resnet50 or resnet101
        width: factor on all channel counts; 1 is the published size, which wants a GPU
        weights: file of a pretrained network of the same width, for its convolutions; torchvision's key names
        data: scenes (train, val and test of the concept world), or a set of concepts as `pellucid dissect` takes it
        merge: of a folder's labels, whether each name is one attribute or each group of names
        categories: what is to be recognized: part, object, material, texture, color, scene
        crops: what is shown: views (whole pictures and random squares of them), parts (squares around labeled parts) or
            neurons (around the regions of a classifier's important neurons)
        net: classifier whose neurons choose the crops
        units: most important neurons that give a crop each
        margin: share of its side that a crop is larger on every side than what it shows
        mirror: show half of all samples mirrored; not where left and right are told apart
        maps: learn where attributes are, too; needs views
        grid: pixels from cell to cell of the maps
        depth: channels of the head that makes the maps
        pictures: most pictures to train on
        checked: most pictures to choose thresholds on, and as many to test on
        positives: an attribute with fewer crops than this in training is left out
        balance: largest weight of a positive answer in the loss; each attribute's is negatives over positives, no more than this
        size: side of the pictures in pixels
        early: share of that side at which views are shown in the first half of the epochs
        epochs: passes over all crops
        batch_size: crops a step
        learning_rate: peak of the cycle
        weight_decay: pull of all weights towards zero
        precision_goal: thresholds of parts are the lowest that reach this precision on validation; 0 for the best F1
        patience: epochs without a better mean average precision after which training stops; 0 never stops early
        seed: of initialization, order and crops
        precision: of convolutions; bf16 is faster on processors that have it
    """

    network: str = "irenet"
    width: float = 0.25
    weights: str | None = None
    data: str = "scenes"
    merge: Literal["name", "group"] = "name"
    categories: tuple[str, ...] = CATEGORIES
    crops: Literal["views", "parts", "neurons"] = "views"
    net: str = "scenes-vgg"
    units: int = 5
    margin: float = 0.15
    mirror: bool = True
    maps: bool = True
    grid: int = 2
    depth: int = 32
    pictures: int = 6_000
    checked: int = 1_000
    positives: int = 5
    balance: float = 1.0
    size: int = 128
    early: float = 0.75
    epochs: int = 7
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    precision_goal: float = 0.99
    patience: int = 0
    seed: int = 0
    precision: Literal["bf16", "float32"] = "bf16"

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", tuple(self.categories))
        if self.network not in NETWORKS:
            raise UnknownNameError(
                f"Expected a network, got `{self.network}`; {suggest(self.network, NETWORKS)}"
            )
        check_numbers(self, _LEAST, "0.002 and 0.05")
        for name, words in (
            ("crops", ("views", "parts", "neurons")),
            ("precision", ("bf16", "float32")),
            ("merge", ("name", "group")),
            ("grid", STRIDES),
        ):
            if getattr(self, name) not in words:
                raise ValueError(f"Expected `{name}` to be one of {words}, got {getattr(self, name)!r}.")
        if not self.categories:
            raise ValueError("Expected at least one category, got none; try `part`.")
        for category in self.categories:
            if category not in CATEGORIES:
                raise UnknownNameError(
                    f"Expected a category, got `{category}`; {suggest(category, CATEGORIES)}"
                )
        if not (
            0 < self.width <= 4
            and 0 <= self.margin <= 2
            and 0 <= self.precision_goal <= 1
            and 0 < self.early <= 1
            and self.patience >= 0
        ):
            raise ValueError(
                "Expected `width` in (0, 4], `margin` in [0, 2], `precision_goal` in [0, 1], `early` in (0, 1] and `patience` of "
                f"at least 0, got {self.width:g}, {self.margin:g}, {self.precision_goal:g}, {self.early:g} and {self.patience}."
            )
        if self.maps and (self.crops != "views" or self.network not in ARMS):
            raise ValueError(
                f"Expected maps of IRENet or its arms on views, got {self.network} on {self.crops}; try `maps=False` (--no-maps)."
            )
