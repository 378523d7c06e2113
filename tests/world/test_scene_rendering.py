"""Rendering: golden bytes, exact part removal, consistent masks, landmarks, any size, exact coverage."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.world import (
    CATEGORIES,
    CLASSES,
    COLORS,
    PARTS,
    SCENES,
    Part,
    Pose,
    Scene,
    Shape,
    Thing,
    draw,
    render,
)

SEEDS = st.integers(0, 999_999_999)


def lone(*shapes: Shape, pose: Pose | None = None, color: str = "red", texture: str = "solid") -> Scene:
    part = Part("body", shapes, color, (0.0, 0.0), texture=texture)
    return Scene("fish", "sky", 0, (), Thing("fish", pose or Pose(0.0, 0.0, 1.0), (part,)))


def test_golden_bytes() -> None:
    digest = hashlib.sha256()
    for i, name in enumerate(CLASSES):
        picture = render(draw(i, class_name=name, split="test", shortcut=0.5), size=(128, 97, 224)[i % 3])
        digest.update(picture.image.tobytes())
        for category in CATEGORIES:
            digest.update(picture.labels(category).tobytes())
    assert digest.hexdigest() == "2158283a26bef048b821e659693420b369eef3ecd9d2912207903b5d595115d5"


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.integers(24, 150))
def test_removing_a_part_changes_that_part_and_what_it_hid(seed: int, size: int) -> None:
    scene = draw(seed)
    full = render(scene, size)
    for k in range(0, len(scene.parts), 3):
        rest = render(scene.without_part(k), size)
        touched = full.coverage(k) > 0
        assert not (full.image != rest.image).any(-1)[~touched].any()
        owner = rest.index + (rest.index >= k)
        assert np.array_equal(owner != full.index, full.part_mask(k))
        for category in ("object", "part", "material", "texture", "color"):
            assert np.array_equal(
                full.labels(category)[~full.part_mask(k)], rest.labels(category)[~full.part_mask(k)]
            )


@settings(max_examples=12, deadline=None)
@given(SEEDS)
def test_recoloring_a_part_keeps_all_other_pixels_and_shapes(seed: int) -> None:
    scene = draw(seed)
    full = render(scene)
    other = render(scene.with_color(-1, "pink").with_texture(-1, "dotted"))
    assert not (full.image != other.image).any(-1)[full.coverage(-1) == 0].any()
    assert np.array_equal(full.index, other.index)
    bare = render(scene.without_object())
    assert not (full.image != bare.image).any(-1)[full.coverage() == 0].any()
    assert not bare.object_mask().any()


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_masks_are_consistent(seed: int) -> None:
    scene = draw(seed)
    picture = render(scene)
    assert np.array_equal(picture.part > 0, picture.object_mask())
    assert np.array_equal(picture.mask(scene.label), picture.object_mask())
    assert np.array_equal(picture.texture > 0, picture.object_mask())
    assert picture.object.min() > 0, "every pixel belongs to an object or to stuff"
    assert picture.color.min() > 0
    for category, names in CATEGORIES.items():
        assert picture.labels(category).max() <= len(names)
    for k, part in enumerate(scene.parts):
        assert set(np.unique(picture.part[picture.part_mask(k)])) <= {1 + PARTS.index(part.name)}
    total = sum(picture.coverage(k) for k in range(len(scene.parts)))
    assert np.allclose(total, picture.coverage())
    assert picture.scene == 1 + SCENES.index(scene.scene)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_owner_shows_and_what_shows_alone_owns(seed: int) -> None:
    picture = render(draw(seed))
    for k in range(len(picture.scene_data.parts)):
        shares = picture.coverage(k)
        assert (shares[picture.part_mask(k)] > 0.05).all()
        assert picture.part_mask(k)[shares > 0.9].all()


def test_every_object_shows_and_lies_inside() -> None:
    for i in range(200):
        picture = render(draw(i))
        assert picture.object_mask().mean() > 0.02
        bare = render(replace(picture.scene_data, before=(), mark=None))
        box = bare.box()
        assert box is not None
        assert min(box) > 0
        assert max(box) < 128


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_landmarks_lie_in_their_own_part(seed: int) -> None:
    scene = draw(seed)
    picture = render(scene)
    for k, (name, x, y, visible) in enumerate(picture.landmarks()):
        assert name == scene.parts[k].name
        assert 0 <= x < 128
        assert 0 <= y < 128
        assert visible == (picture.index[int(y), int(x)] == k)
        assert scene.thing is not None
        alone = replace(scene, thing=replace(scene.thing, parts=(scene.parts[k],)), before=(), mark=None)
        assert render(alone).index[int(y), int(x)] == 0


@pytest.mark.parametrize("size", [8, 33, 64, 224])
def test_masks_agree_between_sizes(size: int) -> None:
    scene = draw(21, class_name="house")
    picture, large = render(scene, size), render(scene, 448)
    assert picture.image.shape == (size, size, 3)
    share, reference = picture.object_mask().mean(), large.object_mask().mean()
    assert share == pytest.approx(reference, abs=0.5 / size)
    box, whole = picture.box(), large.box()
    assert box is not None
    assert whole is not None
    assert np.allclose(np.array(box) / size, np.array(whole) / 448, atol=1.5 / size)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-6.0, 22.0), st.floats(-6.0, 22.0)), min_size=3, max_size=3))
def test_coverage_is_the_exact_area(corners: list[tuple[float, float]]) -> None:
    # Twin: a triangle clipped to each pixel (Sutherland and Hodgman), then the shoelace formula.
    size = 16
    loop = tuple(v / size for corner in corners for v in corner)
    exact = np.array([[clipped_area(corners, x, y) for x in range(size)] for y in range(size)])
    found = render(lone(Shape((loop,), outline=0.0)), size).coverage()
    assert np.abs(found - exact).max() <= 0.5 / 255 + 1e-6


def clipped_area(polygon: list[tuple[float, float]], x: int, y: int) -> float:
    points = polygon
    for axis, bound, sign in ((0, x, 1), (0, x + 1, -1), (1, y, 1), (1, y + 1, -1)):
        kept: list[tuple[float, float]] = []
        for p, q in zip(points, points[1:] + points[:1], strict=True):
            a, b = sign * (p[axis] - bound), sign * (q[axis] - bound)
            if a >= 0:
                kept.append(p)
            if (a >= 0) != (b >= 0):
                t = a / (a - b)
                kept.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
        points = kept
    return (
        abs(sum(p[0] * q[1] - q[0] * p[1] for p, q in zip(points, points[1:] + points[:1], strict=True))) / 2
    )


def test_holes_lines_and_contours_cover_what_they_should() -> None:
    square = (0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.25, 0.75)
    hole = (0.375, 0.375, 0.375, 0.625, 0.625, 0.625, 0.625, 0.375)
    ring = render(lone(Shape((square, hole), outline=0.0)), 64)
    assert ring.object_mask().sum() == 32 * 32 - 16 * 16
    line = render(lone(Shape(((0.25, 0.5, 0.75, 0.5),), width=0.0625, outline=0.0)), 64)
    assert line.coverage().sum() == pytest.approx(36 * 4, abs=0.5)
    thick = render(lone(Shape((square,), outline=0.0625)), 64)
    assert thick.box() == (14, 14, 50, 50)


def test_colors_are_those_to_be_seen() -> None:
    square = (0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0)
    plain = render(lone(Shape((square,), outline=0.0, shade=(0.0, 0.0)), color="blue"))
    assert plain.mask("blue").all()
    assert (plain.image == (58, 126, 222)).all()
    striped = render(lone(Shape((square,), outline=0.0, shade=(0.0, 0.0)), color="blue", texture="striped"))
    assert striped.mask("striped").all()
    assert striped.mask("white").mean() == pytest.approx(0.5, abs=0.05)
    assert (striped.image[striped.mask("white")].min(-1) > 140).all()


@pytest.mark.parametrize("texture", ["striped", "dotted", "checked", "zigzag", "grid"])
def test_patterns_turn_with_the_object(texture: str) -> None:
    # A quarter turn of the object turns the picture by a quarter.
    square = (-1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0)
    shape = Shape((square,), outline=0.0, shade=(0.0, 0.0))
    upright = render(lone(shape, pose=Pose(0.5, 0.5, 0.4), texture=texture)).image
    turned = render(lone(shape, pose=Pose(0.5, 0.5, 0.4, cos=0.0, sin=1.0), texture=texture)).image
    assert np.abs(np.rot90(turned).astype(int) - upright).max() <= 1
    assert upright.std() > 5


def test_mark_is_painted_last_and_belongs_to_nothing() -> None:
    scene = draw(8, class_name="bird", shortcut=1.0)
    picture, clean = render(scene), render(scene.without_mark())
    changed = (picture.image != clean.image).any(-1)
    assert 50 < changed.sum() < 300
    assert (picture.object[changed] == 0).mean() > 0.7


def test_lookups_and_errors() -> None:
    picture = render(draw(0, class_name="car"))
    assert np.array_equal(picture.mask("car"), picture.mask("car", "object"))
    assert picture.mask("sky", "scene").all() == (picture.scene_data.scene == "sky")
    with pytest.raises(ValueError, match="try 'wheel'"):
        picture.mask("weel")
    with pytest.raises(ValueError, match="Expected part to be a known name, got 'red'"):
        picture.mask("red", "part")
    with pytest.raises(ValueError, match="Expected a size of at least 8"):
        render(draw(0), 4)
    assert len(COLORS) == 11


@pytest.mark.parametrize(("share", "owned"), [(0.45, 0), (0.55, 1)])
def test_half_a_pixel_owns_it(share: float, owned: int) -> None:
    side = 1 / 16
    loop = (side, side, (1 + share) * side, side, (1 + share) * side, 2 * side, side, 2 * side)
    picture = render(lone(Shape((loop,), outline=0.0)), 16)
    assert picture.object_mask().sum() == owned
    assert picture.coverage()[1, 1] == pytest.approx(share, abs=0.5 / 255)
