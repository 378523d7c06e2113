"""The study of interpretable networks: the small version runs, goes on where it stopped, and its page says what its runs say."""

import json
import math
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts import each other by name."""
    monkeypatch.syspath_prepend(str(ROOT / "studies"))


def made_up(key, interpretability, instability, accuracy):
    return {
        "key": key, "interpretability": interpretability, "instability": instability, "accuracy": accuracy, "seconds": 2.0,
        "interpretability_by_region": {"upsampled": interpretability},
    }  # fmt: skip


def study_of(runs, tmp_path):
    from interpretable_cnn_runs import Plan, Study

    study = Study(Plan(), tmp_path)
    study.done = {key: made_up(key, *numbers) for key, numbers in runs.items()}
    return study


def test_changes_are_against_the_twin_of_the_same_seed(tmp_path):
    from interpretable_cnn_report import collected, page

    found = collected(
        study_of(
            {
                "multi scenes-vgg ordinary 0": (0.3, 0.06, 1.0),
                "multi scenes-vgg ordinary 1": (0.2, 0.05, 0.98),
                "multi scenes-vgg paper-l2 0": (0.6, 0.03, 1.0),
                "multi scenes-vgg paper-l2 1": (0.4, 0.025, 1.0),
                "multi scenes-vgg paper-l1 1": (0.3, 0.026, 1.0),
                "single scenes-vgg ordinary bird": (0.1, 0.1, 1.0),
                "single scenes-vgg paper-l2 bird": (0.5, 0.07, 0.9),
            },
            tmp_path,
        )
    )
    change = found["groups"]["multi scenes-vgg"]["paper-l2"]["change"]
    assert change["interpretability"] == {"mean": 1.0, "interval": [1.0, 1.0]}
    assert change["instability"] == {"mean": -0.5, "interval": [-0.5, -0.5]}
    assert change["accuracy"]["mean"] == 0.01
    low, high = change["accuracy"]["interval"]
    assert (low, high) == pytest.approx((0.01 - 12.706 * 0.01, 0.01 + 12.706 * 0.01), abs=1e-4)
    against = found["groups"]["multi scenes-vgg"]["paper-l2"]["against_l1"]
    assert against["interpretability"] == {"mean": 0.1, "interval": None}
    text = page(found)
    assert "| several classes, scenes-vgg | met (-50 %) | met (+100 %) | met | met (" in text
    assert "| one class, scenes-vgg | missed (-30 %) | met (+400 %) | missed: -10.0 points |" in text


def test_several_animals_are_no_single_one(tmp_path):
    from interpretable_cnn_report import collected

    runs = {"animal fox ordinary": (0.1, 0.1, 1.0), "animals together ordinary": (0.1, 0.1, 1.0)}
    assert list(collected(study_of(runs, tmp_path))["groups"]) == ["animal", "animals together"]


def test_the_small_version(tmp_path, monkeypatch):
    import interpretable_cnn

    monkeypatch.delenv("PELLUCID_ASSETS", raising=False)
    plan = interpretable_cnn.SMALL
    assert (plan.seeds, plan.targets) == (2, ("bicycle", "bird"))
    monkeypatch.setattr(
        interpretable_cnn, "SMALL", type(plan)(**{**vars(plan), "seeds": 1, "targets": ("bird",)})
    )
    monkeypatch.setattr("interpretable_cnn_runs.BACKBONES", ("scenes-vgg",))
    given = ["--small", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert interpretable_cnn.main(given) == 0
    first = (tmp_path / "out" / "interpretable-cnn.json").read_text()
    found = json.loads(first)
    assert set(found["groups"]) == {"multi scenes-vgg", "single scenes-vgg"}
    assert all(math.isfinite(run["instability"]) for run in found["runs"].values())
    assert len(found["runs"]) == 10
    with Image.open(tmp_path / "out" / "interpretable-cnn.png") as shown:
        assert shown.width > 500
    for file in (tmp_path / "work").glob("*paper-l1*"):
        file.unlink()
    monkeypatch.setattr("interpretable_cnn.figure", lambda *_: None)
    assert interpretable_cnn.main(given) == 0  # only what is missing runs again, and gives the same
    again = json.loads((tmp_path / "out" / "interpretable-cnn.json").read_text())

    def numbers(content):
        return {key: (run["interpretability"], run["instability"]) for key, run in content["runs"].items()}

    assert numbers(again) == numbers(found)


def test_the_committed_results_are_whole():
    """The page is the one these numbers give."""
    from interpretable_cnn_report import page

    results = ROOT / "studies" / "results"
    found = json.loads((results / "interpretable-cnn.json").read_text(encoding="utf-8"))
    assert page(found) == (results / "interpretable-cnn.md").read_text(encoding="utf-8")
    assert (results / "interpretable-cnn.png").stat().st_size < 400_000
    for rows in found["groups"].values():
        assert "ordinary" in rows
