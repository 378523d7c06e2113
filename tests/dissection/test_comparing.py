"""Tables side by side: the numbers of each, what is gained and lost, as JSON and Markdown."""

import json

import numpy as np
import pytest
from tests.dissection.tables import table_of

from pellucid.data.concepts.base import Concept
from pellucid.dissection.comparing import compare
from pellucid.dissection.counts import Counts
from pellucid.dissection.table import UnitTable

LISTED = (Concept(1, "car", "object"), Concept(2, "tree", "object"), Concept(3, "wheel", "part"))


def seeing(*places, layer="l", listed=LISTED):
    """A layer whose units each see one concept, or none."""
    categories = list(dict.fromkeys(concept.category for concept in listed))
    counts = Counts.zeros(len(places), len(listed), len(categories))
    counts.truth[:] = counts.activation[:] = 10
    for unit, place in enumerate(places):
        if place is not None:
            counts.intersection[unit, place] = 5
    return UnitTable(layer, listed, counts)


def test_two_tables_by_hand():
    result = compare({"one": seeing(0, 0, 2, None), "two": seeing(0, 1, layer="m")})
    one, two = result.summaries.values()
    assert (one.layer, one.units, one.detectors, one.share) == ("l", 4, 3, 0.75)
    assert (one.unique, one.unique_top, one.score) == (2, 2, 0.25)
    assert one.concepts == (("object", "car"), ("part", "wheel"))
    assert one.categories == {
        "object": {"detectors": 2, "unique": 1, "unique_top": 1},
        "part": {"detectors": 1, "unique": 1, "unique_top": 1},
    }
    assert (two.layer, two.units, two.detectors, two.share) == ("m", 2, 2, 1.0)
    assert two.held_out is two.confirmed is two.chance is None
    (change,) = result.changes
    assert (change.name, change.against) == ("two", "one")
    assert change.gained == (("object", "tree"),)
    assert change.lost == (("part", "wheel"),)


def test_concepts_are_the_same_by_category_and_name_whatever_their_number():
    other = (Concept(40, "wheel", "object"), Concept(50, "car", "object"))
    (change,) = compare({"a": seeing(0, 2), "b": seeing(0, 1, listed=other)}).changes
    assert change.gained == (("object", "wheel"),)
    assert change.lost == (("part", "wheel"),)


def test_changes_against_the_one_before_or_a_baseline():
    tables = {"a": seeing(0), "b": seeing(1), "c": seeing(0, 1)}
    pairs = [(change.name, change.against) for change in compare(tables).changes]
    assert pairs == [("b", "a"), ("c", "b")]
    against = compare(tables, baseline="b").changes
    assert [(change.name, change.against) for change in against] == [("a", "b"), ("c", "b")]
    assert against[1].gained == (("object", "car"),)
    assert against[1].lost == ()


def test_the_honest_score_and_chance():
    table = table_of(6, 9, 2, rich=True)
    for threshold in (0.04, 0.3):
        summary = compare({"a": table, "b": table}, threshold=threshold).summaries["a"]
        assert summary.held_out == table.held_out_scores.mean()
        assert summary.confirmed == sum(score > threshold for score in table.held_out_scores)
        assert summary.chance == table.expected_by_chance(threshold)
        assert summary.detectors == sum(score > threshold for score in table.score)
        assert summary.unique == table.unique("released", threshold)
        assert summary.unique_top == table.unique("top-label", threshold)
        assert sum(entry["unique"] for entry in summary.categories.values()) == summary.unique
        assert sum(entry["detectors"] for entry in summary.categories.values()) == summary.detectors


def test_json_is_json():
    tables = {"a": table_of(6, 9, 2, rich=True), "b": seeing(0), "c": seeing(None)}
    content = compare(tables, threshold=0.1).to_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["schema"] == 1
    assert content["threshold"] == 0.1
    assert content["tables"]["b"]["concepts"] == [["object", "car"]]
    assert content["tables"]["c"]["concepts"] == []
    assert content["changes"][1] == {"name": "c", "against": "b", "gained": [], "lost": [["object", "car"]]}
    assert set(content["categories"]) == {"object", "part", *tables["a"].categories}


def cells(line):
    return [cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")]


def test_markdown():
    more = tuple(Concept(k + 1, f"thing {k}", "mood") for k in range(14))
    tables = {"a | b": seeing(0, 0, 2, None), "net\nwork": seeing(0, 1), "c": seeing(*range(14), listed=more)}
    text = compare(tables).to_markdown()
    lead, totals, categories, changes = text.strip().split("\n\n")
    assert lead == "Detectors: IoU above 0.04."
    assert cells(totals.splitlines()[2]) == [
        "a ¦ b",
        "l",
        "4",
        "3",
        "75.0 %",
        "—",
        "—",
        "2",
        "2",
        "0.2500",
        "—",
    ]
    assert cells(categories.splitlines()[0]) == ["detectors / unique", "object", "part", "mood"]
    assert cells(categories.splitlines()[2])[1:] == ["2 / 1", "1 / 1", "—"]
    assert cells(categories.splitlines()[4])[1:] == ["—", "—", "14 / 14"]
    assert cells(changes.splitlines()[2]) == ["net work", "a ¦ b", "1: tree", "1: wheel"]
    assert cells(changes.splitlines()[3])[2].startswith("14: thing 0, thing 1, thing 10,")
    assert cells(changes.splitlines()[3])[2].endswith(" and 2 more")
    for block in (totals, categories, changes):
        assert len({len(cells(line)) for line in block.splitlines()}) == 1
    rich = table_of(4, 6, 3, rich=True)
    row = cells(compare({"x": rich, "y": rich}).to_markdown().splitlines()[4])
    assert row[5] == f"{rich.expected_by_chance():.1f}"
    assert row[6] == str(int((rich.held_out_scores > 0.04).sum()))
    assert row[10] == f"{rich.held_out_scores.mean():.4f}"
    assert cells(compare({"x": rich, "y": rich}).to_markdown().splitlines()[-1])[2:] == ["none", "none"]


def test_layers_without_units_or_detections():
    result = compare({"none": seeing(), "dead": seeing(None, None)})
    none, dead = result.summaries.values()
    assert (none.units, none.share, none.score, none.detectors) == (0, None, None, 0)
    assert (dead.units, dead.share, dead.score, dead.unique) == (2, 0.0, 0.0, 0)
    assert "| none | l | 0 | 0 | — |" in result.to_markdown()
    assert np.isfinite(dead.score)


def test_too_few_tables_and_an_unknown_baseline():
    with pytest.raises(ValueError, match="Expected two or more tables to compare, got 1"):
        compare({"a": seeing(0)})
    with pytest.raises(
        KeyError, match="Expected the name of a table as the baseline, got `on`; did you mean `one`"
    ):
        compare({"one": seeing(0), "two": seeing(0)}, baseline="on")
