"""Concepts found in pictures."""

import numpy as np
import pytest
import torch
from tests.naming.test_naming import CLASSES, Averaged
from tests.networks import images, wrap

import pellucid as pl
from pellucid.core.documents import DocumentError
from pellucid.data.pixels import ImageError
from pellucid.naming.book import concept_heatmap, concepts, load_book, with_names
from pellucid.naming.book.factorizing import METHODS, directions, explained, loadings, matched
from pellucid.naming.given import concept_key, given_names


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="module")
def net():
    return wrap(Averaged(), classes=CLASSES)


def made(count=6):
    draw = np.random.default_rng(0)
    return [draw.integers(0, 255, (40, 40, 3), dtype=np.uint8) for _ in range(count)]


def mixed(count=300, seed=0):
    """Rows made of three directions that do not overlap."""
    draw = np.random.default_rng(seed)
    basis = np.kron(np.eye(3), np.ones((1, 4)) / 2).astype(np.float32)
    return (draw.gamma(0.5, size=(count, 3)) @ basis).astype(np.float32), basis


def test_factorization_finds_what_rows_are_made_of():
    rows, basis = mixed()
    found = directions(rows, 3, "nmf")
    assert matched(basis, found).min() > 0.99
    assert explained(rows, loadings(rows, found, "nmf"), found) > 0.99


@pytest.mark.parametrize("how", METHODS)
def test_loadings_are_not_negative_and_directions_have_length_one(how):
    rows, _ = mixed()
    found = directions(rows, 4, how)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    made_of = loadings(rows, found, how)
    assert made_of.shape == (300, len(found))
    assert (made_of >= 0).all()
    assert explained(rows, made_of, found) <= 1


def test_fewer_different_rows_than_directions():
    rows = np.ones((5, 7), np.float32)
    for how in METHODS:
        assert 1 <= len(directions(rows, 6, how)) <= 6


@pytest.mark.parametrize("method", METHODS)
def test_worth_is_what_taking_a_concept_away_costs(net, method):
    book = concepts(net, made(), count=3, method=method, measured=1, seeds=2)
    (first, *_) = book
    image = net.preprocess(pl.read_image(made()[0]).image)[None]
    tail = pl.Tail(net, image, book.layer)
    target = int(tail.output.argmax())
    by_index = {each.index: each for each in book.look(net, image)}
    empty = tail(torch.zeros_like(tail.activation))[0, target]
    for index, facts in enumerate(book):
        if index in by_index:
            fall = tail.output[0, target] - tail(tail.activation - by_index[index].part)[0, target]
            expected = float(fall / (tail.output[0, target] - empty))
            assert facts.share == pytest.approx(expected, rel=1e-2, abs=1e-3)
            # the head is linear behind the last layer, so the gradient's estimate is exact
            assert facts.estimate == pytest.approx(facts.share, rel=1e-2, abs=1e-3)
    assert [facts.share for facts in book] == sorted((facts.share for facts in book), reverse=True)
    assert first.measured == 1
    assert first.seeds is not None


def test_nearly_everything_is_explained_by_as_many_directions_as_units(net):
    assert concepts(net, made(), count=12, seeds=1, measured=1).explained > 0.95


def test_crops_are_strongest_first_and_lie_in_the_picture(net):
    for facts in concepts(net, made(), count=3, measured=1, seeds=1):
        values = [crop.value for crop in facts.crops]
        assert values == sorted(values, reverse=True)
        for crop in facts.crops:
            top, left, bottom, right = crop.box
            assert 0 <= top < bottom <= 224
            assert 0 <= left < right <= 224


def test_a_book_is_kept_and_belongs_to_its_network(net, tmp_path):
    book = concepts(net, made(), count=3, measured=1, seeds=1)
    file = book.save(tmp_path)
    again = load_book(tmp_path)
    assert again.concepts == book.concepts
    assert torch.equal(again.directions, book.directions)
    assert again.fingerprint == book.fingerprint
    other = wrap(Averaged(), classes=CLASSES, seed=9)
    with pytest.raises(DocumentError, match="other weights"):
        again.look(other, images(1))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DocumentError):
        load_book(file)
    with pytest.raises(FileNotFoundError):
        load_book(tmp_path / "none")


def test_a_given_name_is_used(net):
    book = concepts(net, made(), count=2, measured=1, seeds=1)
    names = given_names(net).give(concept_key(book.fingerprint, 1), "rows of books")
    assert [facts.given for facts in with_names(book, names)] == [None, "rows of books"]
    assert [facts.given for facts in concepts(net, made(), count=2, measured=1, seeds=1)][
        1
    ] == "rows of books"


def test_one_picture_and_more_than_are_taken(net):
    single = concepts(net, made(1), count=2)
    assert "fewer than four" in " ".join(single.notes)
    assert single.concepts[0].halves is None
    few = concepts(net, made(6), count=2, most=5, measured=1, seeds=1)
    assert few.pictures == 5
    assert "first 5 pictures" in " ".join(few.notes)


def test_nothing_and_what_is_no_setting(net, tmp_path):
    with pytest.raises(ImageError):
        concepts(net, tmp_path)
    with pytest.raises(ValueError, match="`count`"):
        concepts(net, made(1), count=0)
    with pytest.raises(ValueError, match="nmf, kmeans, units"):
        concepts(net, made(1), method="pca")


def test_relevance_through_all_concepts_is_the_relevance_of_the_class(net):
    book = concepts(net, made(), count=4, measured=1, seeds=1)
    image = images(1, (3, 224, 224))
    lower = net.default_layers[0]
    maps = [concept_heatmap(net, image, book, index, to=lower).values for index in range(len(book))]
    whole = pl.propagate(net, image, layers=[lower], composite="z-plus")
    total = torch.stack(maps).sum(0)
    assert total.shape == maps[0].shape
    reference = next(iter(whole.values())) if isinstance(whole, dict) else whole
    assert reference is not None
    assert float(total.sum()) > 0
    assert not torch.allclose(maps[0], maps[1])
    with pytest.raises(IndexError, match="from 0 to"):
        concept_heatmap(net, image, book, 99)
