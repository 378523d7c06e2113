"""``pellucid visualize`` as a user meets it, in this process."""

import json

import pytest
from PIL import Image
from tests.bundles import facts_of
from tests.commandline import network_file, picture

import pellucid as pl
from pellucid.commands.visualize import run, units_of
from pellucid.visualization import ascent


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return network_file(tmp_path_factory.mktemp("net"))


def call(net, out, *arguments):
    return run(
        [
            "--net",
            str(net),
            "--size",
            "32",
            "--steps",
            "4",
            "--octaves",
            "1",
            "--out",
            str(out),
            *map(str, arguments),
        ]
    )


@pytest.fixture(autouse=True)
def _no_scenes(monkeypatch):
    monkeypatch.setattr("pellucid.visualization.certificate.SCENES", 3)
    monkeypatch.setattr("pellucid.visualization.certificate.own_scenes", lambda net: None)


def test_units_classes_and_a_layer(net, tmp_path, capsys):
    assert (
        call(
            net,
            tmp_path,
            "--units",
            "features.9:0-2,5",
            "--layer",
            "features.16",
            "--first",
            2,
            "--target",
            "car",
            3,
        )
        == 0
    )
    facts = facts_of(tmp_path / "visualization.safetensors")
    labels = [f"features.9:{k}" for k in (0, 1, 2, 5)] + [
        "features.16:0",
        "features.16:1",
        "class car",
        "class cargo ship",
    ]
    assert [row["label"] for row in facts["images"]] == labels
    assert facts["size"] == [32, 32]
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["finished"]
    assert len(record["results"]) == 8
    assert set(record["files"]) == {path.name for path in tmp_path.iterdir()} - {"run.json"}
    assert "8 pictures" in capsys.readouterr().out


def test_all_classes_by_default_and_real_pictures(net, tmp_path, capsys):
    for k in range(3):
        picture(tmp_path / "photos" / f"{k}.png", seed=k)
    assert call(net, tmp_path / "out", "--images", tmp_path / "photos") == 0
    facts = facts_of(tmp_path / "out" / "visualization.safetensors")
    assert [row["label"] for row in facts["images"]][:2] == ["class airliner", "class helicopter"]
    assert {row["certificate"]["real images"] for row in facts["images"]} == {3}


def test_the_same_command_gives_the_same_bytes(net, tmp_path):
    for name in ("a", "b"):
        call(net, tmp_path / name, "--units", "features.9:1")
    files = [path.name for path in (tmp_path / "a").iterdir() if path.name != "run.json"]
    assert len(files) == 3
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_a_stopped_run_says_so_and_goes_on(net, tmp_path, monkeypatch):
    steps = []
    original = ascent._gradients

    def interrupted(problem, painter):
        steps.append(1)
        if len(steps) == 7:
            raise KeyboardInterrupt
        return original(problem, painter)

    monkeypatch.setattr(ascent, "_gradients", interrupted)
    stopped, straight = tmp_path / "stopped", tmp_path / "straight"
    units = ("--layer", "features.16", "--first", 20)
    said = r"16 of 20 pictures are finished \(4 more as far as they came, step 2 of 4\).*goes on from there"
    with pytest.raises(KeyboardInterrupt, match=said):
        call(net, stopped, *units)
    facts = facts_of(stopped / "visualization.safetensors")
    assert not facts["finished"]
    assert [row["status"] for row in facts["images"]][16:] == ["unfinished: step 2 of 4"] * 4
    assert all((stopped / row["file"]).is_file() for row in facts["images"])
    assert not json.loads((stopped / "run.json").read_text())["finished"]
    with Image.open(stopped / "sheet.png") as sheet:
        height = sheet.height
    monkeypatch.setattr(ascent, "_gradients", original)
    for out in (stopped, straight):
        call(net, out, *units)
    names = sorted(path.name for path in straight.iterdir())
    assert sorted(path.name for path in stopped.iterdir()) == names
    same = [name for name in names if name != "run.json"]
    assert all((stopped / name).read_bytes() == (straight / name).read_bytes() for name in same)
    with Image.open(stopped / "sheet.png") as sheet:
        assert height > sheet.height, "a line on top says that it is unfinished"


def test_units_in_words():
    assert units_of("a.b:3") == [pl.Unit("a.b", 3)]
    assert units_of("a:1:0-1,7") == [pl.Unit("a:1", 0), pl.Unit("a:1", 1), pl.Unit("a:1", 7)]


BAD = [
    (["--units", "features.9"], ValueError, "Expected units as LAYER:12 or LAYER:0-15,40, got `features.9`"),
    (["--units", "features.9:5-2"], ValueError, "Expected a range of units from low to high, got `5-2`"),
    (["--units", "features.9:64"], IndexError, "Expected a unit of `features.9` from 0 to 31, got 64"),
    (["--layer", "features.90"], KeyError, "Expected the name of a layer"),
    (["--target", "zebra"], KeyError, "Expected a class of"),
    (["--count", "0"], ValueError, "Expected `--count` to be at least 1, got 0"),
    (["--octaves", "0"], ValueError, "Expected `octaves` of at least 1, got 0"),
]


@pytest.mark.parametrize(("arguments", "error", "text"), BAD, ids=lambda value: str(value)[:24])
def test_bad_input_is_named(net, tmp_path, arguments, error, text):
    with pytest.raises(error, match=text):
        call(net, tmp_path, *arguments)
