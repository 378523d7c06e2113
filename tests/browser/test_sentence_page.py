"""Clauses about parts on the page, by pointer and by keyboard, and the page in Chinese; in a real browser."""

import numpy as np
import pytest

from pellucid.speech.text import plain

SIZE = (96, 128)


@pytest.fixture
def made(documents):
    """A document one clause of which speaks of a part."""
    document = documents.document(size=SIZE)
    mask = np.zeros(SIZE, np.uint8)
    mask[20:50, 30:70] = 255
    document["regions"] |= {"basket": {"box": [20, 30, 50, 70], "area": 0.1, "png": documents.png(mask)}}
    area = documents.quantity("part.area", 0.0977, "share", name="basket")
    document["clauses"][2] |= {"kind": "part", "part": "basket", "numbers": [area]}
    document["unsaid"] = ["Which parts are missing."]
    return document


def lit(page):
    """Rows and columns of what is not dimmed: top, left, bottom, right."""
    return page.evaluate(
        """() => { const canvas = document.getElementById("dim"), {width, height} = canvas;
             if (canvas.hidden) return null;
             const copy = Object.assign(document.createElement("canvas"), {width, height});
             const context = copy.getContext("2d", {willReadFrequently: true});
             context.drawImage(canvas, 0, 0);
             const {data} = context.getImageData(0, 0, width, height), box = [height, width, 0, 0];
             for (let at = 0; at < width * height; at++) if (!data[4 * at + 3]) {
               const y = Math.floor(at / width), x = at % width;
               box[0] = Math.min(box[0], y); box[1] = Math.min(box[1], x);
               box[2] = Math.max(box[2], y + 1); box[3] = Math.max(box[3], x + 1); }
             return box; }"""
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_a_part_shows_its_region_and_number_by_pointer_and_keyboard(made, open_report, width):
    page = open_report(made, width=width)
    clause = page.locator('[data-clause="2"]').first
    assert lit(page) is None
    clause.hover()
    assert lit(page) == [20, 30, 50, 70]
    assert page.locator("#caption").inner_text() == "basket"
    assert page.locator("#plainly").inner_text().startswith("Bright is the region these words speak of")
    assert "9.8" in page.locator("#numbers").inner_text()
    page.locator(".brand").hover()
    assert lit(page) is None
    clause.focus()
    assert lit(page) == [20, 30, 50, 70]
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert lit(page) is None
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_cannot_be_said_is_on_the_page(made, open_report):
    assert "Which parts are missing." in open_report(made).locator(".facts").inner_text()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_chinese_page_says_so_and_points_at_the_same(made, open_report, width):
    made |= {"language": "zh", "names": {"basket": "吊篮", "balloon": "气球"}}
    texts = [
        "分类结果为**气球**（93.1%）。",
        "证据位于**右上部**。",
        "74%落在**吊篮**上。",
        "神经元[871](unit:layer4:871)、[**12**](unit:layer4:12)和[1603](unit:layer4:1603)起作用。",
        "注意。",
    ]
    for clause, text in zip(made["clauses"], texts, strict=True):
        clause["texts"]["zh"] = text
    page = open_report(made, width=width)
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert page.locator("#sentence").inner_text() == plain(made["brief"]["texts"]["zh"])
    assert page.locator("#details").inner_text() == plain("".join(texts))
    assert page.locator("#evidence-title").inner_text() == "这些话背后的数字"
    page.locator('[data-clause="2"]').first.hover()
    assert page.locator("#caption").inner_text() == "吊篮"
    assert lit(page) == [20, 30, 50, 70]
    assert "吊篮的面积" in page.locator("#numbers").inner_text()
    page.locator('.mention[data-neuron="1"]').hover()
    assert page.locator("#caption").inner_text() == "layer4 的神经元 12"
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 390])
def test_a_stranger_sees_the_photograph_the_sentence_and_its_regions_first(documents, open_report, width):
    page = open_report(documents.document(size=SIZE), unfolded=False, width=width, height=1400)
    assert (
        page.locator("#sentence").inner_text()
        == "balloon, 93 %. It looks at the basket; without it, 12 % is left."
    )
    assert not page.locator("#details").is_visible()
    assert page.locator("#badges .badge").inner_text() == "1"
    assert page.locator("#ink .region").count() == 1
    assert page.evaluate(  # the photograph alone, without the map
        """() => { const {width, height} = document.getElementById("heat");
             const {data} = document.getElementById("heat").getContext("2d").getImageData(0, 0, width, height);
             return data.every((value) => value === 0); }"""
    )
    card = page.locator(".spot")
    assert "The basket at the top right" in card.inner_text()
    assert "covered, 12.0\xa0% is left" in card.inner_text()
    photograph, sentence = (page.locator(each).bounding_box() for each in ("#view", "#sentence"))
    assert photograph["y"] < 200
    assert sentence["y"] < 900
    page.locator("#sentence .mention").hover()
    assert lit(page) is not None
    assert page.locator("#caption").inner_text() == "Region 1"
    page.locator("#show-map").check()
    page.locator(".brand").hover()
    assert page.locator("#caption").inner_text().startswith("LayerCAM at ")
    page.locator("summary", has_text="Everything behind it").click()
    assert page.locator("#details").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_page_without_regions_opens_with_its_map(documents, open_report):
    made = documents.document(size=SIZE)
    made |= {"spots": [], "regions": {}}
    page = open_report(made, unfolded=False)
    assert page.locator("#show-map").is_checked()
    assert page.locator(".spot").count() == 0


def test_the_index_of_a_folder_is_a_table_that_sorts(documents, open_file, tmp_path):
    from pellucid.report import write_report

    made = [documents.document(f"{name}.jpg", size=SIZE) for name in "abc"]
    for document, probability, label in zip(made, (0.5, 0.9, 0.7), ("balloon", "kite", None), strict=True):
        document["prediction"][0]["probability"] = probability
        document["image"]["label"] = label
    page = open_file(write_report(made, tmp_path))
    rows = page.locator("#listing tbody tr")
    assert rows.count() == 3
    assert "The basket at the top right" in rows.first.inner_text()
    assert page.locator("#listing td.wrong", has_text="kite").count() == 1
    names = lambda: page.locator("#listing .name").all_inner_texts()  # noqa: E731
    page.get_by_role("button", name="Certainty").click()
    assert names() == ["b.jpg", "c.jpg", "a.jpg"]
    page.get_by_role("button", name="Certainty").click()
    assert names() == ["a.jpg", "c.jpg", "b.jpg"]
    page.get_by_role("button", name="True class").click()
    assert names()[-1] == "c.jpg", "unknown values stay last"
