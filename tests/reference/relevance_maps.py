"""Methods that hand evidence from layer to layer, written straight from their formulas on the network computed by
hand; one image, float64, one output at a time. Nothing is shared with the library.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from tests.reference.network import TwinNetwork, convolve_back, rectifier, unpool

Array = NDArray[np.float64]
Share = Callable[[float, float, int], float]  # of an input, from its value, weight and channel
State = dict[str, Array]


def plus(x: float, weight: float, channel: int) -> float:
    return max(x * weight, 0.0)


def size(x: float, weight: float, channel: int) -> float:
    return abs(x)


def box(low: Array, high: Array) -> Share:
    return lambda x, w, channel: x * w - low[channel] * max(w, 0.0) - high[channel] * min(w, 0.0)


def through_convolution(x: Array, weight: Array, relevance: Array, share: Share) -> Array:
    """3 × 3, padding 1: every output's relevance goes to its inputs by their shares."""
    out = np.zeros(x.shape)
    for o, i, j in np.ndindex(relevance.shape):
        if relevance[o, i, j] == 0:
            continue
        parts = {}
        for k, a, b in np.ndindex(weight.shape[1:]):
            row, column = i + a - 1, j + b - 1
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                parts[k, row, column] = share(x[k, row, column], weight[o, k, a, b], k)
        total = sum(parts.values())
        assert total > 0  # the twin knows no more than it is asked for
        for place, part in parts.items():
            out[place] += part / total * relevance[o, i, j]
    return out


def through_classifier(x: Array, weight: Array, relevance: Array) -> Array:
    """z⁺; where nothing is positive the negative contributions take all."""
    out = np.zeros(len(x))
    for k in range(len(weight)):
        products = [x[j] * weight[k, j] for j in range(len(x))]
        taken = [max(c, 0.0) for c in products]
        if not any(taken):
            taken = products
        if any(taken):
            out += np.array(taken) / sum(taken) * relevance[k]
    return out


def through_average(x: Array, relevance: Array) -> Array:
    out = np.zeros(x.shape)
    for k in range(len(x)):
        if x[k].sum() != 0:
            out[k] = x[k] / x[k].sum() * relevance[k]
    return out


def down(
    hand: TwinNetwork, state: State, relevance: Array, start: str, end: str, share: Share, first: Share
) -> Array:
    """From r2, r1 to any place below, in one walk."""
    if start == end:
        return relevance
    if start == "r2":
        p1 = through_convolution(state["p1"], hand.w2, relevance, share)
        return p1 if end == "p1" else down(hand, state, unpool(p1, state["winner"]), "r1", end, share, first)
    folded = hand.w1 * (hand.gamma / np.sqrt(hand.var + hand.eps))[:, None, None, None]
    return through_convolution(state["x"], folded, relevance, first)


def stages(place: str) -> list[str]:
    """The place and the stages behind it, the last one first."""
    return {"x": ["r2", "r1", "x"], "r1": ["r2", "r1"], "p1": ["r2", "p1"], "r2": ["r2"]}[place]


def contrastive(hand: TwinNetwork, state: State, target: int) -> Array:
    """Relevance of r2 by z⁺ from the contrastive seed."""
    seed = np.full(len(hand.b3), -state["output"][target] / (len(hand.b3) - 1))
    seed[target] = state["output"][target]
    return through_average(state["r2"], through_classifier(state["pooled"], hand.w3, seed))


def bounds(state: State, low: Array, high: Array) -> Share:
    x = state["x"]
    return box(np.minimum(low, x.min((1, 2))), np.maximum(high, x.max((1, 2))))


def fg_cam(hand: TwinNetwork, state: State, target: int, place: str, weights: str, first: Share) -> Array:
    r2 = state["r2"]
    weighing = (
        hand.backward(state, target)["r2"] if weights == "gradient" else contrastive(hand, state, target)
    )
    evidence = np.stack([weighing[k].mean() * r2[k] for k in range(len(r2))])
    order = stages(place)
    for upper, lower in pairwise(order):
        total = evidence.sum(0)
        for i, j in np.ndindex(total.shape):
            if total[i, j] <= 0 and total.max() > 0:
                evidence[:, i, j] = 0
        evidence = down(hand, state, evidence, upper, lower, plus, first)
    return evidence.sum(0)


def hierarchical(hand: TwinNetwork, state: State, target: int, place: str, units: int) -> Array:
    gradient = hand.backward(state, target)["r2"]
    order = stages(place)
    for upper, lower in zip(order, [*order[1:], ""], strict=True):
        positive = np.maximum(gradient, 0)
        evidence = positive * state[upper]
        ranked = sorted(range(len(evidence)), key=lambda k: (-evidence[k].sum(), k))
        for k in ranked[units:]:
            positive[k], evidence[k] = 0, 0
        if lower in ("p1", "r1"):
            gradient = convolve_back(rectifier(state["z2"], positive, "plain"), hand.w2)
            gradient = unpool(gradient, state["winner"]) if lower == "r1" else gradient
        elif lower == "x":
            n1 = rectifier(state["n1"], positive, "plain")
            scale = (hand.gamma / np.sqrt(hand.var + hand.eps))[:, None, None]
            gradient = convolve_back(n1 * scale, hand.w1)
    return evidence.sum(0)


def tsgb(hand: TwinNetwork, state: State, target: int, place: str, balance: float) -> Array:
    """Starts with the gradient 1 at the target."""
    x, w = state["pooled"], hand.w3[target]
    positive = sum(max(x[j] * w[j], 0.0) for j in range(len(x)))
    negative = sum(min(x[j] * w[j], 0.0) for j in range(len(x)))
    beta = positive / abs(negative) if negative else 0.0
    pooled = np.array([x[j] * (w[j] if w[j] > 0 else balance * beta * w[j]) for j in range(len(x))])
    return down(hand, state, through_average(state["r2"], pooled), "r2", place, size, size).sum(0)


def cf_cam(
    hand: TwinNetwork, state: State, target: int, place: str, channels: int, blur: float, first: Share
) -> Array:
    relevance = contrastive(hand, state, target)
    relevance = np.maximum(down(hand, state, relevance, "r2", place, plus, first), 0)
    ranked = sorted(range(len(relevance)), key=lambda k: (-relevance[k].sum(), k))
    out = np.zeros(relevance.shape[1:])
    x = state["x"]
    vague = blurred(x, blur)
    for k in ranked[:channels]:
        mask = unit(relevance[k]) * unit(state[place][k])
        window = unit(enlarged(mask) if place in ("p1", "r2") else mask)
        output = hand.forward(x * window + vague * (1 - window))["output"]
        out += np.exp(output[target]) / np.exp(output).sum() * mask
    return out


def shallow_seed(state: State, target: int, seed: str) -> Array:
    """With 1 in place of the target's score."""
    classes = len(state["output"])
    if seed == "softmax-gradient":
        p = np.exp(state["output"]) / np.exp(state["output"]).sum()
        return np.array([p[target] * ((c == target) - p[c]) for c in range(classes)])
    rest = -1 / (classes - 1) if seed == "contrastive" else 0.0
    return np.array([1.0 if c == target else rest for c in range(classes)])


def for_and_net(positive: Array, signed: Array) -> Array:
    """Each channel's part of LayerCAM, and the same part of rectified HiResCAM, both scaled to 1."""
    layercam, hirescam = positive.sum(0), np.maximum(signed.sum(0), 0)
    out = np.zeros(positive.shape)
    for k, i, j in np.ndindex(out.shape):
        if positive[k, i, j] > 0:
            part = positive[k, i, j] / layercam[i, j]
            out[k, i, j] = part * layercam[i, j] / layercam.max()
            out[k, i, j] += part * hirescam[i, j] / hirescam.max() if hirescam.max() > 0 else 0
    return out


def shallow_cam(
    hand: TwinNetwork,
    state: State,
    target: int,
    place: str,
    first: Share,
    *,
    arm: str,
    seed: str,
    mask: str,
    reach: str,
    power: float,
) -> Array:
    """Both stages end in the only rectifier they have, so layers and stages are the same."""
    order, gradient = stages(place), hand.backward(state, target)
    F = {name: np.maximum(gradient[name], 0) * state[name] for name in order}

    def masked(weights: Array, name: str) -> Array:
        if mask == "none":
            return weights
        masks = np.stack([unit(f) for f in F[name]]) if mask == "scaled" else F[name]
        if power != 1:
            masks = np.maximum(masks, 0) ** power
        return weights * masks

    if arm == "adjacent" and reach == "next":
        order, seed = order[-2:], "layercam"
    if arm != "adjacent" and seed == "evidence":
        seed = "contrastive"
    evidence = F[order[0]]
    if seed == "evidence":
        evidence = for_and_net(evidence, gradient["r2"] * state["r2"])
    elif seed != "layercam":
        classes = shallow_seed(state, target, seed)
        evidence = through_average(state["r2"], through_classifier(state["pooled"], hand.w3, classes))
    if arm != "adjacent":
        relevance = down(hand, state, evidence, "r2", place, plus, first)
        if arm == "spatial":
            return masked(np.maximum(relevance, 0), place).sum(0)
        return masked(np.stack([np.full(each.shape, each.mean()) for each in relevance]), place).sum(0)
    if seed not in ("layercam", "evidence"):
        evidence = masked(np.maximum(evidence, 0), "r2")
    for upper, lower in pairwise(order):
        handed = evidence / evidence.sum() if evidence.sum() > 0 else evidence
        evidence = masked(np.maximum(down(hand, state, handed, upper, lower, plus, first), 0), lower)
    return evidence.sum(0)


def unit(values: Array) -> Array:
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.zeros(values.shape)


def enlarged(values: Array) -> Array:
    """3 × 3 cells to 6 × 6 pixels: behind a 2 × 2 pooling cell i sits at pixel 2 i + 1/2."""
    at = np.clip((np.arange(6) - 0.5) / 2, 0, 2)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(3)))
    return weights @ values @ weights.T


def blurred(x: Array, share: float) -> Array:
    h, w = x.shape[1:]
    sigma = share * min(h, w)
    out = np.zeros(x.shape)
    for k, i, j in np.ndindex(x.shape):
        total = 0.0
        for a, b in np.ndindex(h, w):
            tap = np.exp(-((a - i) ** 2 + (b - j) ** 2) / (2 * sigma**2))
            out[k, i, j] += tap * x[k, a, b]
            total += tap
        out[k, i, j] /= total
    return out


def smoothed(values: Array, sigma: float) -> Array:
    """Every cell is the mean of all cells, weighed by a Gaussian of ``sigma`` cells."""
    out = np.zeros(values.shape)
    for i, j in np.ndindex(values.shape):
        taps = [
            (np.exp(-((a - i) ** 2 + (b - j) ** 2) / (2 * sigma**2)), values[a, b])
            for a, b in np.ndindex(values.shape)
        ]
        out[i, j] = sum(tap * value for tap, value in taps) / sum(tap for tap, _ in taps)
    return out
