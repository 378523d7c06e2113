"""Drawing: same seed same scene, edits, JSON, and what says something about the class and what does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.world import CATEGORIES, CLASSES, HABITAT, PARTS, SCENES, SPLITS, Scene, draw
from pellucid.world.vocabulary import ACCENTS, COLORS, PALETTE

SEEDS = st.integers(0, 999_999_999)


def chi_square(pairs: Counter[tuple[object, object]]) -> tuple[float, int]:
    rows, columns = Counter[object](), Counter[object]()
    for (a, b), n in pairs.items():
        rows[a] += n
        columns[b] += n
    total = sum(rows.values())
    expected = {(a, b): rows[a] * columns[b] / total for a in rows for b in columns}
    return (
        sum((pairs[key] - e) ** 2 / e for key, e in expected.items()),
        (len(rows) - 1) * (len(columns) - 1),
    )


def assert_independent(pairs: Counter[tuple[object, object]]) -> None:
    # Wilson and Hilferty's normal approximation: 4 standard deviations, one false alarm in 30,000.
    value, degrees = chi_square(pairs)
    z = ((value / degrees) ** (1 / 3) - (1 - 2 / (9 * degrees))) / (2 / (9 * degrees)) ** 0.5
    assert z < 4.0


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    return [draw(i) for i in range(3000)]


def test_vocabulary_is_what_the_format_promises() -> None:
    assert len(CLASSES) == 10
    assert len(SCENES) == 8
    assert len(PARTS) >= 25
    assert len(COLORS) == 11
    assert all(len(set(names)) == len(names) for names in CATEGORIES.values())
    assert set(PALETTE) == set(ACCENTS) == set(COLORS)
    assert set(HABITAT.values()) == set(SCENES)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from(sorted(SPLITS)))
def test_json_round_trip_and_same_seed(seed: int, split: str) -> None:
    scene = draw(seed, split=split, shortcut=0.5)
    assert Scene.from_json(scene.to_json()) == scene == draw(seed, split=split, shortcut=0.5)
    assert hash(scene) == hash(Scene.from_json(scene.to_json()))


def test_splits_do_not_meet() -> None:
    assert len({draw(5, split=split).seed for split in SPLITS}) == 3
    assert draw(5, split="train") != draw(5, split="test")


def test_class_says_nothing_about_background_paint_or_size(many: list[Scene]) -> None:
    def first(scene: Scene, attribute: str) -> object:
        name = {"bicycle": "frame", "airliner": "fuselage", "helicopter": "cabin", "cargo ship": "hull"}
        name |= {"sailboat": "sail", "truck": "container", "house": "wall"}
        part = next(p for p in scene.parts if p.name == name.get(scene.label, "body"))
        return getattr(part, attribute)

    assert_independent(Counter((s.label, s.scene) for s in many))
    assert_independent(Counter((s.label, first(s, "color")) for s in many))
    assert_independent(Counter((s.label, first(s, "material")) for s in many))
    # A frame of thin tubes carries no pattern.
    assert_independent(Counter((s.label, first(s, "texture")) for s in many if s.label != "bicycle"))
    assert_independent(Counter((s.label, s.thing.pose.flipped) for s in many if s.thing))
    assert_independent(Counter((s.label, bool(s.before)) for s in many))


def test_the_independence_check_can_fail() -> None:
    scenes = [draw(i, confounding=0.3) for i in range(600)]
    with pytest.raises(AssertionError):
        assert_independent(Counter((s.label, s.scene) for s in scenes))


def test_confounding_one_is_the_habitat_and_zero_to_one_only_moves_backgrounds() -> None:
    for i in range(100):
        free, bound = draw(i), draw(i, confounding=1.0)
        assert bound.scene == HABITAT[bound.label]
        assert free.label == bound.label
        assert free.thing is not None
        assert bound.thing is not None
        assert free.thing.parts == bound.thing.parts


def test_shortcut_marks_tell_classes_apart() -> None:
    assert all(draw(i).mark is None for i in range(50))
    marks = {name: draw(3, class_name=name, shortcut=1.0).mark for name in CLASSES}
    assert len(set(marks.values())) == len(CLASSES)
    assert draw(3, shortcut=1.0).without_mark() == draw(3)
    share = sum(draw(i, shortcut=0.3).mark is not None for i in range(1000)) / 1000
    assert 0.24 < share < 0.36


def test_classes_share_parts_and_use_all(many: list[Scene]) -> None:
    users: dict[str, set[str]] = {name: set() for name in PARTS}
    for scene in many:
        for part in scene.parts:
            users[part.name].add(scene.label)
    assert all(users.values())
    assert {"car", "truck", "bicycle"} <= users["wheel"]
    assert {"airliner", "bird"} <= users["wing"]
    assert {"sailboat", "cargo ship"} <= users["hull"]
    assert {"car", "truck", "house", "airliner"} <= users["door"]


def test_edits_change_what_they_name_and_nothing_else() -> None:
    scene = draw(11, class_name="truck")
    first = scene.indices("wheel")[0]
    painted = (
        scene.with_color("wheel", "pink").with_texture("container", "zigzag").with_material("cabin", "stone")
    )
    assert {p.color for p in painted.parts if p.name == "wheel"} == {"pink"}
    assert [p.texture for p in painted.parts if p.name == "container"] == ["zigzag"]
    assert [p.material for p in painted.parts if p.name == "cabin"] == ["stone"]
    assert [p.shapes for p in painted.parts] == [p.shapes for p in scene.parts]
    assert "wheel" not in scene.without_part("wheel").part_names()
    assert len(scene.without_part(first).parts) == len(scene.parts) - 1
    assert scene.without_part(-1).parts == scene.parts[:-1]
    assert scene.without_object().parts == ()
    assert scene.without_object().target == scene.target
    moved = scene.with_scene("snow")
    assert (moved.thing, moved.scene) == (scene.thing, "snow")
    assert moved.behind != scene.behind


def test_a_recolored_pattern_still_stands_out() -> None:
    for color in COLORS:
        part = draw(2, class_name="fish").with_color("body", color).parts[3]
        assert part.accent in ACCENTS[color]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw(0, class_name="bycicle"), "got 'bycicle'; try 'bicycle'"),
        (lambda: draw(0, scene="see"), "Expected scene to be a known name"),
        (lambda: draw(0, split="tset"), "try 'test'"),
        (lambda: draw(0, confounding=1.5), r"Expected confounding to be a probability in 0..1, got 1.5"),
        (
            lambda: draw(0, class_name="fish").without_part("wheel"),
            "Expected a part of this fish, got 'wheel'",
        ),
        (lambda: draw(0).with_color("whel", "red"), "try 'wheel'"),
        (lambda: draw(0).with_texture(0, "stripes"), "try 'striped'"),
        (lambda: Scene.from_json('{"label": "car"}'), "Expected the JSON of a scene"),
        (
            lambda: Scene.from_json(draw(0).to_json().replace('"outline"', '"contour"')),
            "Expected the JSON of",
        ),
    ],
)
def test_errors_name_the_mistake(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


def test_indices_out_of_range() -> None:
    with pytest.raises(IndexError, match="Expected a part index below"):
        draw(0).without_part(999)
    with pytest.raises(IndexError, match="Expected an image index"):
        draw(-1)


def test_a_scene_is_plain_data() -> None:
    text = draw(1).to_json()
    assert json.loads(text)["label"] in CLASSES


def test_importing_the_world_does_not_import_torch() -> None:
    code = "import sys, pellucid.world; assert 'torch' not in sys.modules and 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
