"""The constants that are shipped are those of the study, and its page is made of its numbers."""

import json
import sys
from pathlib import Path

import pytest

from pellucid.naming.calibration import CAUTIOUS, FITTED

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture
def stored():
    return json.loads((STUDIES / "results" / "words.json").read_text(encoding="utf-8"))


def test_constants_are_the_studys(stored):
    calibration = stored["calibration"]
    for name in ("bias", "mass", "count", "top", "area"):
        assert getattr(FITTED, name) == pytest.approx(calibration[name], abs=5e-5)
    assert CAUTIOUS.margin == pytest.approx(calibration["margin"])


def test_the_page_is_made_of_the_numbers(stored, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(STUDIES), *sys.path])
    import words_report

    assert words_report.page(stored) == (STUDIES / "results" / "words.md").read_text(encoding="utf-8")
