"""From a seed to a scene.

Independent random streams feed class, background, paint, build and pose, so that at confounding 0 nothing but
shape and parts says anything about the class: paint and size are drawn before the class is known, and height
depends only on the background (objects of every class stand on the ground where there is ground).
"""

from __future__ import annotations

from .backgrounds import draw_background, draw_front
from .classes import BUILDERS
from .dice import Dice, Livery, detail
from .geometry import box, center, ellipse
from .scene import Part, Pose, Scene, Shape, Thing
from .vocabulary import CLASSES, COLORS, HABITAT, SCENES, check_name

SPLITS: dict[str, int] = {"train": 0, "val": 1_000_000_000, "test": 2_000_000_000}
"""First seed of each split; image ``i`` of a split has seed ``SPLITS[split] + i``."""

_OCCLUSION = 0.3
_CHOICE, _PAINT, _BUILD, _POSE, _MARK = 0, 3, 4, 5, 6


def split_seed(split: str, index: int) -> int:
    """Seed of the ``index``-th image of a split. Raises ``ValueError`` or ``IndexError`` if there is none."""
    check_name("split", split, tuple(SPLITS))
    if not 0 <= index < 1_000_000_000:
        raise IndexError(f"Expected an image index from 0 to 999999999, got {index}; try another index.")
    return SPLITS[split] + index


def draw(
    seed: int,
    *,
    class_name: str | None = None,
    scene: str | None = None,
    confounding: float = 0.0,
    shortcut: float = 0.0,
    split: str = "train",
) -> Scene:
    """The scene number ``seed`` of a split.

    ``confounding``: probability that the background is the habitual one of the class instead of a random one.
    ``shortcut``: probability that a small mark typical of the class is painted into a corner.
    ``class_name``, ``scene``: fix the class or the background; everything else stays as drawn.
    Raises ``ValueError`` for an unknown name or a probability outside 0..1.
    """
    for name, value in (("confounding", confounding), ("shortcut", shortcut)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"Expected {name} to be a probability in 0..1, got {value}; try 0 or 1.")
    seed = split_seed(split, seed)
    choice = Dice(seed, _CHOICE)
    label, background, habitual = choice.pick(CLASSES), choice.pick(SCENES), choice.chance(confounding)
    label = label if class_name is None else check_name("class", class_name, CLASSES)
    if scene is not None:
        background = check_name("scene", scene, SCENES)
    elif habitual:
        background = HABITAT[label]
    back = draw_background(background, seed)
    parts = tuple(BUILDERS[label](Dice(seed, _BUILD), Livery.draw(Dice(seed, _PAINT))))
    pose, covered = _pose(Dice(seed, _POSE), parts, back.floor)
    return Scene(
        label=label,
        scene=background,
        seed=seed,
        behind=back.parts,
        thing=Thing(label, pose, parts),
        before=draw_front(background, seed, covered, _OCCLUSION),
        mark=_mark(Dice(seed, _MARK), label, shortcut),
    )


Span = tuple[float, float, float, float]


def _extent(pose: Pose, parts: tuple[Part, ...]) -> Span:
    """Box (x0, y0, x1, y1) of all corners under the linear part of a pose."""
    a, b, c, d = pose.matrix()
    xs: list[float] = []
    ys: list[float] = []
    for part in parts:
        for shape in part.shapes:
            for loop in shape.loops:
                us, vs = loop[::2], loop[1::2]
                xs += [a * u + b * v for u, v in zip(us, vs, strict=True)]
                ys += [c * u + d * v for u, v in zip(us, vs, strict=True)]
    return min(xs), min(ys), max(xs), max(ys)


def _pose(dice: Dice, parts: tuple[Part, ...], floor: tuple[float, float] | None) -> tuple[Pose, Span]:
    """A pose that keeps the object inside the picture, and its box (x0, y0, x1, y1)."""
    extent, slope, flipped = dice.between(0.56, 0.86), dice.between(-0.17, 0.17), dice.chance(0.5)
    where_x, where_y = dice.between(0.0, 1.0), dice.between(0.0, 1.0)
    if floor is not None:
        slope *= 0.35
    norm = 1.0 / (1.0 + slope * slope) ** 0.5
    turned = Pose(0.0, 0.0, 1.0, round(norm, 6), round(slope * norm, 6), flipped)
    x0, y0, x1, y1 = _extent(turned, parts)
    scale = extent / max(x1 - x0, y1 - y0)
    margin = 0.03
    x = margin - scale * x0 + where_x * (1.0 - 2.0 * margin - scale * (x1 - x0))
    top, bottom = margin - scale * y0, 1.0 - margin - scale * y1
    y = top + where_y * (bottom - top)
    if floor is not None:
        y = max(floor[0] + where_y * (floor[1] - floor[0]) - scale * y1, top)
    pose = Pose(x, y, scale, turned.cos, turned.sin, flipped)
    return pose, (x + scale * x0, y + scale * y0, x + scale * x1, y + scale * y1)


def _mark(dice: Dice, label: str, share: float) -> Part | None:
    """A badge whose corner, color and number of bars belong to the class: a shortcut past the object."""
    if not dice.chance(share):
        return None
    k = CLASSES.index(label)
    x, y = (0.075 if k % 2 else 0.925), (0.075 if k % 4 < 2 else 0.925)
    disc = Shape((ellipse(x, y, 0.045, steps=16),), outline=0.012, plain=True)
    lefts = [x - 0.03 + 0.022 * i for i in range(1 + k % 3)]
    ink = "white" if COLORS[k] != "white" else "black"
    bars = detail(*[box(left, y - 0.014, left + 0.014, y + 0.014) for left in lefts], color=ink)
    return Part("mark", (disc, bars), COLORS[k], center(disc.loops[0]), texture=None)
