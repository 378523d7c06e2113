"""From a scene to pixels and to the truth about every pixel.

The topmost shape that covers at least half of a pixel owns it: object, part, material, texture and color of
the pixel are that shape's. The color label is the one to be seen: where a pattern shows its second color,
that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from . import raster
from .scene import Chosen, Part, Scene, Shape
from .vocabulary import CATEGORIES, COLORS, MATERIALS, PALETTE, SCENES, check_name

Labels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

_PALETTE = np.array([PALETTE[name] for name in COLORS], np.float64)
_NUMBER = {c: {name: 1 + i for i, name in enumerate(names)} for c, names in CATEGORIES.items()}
_SURFACES: dict[str | None, int] = {None: raster.PLAIN, "speckle": raster.SPECKLE}
_SURFACES |= {name: 1 + i for i, name in enumerate(MATERIALS)}
_COLOR, _TEXTURE = _NUMBER["color"], _NUMBER["texture"]
_OBJECT, _PART, _MATERIAL = _NUMBER["object"], _NUMBER["part"], _NUMBER["material"]


def _pieces(scene: Scene) -> Iterator[tuple[Part, int, str | None, str | None, int]]:
    """(piece, frame, object name, part name, position among the object's parts or -1) from back to front."""
    for piece in scene.behind:
        yield piece, 0, piece.name, None, -1
    if scene.thing is not None:
        for i, piece in enumerate(scene.thing.parts):
            yield piece, 1, scene.thing.name, piece.name, i
    for piece in scene.before:
        yield piece, 0, piece.name, None, -1
    if scene.mark is not None:
        yield scene.mark, 0, None, None, -1


class _Tables:
    """A scene written as the flat arrays the compiled painter reads, and the labels of every shape."""

    def __init__(self, scene: Scene, size: int) -> None:
        points: list[float] = []
        paths: list[int] = [0]
        ints: list[tuple[int, ...]] = []
        floats: list[tuple[float, ...]] = []
        labels: list[tuple[int, ...]] = [(0, 0, 0, 0, 0, 0)]
        self.owner: list[int] = []
        for piece, frame, thing, part, position in _pieces(scene):
            names = (_OBJECT.get(thing or "", 0), _PART.get(part or "", 0))
            for shape in piece.shapes:
                first = len(paths) - 1
                for loop in shape.loops:
                    points += loop
                    paths.append(len(points) // 2)
                row, label = _row(piece, shape, frame, first, len(paths) - 1)
                ints.append(row)
                look = (shape.tone, *shape.shade, shape.outline, shape.width)
                floats.append((*look, piece.period, *piece.turn))
                labels.append((*names, *label))
                self.owner.append(position)
        self.points = np.array(points, np.float64).reshape(-1, 2)
        self.paths = np.array(paths, np.int64)
        self.ints = np.array(ints, np.int64)
        self.floats = np.array(floats, np.float64)
        self.labels: Labels = np.array(labels, np.uint8)
        self.frames = _frames(scene, size)


def _row(
    piece: Part, shape: Shape, frame: int, first: int, last: int
) -> tuple[tuple[int, ...], tuple[int, int, int, int]]:
    """The painter's integers of a shape, and its labels (material, texture, base color, accent color)."""
    color = _COLOR[shape.color or piece.color]
    accent = _COLOR[piece.accent]
    material = shape.material or piece.material
    texture = 1 if shape.plain and piece.texture is not None else _TEXTURE.get(piece.texture or "", 0)
    kind = raster.LINES if shape.width > 0.0 else raster.LOOPS
    surface = _SURFACES[material or piece.surface]
    row = (frame, first, last, kind, color - 1, accent - 1, max(texture - 1, 0), surface)
    return row, (_MATERIAL.get(material or "", 0), texture, color, accent)


def _frames(scene: Scene, size: int) -> npt.NDArray[np.float64]:
    frames = np.array([[size, 0, 0, size, 0, 0, size]] * 2, np.float64)
    if scene.thing is not None:
        pose = scene.thing.pose
        frames[1] = [size * value for value in (*pose.matrix(), pose.x, pose.y, pose.scale)]
    return frames


@dataclass(frozen=True)
class Rendering:
    """A painted scene and its label maps (0: unlabeled; else 1 + position of the name in its vocabulary).

    ``image``: uint8 [h, w, 3]. ``object``, ``part``, ``material``, ``texture``, ``color``: uint8 [h, w].
    ``index``: int16 [h, w], position of the part of the main object that owns the pixel, -1 elsewhere.
    """

    scene_data: Scene = field(repr=False)
    image: npt.NDArray[np.uint8]
    object: Labels
    part: Labels
    material: Labels
    texture: Labels
    color: Labels
    index: npt.NDArray[np.int16]

    def rendered(self) -> Rendering:
        """Itself: scenes and renderings are asked alike for what is known of every pixel."""
        return self

    @property
    def object_name(self) -> str | None:
        """Name of the main object; None where there is none."""
        thing = self.scene_data.thing
        return None if thing is None else thing.name

    @property
    def size(self) -> int:
        """Side of the picture in pixels."""
        return int(self.image.shape[0])

    @property
    def scene(self) -> int:
        """Label of the whole image in the category scene."""
        return 1 + SCENES.index(self.scene_data.scene)

    def labels(self, category: str) -> Labels:
        """Label map of a category; scene is constant over the image."""
        check_name("category", category, tuple(CATEGORIES))
        if category == "scene":
            return np.full(self.object.shape, self.scene, np.uint8)
        result: Labels = getattr(self, category)
        return result

    def mask(self, name: str, category: str | None = None) -> npt.NDArray[np.bool_]:
        """Pixels of a concept, bool [h, w]; the category is found from the name where it is not given.

        Raises ``ValueError`` if no category (or not the given one) has the name.
        """
        if category is None:
            everything = tuple(n for names in CATEGORIES.values() for n in names)
            check_name("concept", name, everything)
            category = next(c for c, names in CATEGORIES.items() if name in names)
        check_name("category", category, tuple(CATEGORIES))
        check_name(category, name, CATEGORIES[category])
        return np.asarray(self.labels(category) == _NUMBER[category][name])

    def object_mask(self) -> npt.NDArray[np.bool_]:
        """Pixels of the main object, bool [h, w]."""
        return np.asarray(self.index >= 0)

    def part_mask(self, part: Chosen) -> npt.NDArray[np.bool_]:
        """Pixels of the part at a position, or of all parts of a name, bool [h, w]."""
        return np.asarray(np.isin(self.index, self.scene_data.indices(part)))

    def box(self, part: Chosen | None = None) -> Box | None:
        """Tight box (x0, y0, x1, y1) of the object or a part, upper ends excluded; None if nothing shows."""
        mask = self.object_mask() if part is None else self.part_mask(part)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return None
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def landmarks(self) -> list[tuple[str, float, float, bool]]:
        """(part, x, y, visible) of every part, in pixels with centers at .5; visible: it owns that pixel."""
        thing = self.scene_data.thing
        result = []
        for i, piece in enumerate(self.scene_data.parts):
            assert thing is not None
            x, y = (self.size * value for value in thing.pose.place(*piece.landmark))
            column, row = int(x), int(y)
            inside = 0 <= x < self.size and 0 <= y < self.size
            result.append((piece.name, x, y, bool(inside and self.index[row, column] == i)))
        return result

    @cached_property
    def _tables(self) -> _Tables:
        return _Tables(self.scene_data, self.size)

    def coverage(self, part: Chosen | None = None) -> npt.NDArray[np.float64]:
        """Share of each pixel's color that comes from a part (or the object), float64 [h, w] in 0..1."""
        t = self._tables
        wanted = range(len(self.scene_data.parts)) if part is None else self.scene_data.indices(part)
        chosen = np.isin(t.owner, list(wanted))
        shares: npt.NDArray[np.float64] = raster.visible_coverage(
            self.size, t.points, t.paths, t.ints, t.floats, t.frames, chosen
        )
        return shares


def render(scene: Scene, size: int = 128) -> Rendering:
    """Paint a scene with all its label maps, ``size`` pixels square. ``ValueError`` for a size below 8."""
    if size < 8:
        raise ValueError(f"Expected a size of at least 8 pixels, got {size}; try 128.")
    t = _Tables(scene, size)
    grain = scene.seed & 0xFFFFFFF
    image, top, accent = raster.paint(size, t.points, t.paths, t.ints, t.floats, t.frames, _PALETTE, grain)
    thing, part, material, texture, base, second = (column[top + 1] for column in t.labels.T)
    color = np.where(accent, second, base)
    owner = np.array([*t.owner, -1], np.int16)
    return Rendering(scene, image, thing, part, material, texture, color, owner[top])
