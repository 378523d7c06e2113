"""Does the map depend on what the network has learned: Adebayo et al. 2018, the sanity check by random parameters.

Layer after layer, from the output downwards, a copy of the network forgets what it learned (``"cascading"``: all down to
that layer, ``"independent"``: that layer alone). The map of the same image, layer and target is compared with the
original by the rank correlation of its size ``|M|`` and by structural similarity. What stays alike shows the picture, not
the network.

Where we differ. ``reset_parameters`` leaves a network that hardly reacts to its input: signals shrink from layer to
layer, and logits of SqueezeNet differ by 1e-8 between photographs. Here weights are normal with He's variance, and filters of
`CENTERED` or more inputs have their mean taken off, with the variance made up for (2.93 instead of 2 per input: a rectified
normal variable has variance 0.34). Activations are positive; their common mean else drowns the differences between
places and images, or leaves the target's own rectifier dead. Normalization becomes the identity, biases zero. Every module and
draw has a seed of its own, the un-randomized step is part of no mean, and draws whose map has no contrast count as
``vanished``, not as similar.

What tells methods apart is the upper half of the layers, not all of them. With all random, guided backpropagation is
no more like its original than LayerCAM is: a new stem alone changes everything. With the upper half random,
Grad-CAM++ and Eigen-CAM of shallow stages stay what they were, guided backpropagation nearly so on the embedded networks
(less on SqueezeNet and ResNet-18), while LayerCAM, Grad-CAM and Shallow-CAM of the deepest stage change
(``studies/sanity.py``). So an image's map counts as insensitive from `INSENSITIVE` on, with the upper half or with all random.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, pi, sqrt
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pellucid.attribution import attribute
from pellucid.attribution.method import Method
from pellucid.core.capture import capture
from pellucid.core.network import Network, TargetLike
from pellucid.core.precision import exact
from pellucid.core.registry import create, register, suggest
from pellucid.core.results import Heatmap
from pellucid.evaluation.measurement import Measurement
from pellucid.evaluation.metric import Case, Metric, Needs
from pellucid.evaluation.similarity import spearman, ssim

MODES = ("cascading", "independent")
CENTERED = 16  # inputs of a filter from which on its weights are made to sum to zero
LEARNED = ("weight", "bias", "running_mean", "running_var")  # buffers of normalizations, frozen ones too
GAIN = 2 / (1 - 1 / pi)  # of variance, for centered weights behind a rectifier
INSENSITIVE = 0.9  # rank correlation with the map of a network whose upper half, or all, is random


@register("evaluation", "randomization", paper="adebayo2018")
@dataclass(frozen=True)
class Randomization(Metric):
    """Similarity of the map to that of ever more random networks.

    ``steps``: at most so many points on the way down, layers drawn together where there are more (a normalization always
    with the weights before it). ``draws``: random networks. ``threshold``: rank correlation from which on, with the upper half or
    all of the layers random, an image's map is ``insensitive``.
    """

    needs: ClassVar[Needs] = "method"
    better: ClassVar[Mapping[str, Literal["higher", "lower"]]] = dict.fromkeys(
        ("rank", "ssim", "half", "last", "last-ssim", "insensitive"), "lower"
    )
    mode: Literal["cascading", "independent"] = "cascading"
    draws: int = 2
    steps: int = 8
    threshold: float = INSENSITIVE

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(
                f"Expected `mode` to be one of {', '.join(MODES)}, got `{self.mode}`; {suggest(self.mode, MODES)}"
            )
        if self.draws < 1 or self.steps < 1:
            raise ValueError(
                f"Expected `draws` and `steps` of at least 1, got {self.draws} and {self.steps}."
            )

    def __call__(self, case: Case) -> Measurement:
        """``rank`` and ``ssim``: means over the steps (all of them in ``curves``); ``half``, ``last``, ``last-ssim``: with the
        upper half, or all, of the layers random; ``vanished``: share of fully random networks whose map has no contrast."""
        heatmap, method = _given(case)
        random = RandomCopy(case.net, tuple(case.images.shape[2:]), case.seed)
        groups = random.groups(self.steps)
        draws = [
            [_compare(random.net, case, heatmap, method) for _ in random.walk(groups, self.mode, draw)]
            for draw in range(self.draws)
        ]
        states = torch.stack([torch.stack(line) for line in draws])  # [draws states 2 batch]
        mean, count = states.nanmean(0), len(groups)
        way = mean[:count].permute(1, 2, 0)  # [2 batch steps]
        half, last = mean[(count + 1) // 2 - 1 if self.mode == "cascading" else count, 0], mean[-1]
        worst = torch.fmax(half, last[0])
        values = {
            "rank": way[0].nanmean(1),
            "ssim": way[1].nanmean(1),
            "half": half,
            "last": last[0],
            "last-ssim": last[1],
            "insensitive": torch.where(worst.isnan(), worst, exact(worst >= self.threshold)),
            "vanished": exact(states[:, -1, 0].isnan()).mean(0),
        }
        gone = "no map of a random network has contrast"
        reasons = tuple(
            f"map is {status}" if not seen else gone if none else None
            for status, seen, none in zip(
                heatmap.status, _contrast(heatmap), values["rank"].isnan(), strict=True
            )
        )
        parameters = {**asdict(self), "seed": case.seed, "layers": groups, "layer": heatmap.layer.name}
        curves = {"rank": way[0], "ssim": way[1]}
        return Measurement(self.name, values, reasons, self.better, parameters, curves)


def sanity(
    net: Network,
    images: Float[Tensor, "batch channel height width"],
    target: TargetLike,
    method: str | Method,
    layer: str,
    seed: int = 0,
    *,
    share: float = 0.5,
    draws: int = 2,
    heatmap: Heatmap | None = None,
    batch_size: int = 16,
) -> Float[Tensor, " batch"]:
    """Rank correlation of a method's maps of normalized images with those of networks whose upper layers are random.

    The mean over `sanity_draws`. ``share`` of the layers are drawn anew, counted from the output; 1 is all. From
    `INSENSITIVE` on a map shows the picture rather than what the network learned. NaN where a map has no contrast. Costs one copy
    of the network and ``draws`` runs of the method; one more without the original ``heatmap``.
    """
    similar = sanity_draws(
        net,
        images,
        target,
        method,
        layer,
        seed,
        share=share,
        draws=draws,
        heatmap=heatmap,
        batch_size=batch_size,
    )
    return similar.nanmean(0)


def sanity_draws(
    net: Network,
    images: Float[Tensor, "batch channel height width"],
    target: TargetLike,
    method: str | Method,
    layer: str,
    seed: int = 0,
    *,
    share: float = 0.5,
    draws: int = 2,
    heatmap: Heatmap | None = None,
    batch_size: int = 16,
) -> Float[Tensor, "draw batch"]:
    """As `sanity`, by random network."""
    if draws < 1 or not 0 < share <= 1:
        raise ValueError(f"Expected `draws` of at least 1 and `share` in (0, 1], got {draws} and {share}.")
    made: Method = create("attribution", method)
    if target is None:
        target = capture(net, images, (), gradients=False).target
    found = heatmap or _map(net, images, made, layer, target, batch_size, signed=False)
    random = RandomCopy(net, tuple(images.shape[2:]), seed)
    bundles = random.groups(len(random.bundles))
    upper = [name for bundle in bundles[: ceil(share * len(bundles))] for name in bundle]
    similar = []
    for draw in range(draws):
        random.redraw(upper, draw)
        drawn = _map(random.net, images, made, layer, target, batch_size, signed=_signed(found, made))
        similar.append(_alike(found, drawn)[0])
    return torch.stack(similar)


class RandomCopy:
    """A copy of a network whose layers can forget and remember; the network itself is not touched."""

    def __init__(self, net: Network, size: tuple[int, ...], seed: int = 0) -> None:
        self.net, self.seed = copy.copy(net), seed
        with torch.inference_mode(False):  # the copy has to be one that can be changed
            self.net.module = copy.deepcopy(net.module)
        for parameter in self.net.module.parameters():
            parameter.grad = None
        self._trained = dict(net.module.named_modules())
        self._copied = dict(self.net.module.named_modules())
        self.bundles: list[list[str]] = []
        for name in _order(net, (size[0], size[1])):  # upwards: a normalization joins what it normalizes
            if self.bundles and _normalizes(self._trained[name]):
                self.bundles[-1].append(name)
            else:
                self.bundles.append([name])

    def groups(self, steps: int) -> tuple[tuple[str, ...], ...]:
        """Names of the modules with parameters from the output downwards, in at most ``steps`` groups."""
        count = len(self.bundles)
        parts = np.array_split(np.arange(count)[::-1], max(min(steps, count), 1))
        return tuple(tuple(name for i in part for name in self.bundles[i]) for part in parts)

    def walk(self, groups: Sequence[Sequence[str]], mode: str, draw: int = 0) -> Iterator[None]:
        """Halts at every step of a mode; "independent" ends with two steps more, the upper half and all layers random."""
        everything = [name for group in groups for name in group]
        for group in groups:
            self.redraw(group, draw)
            yield
            if mode == "independent":
                self.restore(group)
        if mode == "independent":
            upper = [name for group in groups[: (len(groups) + 1) // 2] for name in group]
            for names in (upper, everything):
                self.redraw(names, draw)
                yield
        self.restore(everything)

    def redraw(self, names: Iterable[str], draw: int = 0) -> None:
        """Give the named modules' own tensors random values; the same seed, name and draw give the same."""
        for name in names:
            generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed}/{draw}/{name}".encode()))
            forget(self._copied[name], generator)

    def restore(self, names: Iterable[str]) -> None:
        """Give the named modules the network's own values again."""
        with torch.no_grad():
            for name in names:
                for key, value in _tensors(self._trained[name]):
                    dict(_tensors(self._copied[name]))[key].copy_(value)


def forget(module: nn.Module, generator: torch.Generator) -> None:
    """Random values for a module's own parameters and statistics, not its children's (see the top of this file)."""
    with torch.no_grad():
        for key, value in _tensors(module):
            value.copy_(_drawn(module, key, value, generator))


def _drawn(module: nn.Module, key: str, value: Tensor, generator: torch.Generator) -> Tensor:
    if _normalizes(module) or key == "bias":
        return torch.full(value.shape, 1.0 if key in ("weight", "running_var") else 0.0)
    inputs = value[0].numel() if value.ndim > 1 else 1
    if inputs == 1:  # scales, slopes: which of them is whose is forgotten
        order = torch.randperm(value.numel(), generator=generator).to(value.device)
        return torch.take(value, order).view(value.shape)
    weights = torch.randn(value.shape, generator=generator).flatten(1)
    if inputs < CENTERED:
        return (weights * sqrt(2 / inputs)).view(value.shape)
    centered = weights - weights.mean(1, keepdim=True)
    return (centered * sqrt(GAIN / inputs)).view(value.shape)


def _normalizes(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__ and not any(True for _ in module.children())


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """A module's own parameters and statistics of normalization; other buffers (an input's mean, say) are not learned."""
    buffers = [entry for entry in module.named_buffers(recurse=False) if entry[0] in LEARNED]
    own = [*module.named_parameters(recurse=False), *(buffers if _normalizes(module) else [])]
    return [(key, value) for key, value in own if value.is_floating_point()]


def _order(net: Network, size: tuple[int, int]) -> list[str]:
    """Modules with parameters of their own as they are run; those no call shows (the root, bare parameters) come first."""
    owners = [name for name, module in net.module.named_modules() if _tensors(module)]
    calls = [call.module for call in net.layers_at(size).calls]
    run = list(dict.fromkeys(name for name in reversed(calls) if name in set(owners)))[::-1]
    return [name for name in owners if name not in set(run)] + run


def _map(
    net: Network,
    images: Tensor,
    method: Method,
    layer: str,
    target: TargetLike,
    batch_size: int,
    signed: bool,
) -> Heatmap:
    return attribute(
        net, images, method, layer, target, batch_size=batch_size, signed=signed, normalized=True, progress=False
    )[layer]  # fmt: skip


def _compare(net: Network, case: Case, heatmap: Heatmap, method: Method) -> Float[Tensor, "2 batch"]:
    signed, size = _signed(heatmap, method), min(16, case.batch_size)  # maps take more memory than scores
    return _alike(heatmap, _map(net, case.images, method, heatmap.layer.name, case.target, size, signed))


def _alike(one: Heatmap, other: Heatmap) -> Float[Tensor, "2 batch"]:
    """Rank correlation and structural similarity of the maps' sizes; NaN where one of them has no contrast."""
    sizes = []
    for heatmap in (one, other):
        size = heatmap.values.detach().cpu().double().abs()
        peak = size.amax((1, 2), keepdim=True)
        sizes.append(size / torch.where(peak > 0, peak, 1))
    rank = spearman(sizes[0].flatten(1), sizes[1].flatten(1))
    return torch.stack([rank, ssim(*sizes)]).masked_fill(~(_contrast(one) & _contrast(other)), float("nan"))


def _contrast(heatmap: Heatmap) -> Bool[Tensor, " batch"]:
    """Maps that differ from place to place; of all-negative evidence only where it was not rectified away."""
    values = heatmap.values.detach().flatten(1).cpu()
    readable = torch.tensor([status in ("ok", "negative") for status in heatmap.status])
    return readable & (values.amax(1) > values.amin(1))


def _signed(heatmap: Heatmap, method: Method) -> bool:
    return method.rectified and bool((heatmap.values < 0).any())


def _given(case: Case) -> tuple[Heatmap, Method]:
    if case.method is None or case.heatmap is None:
        raise ValueError(
            "Expected maps made by a known method at a known layer, got bare tensors; try heatmaps of `attribute` "
            "and the method's name."
        )
    return case.heatmap, case.method
