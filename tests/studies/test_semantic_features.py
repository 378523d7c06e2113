"""The study `semantic-features` in small: runs that are not done twice, leads and intervals, page and figure."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

STUDIES = Path(__file__).parents[2] / "studies"
RESULTS = STUDIES / "results"


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(STUDIES))
    yield
    sys.path.remove(str(STUDIES))


@pytest.fixture(scope="module")
def study(tmp_path_factory, _path):
    """(folder, exit code) of a run with two networks, two seeds and next to no training."""
    import semantic_features

    folder = tmp_path_factory.mktemp("study")
    given = "--sets scenes --networks irenet resnet18 resnet18-x3 --seeds 2 --width 0.125 --size 32 --samples 60 --pictures 12"
    arguments = [*given.split(), "--batch-size", "8", "--work", str(folder / "work"), "--out", str(folder)]
    assert semantic_features.main(arguments) == 0
    return folder, arguments


def test_result_page_and_figure(study):
    folder, _ = study
    content = json.loads((folder / "semantic-features.json").read_text())
    scenes = content["sets"]["scenes"]
    assert list(scenes["networks"]) == ["irenet", "resnet18", "resnet18-x3"]
    assert content["options"]["seeds"] == 2
    assert {"date", "torch", "machine", "code"} <= content["options"].keys()
    # enlarged threefold: the same network, about nine times the work
    plain, large = (scenes["networks"][name] for name in ("resnet18", "resnet18-x3"))
    assert plain["parameters"] == large["parameters"]
    assert 4 < large["multiplications"] / plain["multiplications"] < 10
    page = (folder / "semantic-features.md").read_text()
    for words in ("| irenet |", "| resnet18-x3 |", "Short of the goal", "Concept world"):
        assert words in page
    with Image.open(folder / "semantic-features.png") as figure:
        assert figure.width > 300


def test_a_lead_is_the_difference_of_the_tables(study):
    content = json.loads((study[0] / "semantic-features.json").read_text())["sets"]["scenes"]
    for rival, leads in content["against"].items():
        for name, (mean, low, high) in leads.items():
            difference = content["networks"]["irenet"][name][0] - content["networks"][rival][name][0]
            assert mean == pytest.approx(difference, abs=2e-4)
            assert low <= mean <= high


def test_no_run_is_done_twice(study, monkeypatch):
    import semantic_features

    folder, arguments = study
    before = (folder / "semantic-features.md").read_bytes()
    monkeypatch.setattr(semantic_features, "train", lambda *_, **__: pytest.fail("trained again"))
    assert semantic_features.main(arguments) == 0
    assert (folder / "semantic-features.md").read_bytes() == before


def made_up(seed, skill, pictures=40, each=5, labels=4):
    dice = torch.Generator().manual_seed(seed)
    truth = (torch.rand(pictures * each, labels, generator=dice) < 0.4).to(torch.int8)
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(1000 + seed))
    return {"truth": truth, "probabilities": skill * truth + (1 - skill) * noise, "threshold": 0.5}


def test_intervals_know_better_from_equal():
    from semantic_features_report import FOUR, difference, measured

    places = torch.arange(40).repeat_interleave(5)
    good, bad = [made_up(s, 0.6) for s in range(3)], [made_up(s, 0.2) for s in range(3)]
    found = difference(good, bad, places)
    for name in FOUR:
        expected = sum(measured(a)[name] - measured(b)[name] for a, b in zip(good, bad, strict=True)) / 3
        assert found[name][0] == pytest.approx(expected, abs=1e-4)
        assert found[name][1] > 0
    assert difference(good, good, places) == {name: [0, 0, 0] for name in FOUR}


def test_sums_over_pictures_give_the_measures():
    from semantic_features_report import measured, of_sums, tallies

    row, places = made_up(7, 0.3), torch.randint(0, 40, (200,)).sort().values
    pictures = torch.unique(places)
    sums = tallies(row, places, pictures)
    assert sums[:, 5].tolist() == torch.bincount(places)[pictures].tolist()
    for name, value in of_sums(sums.sum(0)).items():
        assert float(value) == pytest.approx(measured(row)[name])


def test_the_goal_is_asked_of_the_best_rival():
    from semantic_features_report import _goal

    networks = {n: {k: [v, 0.0] for k in ("micro_f1", "accuracy", "jaccard", "micro_precision", "micro_recall")}
                for n, v in (("irenet", 0.9), ("resnet18", 0.85), ("resnet50", 0.88), ("vgg16", 0.95))}  # fmt: skip
    against = {
        n: {k: [0.9 - row[k][0], 0.0, 0.1] for k in row} for n, row in networks.items() if n != "irenet"
    }
    goal = _goal({"networks": networks, "against": against})
    assert {one["rival"] for one in goal.values()} == {"resnet50"}
    assert all(one["lead"] == pytest.approx(0.02) for one in goal.values())


@pytest.mark.skipif(
    not (RESULTS / "semantic-features.json").is_file(), reason="the study has not been run here"
)
def test_the_committed_page_is_of_the_committed_numbers():
    from semantic_features_report import _text

    content = json.loads((RESULTS / "semantic-features.json").read_text())
    assert (RESULTS / "semantic-features.md").read_text() == _text(content)
    assert content["options"]["seeds"] >= 3
    assert (RESULTS / "semantic-features.png").stat().st_size < 400_000


def test_real_sets_want_their_folder(monkeypatch, capsys):
    import semantic_features

    monkeypatch.delenv("PELLUCID_ASSETS", raising=False)
    with pytest.raises(SystemExit):
        semantic_features.main(["--sets", "carparts"])
    assert "Expected the folder of the real part sets" in capsys.readouterr().err
