"""The page on reliability is what the committed results say; kills, a few of them, afresh."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.reliability import report

ROOT = Path(__file__).parents[2]
KILLS = ROOT / "benchmarks" / "reliability" / "kills.py"


def test_the_page_is_generated():
    assert report.PAGE.read_text(encoding="utf-8") == report.page(report.results()), (
        "python benchmarks/reliability/report.py writes it anew"
    )


def test_nothing_got_through():
    there = report.results()
    assert "kills" in there
    assert {name: report.got_through(content) for name, content in there.items()} == dict.fromkeys(there, 0)
    assert there["kills"]["attempts"] >= 200
    assert len(there["kills"]["cases"]) >= 13


@pytest.mark.parametrize(
    ("content", "cases", "through"),
    [
        ({"cases": 7, "got_through": 1, "kinds": {"a": {"refused": 6, "hang": 1}}}, 7, 1),
        ({"reader": {"cases": 3, "by kind": {}}, "command line": {"cases": 2}, "got through": 0}, 5, 0),
        ({"pages": 4, "got_through": 0, "by_page": {"index": 4}}, 4, 0),
        ({"attempts": 9, "got_through": 2}, 9, 2),
    ],
)
def test_ways_of_counting(content, cases, through):
    assert (report.cases(content), report.got_through(content)) == (cases, through)
    assert f"| {cases} files | {through} |" in report.page({"hostile_files": content})


@pytest.mark.thorough
def test_a_few_kills(tmp_path):
    """In a process of its own, since it forks."""
    commands = ("attribute", "patterns", "dissect", "train classifier")
    arguments = ["--kills", "8", "--seed", "1", "--only", *commands, "--out", tmp_path]
    done = subprocess.run([sys.executable, KILLS, *arguments], capture_output=True, text=True, check=False)
    found = json.loads((tmp_path / "kills.json").read_text(encoding="utf-8")) if not done.stderr else {}
    assert found.get("got_through") == 0, (done.stdout, done.stderr)
    assert found["total"] | {"finished": 0} == {
        "kills": 8,
        "finished": 0,
        "lost": 0,
        "refused": 0,
        "different": 0,
    }
