"""Painted pictures in an explanation: of this very network, beside the neuron they were painted for, with honest words."""

import base64
import io
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.networks import Small

import pellucid as pl
from pellucid.core.storage import fingerprint
from pellucid.data.images import ImageError
from pellucid.report import render_page
from pellucid.speech.english import English
from pellucid.speech.text import times
from pellucid.visualization.painted import SIDE, pictures_for
from pellucid.visualization.result import PicturesError, write_facts

UNITS = 8


@pytest.fixture
def net():
    torch.manual_seed(0)
    return pl.load(Small(UNITS), input_shape=(3, 32, 32), classes=["ant", "bee", "cat", "dog"])


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))


@pytest.fixture
def order(net, photo):
    """The important neurons, most important first."""
    return [neuron.unit for neuron in explained(net, photo).neurons]


def explained(net, photo, pictures=None, units=3):
    return pl.explain(net, photo, units=units, faithfulness=False, methods=["gradcam"], pictures=pictures)


def noise(seed, size=32):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8))


def folder_of(folder, rows, network="Small", sha256=None, size=32):
    """A folder as ``pellucid visualize`` writes it; ``rows``: (label, status, ratio)."""
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for seed, (label, status, ratio) in enumerate(rows):
        noise(seed, size).save(folder / f"{seed}.png")
        images.append(
            {"label": label, "status": status, "certificate": {"ratio": ratio}, "file": f"{seed}.png"}
        )
    facts = {"network": network, "method": "pyramid", "images": images}
    (folder / "visualization.json").write_text(json.dumps(facts))
    if sha256 is not None:
        run = {"command": "visualize", "network": {"name": network, "sha256": sha256}}
        (folder / "run.json").write_text(json.dumps(run))
    return folder


def notes_of(one):
    return [note for note in one.image["notes"] if "picture" in note]


# ---- the facts


def test_a_neuron_has_its_picture(net, photo, order, tmp_path):
    a, b, c = order
    rows = [
        (f"two:{b}", "ok", 2.71),
        (f"one:{c}", "ok", 9.0),
        (f"two:{a}", "never active", None),
        ("class ant", "ok", 3.0),
    ]
    found = explained(net, photo, folder_of(tmp_path, rows, sha256=fingerprint(net.module)))
    first, second, third = found.neurons
    assert third.painted is None
    assert (first.painted.status, first.painted.ratio) == ("never active", None)
    assert (second.painted.status, second.painted.ratio, second.painted.method) == ("ok", 2.71, "pyramid")
    assert np.array_equal(second.painted.picture, noise(0))
    assert np.array_equal(first.painted.picture, noise(2))
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))["neurons"]
    assert [neuron["painted"] for neuron in plain] == [
        {"method": "pyramid", "status": "never active", "ratio": None},
        {"method": "pyramid", "status": "ok", "ratio": 2.71},
        None,
    ]
    whole = found.to_json(pictures=True)["neurons"]
    head, _, content = whole[1]["painted"].pop("picture").partition(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(Image.open(io.BytesIO(base64.b64decode(content))), noise(0))
    assert whole[1]["painted"] == plain[1]["painted"]


def test_a_large_picture_is_made_small(net, photo, order, tmp_path):
    folder = folder_of(tmp_path, [(f"two:{order[0]}", "ok", 1.5)], size=400)
    assert explained(net, photo, folder, units=1).neurons[0].painted.picture.size == (SIDE, SIDE)


def test_what_is_missing_is_one_note(net, photo, order, tmp_path):
    a, b, c = order
    sha256 = fingerprint(net.module)
    folder = folder_of(tmp_path / "p", [(f"two:{b}", "ok", 2.0)], sha256=sha256)
    (note,) = notes_of(explained(net, photo, folder))
    assert note.startswith(f"no picture was painted of neurons {a}, {c} of two: ")
    assert f"`pellucid visualize --units two:{a},{c} --out FOLDER`" in note
    (note,) = notes_of(explained(net, photo, folder, units=1))
    assert note.startswith(f"no picture was painted of neuron {a} of two: ")
    rest = folder_of(
        tmp_path / "q",
        [(f"two:{k}", "ok", ratio) for k, ratio in ((a, 3.0), (b, 4.0), (c, 5.0))],
        sha256=sha256,
    )
    both = explained(net, photo, [folder, rest])
    assert notes_of(both) == []
    assert [neuron.painted.ratio for neuron in both.neurons] == [3.0, 2.0, 5.0], (
        "the first folder is preferred"
    )


def test_without_a_folder_nothing_is_said(net, photo):
    for pictures in (None, []):
        found = explained(net, photo, pictures)
        assert notes_of(found) == []
        assert [neuron["painted"] for neuron in found.to_json(pictures=True)["neurons"]] == [None] * 3


def test_several_images_share_the_pictures(net, photo, order, tmp_path):
    folder = folder_of(tmp_path, [(f"two:{k}", "ok", 2.0) for k in range(UNITS)])
    several = explained(net, [photo, photo.rotate(90)], str(folder))
    assert all(neuron.painted is not None for one in several for neuron in one.neurons)


def test_what_the_library_paints_is_found(net, photo, order, tmp_path):
    made = pl.visualize(
        net, pl.Unit("two", order[0]), steps=3, octaves=1, size=32, images=torch.rand(2, 3, 32, 32), normalized=True
    )  # fmt: skip
    found = explained(net, photo, made.save(tmp_path), units=1)
    painted = found.neurons[0].painted
    assert painted.ratio == pytest.approx(made.certificate[0].ratio)
    assert np.array_equal(painted.picture, made.pictures[0])
    (note,) = notes_of(found)
    assert "do not say with which weights of Small they were painted" in note


# ---- bad input


def test_pictures_of_another_network_are_refused(net, photo, tmp_path):
    other = folder_of(tmp_path / "a", [("two:1", "ok", 2.0)], network="resnet18")
    with pytest.raises(ValueError, match="Expected pictures of `Small`, got those of `resnet18`"):
        explained(net, photo, other)
    weights = folder_of(tmp_path / "b", [("two:1", "ok", 2.0)], sha256="0" * 64)
    with pytest.raises(
        ValueError, match=r"Expected pictures of this network, `Small` with weights .*0{12} in"
    ):
        explained(net, photo, weights)


def test_the_same_weights_may_have_another_name(net, photo, order, tmp_path):
    rows = [(f"two:{order[0]}", "ok", 2.0)]
    folder = folder_of(tmp_path, rows, network="models/small.pt", sha256=fingerprint(net.module))
    found = explained(net, photo, folder, units=1)
    assert found.neurons[0].painted.ratio == 2.0
    assert notes_of(found) == []


def test_what_is_no_folder_of_pictures(net, photo, tmp_path):
    for folder in (tmp_path, tmp_path / "none", str(tmp_path)):
        with pytest.raises(
            FileNotFoundError, match=r"Expected a folder of painted pictures, got .*, which holds none"
        ):
            explained(net, photo, folder)
    for wrong in (3, [3], {"two:1": "a.png"}):
        with pytest.raises(TypeError, match="Expected `pictures` to be a folder or a list of folders"):
            pictures_for(net, wrong)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"file": None}, r"images\[0\].file: expected text, got null"),
        ({"file": "../a.png"}, r'images\[0\].file: expected the name of a file in the same folder, got "../a.png"'),
        ({"file": "/etc/hostname"}, r"images\[0\].file: expected the name of a file in the same folder"),
        ({"file": "out.png"}, r"images\[0\].file: expected a file in the folder, got a link out of it"),
        ({"label": 3}, r"images\[0\].label: expected text, got 3"),
        ({"status": None}, r"images\[0\].status: expected text, got null"),
        ({"certificate": {"ratio": "much"}}, r'images\[0\].certificate.ratio: expected a number or null, got "much"'),
        ({"certificate": {"ratio": math.nan}}, "expected finite numbers, got NaN"),
        ({"certificate": None}, r"images\[0\].certificate: expected an object, got null"),
    ],
)  # fmt: skip
def test_damaged_facts_are_refused(damage, says, net, photo, tmp_path):
    folder = folder_of(tmp_path / "p", [("two:1", "ok", 2.0)])
    noise(0).save(tmp_path / "a.png")
    (folder / "out.png").symlink_to(tmp_path / "a.png")
    facts = json.loads((folder / "visualization.json").read_text())
    facts["images"][0].update(damage)
    (folder / "visualization.json").write_text(json.dumps(facts))
    with pytest.raises(PicturesError, match=says) as caught:
        explained(net, photo, folder)
    assert "\n" not in str(caught.value)


def test_a_folder_of_before_and_one_of_now_are_the_same(net, photo, order, tmp_path):
    old = folder_of(tmp_path / "old", [(f"two:{order[0]}", "ok", 2.0)])
    new = folder_of(tmp_path / "new", [(f"two:{order[0]}", "ok", 2.0)])
    facts = json.loads((new / "visualization.json").read_text())
    write_facts(new / "visualization.safetensors", facts, torch.zeros(1, 1))
    (new / "visualization.json").write_text("what was there before does not count any more")
    for folder in (old, new):
        assert explained(net, photo, folder, units=1).neurons[0].painted.ratio == 2.0


def test_a_file_that_is_no_picture_is_refused_and_one_that_is_gone_is_missing(net, photo, order, tmp_path):
    folder = folder_of(tmp_path, [(f"two:{order[0]}", "ok", 2.0)])
    (folder / "0.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="Expected"):
        explained(net, photo, folder, units=1)
    (folder / "0.png").unlink()
    found = explained(net, photo, folder, units=1)
    assert found.neurons[0].painted is None
    assert any("no picture was painted" in note for note in found.image["notes"])


# ---- words and the page


@pytest.mark.parametrize(
    ("status", "ratio", "said"),
    [
        ("ok", 2.66, "what it wants to see: 2.7 × the best real picture"),
        ("ok", 1.0, "what it wants to see: 1.0 × the best real picture"),
        ("ok", 0.999, "painted, but only 0.99 × the best real picture"),
        ("ok", -0.5, "painted, but real pictures excite it and this one does not"),
        ("ok", None, "what it wants to see; not compared with real pictures"),
        ("never active", 3.0, "painted, but never active: this is not what it wants to see"),
    ],
)
def test_captions(status, ratio, said):
    assert English().caption(status, ratio) == said


@given(st.floats(1e-9, 1e9))
def test_a_ratio_below_one_never_looks_like_one(ratio):
    shown = times(ratio).removesuffix(" ×").replace(",", "")
    assert shown == "<0.01" if ratio < 0.01 else (float(shown) < 1) == (ratio < 1)
    assert ratio < 0.01 or float(shown) == pytest.approx(ratio, rel=0.05, abs=0.011)


def test_cards_show_what_was_painted(net, photo, order, tmp_path):
    a, b, _ = order
    folder = folder_of(tmp_path, [(f"two:{a}", "ok", 2.0), (f"two:{b}", "never active", None)])
    page = render_page(explained(net, photo, folder).to_json(pictures=True))
    assert page.count("<figcaption>what it wants to see") == 1
    assert (
        f'alt="Picture painted for neuron {a} of two; what it wants to see: 2.0 × the best real picture"'
        in page
    )
    assert '<figure class="vain">' in page
    assert "<figcaption>painted, but never active: this is not what it wants to see</figcaption>" in page
    assert page.count("<img data-painted=") == 2
    assert page.count("painted to excite the neuron (pyramid)") == 1
    bare = render_page(explained(net, photo).to_json(pictures=True))
    assert "<img data-painted" not in bare
    assert "painted to excite" not in bare
    assert "<img data-painted" not in render_page(
        {**explained(net, photo, folder).to_json(pictures=True), "neurons": []}
    )
