"""The section that says whether a map can be trusted: its words, its charts, its numbers; and pages without it."""

import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.report import faithfulness, render_page
from pellucid.report.words import percent

QUESTION = "How this map did in tests"


def text_of(html):
    section = html[html.index('<section class="trust"') :].partition("</section>")[0]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", section))), section


def charts(html):
    return re.findall(r"<svg viewBox=\"0 0 340 214\".*?</svg>", html, re.DOTALL)


@pytest.fixture
def made(documents):
    return documents.document()


@pytest.mark.parametrize("absent", ["missing", "off"])
def test_a_document_without_the_test_has_no_section(made, absent):
    if absent == "missing":  # as earlier versions wrote it
        del made["faithfulness"]
    else:
        made["faithfulness"] = None
    html = render_page(made)
    assert QUESTION not in html
    assert '<main class="page">' in html


BOTH = "Both tests: {0} a center blob. "


@pytest.mark.parametrize(
    ("verdict", "similarity", "answer"),
    [
        ("better", 0.31, BOTH.format("better than") + "In both tests the pixels it marks matter more"),
        ("better", 0.95, "Do not trust it. It hardly depends on what the network learned"),
        ("as good", 0.31, BOTH.format("only as good as") + "A blob in the center"),
        ("worse", 0.31, BOTH.format("worse than") + "A blob in the center"),
        ("worse", 0.95, "Do not trust it. It hardly depends"),
        ("flat", 0.31, "Cannot be told. Whichever pixels are removed"),
        ("unreadable", None, "No map to test: all evidence speaks against the target."),
    ],
)
def test_the_answer_is_at_the_top(made, documents, verdict, similarity, answer):
    made["faithfulness"] = documents.faithfulness(verdict, similarity=similarity)
    text, section = text_of(render_page(made))
    assert text.strip().startswith(f"{QUESTION} {answer}")
    assert ('class="finding weak"' in section) == (not answer.startswith("Both tests: better"))
    assert len(charts(section)) == (0 if verdict == "unreadable" else 2)
    assert "Tested: LayerCAM at layer4 ." in text


def test_deletion_and_insertion_are_told_apart(made):
    made["faithfulness"]["verdicts"] = {"deletion": "worse", "insertion": "better"}
    text, section = text_of(render_page(made))
    assert (
        f"{QUESTION} Removing pixels: worse than a center blob. Bringing them back: better than a center blob."
        in text
    )
    assert "do not rely on it here" in text
    assert 'class="finding weak"' in section


@pytest.mark.parametrize(
    ("similarity", "words"),
    [
        (0.31, "Depends on what the network learned."),
        (0.93, "Hardly depends on the network."),
        (None, "Not compared with a random network: it takes 25 passes."),
    ],
)
def test_the_sanity_check_is_said(made, documents, similarity, words):
    made["faithfulness"] = documents.faithfulness(similarity=similarity)
    made["faithfulness"]["sanity"]["reason"] = "it takes 25 passes" if similarity is None else None
    text, _ = text_of(render_page(made))
    assert words in text
    assert (f"Rank correlation {similarity}; from 0.9 on" in text) == (similarity is not None)


def test_every_number_of_the_curves_is_in_the_table_and_spoken(made):
    found = made["faithfulness"]
    text, section = text_of(render_page(made))
    spoken = [unescape(label) for label in re.findall(r'role="img" aria-label="([^"]*)"', section)]
    assert len(spoken) == 2
    cells = re.findall(r"<td>(.*?)</td>", section.partition("<tbody>")[2])
    rows = [[unescape(cell) for cell in cells[at : at + 4]] for at in range(0, len(cells), 4)]
    assert len(rows) == 10
    columns = [(name, kind) for kind in ("deletion", "insertion") for name in ("map", "center")]
    for place, (name, kind) in enumerate(columns):
        values = [*found["curves"][name][kind], found["areas"][name][kind]]
        for row, value in zip(rows, values, strict=True):
            assert float(row[place].rstrip("\xa0%")) == pytest.approx(100 * value, abs=0.051)
        whose = "this map" if name == "map" else "a center blob"
        listed = ", ".join(percent(value) for value in found["curves"][name][kind])
        assert f"{whose}: {listed}" in spoken[kind == "insertion"]
    assert "Probability of balloon in 8 steps from none to all of the pixels removed" in spoken[0]
    assert "12.5 %" in text


def points(chart, name):
    listed = re.search(rf'<polyline class="{name}" points="([^"]*)"', chart).group(1)
    return [tuple(map(float, pair.split(","))) for pair in listed.split()]


def test_the_lines_are_drawn_where_the_numbers_are(made):
    found = made["faithfulness"]
    for chart, kind in zip(charts(render_page(made)), ("deletion", "insertion"), strict=True):
        for css, name in (("own", "map"), ("other", "center")):
            for (x, y), share, value in zip(
                points(chart, css), found["share"], found["curves"][name][kind], strict=True
            ):
                assert x == pytest.approx(46 + 284 * share, abs=0.06)
                assert y == pytest.approx(176 - 154 * value, abs=0.06)  # the axis ends at 100 %
        assert re.findall(r">([\d.]+)\xa0%<", unescape(chart)) == ["0", "50", "100", "100"]


def test_a_score_has_an_axis_of_its_own(made, documents):
    made["faithfulness"] = documents.faithfulness(unit="score")
    for of in made["faithfulness"]["curves"].values():
        for kind in of:
            of[kind] = [8 * value - 3 for value in of[kind]]
    html = render_page(made)
    text, _ = text_of(html)
    assert "Score of balloon" in text
    assert "Probability" not in text
    for chart in charts(html):
        heights = [y for name in ("own", "other") for _, y in points(chart, name)]
        assert min(heights) >= 22
        assert max(heights) <= 176
    assert "%" not in re.search(r'<g class="grid">.*?</g>', charts(html)[0], re.DOTALL).group()


def test_a_small_probability_fills_the_chart(made):
    for of in made["faithfulness"]["curves"].values():
        for kind in of:
            of[kind] = [value / 30 for value in of[kind]]
    chart = charts(render_page(made))[0]
    assert points(chart, "own")[0][1] < 100
    assert "5\xa0%" in unescape(chart)


heights = st.lists(st.floats(0, 1), min_size=7, max_size=7)


@given(heights, heights, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_names_stand_inside_the_chart_and_apart(one, other, first, last):
    lines = [
        [
            (46 + 284 * k / 8, 176 - 154 * value) for k, value in enumerate([first, *inner, last])
        ]
        for inner in (one, other)
    ]  # fmt: skip
    label = faithfulness._named("this map", lines[0], lines[1], None)
    rival = faithfulness._named("center blob", lines[1], lines[0], faithfulness._box(label))
    for name in (label, rival):
        left, top, right, bottom = faithfulness._box(name)
        assert left >= 46
        assert right <= 332
        assert top >= 0
        assert bottom <= 176
    assert not faithfulness._overlap(faithfulness._box(label), faithfulness._box(rival))


def test_names_are_near_their_own_lines(made):
    for chart in charts(render_page(made)):
        lines = {"this map": points(chart, "own"), "center blob": points(chart, "other")}
        for text, line in lines.items():
            (other,) = [each for name, each in lines.items() if name != text]
            x, y = map(
                float, re.search(rf'class="name[^"]*" x="([\d.]+)" y="([\d.]+)">{text}', chart).groups()
            )
            span = (x, x + 6.6 * len(text))
            own, away = (
                min(abs(at - y) for at in faithfulness._heights(each, span)) for each in (line, other)
            )
            assert own < away, text
