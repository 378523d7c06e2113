"""Settings of the training of an interpretable network, or its ordinary twin: one declaration for library, flags and card."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from pellucid.training.settings import check_numbers
from pellucid.zoo.interpretable.templates import Templates

_LEAST = {"images": 2, "epochs": 1, "batch_size": 2, "test_images": 1, "seed": 0}
_CHOICES = {
    "loss": ("softmax", "logistic"),
    "background": ("others", "empty"),
    "precision": ("bf16", "float32"),
}


@dataclass(frozen=True)
class InterpretableTraining:
    """How an interpretable network is trained. The defaults of the loss are those the study found good, not the printed ones.

    Raises ValueError for a value out of range.

    Attributes:
        backbone: an embedded network, torchvision:NAME, or alexnet-convolutions
        weights: its pretrained weights; embedded networks have their own
        data: scenes, the embedded world, or a folder with a folder of pictures for each class
        target: the one class to tell from the background; by default all classes are told apart
        background: pictures without the target: of other classes (others), or its own scenes without it (empty; scenes only)
        loss: between several classes; a single class always has the logistic loss
        ordinary: train the twin: the same network, pictures and steps, without masks and their loss
        layers: rectified layers whose filters are held to one part; by default the last stage's
        alone: without the new interpretable 3×3 convolution above the last of them
        freeze: the layer up to which nothing is trained, its output computed once; "auto": the last stage but one, "none"
        norm: distance from the peak: l2 (Pang's thesis) or l1 (Zhang 2018)
        mode: paper, the printed loss; released, that of the authors' code
        position: where a filter is: its strongest cell (argmax), or the centroid of its map
        beta: how fast a template falls; it reaches zero n/beta cells from its peak (paper mode)
        sharpness: the same on axes from −1 to 1, to begin with (released mode)
        weight: factor of the loss beside the task's
        temperature: of the comparison with templates (paper mode)
        images: training scenes, rendered once
        epochs: passes over the pictures
        batch_size: pictures a step
        learning_rate: peak of the cycle
        weight_decay: pull of all weights towards zero
        seed: of initialization and order
        precision: of convolutions; bf16 is faster on processors that have it
        test_images: scenes of the test split on which the accuracy is stated
    """

    backbone: str = "scenes-vgg"
    weights: Path | None = None
    data: str = "scenes"
    target: str | None = None
    background: Literal["others", "empty"] = "others"
    loss: Literal["softmax", "logistic"] = "softmax"
    ordinary: bool = False
    layers: tuple[str, ...] = ()
    alone: bool = False
    freeze: str = "auto"
    norm: Literal["l2", "l1"] = "l2"
    mode: Literal["paper", "released"] = "paper"
    position: Literal["argmax", "centroid"] = "centroid"
    beta: float = 3.0
    sharpness: float = 2.0
    weight: float = 1.0
    temperature: float = 1.0
    images: int = 3_000
    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    seed: int = 0
    precision: Literal["bf16", "float32"] = "bf16"
    test_images: int = 1_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        for name, options in _CHOICES.items():
            if getattr(self, name) not in options:
                listed = " or ".join(f'"{option}"' for option in options)
                raise ValueError(f"Expected `{name}` to be {listed}, got {getattr(self, name)!r}.")
        check_numbers(self, _LEAST, "0.05 and 0.0005")
        if self.background == "empty" and (self.data != "scenes" or self.target is None):
            got = "no target" if self.target is None else f"`{self.data}`"
            raise ValueError(
                f'Expected `background` "empty" with one target among scenes, got {got}; try "others".'
            )
        _ = self.templates  # checks its own values

    @property
    def templates(self) -> Templates:
        """How the filters are held, for a network that is not the ordinary twin."""
        return Templates(**{each.name: getattr(self, each.name) for each in fields(Templates)})

    @property
    def name(self) -> str:
        """What the files are called."""
        target = "" if self.target is None else f"-{self.target.replace(' ', '-')}"
        kind = "ordinary" if self.ordinary else "interpretable"
        return f"{self.backbone.removeprefix('torchvision:')}{target}-{kind}"
