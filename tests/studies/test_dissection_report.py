"""The page of the study `dissection`: its numbers on made-up results, its verdicts, and that it says what the files say."""

import io
import json
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install pellucid[plot]")

STUDIES = Path(__file__).parents[2] / "studies"
RESULTS = STUDIES / "results"


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(STUDIES))
    yield
    sys.path.remove(str(STUDIES))


def layer(name="last", units=100, held=50, *, unique=20, part=10, color=0, **more):
    """What is kept of a table."""
    return {
        "layer": name, "shape": [units, 4, 4], "units": units, "detectors": part + color, "unique": unique,
        "unique top": unique - 1, "by chance": 1.5, "held out": held, "held out unique": unique - 2, "mean iou": 0.1,
        "mean held-out iou": 0.05, "mean iou by chance": 0.01, "chance, 95 %": 0.02, "above chance": 9,
        "above chance unique": 5, "against effective": {"mean": 0.0012, "standard error": 0.0003},
        "categories": {
            "color": {"detectors": color, "unique": 1, "held out": color},
            "part": {"detectors": part, "unique": 2, "held out": part},
        },
    } | more  # fmt: skip


def network(name, *layers, concepts="s", **more):
    about = {"name": "scenes:val/0-9", "images": 10, "concepts": 86, "sha256": concepts}
    return {"network": name, "weights sha256": "abc", "concepts": about, "layers": list(layers), **more}


def turned(none, full):
    turns = [layer(unique=none, alpha=0.0, seed=0)]
    return {
        "layer": "last",
        "dimensions": 7.4,
        "turns": turns + [layer(unique=n, alpha=1.0, seed=k) for k, n in enumerate(full)],
    }


@pytest.fixture
def parts():
    """Results of all parts, in which every published finding is seen."""
    first = layer("first", held=5, part=1, color=3)
    vgg, residual = network("scenes-vgg", first, layer(unique=15)), network("scenes-resnet", first, layer())
    same = {"largest change of an output": 1e-6, "largest output": 10.0, "same class": 4, "pictures": 4}
    angles = [
        layer(angle=angle, **{"still detect it": n, "still labeled so": n, "mean iou with label": 0.01 * n})
        for angle, n in ((0, 10), (90, 2))
    ]
    points = [
        {"step": step, "accuracy": 0.1 + step / 20, "layers": [layer(held=10 * step, unique=4 + step)]}
        for step in (0, 5, 10)
    ]
    widths = [
        {
            "factor": factor,
            "seed": 0,
            "accuracy": 0.5,
            "layers": [layer(units=int(100 * factor), unique=int(30 * factor))],
        }
        for factor in (0.5, 1)
    ]
    budget = {
        "training scenes": 64, "epochs": 2, "batch": 64, "learning rate": 0.1, "precision": "bf16", "test scenes": 10,
        "scenes": 10,
    }  # fmt: skip
    fresh = layer(unique=3, held=1)
    found = {
        "depth": {"networks": [vgg, residual]},
        "random": {"networks": [network(each, first, dict(fresh), seed=0) for each in ("scenes-vgg", "scenes-resnet")]},
        "rotation": {"networks": [network("scenes-vgg", turned(22, [6, 7]), turned(22, [4, 6]), same=same)]},
        "pictures": {"networks": [network("scenes-vgg", {"layer": "last", "whole picture": layer(), "angles": angles})]},
        "training": {"budget": budget, "checkpoints": points, "widths": widths},
        "anchor": {
            "networks": [
                network("scenes-vgg", layer(**{"mean held-out iou": one}), layer(**{"mean held-out iou": 0.3}), anchor=name)
                for name, one in (("effective", 0.3), ("nominal", 0.1), ("paper", 0.2))
            ]
        },
    }  # fmt: skip
    return {
        part: each | {"metadata": {"pellucid": "0", "processor minutes": 1}} for part, each in found.items()
    }


def verdicts(parts):
    from dissection_report import findings

    return [line.split("|")[-2].strip() for line in findings(parts).splitlines()[2:]]


def test_every_finding_is_seen(parts):
    assert verdicts(parts) == [
        "yes",
        "yes",
        "yes",
        "yes",
        "partly: 6 % to 8 % of the trained networks', held out (published 3 %)",
        "yes",
        "yes",
    ]


def test_findings_that_are_not_seen_are_told(parts):
    networks = parts["depth"]["networks"]
    networks[0]["layers"].reverse()
    networks[0]["layers"][0]["held out unique"] = networks[0]["layers"][-1]["held out unique"] = 40
    parts["random"]["networks"][1]["layers"][-1]["held out unique"] = 9
    parts["rotation"]["networks"][0]["layers"][-1] = turned(22, [12, 14])
    parts["training"]["checkpoints"].reverse()
    parts["training"]["widths"][0]["layers"][-1]["held out unique"] = 60
    assert verdicts(parts) == [
        "at 1 of 2", "at 1 of 2", "no", "yes, less than published",
        "no: 2 % to 50 % of the trained networks', held out (published 3 %)", "no", "no",
    ]  # fmt: skip


def test_what_a_rotation_removes(parts):
    from dissection_tables import removed, rotation

    last = parts["rotation"]["networks"][0]["layers"][-1]
    assert removed(last, "held out unique") == pytest.approx([0.9, 0.8])
    (row,) = [line for line in rotation(parts["rotation"]).splitlines() if "unique, held out" in line][1:]
    assert row == "| scenes-vgg `last` (100, 7) | unique, held out | 20 | 3 [2, 4] | 85 % [80, 90] |"


def test_the_best_anchor_of_every_layer(parts):
    from dissection_tables import anchors, apart, highest

    assert apart(parts["anchor"]) == {"nominal": (2, 0), "paper": (2, 0)}
    assert highest(parts["anchor"]) == {"effective": 2, "nominal": 1, "paper": 1}
    one, other = anchors(parts["anchor"]).splitlines()[2:]
    assert (one.count("**"), other.count("**")) == (2, 6)
    assert one.endswith("| +1.2 ± 0.3 | +1.2 ± 0.3 |")


def test_the_page_has_every_table_and_no_gap(parts):
    from dissection_report import document

    text = document(parts, "plot.png")
    assert not re.search(r"\bnan\b|None|inf\b", text)
    assert "(plot.png)" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 9
    for block in tables:
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_a_missing_part_is_named(tmp_path):
    from dissection_report import read

    with pytest.raises(FileNotFoundError, match=r"got none; try `python studies/dissection.py depth`"):
        read(tmp_path)


def test_plot(parts):
    from dissection_plot import plot

    with Image.open(io.BytesIO(plot(parts))) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > 1000


def test_the_committed_page_is_what_the_committed_numbers_say():
    from dissection_report import document, read

    written = RESULTS / "dissection.md"
    if not written.exists():
        pytest.skip("needs the results of studies/dissection.py and its report")
    assert written.read_text(encoding="utf-8") == document(read(RESULTS), "dissection.png")


def test_the_committed_numbers_fit_together():
    files = sorted(RESULTS.glob("dissection-*.json"))
    if not files:
        pytest.skip("needs the results of studies/dissection.py")
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert "/work" not in text
        assert "/home" not in text
        for entry in _layers(json.loads(text)):
            assert entry["detectors"] == sum(each["detectors"] for each in entry["categories"].values()), (
                file.name
            )
            assert entry["held out"] == sum(each["held out"] for each in entry["categories"].values()), (
                file.name
            )
            assert entry["unique"] == sum(each["unique"] for each in entry["categories"].values()), file.name
            assert entry["unique top"] <= entry["detectors"] <= entry["units"], file.name


def _layers(content):
    """Everything in a file that was kept of a table."""
    if isinstance(content, dict):
        if "unique top" in content:
            yield content
        else:
            for value in content.values():
                yield from _layers(value)
    elif isinstance(content, list):
        for value in content:
            yield from _layers(value)
