"""The committed cost of relevance is whole, its table and goals follow from its rows, and nothing lost is left out."""

import json
import re
import sys
from pathlib import Path

import pytest

SPEED = Path(__file__).parents[2] / "benchmarks" / "speed"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SPEED))
    try:
        import relevance

        yield relevance
    finally:
        sys.path.remove(str(SPEED))


@pytest.fixture(scope="module")
def result():
    return json.loads((SPEED / "relevance.json").read_text())


def test_whole(script, result):
    assert {"benchmark", "date", "protocol", "machine", "versions", "networks", "goals"} <= set(result)
    assert set(result["networks"]) == {*script.TIMED, *script.COUNTED}
    assert result["protocol"]["rounds"] >= 15
    for network in script.TIMED:
        peers = [row for row in result["networks"][network] if row["library"] in ("zennit", "captum")]
        assert len(peers) == (2 if network == "vgg16" else 1)
        for row in result["networks"][network]:
            assert row["rounds"] == result["protocol"]["rounds"]
            assert 0 < row["wall"]["q1"] <= row["wall"]["median"] <= row["wall"]["q3"]
    assert not re.search(r"/(home|root|tmp|work|Users)/|https?://|\.local\b", json.dumps(result))


def test_goals_and_table_follow_from_the_rows(script, result):
    assert result["goals"] == script.goals(result)
    assert (SPEED / "relevance.md").read_text() == script.table(result)


def test_a_slower_pellucid_would_be_a_published_loss(script, result):
    worse = json.loads(json.dumps(result))
    for rows in worse["networks"].values():
        for row in rows:
            if row["library"] == "pellucid":
                row["operations"] *= 100
            if "over pellucid" in row:
                row["over pellucid"] = {key: value / 100 for key, value in row["over pellucid"].items()}
    assert not any(goal["met"] for goal in script.goals(worse))
    assert "win" not in script.table(worse)
    assert script.table(worse).count("**loss**") == 2 * 3
