"""A classifier with everything an explanation needs to know of it: preprocessing, class names, layers, and
what its output means.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.answers import answers, kind_of_head, note_on_head
from pellucid.core.class_names import checked_names, names_by_index
from pellucid.core.input_shape import checked_shape
from pellucid.core.layers import Layer, LayerLike, Layers, inspect
from pellucid.core.output import OutputError as OutputError
from pellucid.core.output import Pick, candidates, check_scores, choice, pick
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.core.running import habits_of, standing, undisturbed
from pellucid.core.target import Column, Target, plain_target
from pellucid.core.target import TargetLike as TargetLike
from pellucid.core.wrappers import unwatchable, unwrapped

if TYPE_CHECKING:
    from pellucid.data.preprocess import Preprocess

HEADS = ("softmax", "sigmoid", "binary", "probabilities", "regression")


class Network:
    """Wraps any ``nn.Module`` classifier of images. Usually made by `load`; the module itself is never
    altered.

    ``head`` says what the output means: ``"softmax"`` logits, ``"sigmoid"`` logits (several labels may hold),
    ``"binary"`` (one logit, two classes), ``"probabilities"`` (the module ends in a softmax or sigmoid
    itself), ``"regression"`` (plain numbers: an age, a count, coordinates); ``"auto"`` finds out, except that it
    cannot tell sigmoid logits from softmax logits, nor several plain numbers from logits. ``output`` picks the class scores
    where a module returns a tuple, dict or object: a key, a position or a function. ``notes``: what has to be known of the
    network; ``doubts``: those of them that concern whatever is measured of it.
    """

    def __init__(
        self,
        module: nn.Module,
        preprocess: Preprocess,
        *,
        name: str = "",
        classes: Any = None,
        input_shape: tuple[int, int, int] | None = None,
        head: str = "auto",
        output: Pick = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        if head not in ("auto", *HEADS):
            raise UnknownNameError(
                f"Expected the form of a head, got `{head}`; {suggest(head, ('auto', *HEADS))}"
            )
        self.module, self.preprocess = unwrapped(module), preprocess
        self.name = name or type(self.module).__name__
        self._output = output
        self._layers: dict[tuple[int, int], Layers] = {}
        self.input_shape = checked_shape(
            input_shape or (preprocess.channels, *(preprocess.size or (224, 224))), self.module, self.name
        )
        names = None if classes is None else names_by_index(classes)
        notes += self._chosen_output(None if names is None else len(names))
        listed = self._inspect(self.input_shape[1:])
        with undisturbed(self.module), torch.no_grad():
            like = torch.empty(0, device=self.device, dtype=self.dtype)
            known = answers(self, self.input_shape, like)
        self.doubts = known.notes
        if head == "auto":
            if listed.outputs == 1 and names is not None and len(names) == 2:  # the two classes of one logit
                self.head = "binary"
            else:
                self.head = kind_of_head(listed.made_by, listed.outputs, known.output)
                notes += note_on_head(self.head, listed.made_by, listed.outputs)
        else:
            self.head = head
        self.notes = notes + self.doubts
        self.classes = checked_names(names, 2 if self.head == "binary" else listed.outputs, self.head)
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
        """The layers for another input size, (height, width) in pixels.

        Args:
            size: (height, width) of the input.

        Returns:
            Every layer with a spatial map, in order of execution.

        Raises:
            ValueError: a size that the network does not take.
        """
        return self._inspect(size)

    def layer(self, name: LayerLike) -> Layer:
        """One layer, with its shape and geometry.

        Args:
            name: name, position, module or `Layer`; ``"input"`` is the input itself.

        Returns:
            The layer at the network's own input size.

        Raises:
            UnknownNameError: no such layer; close names are given.
        """
        return self.layers.find(name)[0]

    @property
    def default_layers(self) -> tuple[str, ...]:
        """The end of every resolution stage, shallow to deep."""
        stages = self.layers.stages
        if not stages:
            hint = unwatchable(self.module) or "try naming layers yourself (`pellucid models --layers`)"
            raise ValueError(
                f"Expected a convolutional network, got `{self.name}`, in which no module gives a spatial map "
                f"[batch channel h w] over several cells; {hint}."
            )
        return stages

    def __call__(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch classes"]:
        """Class scores of normalized images; keeps the caller's gradient mode, does not touch training
        flags."""
        return self.select(standing(self.module)(images.to(self.device, self.dtype)), len(images))

    def select(self, output: Any, batch: int) -> Float[Tensor, "batch classes"]:
        """Pick the class scores out of what the module returned; a spatial score map is averaged.

        Args:
            output: what the module returned.
            batch: number of images.

        Returns:
            Class scores [batch classes].

        Raises:
            OutputError: no such tensor.
        """
        scores = pick(output, self._output)
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
        """Probability of every class.

        Args:
            output: [batch outputs], as the network gives it.

        Returns:
            [batch classes]; two (1 − p and p) for a single logit, the numbers themselves for a regression.
        """
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
        """Index of a class.

        Args:
            target: index or name; the case of letters does not matter.

        Returns:
            The index, from 0.

        Raises:
            UnknownNameError: an unknown or ambiguous name.
            IndexError: an index out of range.
            TypeError: neither index nor name.
        """
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
            if not re.fullmatch(r"[+-]?[0-9]{1,18}", target):
                raise UnknownNameError(
                    f"Expected a class of `{self.name}`, got `{target}`; {suggest(target, self.classes)}"
                )
            target = int(target)
        try:
            index = operator.index(target)  # also NumPy's and torch's integers
        except TypeError:
            index = None
        if isinstance(target, bool) or index is None:
            raise TypeError(f"Expected a class index or name, got {target!r} ({type(target).__name__}).")
        if not 0 <= index < count:
            raise IndexError(
                f"Expected a class index from 0 to {count - 1} for `{self.name}`, got {index}; try a "
                "class name."
            )
        return index

    def resolve_target(self, target: TargetLike, output: Float[Tensor, "batch outputs"]) -> Target:
        """Turn what a user asked for into a `Target` of the batch.

        Args:
            target: class index or name, one per image, or a function of the output; None is the predicted class.
            output: [batch outputs].

        Returns:
            The target.

        Raises:
            UnknownNameError: an unknown class.
            ValueError: targets of another number than images.
        """
        batch = output.shape[0]
        if isinstance(target, Target):
            if len(target.names) != batch:
                raise ValueError(f"Expected a target for each of {batch} images, got {len(target.names)}.")
            return target
        plain: Any = plain_target(target)
        if callable(plain):
            name = getattr(plain, "__name__", type(plain).__name__)
            return Target(None, (name,) * batch, function=plain)
        if plain is None:
            check_scores(output, self.name)
            numbers = self.head == "regression"  # of different kinds: none is more likely than another
            chosen = [0] * batch if numbers else self.probabilities(output).argmax(1).tolist()
        else:
            listed = plain if isinstance(plain, list) else [plain] * batch
            chosen = [self.class_index(each) for each in listed]
            if len(chosen) != batch:
                raise ValueError(
                    f"Expected one target for each of {batch} images, got {len(chosen)}; "
                    "give one class for all, or a list of the same length."
                )
        names = tuple(self.classes[index] for index in chosen)
        indices = torch.tensor(chosen, dtype=torch.long)
        if self.head == "regression":
            return Target(None, names, function=Column(tuple(chosen)))
        if self.head == "binary":  # the one logit speaks for class 1; class 0 is its negative
            return Target(torch.zeros_like(indices), names, signs=indices * 2.0 - 1.0)
        return Target(indices, names)

    def layer_names(self, layers: LayerLike | Sequence[LayerLike]) -> tuple[str, ...]:
        """Names of layers, each once.

        Args:
            layers: names, positions, modules or `Layer`, one or several.

        Returns:
            Their names, in the order given.

        Raises:
            UnknownNameError: no such layer.
        """
        return self.layers.names(layers)

    def _chosen_output(self, classes: int | None) -> tuple[str, ...]:
        """Settles which tensor of several the class scores are; a note where there was something to choose."""
        if self._output is not None:
            return ()
        returned: list[Any] = []
        try:
            self._inspect(self.input_shape[1:], returned.append)
        except OutputError:
            if not returned:
                raise
        if not returned or len(candidates(returned[0])) < 2:
            return ()

        def again() -> Any:
            image = torch.zeros(1, *self.input_shape, device=self.device, dtype=self.dtype)
            with undisturbed(self.module) as module:
                return module(image.requires_grad_())

        settled = choice(again, classes)
        if settled is None:
            return ()
        self._output, note = settled
        self._layers.clear()
        return (note,)

    def _inspect(self, size: tuple[int, int], see: Callable[[Any], None] | None = None) -> Layers:
        if size not in self._layers:
            image = torch.zeros(1, self.input_shape[0], *size, device=self.device, dtype=self.dtype)

            def raw(returned: Any) -> Tensor:
                if see is not None:
                    see(returned)
                return pick(returned, self._output)

            try:
                layers = self._inspected(image, raw)
                if habits_of(self.module).original:  # what ran was not, or not only, the twin
                    layers = self._inspected(image, raw)
                layers.modules = {child: name for name, child in self.module.named_modules() if name}
                self._layers[size] = layers
            except OutputError:
                raise
            except Exception as error:
                got = "x".join(map(str, (self.input_shape[0], *size)))
                raise ValueError(
                    f"Expected `{self.name}` to accept an input of {got}, got {type(error).__name__}: "
                    f"{error}; {unwatchable(self.module) or 'try `input_shape=(channels, height, width)` or another size'}."
                ) from error
        return self._layers[size]

    def _inspected(self, image: Tensor, raw: Callable[[Any], Tensor]) -> Layers:
        with undisturbed(self.module) as module:
            return inspect(module, image, raw, lambda out: self.select(out, 1))


NetworkLike = Network | nn.Module | str | Path


def as_network(given: Any) -> Network:
    """What is meant by a network: itself, or what `pellucid.load` makes of a module, a name or a file. Raises as that does."""
    if isinstance(given, Network):
        return given
    from pellucid.zoo.loading import load

    return load(given)
