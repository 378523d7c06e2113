"""A small version of the study `sentences`: its rows, what it sums up, and its page."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def study():
    added = []
    sys.path.insert(0, str(STUDIES))
    try:
        for name in ("sentences_checks", "sentences_report", "sentences"):
            spec = importlib.util.spec_from_file_location(name, STUDIES / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            added.append(name)
            spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(STUDIES))
        for name in added:
            del sys.modules[name]


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentences")
    given = ["--scenes", "5", "--habitual", "4", "--mapped", "1", "--checked", "4", "--split", "val"]
    given += ["--work", str(folder / "work"), "--out", str(folder)]
    assert study.main(given) == 0
    return folder, given


def test_numbers_equal_what_other_code_computes(finished):
    found = json.loads((finished[0] / "sentences-val.json").read_text(encoding="utf-8"))
    told = found["numbers"]
    assert told["all equal"]
    assert told["numbers computed anew"] >= 10 * told["sentences computed anew"] > 0
    assert told["figures that are no number"] == 0
    assert told["most forward passes for parts"] <= 40


def test_honest_networks_name_parts_and_confounded_ones_their_surroundings(finished):
    found = json.loads((finished[0] / "sentences-val.json").read_text(encoding="utf-8"))
    for name in ("scenes-vgg", "scenes-resnet"):
        assert found["parts"][f"{name}/independent"]["present"]["share"] >= 0.9
        assert found["parts"][f"{name}/independent"]["first is right"]["share"] >= 0.4
        honest, confounded = (
            found["background"][f"{one}/habitual"]["said"]["share"] for one in (name, f"{name}-confounded")
        )
        assert honest == 0
        assert confounded >= 0.5


def test_a_run_that_was_stopped_goes_on(study, finished, monkeypatch):
    folder, given = finished
    before = (folder / "sentences-val.json").read_text(encoding="utf-8")

    def never(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(study, "row", never)
    assert study.main(given) == 0
    after = json.loads((folder / "sentences-val.json").read_text(encoding="utf-8"))
    after["metadata"] = json.loads(before)["metadata"]
    assert after == json.loads(before)


def test_the_page_shows_losses_beside_wins(study, finished):
    found = json.loads((finished[0] / "sentences-val.json").read_text(encoding="utf-8"))
    report = sys.modules["sentences_report"]
    found["parts"]["scenes-vgg/independent"]["by class"]["bird"] = {
        "share": 0.1,
        "low": 0.0,
        "high": 0.4,
        "of": 5,
    }
    text = report.page(found, found)
    assert "less than 70 % of the pictures of" in text
    assert "bird" in text.rpartition("falls short")[2]
    assert text.count("validation") >= 6


def test_committed_results_are_those_of_the_code(study):
    file = STUDIES / "results" / "sentences.json"
    if not file.is_file():
        pytest.skip("no committed results yet")
    found = json.loads(file.read_text(encoding="utf-8"))
    from pellucid.speech import wording as w

    told = found["metadata"]["thresholds"]
    assert told == {name: getattr(w, name) for name in told}
    before = json.loads((file.parent / "sentences-val.json").read_text(encoding="utf-8"))
    page = (file.parent / "sentences.md").read_text(encoding="utf-8")
    assert page == sys.modules["sentences_report"].page(found, before)
