"""A classifier with everything an explanation needs to know of it: preprocessing, class names, layers, and
what its output means.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.layers import Layer, Layers, inspect
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.core.running import habits_of, standing, undisturbed
from pellucid.core.target import Target
from pellucid.core.wrappers import unwrapped

if TYPE_CHECKING:
    from pellucid.data.preprocess import Preprocess

HEADS = ("softmax", "sigmoid", "binary", "probabilities")
TargetLike = int | str | Sequence[int | str] | Callable[[Tensor], Tensor] | Tensor | Target | None


class Network:
    """Wraps any ``nn.Module`` classifier of images. Usually made by `load`; the module itself is never
    altered.

    ``head`` says what the output means: ``"softmax"`` logits, ``"sigmoid"`` logits (several labels may hold),
    ``"binary"`` (one logit, two classes), ``"probabilities"`` (the module ends in a softmax or sigmoid
    itself); ``"auto"`` finds out, except that it cannot tell sigmoid logits from softmax logits. ``output``
    picks the class scores where a module returns a tuple, dict or object: a key, a position or a function.
    """

    def __init__(
        self,
        module: nn.Module,
        preprocess: Preprocess,
        *,
        name: str = "",
        classes: Sequence[str] | None = None,
        input_shape: tuple[int, int, int] | None = None,
        head: str = "auto",
        output: str | int | Callable[[Any], Tensor] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        if head not in ("auto", *HEADS):
            raise UnknownNameError(
                f"Expected the form of a head, got `{head}`; {suggest(head, ('auto', *HEADS))}"
            )
        self.module, self.preprocess = unwrapped(module), preprocess
        self.name = name or type(self.module).__name__
        self.notes = notes
        self._output = output
        self._layers: dict[tuple[int, int], Layers] = {}
        self.input_shape = input_shape or (preprocess.channels, *(preprocess.size or (224, 224)))
        listed = self._inspect(self.input_shape[1:])
        self.head = _find_head(listed.made_by, listed.outputs) if head == "auto" else head
        count = 2 if self.head == "binary" else listed.outputs
        self.classes = _class_names(classes, count, self.head)
        self._index = {name: index for index, name in reversed(list(enumerate(self.classes)))}

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.input_shape))
        return (
            f"Network({self.name!r}, {len(self.classes)} classes, input {shape}, {len(self.layers)} layers)"
        )

    @property
    def device(self) -> torch.device:
        """Where the module's parameters are."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the module's parameters."""
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    @cached_property
    def memory_format(self) -> torch.memory_format:
        """The layout images are passed in fastest: on a processor with the channels of a pixel side by side (``channels_last``),
        unless the module takes its input's memory for granted, as ``x.view(len(x), -1)`` does. Tried once, on zeros."""
        if self.device.type != "cpu" or self.input_shape[0] < 2:
            return torch.contiguous_format
        images = torch.zeros(2, *self.input_shape, device=self.device, dtype=self.dtype)
        try:
            with undisturbed(self.module), torch.no_grad():
                self(images.contiguous(memory_format=torch.channels_last))
        except RuntimeError:
            return torch.contiguous_format
        return torch.channels_last

    @property
    def layers(self) -> Layers:
        """Every layer with a spatial map, in order of execution, at the network's own input size."""
        return self._inspect(self.input_shape[1:])

    def layers_at(self, size: tuple[int, int]) -> Layers:
        """The layers for another input size (height, width)."""
        return self._inspect(size)

    def layer(self, name: str) -> Layer:
        """One layer by name; ``"input"`` is the input itself. Raises UnknownNameError naming close ones."""
        return self.layers[name]

    @property
    def default_layers(self) -> tuple[str, ...]:
        """The end of every resolution stage, shallow to deep."""
        stages = self.layers.stages
        if not stages:
            raise ValueError(
                f"Expected a convolutional network, got `{self.name}`, in which no module gives a "
                "spatial map "
                "[batch channel h w] over several cells; try naming layers yourself (`pellucid models "
                "--layers`)."
            )
        return stages

    def __call__(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch classes"]:
        """Class scores of normalized images; keeps the caller's gradient mode, does not touch training
        flags."""
        return self.select(standing(self.module)(images.to(self.device, self.dtype)), len(images))

    def select(self, output: Any, batch: int) -> Float[Tensor, "batch classes"]:
        """Pick [batch classes] out of whatever the module returned; a spatial score map is averaged."""
        scores = _pick(output, self._output)
        if scores.ndim == 4:  # fully convolutional head
            scores = scores.mean((2, 3))
        elif scores.ndim < 2 and scores.numel() % batch == 0:  # squeezed: one logit each, or a batch of one
            scores = scores.reshape(batch, -1)
        if scores.ndim != 2 or scores.shape[0] != batch:
            raise OutputError(
                f"Expected class scores [{batch} classes], got {tuple(scores.shape)} from `{self.name}`; "
                "try `output=lambda out: ...` to pick them."
            )
        return scores

    def probabilities(self, output: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch classes"]:
        """Probability of every class; for a single logit of both classes (they are 1 − p and p)."""
        output = output.detach() if output.dtype == torch.float64 else output.detach().float()
        if self.head == "softmax":
            return output.softmax(1)
        if self.head == "sigmoid":
            return output.sigmoid()
        if self.head == "binary":
            positive = output if self.layers.made_by == "sigmoid" else output.sigmoid()
            return torch.cat([1 - positive, positive], 1)
        return output

    def class_index(self, target: int | str) -> int:
        """Index of a class given by index or name. Raises for a name that is unknown or an index out of
        range."""
        count = len(self.classes)
        if isinstance(target, str):
            if target in self._index:
                meant = [index for index, name in enumerate(self.classes) if name == target]
                if len(meant) > 1:
                    raise UnknownNameError(
                        f"Expected the name of one class of `{self.name}`, got `{target}`, which "
                        f"{' and '.join(map(str, meant))} have; try the index."
                    )
                return self._index[target]
            folded = {name.casefold(): index for name, index in self._index.items()}
            if target.casefold() in folded:
                return folded[target.casefold()]
            if not target.lstrip("+-").isdigit():
                raise UnknownNameError(
                    f"Expected a class of `{self.name}`, got `{target}`; {suggest(target, self.classes)}"
                )
            target = int(target)
        if isinstance(target, bool) or not hasattr(target, "__index__"):
            raise TypeError(f"Expected a class index or name, got {target!r} ({type(target).__name__}).")
        index = operator.index(target)  # also NumPy's and torch's integers
        if not 0 <= index < count:
            raise IndexError(
                f"Expected a class index from 0 to {count - 1} for `{self.name}`, got {index}; try a "
                "class name."
            )
        return index

    def resolve_target(self, target: TargetLike, output: Float[Tensor, "batch outputs"]) -> Target:
        """Turn what a user said into a `Target` for the batch; None means the predicted class of every
        image."""
        batch = output.shape[0]
        if isinstance(target, Target):
            if len(target.names) != batch:
                raise ValueError(f"Expected a target for each of {batch} images, got {len(target.names)}.")
            return target
        if callable(target) and not isinstance(target, Tensor):
            name = getattr(target, "__name__", type(target).__name__)
            return Target(None, (name,) * batch, function=target)
        if target is None:
            chosen = self.probabilities(output).argmax(1).tolist()
        else:
            listed: Any = target.tolist() if hasattr(target, "tolist") else target
            if isinstance(listed, str) or not isinstance(listed, Iterable):
                listed = [listed] * batch
            chosen = [self.class_index(one) for one in listed]
            if len(chosen) != batch:
                raise ValueError(
                    f"Expected one target for each of {batch} images, got {len(chosen)}; "
                    "give one class for all, or a list of the same length."
                )
        names = tuple(self.classes[index] for index in chosen)
        indices = torch.tensor(chosen, dtype=torch.long)
        if self.head == "binary":  # the one logit speaks for class 1; class 0 is its negative
            return Target(torch.zeros_like(indices), names, signs=indices * 2.0 - 1.0)
        return Target(indices, names)

    def _inspect(self, size: tuple[int, int]) -> Layers:
        if size not in self._layers:
            image = torch.zeros(1, self.input_shape[0], *size, device=self.device, dtype=self.dtype)
            try:
                layers = self._inspected(image)
                if habits_of(self.module).original:  # what ran was not, or not only, the twin
                    layers = self._inspected(image)
                self._layers[size] = layers
            except OutputError:
                raise
            except Exception as error:
                got = "x".join(map(str, (self.input_shape[0], *size)))
                raise ValueError(
                    f"Expected `{self.name}` to accept an input of {got}, got {type(error).__name__}: "
                    f"{error}; "
                    "try `input_shape=(channels, height, width)` or another size."
                ) from error
        return self._layers[size]

    def _inspected(self, image: Tensor) -> Layers:
        with undisturbed(self.module) as module:
            return inspect(
                module, image, lambda out: _pick(out, self._output), lambda out: self.select(out, 1)
            )


class OutputError(ValueError):
    """A module's output in which the class scores cannot be found."""


def _pick(output: Any, how: str | int | Callable[[Any], Tensor] | None) -> Tensor:
    if how is not None:
        return _pick_as_told(output, how)
    if isinstance(output, Tensor):
        return output
    for key in ("logits", "out", "scores", "predictions"):
        found = output.get(key) if isinstance(output, Mapping) else getattr(output, key, None)
        if isinstance(found, Tensor):
            return found
    entries = list(output.values()) if isinstance(output, Mapping) else output
    if isinstance(entries, (tuple, list)):
        flat = [entry for entry in entries if isinstance(entry, Tensor) and entry.ndim == 2]
        if len(flat) == 1 or (flat and flat[0] is entries[0] and not isinstance(output, Mapping)):
            return flat[0]
    raise OutputError(
        f"Expected the network to return class scores [batch classes], got {_describe(output)}; "
        "try `output=` with a key, a position or a function that picks them."
    )


def _pick_as_told(output: Any, how: str | int | Callable[[Any], Tensor]) -> Tensor:
    try:
        if callable(how):
            picked = how(output)
        elif isinstance(how, str) and not isinstance(output, Mapping):
            picked = getattr(output, how)
        else:
            picked = output[how]
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise OutputError(
            f"Expected `output={how!r}` to pick the class scores, got {_describe(output)}."
        ) from error
    if not isinstance(picked, Tensor):
        raise OutputError(
            f"Expected `output={how!r}` to pick a tensor, got {type(picked).__name__} from "
            f"{_describe(output)}."
        )
    return picked


def _describe(output: Any) -> str:
    def one(value: Any) -> str:
        return f"tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__

    if isinstance(output, Mapping):
        return "a dict with " + ", ".join(f"{key!r}: {one(value)}" for key, value in output.items())
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of ({', '.join(map(one, output))})"
    return one(output)


def _find_head(made_by: str, outputs: int) -> str:
    if outputs == 1:
        return "binary"
    return "probabilities" if made_by in ("softmax", "sigmoid") else "softmax"  # log_softmax counts as logits


def _class_names(classes: Sequence[str] | None, count: int, head: str) -> tuple[str, ...]:
    if classes is None:
        return (
            ("negative", "positive")
            if head == "binary"
            else tuple(f"class {index}" for index in range(count))
        )
    if len(classes) != count:
        raise ValueError(
            f"Expected {count} class names, one per output, got {len(classes)}; "
            + (
                "a single-logit network has two classes, the negative first."
                if head == "binary"
                else "check the list."
            )
        )
    return tuple(map(str, classes))
