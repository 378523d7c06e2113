"""A small piecewise-linear network computed by hand in float64, forward and backward, with every backward
rule spelled out.

    x → conv (3×3, padding 1, bias) → scale and shift per channel (batch normalization) → ReLU → max pool 2×2
      → conv (3×3, padding 1, bias) → ReLU → global average → linear

The backward of each ReLU is a parameter: ``"plain"``, ``"guided"`` or ``"deconvnet"``. It is the slow twin of
the methods that run the network themselves: gradient, SmoothGrad, integrated gradients, guided
backpropagation, deconvnet, FullGrad, NISP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class TwinNetwork:
    w1: Array
    b1: Array
    gamma: Array
    beta: Array
    mean: Array
    var: Array
    w2: Array
    b2: Array
    w3: Array
    b3: Array
    eps: float = 1e-5

    def forward(self, x: Array) -> dict[str, Array]:
        z1 = convolve(x, self.w1, self.b1)
        scale = self.gamma / np.sqrt(self.var + self.eps)
        n1 = (z1 - self.mean[:, None, None]) * scale[:, None, None] + self.beta[:, None, None]
        r1 = np.maximum(n1, 0)
        p1, winner = max_pool(r1)
        return {"x": x, "z1": z1, "n1": n1, "r1": r1, "winner": winner, **self.tail(p1)}

    def tail(self, p1: Array) -> dict[str, Array]:
        z2 = convolve(p1, self.w2, self.b2)
        r2 = np.maximum(z2, 0)
        pooled = r2.mean((1, 2))
        return {"p1": p1, "z2": z2, "r2": r2, "pooled": pooled, "output": self.w3 @ pooled + self.b3}

    def backward(self, state: dict[str, Array], target: int, rule: str = "plain") -> dict[str, Array]:
        r2 = state["r2"]
        cells = r2.shape[1] * r2.shape[2]
        grad: dict[str, Array] = {"output": np.eye(len(self.b3))[target]}
        grad["r2"] = np.broadcast_to((self.w3[target] / cells)[:, None, None], r2.shape).copy()
        grad["z2"] = rectifier(state["z2"], grad["r2"], rule)
        grad["p1"] = convolve_back(grad["z2"], self.w2)
        if "winner" in state:
            grad["r1"] = unpool(grad["p1"], state["winner"])
            grad["n1"] = rectifier(state["n1"], grad["r1"], rule)
            grad["z1"] = grad["n1"] * (self.gamma / np.sqrt(self.var + self.eps))[:, None, None]
            grad["x"] = convolve_back(grad["z1"], self.w1)
        return grad

    def integrated(
        self, x: Array, baseline: Array, target: int, points: list[float], weights: list[float], place: str
    ) -> Array:
        run: Callable[[Array], dict[str, Array]] = self.forward if place == "x" else self.tail
        start, end = self.forward(baseline)[place], self.forward(x)[place]
        total = np.zeros_like(end)
        for t, weight in zip(points, weights, strict=True):
            total += weight * self.backward(run(start + t * (end - start)), target)[place]
        return (end - start) * total

    def biases(self, state: dict[str, Array], target: int) -> dict[str, Array]:
        """Every bias times the gradient at the output it is added to."""
        grad = self.backward(state, target)
        shift = self.beta - self.gamma * self.mean / np.sqrt(self.var + self.eps)
        return {
            "z1": grad["z1"] * self.b1[:, None, None],
            "n1": grad["n1"] * shift[:, None, None],
            "z2": grad["z2"] * self.b2[:, None, None],
            "output": grad["output"] * self.b3,
        }

    def importance(self, target: int, place: str, grid: tuple[int, int]) -> Array:
        """Absolute weights carried back to ``place`` over an input of ``grid`` rows and columns, every call
        of mean gain one."""

        def relative(weight: Array, inputs: int) -> Array:
            size = np.abs(weight)
            return size / (size.sum() / inputs)

        h, w = grid[0] // 2, grid[1] // 2
        pooled = relative(self.w3, self.w3.shape[1])[target]
        r2 = np.broadcast_to((pooled / (h * w))[:, None, None], (len(pooled), h, w))
        p1 = convolve_back(r2, relative(self.w2, self.w2.shape[1]))
        if place == "p1":
            return p1.mean((1, 2))
        r1 = np.repeat(np.repeat(p1, 2, 1), 2, 2) / 4
        scale = np.abs(self.gamma) / np.sqrt(self.var + self.eps)
        z1 = r1 * (scale / scale.mean())[:, None, None]
        x = convolve_back(z1, relative(self.w1, self.w1.shape[1]))
        return {"r1": r1, "z1": z1, "x": x}[place].mean((1, 2))


def rectifier(x: Array, g: Array, rule: str) -> Array:
    out = np.zeros_like(g)
    for index in np.ndindex(g.shape):
        passes = {"plain": x[index] > 0, "guided": x[index] > 0 and g[index] > 0, "deconvnet": g[index] > 0}[
            rule
        ]
        out[index] = g[index] if passes else 0.0
    return out


def convolve(x: Array, weight: Array, bias: Array) -> Array:
    channels, h, w = x.shape
    out = np.zeros((len(weight), h, w))
    for o in range(len(weight)):
        for i in range(h):
            for j in range(w):
                total = bias[o]
                for k in range(channels):
                    for a in range(3):
                        for b in range(3):
                            row, column = i + a - 1, j + b - 1
                            if 0 <= row < h and 0 <= column < w:
                                total += weight[o, k, a, b] * x[k, row, column]
                out[o, i, j] = total
    return out


def convolve_back(g: Array, weight: Array) -> Array:
    outputs, h, w = g.shape
    out = np.zeros((weight.shape[1], h, w))
    for o in range(outputs):
        for i in range(h):
            for j in range(w):
                for k in range(weight.shape[1]):
                    for a in range(3):
                        for b in range(3):
                            row, column = i + a - 1, j + b - 1
                            if 0 <= row < h and 0 <= column < w:
                                out[k, row, column] += weight[o, k, a, b] * g[o, i, j]
    return out


def max_pool(x: Array) -> tuple[Array, Array]:
    channels, h, w = x.shape
    out, winner = np.zeros((channels, h // 2, w // 2)), np.zeros(x.shape)
    for k in range(channels):
        for i in range(h // 2):
            for j in range(w // 2):
                window = x[k, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                a, b = divmod(int(window.argmax()), 2)
                out[k, i, j] = window[a, b]
                winner[k, 2 * i + a, 2 * j + b] = 1
    return out, winner


def unpool(g: Array, winner: Array) -> Array:
    return np.repeat(np.repeat(g, 2, 1), 2, 2) * winner
