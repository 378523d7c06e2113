"""Relevance of every layer from one forward pass and one walk back, over the real graph of a network.

While the network runs once, every operation is given a backward that *is* its rule (`graph`); one call of
autograd, started with the seed, then yields the relevance of all asked layers, as Bach et al. 2015 define it.
The relevance at a layer does not depend on which other layers were asked.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.capture import Trace, capture
from pellucid.core.hooks import at_calls
from pellucid.core.layers import Layer, LayerLike
from pellucid.core.network import NetworkLike, TargetLike, as_network
from pellucid.core.precision import exact
from pellucid.core.running import undisturbed
from pellucid.relevance.composites import Composite, composite_named
from pellucid.relevance.graph import graph_for
from pellucid.relevance.ledger import Ledger
from pellucid.relevance.seeds import Seed, check_seed, seed_relevance
from pellucid.relevance.unknown import note_unknown


@dataclass(frozen=True)
class Conservation:
    """Where the seed's relevance is, seen from one layer of one image; all but ``seed`` are shares of
    ``seed``.

    ``seed``: Σ|R| at the output. ``total``: in the layer. ``bias``: kept by biases behind the layer.
    ``absorbed``: lost behind it (ε, outputs nobody contributed to, unknown operations). ``beside``: the rest,
    on ways past the layer; zero for a layer that everything passes.
    """

    layer: str
    seed: float
    total: float
    bias: float
    absorbed: float
    beside: float


@dataclass(frozen=True, eq=False)
class Relevances:
    """Relevance of the asked layers, and an account of where the seed went.

    ``relevance`` and ``activations``: layer → [batch channel h w]; ``seed``: relevance at the output [batch
    classes]; ``bias`` and ``absorbed``: layer → [batch], what operations behind the layer kept with their
    biases and lost. ``unknown``: operations without a rule, which got gradient × input and cannot be trusted
    to conserve. ``losses``: operation → [batch], the largest loss of one such operation.
    """

    relevance: Mapping[str, Tensor]
    activations: Mapping[str, Tensor]
    layers: Mapping[str, Layer]
    seed: Float[Tensor, "batch classes"]
    output: Float[Tensor, "batch classes"]
    bias: Mapping[str, Tensor]
    absorbed: Mapping[str, Tensor]
    unknown: tuple[str, ...]
    losses: Mapping[str, Tensor]

    @property
    def seed_total(self) -> Float[Tensor, " batch"]:
        """Σ R at the output, in float64."""
        return exact(self.seed).sum(1)

    def total(self, layer: str) -> Float[Tensor, " batch"]:
        """Σ R of a layer, in float64."""
        return exact(self.relevance[layer]).sum((1, 2, 3))

    def conservation(self, image: int = 0) -> tuple[Conservation, ...]:
        """One row per layer, for one image, in the order the layers were asked for."""
        size = float(exact(self.seed[image]).abs().sum())
        rows = []
        for name in self.relevance:
            seed = float(self.seed_total[image])
            total = float(self.total(name)[image])
            bias, absorbed = float(self.bias[name][image]), float(self.absorbed[name][image])
            beside = seed - total - bias - absorbed
            shares = (each / size if size else 0.0 for each in (total, bias, absorbed, beside))
            rows.append(Conservation(name, size, *shares))
        return tuple(rows)

    def leaks(self, share: float = 1e-3) -> tuple[str, ...]:
        """Names of operations that lost more than this share of the seed of any image, the worst first."""
        size = exact(self.seed).abs().sum(1).clamp(min=torch.finfo(torch.float64).tiny)
        worst = {name: float((exact(lost).abs() / size).max()) for name, lost in self.losses.items()}
        return tuple(sorted((name for name in worst if worst[name] > share), key=lambda name: -worst[name]))


def propagate(
    net: NetworkLike,
    images: Float[Tensor, "batch channel height width"],
    layers: LayerLike | Sequence[LayerLike],
    target: TargetLike = None,
    *,
    composite: str | Composite = "epsilon-plus",
    seed: Seed = "logit",
    double: bool | None = None,
) -> Relevances:
    """Relevance at layers: one forward pass over normalized images and one walk back to the first layer asked for.

    Follows Bach et al. 2015 and Montavon et al. 2019 on the graph that really ran, residual additions included. Leaves nothing
    behind on the network.

    Args:
        net: a network, module, name or file; see `pellucid.load`.
        images: normalized, [batch channel height width].
        layers: names, positions or modules, ``"input"`` among them.
        target: as in `pellucid.capture`.
        composite: which rule each layer has: a name of `pellucid.relevance.COMPOSITES` or a `Composite`.
        seed: ``"logit"``, ``"contrastive"``, ``"softmax-gradient"``, or a function from output to relevance, both
            [batch classes].
        double: compute in float64 whatever the network's precision; by default for every seed but the logit,
            since positive and negative relevance of like size nearly cancel at shallow layers (all z⁺ walks end in
            similar patterns, Sixt et al. 2020), and in float32 only noise would be left.

    Returns:
        Relevance of every layer, [batch channel h w], with a ledger of what bias and ε absorbed.

    Raises:
        UnknownNameError: an unknown layer, composite, seed or class.
        ValueError: unusable images or seeds.

    Example:
        >>> from pellucid import load
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 2))
        >>> relevances = propagate(load(net, input_shape=(1, 8, 8)), torch.rand(1, 1, 8, 8), "1", target=0)
        >>> relevances.relevance["1"].shape
        torch.Size([1, 2, 6, 6])
    """
    net = as_network(net)
    layers = net.layer_names(layers)
    rules = composite_named(composite)
    check_seed(seed)
    wide = seed != "logit" if double is None else double
    given = torch.float32 if net.dtype in (torch.float16, torch.bfloat16) else net.dtype
    if not isinstance(images, Tensor) or images.ndim != 4:
        capture(net, images, layers, target)  # says what is wrong with them
    listed = net.layers_at((int(images.shape[2]), int(images.shape[3])))
    graph, images = graph_for(net, images, rules, double=wide)
    started: list[Tensor] = []

    def score(output: Tensor) -> Tensor:
        graph.finished = True
        resolved = net.resolve_target(target, output.detach())
        started.append(seed_relevance(net, output, resolved, seed))
        return (output * started[0]).sum(1)

    ledger = graph.ledger
    calls = {name: listed.find(name)[1] for name in layers}
    for name in calls:
        if calls[name] is None:
            ledger.mark(name)  # the input

    def mark(names: list[str], *_: Any) -> None:
        for name in names:
            ledger.mark(name)

    with undisturbed(net.module) as module, at_calls(module, calls, mark), graph:
        trace = capture(net, images, layers, score)
    return Relevances(
        relevance={name: each.to(given) for name, each in trace.gradients.items()},
        activations={name: each.to(given) for name, each in trace.activations.items()},
        layers=trace.layers,
        seed=started[0],
        output=trace.output.to(given),
        bias={name: ledger.behind(name, "bias", trace.output) for name in trace.layers},
        absorbed={name: ledger.behind(name, "absorbed", trace.output) for name in trace.layers},
        unknown=ledger.unknown,
        losses=_losses(ledger),
    )


def relevances_of(
    trace: Trace, layer: str, composite: str | Composite, seed: Seed, double: bool | None = None
) -> Relevances:
    """Relevances of a trace's images at a layer, remembered as long as the trace lives.

    One walk answers for the layer and for every default layer behind it, so methods that are asked stage by
    stage, the first one first, cost one walk in all.
    """
    known = _remembered.setdefault(trace, {})
    asked = (composite, seed, double)
    if asked in known and layer in known[asked].relevance:
        return known[asked]
    listed = trace.network.layers_at((int(trace.images.shape[2]), int(trace.images.shape[3])))
    place = listed[layer].index
    behind = [name for name in trace.network.default_layers if listed[name].index > place]
    found = propagate(
        trace.network,
        trace.images,
        [layer, *behind],
        trace.target,
        composite=composite,
        seed=seed,
        double=double,
    )
    known[asked] = found
    note_unknown(trace, found.unknown)
    return found


_remembered: weakref.WeakKeyDictionary[Trace, dict[Any, Relevances]] = weakref.WeakKeyDictionary()


def _losses(ledger: Ledger) -> dict[str, Tensor]:
    worst: dict[str, Tensor] = {}
    for entry in ledger.entries:
        if entry.absorbed is not None:
            lost = entry.absorbed.abs()
            worst[entry.name] = torch.maximum(worst[entry.name], lost) if entry.name in worst else lost
    return worst
