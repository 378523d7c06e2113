"""Names that people give to units and concepts."""

import json

import pytest
from tests.naming.test_naming import CLASSES, Averaged
from tests.networks import images, wrap

from pellucid.core.documents import DocumentError
from pellucid.naming import concept_key, given_names, last_layer, name_units, unit_key, vocabulary


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_a_name_is_kept_for_the_weights_and_used_first():
    net = wrap(Averaged(), classes=CLASSES)
    layer = last_layer(net)
    names = given_names(net).give(unit_key(layer, 3), " rows of books ").give(concept_key("ab", 1), "snow")
    assert names.file.is_file()
    assert given_names(net).concept("ab", 1) == "snow"
    third, fourth = name_units(net, images(1), layer, [3, 4], words=vocabulary(net))
    assert (third.words, third.kind) == ("rows of books", "given")
    assert fourth.kind != "given"
    assert given_names(net).give(unit_key(layer, 3), None).unit(layer, 3) is None
    other = wrap(Averaged(), classes=CLASSES, seed=5)
    assert given_names(other).names == {}


def test_names_of_other_weights_are_refused(tmp_path):
    net, other = wrap(Averaged(), classes=CLASSES), wrap(Averaged(), classes=CLASSES, seed=5)
    names = given_names(net, tmp_path / "n.json").give(unit_key("a", 1), "snow")
    with pytest.raises(DocumentError, match="other weights"):
        given_names(other, names.file)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 81])
def test_what_is_no_name_is_refused_and_nothing_is_lost(tmp_path, name):
    net = wrap(Averaged(), classes=CLASSES)
    names = given_names(net, tmp_path / "n.json").give("unit:a:1", "snow")
    with pytest.raises(ValueError, match="Expected a name"):
        names.give("unit:a:1", name)
    assert given_names(net, names.file).names == {"unit:a:1": "snow"}


def test_a_damaged_file_is_refused_in_one_line(tmp_path):
    net = wrap(Averaged(), classes=CLASSES)
    file = tmp_path / "n.json"
    for content in ("{", json.dumps({"network": "x", "names": {}}), json.dumps([])):
        file.write_text(content)
        with pytest.raises(DocumentError) as refused:
            given_names(net, file)
        assert "\n" not in str(refused.value)
