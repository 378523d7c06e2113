"""Directions in a layer's activations: cells as rows, X ≈ U V with few rows in V.

* ``"nmf"``: non-negative matrix factorization, min ‖X − U V‖² with U, V ≥ 0 (Lee and Seung 1999), as ICE (Zhang et al. 2021) and
  CRAFT (Fel et al. 2023) find concepts. We factorize cells of whole pictures, not of crops.
* ``"kmeans"``: V are the centers of clusters; a cell has one concept, with its projection on the center.
* ``"units"``: V are the units with the largest mean activation; the baseline that needs no learning.
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
How = Literal["nmf", "kmeans", "units"]
METHODS: tuple[How, ...] = ("nmf", "kmeans", "units")
_ROUNDS = 200


def directions(rows: Rows, count: int, how: How, seed: int = 0) -> Rows:
    """``count`` directions [concept unit] of length 1, or fewer where the rows have fewer.

    Args:
        rows: Non-negative activations [cell unit], at least one of them not zero.
        count: How many directions.
        how: See the module.
        seed: Of the start.
    """
    count = min(count, len(rows), rows.shape[1])
    if how == "units":
        found = np.eye(rows.shape[1], dtype=np.float32)[np.argsort(-rows.mean(0), kind="stable")[:count]]
    elif how == "kmeans":
        from sklearn.cluster import KMeans

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer different rows than clusters: fewer directions, below
            found = KMeans(count, n_init=1, random_state=seed).fit(rows).cluster_centers_
    else:
        from sklearn.decomposition import NMF

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the last round is as good a basis as one more
            model = NMF(
                count,
                init="nndsvda" if seed == 0 else "random",
                random_state=seed,
                max_iter=_ROUNDS,
                tol=1e-3,
            )
            found = model.fit(rows).components_
    length = np.linalg.norm(found, axis=1, keepdims=True)
    kept = found[length[:, 0] > 1e-6 * max(float(length.max()), 1e-12)]
    return np.asarray(kept / np.linalg.norm(kept, axis=1, keepdims=True), np.float32)


def loadings(rows: Rows, found: Rows, how: How) -> Rows:
    """How much of each direction is in every row, [cell concept], not negative."""
    if how == "units":
        return np.asarray(rows @ found.T, np.float32)
    if how == "kmeans":
        scaled = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        nearest = np.argmax(scaled @ found.T, axis=1)
        made = np.zeros((len(rows), len(found)), np.float32)
        cells = np.arange(len(rows))
        made[cells, nearest] = (rows * found[nearest]).sum(1)
        return made
    return _nonnegative(rows, found)


def _nonnegative(rows: Rows, found: Rows, rounds: int = 100) -> Rows:
    """min ‖X − U V‖² with U ≥ 0 by coordinate descent, all rows at once: the update of NMF's own solver."""
    gram = (found @ found.T).astype(np.float64)
    target = (rows @ found.T).astype(np.float64)
    made = np.zeros_like(target)
    for _ in range(rounds):
        change = 0.0
        for place in range(len(found)):
            step = np.maximum(
                made[:, place] + (target[:, place] - made @ gram[:, place]) / gram[place, place], 0
            )
            change = max(change, float(np.abs(step - made[:, place]).max(initial=0)))
            made[:, place] = step
        if change <= 1e-5 * max(float(target.max(initial=0)), 1e-12):
            break
    return made.astype(np.float32)


def explained(rows: Rows, made: Rows, found: Rows) -> float:
    """1 − ‖X − U V‖² / ‖X‖²."""
    left = float(((rows - made @ found) ** 2).sum(dtype=np.float64))
    return 1 - left / max(float((rows**2).sum(dtype=np.float64)), 1e-30)


def matched(found: Rows, other: Rows) -> npt.NDArray[np.float64]:
    """Cosine of every direction with its partner in another set, partners chosen so that the sum is largest; 0 without one."""
    from scipy.optimize import linear_sum_assignment

    cosine = (found @ other.T).astype(np.float64)
    mine, theirs = linear_sum_assignment(-cosine)
    values = np.zeros(len(found))
    values[mine] = cosine[mine, theirs]
    return values
