"""The study of patterns in small, its measures on made-up numbers, and its page against its JSON."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from pellucid.units.patterns import Mining

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "studies"


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, str(STUDIES))
    spec = importlib.util.spec_from_file_location("patterns_study", STUDIES / "patterns.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(STUDIES))


@pytest.fixture(scope="module")
def report(study):
    return importlib.import_module("patterns_report")


def test_in_small(study, report, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "MINING", Mining(items=7, longest=4, top=12, keep=1, support=0.3, examples=2))
    monkeypatch.setattr(study, "LAYERS", {"scenes-vgg": ("features.30", ("features.30",))})
    arguments = ["--networks", "scenes-vgg", "--scenes", "100", "--tested", "60", "--pictures", "12", "--epochs", "1",
                 "--width", "0.05", "--draws", "2", "--decoders", str(tmp_path / "decoders"), "--out", str(tmp_path)]  # fmt: skip
    assert study.main(arguments) == 0
    result = json.loads((tmp_path / "patterns.json").read_text())
    (one,) = result["networks"]
    (layer,) = one["mined"]
    assert layer["patterns"] == sum(row["kept"] for row in layer["classes"])
    assert layer["share"] > layer["rest"] + 0.5
    true = layer["truth"]
    assert true["in scenes with the pattern"] > true["in all scenes"] + 0.3
    assert 0 <= true["into that of another scene"] <= 1
    assert one["feedback"]["patterns"] == len(one["decoded"])
    assert (tmp_path / "decoders" / "scenes-vgg-features.30.safetensors").is_file()
    file = tmp_path / "patterns-scenes-vgg.png"
    assert file.stat().st_size < 400_000
    with Image.open(file) as sheet:
        assert sheet.width == 10 * 116 + 4
    page = (tmp_path / "patterns.md").read_text()
    assert page == report.table(result)
    assert page.strip() in capsys.readouterr().out
    before = (tmp_path / "patterns.json").read_bytes()
    assert study.main([*arguments, "--only-report"]) == 0
    assert (tmp_path / "patterns.json").read_bytes() == before


def test_interval_and_verdict(study, report):
    mean, low, high = study.kit.normal_interval([0.2, 0.4, 0.6, 0.8])
    assert mean == pytest.approx(0.5)
    assert (high - low) / 2 == pytest.approx(1.96 * (0.2 / 3) ** 0.5 / 2)
    sure, unsure = [0.2, 0.1, 0.3], [0.2, -0.1, 0.5]
    words = {
        report.verdict({"channels over random": one, "probability over random": other})
        for one in (sure, unsure)
        for other in (sure, unsure)
    }
    assert len(words) == 4
    assert "cannot be told that the pictures hold more" in report.verdict(
        {"channels over random": unsure, "probability over random": unsure}
    )


def test_the_page_is_made_of_the_json(report):
    results = STUDIES / "results"
    file = results / "patterns.json"
    study = json.loads(file.read_text(encoding="utf-8"))
    assert report.table(study) == (results / "patterns.md").read_text(encoding="utf-8")
    for one in study["networks"]:
        assert (results / report.sheet(one)).stat().st_size < 400_000
