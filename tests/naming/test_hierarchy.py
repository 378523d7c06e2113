"""Broader words: WordNet's for ImageNet's classes, a user's for others."""

import pytest
import torch

from pellucid.naming import Hierarchy, Noun, hierarchy_for, imagenet_hierarchy, read_hierarchy
from pellucid.naming.hierarchy import spoken
from pellucid.zoo.imagenet import imagenet_classes, torchvision_names

CLASSES = ["beagle", "boxer", "tabby", "tank_engine", "class 7"]
PETS = "class,broader\nbeagle,dog,pet\nboxer,dog\ntabby,pet\n"


def mass(size, **shares):
    values = torch.zeros(size)
    for index, share in shares.items():
        values[int(index[1:])] = share
    return values


def test_all_classes_have_words_and_nouns():
    hierarchy = imagenet_hierarchy()
    assert len(hierarchy.words) == 1000
    assert all(hierarchy.words)
    assert hierarchy.words[436] == "station wagon"
    assert int(hierarchy.under("n02084071").sum()) == 118  # dogs
    assert hierarchy.under("dog")[151]
    assert {"object", "artifact", "instrumentality"} <= {
        noun.name for noun in hierarchy.nouns if not noun.says
    }


def test_the_smallest_noun_that_holds_most():
    hierarchy = imagenet_hierarchy()
    assert hierarchy.broader(mass(1000, c436=0.4, c817=0.4, c404=0.2)).name == "car"
    assert hierarchy.broader(mass(1000, c404=0.5, c895=0.5), 0.9).name == "airplane"
    assert hierarchy.broader(mass(1000, c151=0.5, c281=0.5), 0.9).says
    # a dog, a teapot and a volcano have nothing in common that is worth saying
    assert hierarchy.broader(mass(1000, c151=0.33, c849=0.33, c980=0.34), 0.9) is None


def test_many_distributions_at_once_are_as_one_by_one():
    hierarchy = imagenet_hierarchy()
    draws = torch.rand(5, 1000, generator=torch.Generator().manual_seed(3)) ** 30
    assert hierarchy.broadest(list(draws), 0.7) == [hierarchy.broader(draw, 0.7) for draw in draws]


def test_imagenet_is_recognized_by_its_names_in_their_order():
    names = imagenet_classes()
    assert hierarchy_for(names) is imagenet_hierarchy()
    assert hierarchy_for(torchvision_names()) is imagenet_hierarchy()
    assert hierarchy_for(names[::-1]) is not imagenet_hierarchy()
    assert hierarchy_for(names[:999]).nouns == ()


def test_numbers_are_no_words():
    assert [spoken(name) for name in ("class 795", "795", "n_1", "tank_engine", "熊")] == [
        None,
        None,
        "n 1",
        "tank engine",
        "熊",
    ]


def test_a_users_hierarchy(tmp_path):
    file = tmp_path / "words.csv"
    file.write_text(PETS, encoding="utf-8")
    hierarchy = read_hierarchy(file, CLASSES)
    assert hierarchy.broader(mass(5, c0=0.5, c1=0.5)).name == "dog"
    assert hierarchy.broader(mass(5, c0=0.4, c2=0.6), 0.9).name == "pet"
    assert hierarchy.words == ("beagle", "boxer", "tabby", "tank engine", None)
    assert hierarchy.under("dog").tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("beagle,dog,pet\npet,dog\n", "without circles"),
        ("beagel,dog\n", "beagle"),
        ("beagle,dog\nboxer,dog,animal,dog\n", "without circles"),
    ],
)
def test_what_cannot_be_a_hierarchy_is_refused_in_one_line(tmp_path, text, complaint):
    file = tmp_path / "words.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="Expected") as refused:
        read_hierarchy(file, CLASSES)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_text_or_not_there(tmp_path):
    file = tmp_path / "words.csv"
    with pytest.raises(FileNotFoundError, match="Expected a hierarchy"):
        read_hierarchy(file, CLASSES)
    file.write_bytes(b"\xff\xfe\x00beagle")
    with pytest.raises(ValueError, match="UTF-8"):
        read_hierarchy(file, CLASSES)


def test_a_hundred_thousand_steps_without_a_circle(tmp_path):
    file = tmp_path / "words.csv"
    file.write_text("beagle," + ",".join(f"w{i}" for i in range(100_000)), encoding="utf-8")
    assert len(read_hierarchy(file, CLASSES).nouns) == 100_001


def test_unknown_nouns_are_named():
    with pytest.raises(ValueError, match="dog"):
        Hierarchy(["a"], [Noun("dog", "dog", (0,))]).under("dogg")
