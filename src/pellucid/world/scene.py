"""A scene as data: what stands where, in which color, pattern and material; and the edits that ask "what if".

Nothing here knows about pixels. A scene is a value: frozen, comparable, hashable, and exact through JSON.
`render` makes the picture and its masks from it, so the true effect of a part on a network is

    effect(part) = logit(render(scene)) - logit(render(scene.without_part(part))).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from pellucid.core.documents import FlawError, convert, parse, refuse_unknown

from .geometry import Loop, center
from .vocabulary import (
    ACCENTS,
    CLASSES,
    COLORS,
    MATERIALS,
    OBJECTS,
    PARTS,
    SCENES,
    TEXTURES,
    check_name,
)

if TYPE_CHECKING:
    from .render import Rendering


@dataclass(frozen=True, slots=True)
class Shape:
    """Outlines painted together: filled polygons, or thick lines where ``width`` is positive.

    ``color``, ``material``: a detail's own (None: those of the part). ``plain``: no pattern here. ``tone``:
    lighter (positive) or darker. ``outline``: width of the dark contour. ``shade``: lightness added at the
    top and at the bottom. Lengths are in the units of the frame the shape lives in.
    """

    loops: tuple[Loop, ...]
    width: float = 0.0
    color: str | None = None
    material: str | None = None
    plain: bool = False
    tone: float = 0.0
    outline: float = 0.03
    shade: tuple[float, float] = (0.10, -0.10)


@dataclass(frozen=True, slots=True)
class Part:
    """A named piece of the main object, or a whole piece of stuff (cloud, tree, ...), with its paint.

    ``landmark``: a point inside the part's own shape. ``accent``: second color of the pattern, ``period`` its
    length, ``turn`` its direction as (cosine, sine). ``surface``: lightness grain of stuff that has no
    material.
    """

    name: str
    shapes: tuple[Shape, ...]
    color: str
    landmark: tuple[float, float]
    material: str | None = None
    texture: str | None = "solid"
    accent: str = "white"
    period: float = 0.2
    turn: tuple[float, float] = (1.0, 0.0)
    surface: str | None = None

    def recolored(self, color: str) -> Part:
        """The part in another base color; a pattern keeps its second color where that still stands out."""
        check_name("color", color, COLORS)
        accent = self.accent if self.accent in ACCENTS[color] else ACCENTS[color][0]
        return replace(self, color=color, accent=accent)


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the object's frame lies in the picture (side 1): place = (x, y) + scale * R * F * p.

    R is the rotation by (``cos``, ``sin``), F the mirror along x of a ``flipped`` object.
    """

    x: float = 0.5
    y: float = 0.5
    scale: float = 0.4
    cos: float = 1.0
    sin: float = 0.0
    flipped: bool = False

    def matrix(self) -> tuple[float, float, float, float]:
        """Row-major linear map from the object's frame to picture coordinates."""
        sign = -1.0 if self.flipped else 1.0
        return (
            sign * self.scale * self.cos,
            -self.scale * self.sin,
            sign * self.scale * self.sin,
            self.scale * self.cos,
        )

    def place(self, u: float, v: float) -> tuple[float, float]:
        """Picture coordinates of a point of the object's frame."""
        a, b, c, d = self.matrix()
        return a * u + b * v + self.x, c * u + d * v + self.y


@dataclass(frozen=True, slots=True)
class Thing:
    """The main object: a class, its pose and its parts from back to front."""

    name: str
    pose: Pose
    parts: tuple[Part, ...]


Chosen = str | int


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture before it is painted.

    ``label`` is the class the scene was drawn for (it stays when the object is removed), ``scene`` the kind
    of background, ``behind`` and ``before`` the stuff on either side of the object, ``mark`` a shortcut
    painted over everything.
    """

    label: str
    scene: str
    seed: int
    behind: tuple[Part, ...]
    thing: Thing | None
    before: tuple[Part, ...] = ()
    mark: Part | None = None

    def rendered(self) -> Rendering:
        """The scene painted, 128 pixels square; see `pellucid.world.render`."""
        from .render import render

        return render(self)

    @property
    def target(self) -> int:
        """Index of the class in `CLASSES`."""
        return CLASSES.index(self.label)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Parts of the main object, from back to front; none once the object is removed."""
        return () if self.thing is None else self.thing.parts

    def part_names(self) -> tuple[str, ...]:
        """Distinct part names in order of first appearance."""
        return tuple(dict.fromkeys(part.name for part in self.parts))

    def indices(self, part: Chosen) -> tuple[int, ...]:
        """Positions of the parts meant: all of a name, or the one at a position.

        Raises ``ValueError`` for a name this scene does not have and ``IndexError`` for a position out of
        range.
        """
        if isinstance(part, str):
            check_name("part", part, PARTS)
            found = tuple(i for i, other in enumerate(self.parts) if other.name == part)
            if not found:
                have = ", ".join(self.part_names()) or "nothing"
                raise ValueError(f"Expected a part of this {self.label}, got {part!r}; try one of {have}.")
            return found
        if not -len(self.parts) <= part < len(self.parts):
            raise IndexError(f"Expected a part index below {len(self.parts)}, got {part}; try a part name.")
        return (part % len(self.parts),)

    def _with_parts(self, parts: tuple[Part, ...]) -> Scene:
        assert self.thing is not None
        return replace(self, thing=replace(self.thing, parts=parts))

    def _edited(self, part: Chosen, edit: Callable[[Part], Part]) -> Scene:
        chosen = set(self.indices(part))
        return self._with_parts(tuple(edit(p) if i in chosen else p for i, p in enumerate(self.parts)))

    def without_part(self, part: Chosen) -> Scene:
        """The scene without the part at a position, or without all parts of a name; all else stays."""
        gone = set(self.indices(part))
        return self._with_parts(tuple(p for i, p in enumerate(self.parts) if i not in gone))

    def without_object(self) -> Scene:
        """The empty scene: background, foreground stuff and mark stay."""
        return replace(self, thing=None)

    def with_color(self, part: Chosen, color: str) -> Scene:
        """The scene with a part in another base color (details with a color of their own keep it)."""
        return self._edited(part, lambda p: p.recolored(color))

    def with_texture(self, part: Chosen, texture: str) -> Scene:
        """The scene with another pattern on a part."""
        check_name("texture", texture, TEXTURES)
        return self._edited(part, lambda p: replace(p, texture=texture))

    def with_material(self, part: Chosen, material: str) -> Scene:
        """The scene with a part made of another material."""
        check_name("material", material, MATERIALS)
        return self._edited(part, lambda p: replace(p, material=material))

    def with_scene(self, scene: str) -> Scene:
        """The same object, unmoved, before another background; foreground stuff goes with the old one."""
        from .backgrounds import draw_background

        check_name("scene", scene, SCENES)
        return replace(self, scene=scene, behind=draw_background(scene, self.seed).parts, before=())

    def without_mark(self) -> Scene:
        """The scene without its shortcut mark."""
        return replace(self, mark=None)

    def to_json(self) -> str:
        """The scene as JSON; `Scene.from_json` gives an equal scene back."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Scene:
        """Read what `to_json` wrote. Raises ``ValueError`` if a name is unknown or a field is missing."""
        try:
            given = parse(text)
            scene = convert(given, Scene)
            refuse_unknown(given, json.loads(scene.to_json()))
        except FlawError as flaw:
            raise ValueError(
                f"Expected the JSON of a scene, got something else ({flaw}); try what Scene.to_json wrote."
            ) from None
        _check(scene)
        return scene


def _check(scene: Scene) -> None:
    """That all names are known. Raises UnknownNameError."""
    check_name("class", scene.label, CLASSES)
    check_name("scene", scene.scene, SCENES)
    if scene.thing is not None:
        check_name("class", scene.thing.name, CLASSES)
    for part in (*scene.behind, *scene.parts, *scene.before, *([scene.mark] if scene.mark else [])):
        if part.name != "mark":
            check_name("part or stuff", part.name, PARTS + OBJECTS)
        check_name("color", part.color, COLORS)
        for kind, name, names in (
            ("material", part.material, MATERIALS),
            ("texture", part.texture, TEXTURES),
        ):
            if name is not None:
                check_name(kind, name, names)


def stuff(
    name: str, color: str, *shapes: Shape, surface: str | None = None, material: str | None = None
) -> Part:
    """A piece of stuff in picture coordinates; it has no texture label: patterns are an object's."""
    at = center(shapes[0].loops[0])
    return Part(name, shapes, color, at, material=material, texture=None, surface=surface)
