"""What a written report must hold, without a browser: safe, self-contained, complete, and honest numbers."""

import base64
import copy
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import pellucid.report
from pellucid.core.bibliography import PAPERS
from pellucid.report import render_page, words, write_report

STATIC = Path(pellucid.report.__file__).parent / "static"
names = st.text(min_size=1, max_size=40) | st.sampled_from(
    ["</script>", "<!--<script>", "{{ 7*7 }}", "a**b", "\u2028"]
)


class Page(HTMLParser):
    """Every element of a page with its attributes, the text of scripts and styles, and the visible text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.raw, self.text, self.inside = [], [], "", None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self.inside = (tag, dict(attributes))

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.raw.append((*self.inside, data))
        else:
            self.text += data

    def tags(self):
        return [tag for tag, _ in self.elements]

    def data(self):
        (text,) = [raw for tag, attributes, raw in self.raw if attributes.get("id") == "report-data"]
        return json.loads(text)


@pytest.fixture
def document(documents):
    return documents.document()


@pytest.fixture(scope="session")
def plain_tags(documents):
    return Page(render_page(documents.document())).tags()


def test_a_single_document_becomes_one_file(document, tmp_path):
    assert write_report([document], tmp_path / "deep" / "report.html") == tmp_path / "deep" / "report.html"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.html"]
    assert write_report([document], tmp_path / "folder") == tmp_path / "folder" / "index.html"


def test_the_page_holds_the_document_unchanged(document):
    assert Page(render_page(document)).data() == document


def test_nothing_in_the_page_points_outside(document):
    html = render_page(document, index="index.html")
    for _tag, attributes in Page(html).elements:
        for name in ("src", "href", "action", "srcset", "data"):
            target = attributes.get(name) or ""
            assert target == "" or target.startswith(("data:", "#")) or target == "index.html", target
    assert not re.search(r"@import|url\(", (STATIC / "report.css").read_text())
    for script in STATIC.glob("*.js"):
        unsafe = r"(inner|outer|Adjacent)HTML|document\.write|\beval\(|new Function|fetch\(|XMLHttp|WebSocket"
        assert not re.search(unsafe, script.read_text()), script.name


def test_the_policy_allows_exactly_our_own_script_and_style(document):
    page = Page(render_page(document))
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, attributes, text in page.raw:
        if "type" not in attributes:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not any(name.startswith("on") or name == "style" for _, a in page.elements for name in a)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=names)
def test_no_name_can_change_the_structure_of_the_page(name, documents, plain_tags):
    made = documents.document(name=name, target="x")
    made["methods"][1]["title"] = made["mask"]["name"] = made["stages"][1]["layer"] = made["image"]["notes"][
        0
    ] = name
    made["prediction"][0]["class"] = made["target"]["name"] = made["network"]["name"] = name
    made["faithfulness"]["layer"] = made["faithfulness"]["sanity"]["reason"] = name
    page = Page(render_page(made))
    assert page.tags() == plain_tags
    assert page.data() == made


def test_awkward_names_are_shown_as_they_are(documents):
    page = Page(render_page(documents.document(documents.AWKWARD, documents.AWKWARD)))
    assert page.text.count(documents.AWKWARD) >= 4
    assert not {"b", "img src=x"} & set(page.tags())


def test_names_that_are_not_text_are_written(document, tmp_path):
    document["image"]["name"] = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    assert "caf?.jpg" in write_report([document], tmp_path / "x.html").read_text(encoding="utf-8")


def test_numbers_json_does_not_know_become_null(document):
    document["stages"][1]["maps"]["gradcam"] = {
        "status": "not finite",
        "min": math.nan,
        "max": math.inf,
        "png": None,
        "inside": None,
        "box": None,
    }
    document["prediction"][0]["probability"] = math.nan
    page = Page(render_page(document))
    assert page.data()["stages"][1]["maps"]["gradcam"]["max"] is None
    assert "–" in page.text
    assert not any("nan" in (a.get("width") or "") for _, a in page.elements)


def test_what_a_document_may_leave_out(document):
    document.update(
        removal=None, mask=None, neurons=[], target={**document["target"], "probability": None, "index": None}
    )
    for stage in document["stages"]:
        for entry in stage["maps"].values():
            entry.update(inside=None, box=None)
    text = Page(render_page(document)).text
    assert "Evidence inside" not in text
    assert "neurons that carried it" not in text


def test_another_target_than_the_answer_is_said_plainly(document):
    document["target"] = {"name": "kite", "index": 21, "probability": 0.004, "predicted": False}
    document["prediction"].append({"class": "kite", "index": 21, "probability": 0.004, "output": 0.1})
    assert "kite explained" in " ".join(Page(render_page(document)).text.split())


def test_a_target_that_is_no_probability_is_shown_as_a_score(document):
    document["target"].update(probability=None, index=None, name="a function")
    document["removal"].update(probability_before=11.25, probability_after=-3.5, probability_random=0.5)
    document["neurons"][0]["removed"]["alone"] = 9.75
    page = Page(render_page(document))
    assert "without them−3.5" in re.sub(r"\s+", " ", page.text)
    assert "9.75" in page.text
    assert "as many picked at random mean of 5 draws0.5" in re.sub(r"\s+", " ", page.text)


def test_methods_carry_their_papers(document):
    text = Page(render_page(document)).text
    assert PAPERS["jiang2021"] in text
    document["methods"][0]["citation"] = "Somebody. Something. 2030."
    document["methods"][1]["citation"] = None
    text = Page(render_page(document)).text
    assert "Somebody. Something. 2030." in text
    assert "no paper given" in text


def test_a_full_document_stays_small(documents, tmp_path):
    made = documents.document(size=(299, 299))
    for stage in made["stages"][1:]:
        entry = stage["maps"]["layercam"]
        stage["maps"].update({f"method{k}": copy.deepcopy(entry) for k in range(10)})
    made["methods"] += [
        {"name": f"method{k}", "title": f"M{k}", "citation": None, "default": False} for k in range(10)
    ]
    assert write_report([made], tmp_path / "x.html").stat().st_size < 1.5e6


def test_several_documents_get_an_index(documents, tmp_path):
    made = [
        documents.document(name)
        for name in ("cat.jpg", "Cat.JPG", "cat.png", "index.png", documents.AWKWARD, "猫.jpg")
    ]
    main = write_report(made, tmp_path, skipped=[("<broken>.jpg", "Expected an image, got text.")])
    page = Page(main.read_text(encoding="utf-8"))
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    assert main == tmp_path / "index.html"
    assert len({link.lower() for link in links}) == 6
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", *links}
    assert all(re.fullmatch(r"[a-z0-9-]+\.html", link) for link in links)
    assert [
        Page((tmp_path / link).read_text(encoding="utf-8")).data()["image"]["name"] for link in links
    ] == [entry["image"]["name"] for entry in made]
    assert "<broken>.jpg" in page.text
    assert "Expected an image, got text." in page.text
    assert (
        sum(a.get("src", "").startswith("data:image/jpeg") for tag, a in page.elements if tag == "img") == 6
    )
    assert 'href="index.html"' in (tmp_path / links[0]).read_text(encoding="utf-8")


def test_failed_images_alone_are_listed(tmp_path):
    assert "no such file" in write_report([], tmp_path, skipped=[("a.jpg", "no such file")]).read_text(
        encoding="utf-8"
    )


def test_one_image_with_failures_gets_an_index_too(document, tmp_path):
    write_report([document], tmp_path / "all.html", skipped=[("a.jpg", "no such file")])
    assert {path.name for path in tmp_path.iterdir()} == {"all.html", "balloon.html"}


def test_an_interrupted_write_leaves_the_old_file(document, tmp_path, monkeypatch):
    path = write_report([document], tmp_path / "x.html")
    before = path.read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stop)
    document["image"]["name"] = "other.jpg"
    with pytest.raises(KeyboardInterrupt):
        write_report([document], path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.html"]
    assert path.read_bytes() == before


def test_errors_say_what_was_expected(document, tmp_path):
    with pytest.raises(ValueError, match="Expected at least one document"):
        write_report([], tmp_path)
    with pytest.raises(ValueError, match="Expected documents of schema 3, got 2; try"):
        write_report([{**document, "schema": 2}], tmp_path)
    with pytest.raises(ValueError, match=r"'balloon.jpg', got 0 stages and 3 methods"):
        write_report([{**document, "stages": []}], tmp_path)
    assert list(tmp_path.iterdir()) == []


def shown(parts):
    return "".join(segment.text for part in parts for segment in part.segments)


def test_the_sentence_keeps_every_word_and_ties_it_to_its_clause(document):
    parts = words.sentence(document)
    assert shown(parts) == document["details"]
    assert [part.clause for part in parts if part.clause is not None] == [0, 1, 2, 3, 4]
    marked = [
        (segment.text, segment.neuron, segment.bold)
        for part in parts
        for segment in part.segments
        if segment.neuron is not None
    ]
    assert marked == [("871", 0, False), ("12", 1, True), ("1603", 2, False)]
    assert [segment.text for segment in parts[0].segments if segment.bold] == ["balloon"]


def test_a_unit_without_a_card_is_no_link(document):
    document["clauses"][3]["texts"]["en"] = "[871](unit:layer3:871) and [99](unit:layer4:99)"
    (part,) = [part for part in words.sentence(document) if part.clause == 3]
    assert {segment.neuron for segment in part.segments} == {None}
    assert shown([part]) == "871 and 99"


def test_numbers_are_labeled_by_what_they_measure_not_by_their_words(document):
    """A class called "share taxi" makes no percentage of a score, an end of an interval of a share is one."""
    said = words.numbers(
        {
            "numbers": [
                {"key": "target.score", "value": 0.5, "kind": "score", "about": {"name": "share taxi"}},
                {"key": "pattern.share", "value": 0.75, "kind": "share", "about": {"name": "bicycle"}},
                {"key": "pattern.low", "value": 0.301, "kind": "share", "about": {}},
                {"key": "removed.change", "value": -0.0004, "kind": "probability", "about": {}},
            ]
        },
        words.speaker(document),
    )
    assert said == [
        ("score of share taxi", "0.5"),
        ("share of the pictures of bicycle", "75.0\xa0%"),
        ("lower end of its 95 % interval", "30.1\xa0%"),
        ("change of the probability", ">−0.1\xa0%"),
    ]


@given(st.floats(0, 1))
@example(0.0002)
@example(0.9998)
def test_a_percentage_is_close_and_claims_no_certainty(value):
    text = words.percent(value)
    digits = float(re.search(r"[\d.]+", text).group())
    assert abs(digits - 100 * value) <= 0.1
    assert (text in ("0\xa0%", "100\xa0%")) == (value in (0, 1))
    assert text not in ("0.0\xa0%", "100.0\xa0%")


def luminance(color):
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_stands_out_from_what_it_stands_on(scheme):
    blocks = re.findall(r":root \{(.*?)\}", (STATIC / "report.css").read_text(), re.DOTALL)
    colors = dict(re.findall(r"--(\w[\w-]*): (#\w+)", blocks[scheme]))
    colors = {
        name: value if len(value) == 7 else "#" + "".join(2 * c for c in value[1:])
        for name, value in colors.items()
    }
    pairs = [
        ("ink", "paper"),
        ("ink", "card"),
        ("soft", "paper"),
        ("soft", "card"),
        ("soft", "quiet"),
        ("accent", "card"),
        ("accent", "wash"),
        ("ink", "wash"),
        ("warn", "warn-wash"),
        ("warn", "card"),
        ("warn", "paper"),
        ("accent", "paper"),
        ("soft", "warn-wash"),
        ("card", "accent"),
    ]
    for text, ground in pairs:
        light, dark = sorted((luminance(colors[text]), luminance(colors[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)
