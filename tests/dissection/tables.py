"""Made-up unit tables with counts that could have been counted, and whether two tables are the same."""

import dataclasses

import numpy as np

from pellucid.data.concepts.base import Concept
from pellucid.dissection.counts import Counts
from pellucid.dissection.table import Examples, HeldOut, UnitTable

CATEGORIES = ("object", "part", "scene", "weather")
PLAIN = (
    Concept(2, "wheel", "part", ("tire", "tyre")),
    Concept(3, "car", "object", ("automobile",)),
    Concept(5, "street_lamp", "object"),
    Concept(7, "tile", "part"),
    Concept(9, "tile", "object", ("car",)),
    Concept(11, "fog", "weather"),
)


def concepts_of(count, rng):
    return tuple(
        Concept(3 * k + 1, f"thing {k}", CATEGORIES[rng.integers(len(CATEGORIES))], ("it",) * (k % 3))
        for k in range(count)
    )


def counts_of(units, concepts, rng, largest=50, common=0.6):
    """Intersections no larger than mask and concept; many zeros and, for a small ``largest``, many ties."""
    categories = list(dict.fromkeys(concept.category for concept in concepts))
    place = [categories.index(concept.category) for concept in concepts]
    activation = rng.integers(0, largest + 1, (units, len(categories)))
    truth = rng.integers(0, largest + 1, len(concepts))
    limit = np.minimum(activation[:, place], truth)
    intersection = rng.integers(0, limit + 1) * (rng.random(limit.shape) < common)
    return Counts(intersection.astype(np.int64), activation.astype(np.int64), truth.astype(np.int64))


def table_of(units=5, concepts=8, seed=0, *, largest=50, rich=False, listed=None, **fields):
    """A table; ``rich`` ones have everything a table can have."""
    rng = np.random.default_rng(seed)
    named = listed or concepts_of(concepts, rng)
    table = UnitTable("layer4.1", named, counts_of(units, named, rng, largest))
    if rich:
        images = rng.permutation(units * 3).reshape(units, 3)
        images[0, 2] = -1
        table = dataclasses.replace(
            table,
            thresholds=rng.random(units, np.float32),
            held_out=HeldOut(
                rng.random(units, np.float32),
                counts_of(units, named, rng, largest),
                counts_of(units, named, rng, largest),
                (70, 30),
            ),
            chance=tuple(counts_of(units, named, rng, largest) for _ in range(2)),
            ranking=np.argsort(-table.iou, 1, kind="stable")[:, :2],
            interval=np.sort(rng.random((units, 2, 2)), -1)[:, : len(named)],
            examples=Examples(
                images.astype(np.int64),
                np.sort(rng.random((units, 3), np.float32))[:, ::-1].copy(),
                rng.random((units, 3, 5, 11)) < 0.3,
            ),
            facts={"network": {"name": "n"}, "settings": {"quantile": 0.005, "list": [1, None, "ä"]}},
        )
    return dataclasses.replace(table, **fields)


def same(one, other):
    """Whether two values are equal in type and content: tables, counts, arrays with their types, or anything else."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
