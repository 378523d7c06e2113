"""How each of the ten classes is drawn: dice and paint in, parts from back to front out.

An object faces right in a frame of about [-1, 1] x [-1, 1] with y pointing down; `draw` then scales, turns
and flips it.
"""

from __future__ import annotations

from collections.abc import Callable

from ..dice import Dice, Livery
from ..scene import Part
from .aircraft import airliner, helicopter
from .animals import bird, fish
from .house import house
from .ships import cargo_ship, sailboat
from .vehicles import bicycle, car, truck

BUILDERS: dict[str, Callable[[Dice, Livery], list[Part]]] = {
    "airliner": airliner,
    "helicopter": helicopter,
    "sailboat": sailboat,
    "cargo ship": cargo_ship,
    "car": car,
    "truck": truck,
    "bicycle": bicycle,
    "bird": bird,
    "fish": fish,
    "house": house,
}
