"""Pages of dissected layers as a reader uses them: found, sorted, filtered, drawn as counted, and silent."""

import base64
import importlib.util
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.data.concepts.base import Concept
from pellucid.report.dissection import axis_end, write_dissection
from pellucid.report.dissection_compare import write_comparison
from pellucid.visualization.result import Stored


def _load():
    path = Path(__file__).parents[1] / "report" / "unit_tables.py"
    spec = importlib.util.spec_from_file_location("unit_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _load()
UNITS = 64


@pytest.fixture(scope="module")
def table():
    return made.table(units=UNITS)


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    """Two layers, and their comparison, with pictures of the embedded world."""
    from pellucid.world.concepts import SceneConcepts

    scenes = SceneConcepts.of(60)
    folder = tmp_path_factory.mktemp("dissection")
    tables = {"layer1": made.table("layer1", seed=3, strength=0.25), "layer3": table}
    write_dissection(tables, lambda index: scenes.picture(index).image, folder)
    write_comparison(tables, folder, pages={"layer3": "layer3.html"})
    return folder


@pytest.fixture
def open_page(open_file, folder):
    def opened(name="layer3", **options):
        page = open_file(folder / f"{name}.html", **options)
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    return opened


def units(page):
    """Numbers of the cards on the page, in their order; all of them."""
    page.evaluate("while (!document.getElementById('more').hidden) document.getElementById('more').click()")
    return page.locator("#cards > li").evaluate_all("cards => cards.map(card => Number(card.id.slice(5)))")


def test_cards_come_best_first_and_all_of_them(open_page, table):
    page = open_page()
    assert page.locator("#count").inner_text() == f"{UNITS} units"
    assert page.locator("#cards > li").count() < UNITS  # the rest when the reader comes there
    assert units(page) == np.argsort(-np.round(table.score, 5), kind="stable").tolist()
    assert page.locator("#more").is_hidden()


def test_every_order(open_page, table):
    page = open_page()
    names = [table.concepts[k].name for k in table.label]
    live = list(range(UNITS - 2))  # the last two are never active
    score, held = np.round(table.score, 5), np.round(table.held_out_scores, 5)
    expected = {
        "unit": list(range(UNITS)),
        "held": sorted(range(UNITS), key=lambda unit: (-held[unit], unit)),
        "concept": [*sorted(live, key=lambda unit: (names[unit], -score[unit], unit)), UNITS - 2, UNITS - 1],
        "category": [
            *sorted(live, key=lambda unit: (table.category_of[table.label[unit]], -score[unit], unit)),
            UNITS - 2,
            UNITS - 1,
        ],
    }
    for order, numbers in expected.items():
        page.select_option("#sort", order)
        assert units(page) == numbers, order


def test_search_finds_concepts_categories_and_units(open_page, table):
    page = open_page()
    page.select_option("#sort", "unit")
    label = [table.concepts[k] for k in table.label]
    live = range(UNITS - 2)
    name = label[int(table.score.argmax())].name

    def found(words):
        page.fill("#query", words)
        return units(page)

    assert found(name.upper()) == [unit for unit in live if name in label[unit].name] != []
    assert page.locator("#count").inner_text().endswith(f"of {UNITS} units")
    assert found("texture") == [unit for unit in live if label[unit].category == "texture"] != []
    assert found(" 12 ") == found("unit 12") == found("#12") == [12]
    assert found("never") == [UNITS - 2, UNITS - 1]
    assert found("no such thing") == []
    few = found("glass")
    page.check("#runners")
    near = [unit for unit in live if any(d.concept.name == "glass" for d in table.candidates(unit))]
    assert units(page) == near
    assert set(few) < set(near)
    page.click("#clear")
    assert len(units(page)) == UNITS


def test_filters_work_together(open_page, table):
    page = open_page()
    page.select_option("#sort", "unit")
    page.check("#detectors")
    assert units(page) == np.flatnonzero(table.detectors()).tolist()
    page.select_option("#category", label="object")
    objects = [
        unit
        for unit in np.flatnonzero(table.detectors())
        if table.concepts[table.label[unit]].category == "object"
    ]
    assert units(page) == objects
    page.click("#clear")
    assert len(units(page)) == UNITS


def test_a_concept_of_the_summary_shows_its_units(open_page, table):
    page = open_page()
    row = page.locator("[data-concept]").first
    concept = int(row.get_attribute("data-concept"))
    row.focus()
    page.keyboard.press("Enter")
    mine = np.flatnonzero(table.detectors() & (table.label == concept))
    assert sorted(units(page)) == mine.tolist()
    assert str(len(mine)) == row.locator(".value").inner_text()
    assert row.get_attribute("aria-pressed") == "true"
    assert page.locator("#clear").inner_text() == f"Only {table.concepts[concept].name}: show all units"
    row.click()  # a second time: all again
    assert len(units(page)) == UNITS
    head = page.locator("[data-category]").nth(1)
    head.click()
    assert f"{len(units(page))} unit" in page.locator(".group").nth(1).locator(".hint").first.inner_text()
    page.locator("#cards h3 button").first.click()
    assert len(set(page.locator("#cards h3").all_text_contents())) == 1


def test_a_card_says_what_the_table_holds(open_page, table):
    page = open_page()
    unit = int(table.score.argmax())
    card = page.locator(f"#unit-{unit}")
    detection = table.detection(unit)
    low, high = detection.interval
    text = card.text_content()  # a card that is not in view is not laid out, and has no inner text
    assert card.locator("h3").text_content() == detection.concept.name
    assert f"IoU {detection.iou:.3f}" in text
    assert f"{low:.3f} – {high:.3f}" in text
    assert f"On unseen pictures {table.held_out_score(unit)[1]:.3f}" in text
    others = card.locator(".others .name").all_text_contents()
    assert others == [other.concept.name for other in table.candidates(unit)[1:]]
    end = axis_end(max(table.interval.max(), table.score.max()))
    level = table.chance_scores[:, unit].mean()
    bar = card.locator(".measure svg")

    def starts(name):
        return float(bar.locator(name).get_attribute("d")[1:].replace("H", " ").split()[0])

    assert float(bar.locator(".fill").get_attribute("width")) == pytest.approx(
        100 * detection.iou / end, abs=0.02
    )
    for name, value in ((".limit", 0.04), (".chance", level), (".whisker", low)):
        assert starts(name) == pytest.approx(100 * value / end, abs=0.02), name
    reach = float(bar.locator(".whisker").get_attribute("d").partition("H")[2].partition("M")[0])
    assert reach == pytest.approx(100 * high / end, abs=0.02)
    quiet = int(np.flatnonzero(~table.detectors() & (table.score > 0))[0])
    page.goto(page.url + f"#unit-{quiet}")
    closest = table.concepts[table.label[quiet]].name
    assert page.locator(f"#unit-{quiet} h3").text_content() == f"no concept above 0.04, closest: {closest}"


@pytest.fixture(scope="module")
def painted(table, tmp_path_factory):
    """A page on which two units have a painted picture, one of them painted in vain."""
    folder = tmp_path_factory.mktemp("painted")
    best = int(table.score.argmax())
    found = {}
    for unit, status, ratio in ((best, "ok", 2.5), (UNITS - 1, "never active", None)):
        file, label = folder / f"{unit}.png", f"{table.layer}:{unit}"
        Image.new("RGB", (128, 128), (200, 40, 90)).save(file)
        found[label] = Stored(file, label, status, ratio, "pyramid")
    write_dissection({"layer3": table}, made.picture, folder / "out", painted=found)
    return folder / "out" / "layer3.html"


@pytest.mark.parametrize("width", [1280, 360])
def test_a_painted_picture_stands_beside_the_real_ones(open_file, painted, table, width):
    page = open_file(painted, width=width)
    page.wait_for_selector("html[data-ready]", state="attached")
    card = page.locator(f"#unit-{int(table.score.argmax())}")
    card.scroll_into_view_if_needed()
    image = card.locator(".painted img")
    image.wait_for()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 40
    assert card.locator(".tag").all_inner_texts() == ["painted", "real"]
    assert card.locator(".painted figcaption").inner_text() == "2.5 ×"
    label = card.locator(".painted [role=img]").get_attribute("aria-label")
    assert label.endswith("; what it wants to see: 2.5 × the best real picture")
    ours, real = image.bounding_box(), card.locator("[data-picture]").first.bounding_box()
    assert ours["x"] + ours["width"] < real["x"]
    assert abs(ours["y"] - real["y"]) < 3
    assert card.locator(".painted canvas").count() == 0, "no veil over what was painted"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    units(page)
    vain = page.locator(f"#unit-{UNITS - 1}")
    assert vain.locator(".tag").all_text_contents() == ["painted"]
    assert vain.locator(".vain figcaption").text_content() == "failed: never active"
    assert page.locator(".vain").count() == 1
    assert page.locator(".kinds").count() == 2


def test_units_that_say_nothing_say_so_in_words(open_page):
    page = open_page()
    page.select_option("#sort", "unit")
    units(page)
    assert page.locator(f"#unit-{UNITS - 1} h3").text_content() == "never active"
    assert page.locator(f"#unit-{UNITS - 1} .picture").count() == 0
    assert page.locator(f"#unit-{UNITS - 3} h3").text_content() == "meets no concept"
    lost = page.locator(".unit .lost", has_text="not confirmed")
    assert lost.count() > 0


def shown(page, unit, rank):
    """The veil over a picture, [height, width, 4], once its card has come into view."""
    frame = page.locator(f"#unit-{unit} .picture").nth(rank)
    frame.scroll_into_view_if_needed()
    frame.locator("canvas").wait_for(state="attached")
    encoded = frame.locator("canvas").evaluate("canvas => canvas.toDataURL('image/png')")
    with Image.open(io.BytesIO(base64.b64decode(encoded.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGBA")).astype(int)


def test_the_picture_is_dark_outside_the_mask_and_bright_inside(open_page, table):
    page = open_page()
    unit = int(table.score.argmax())
    for rank in (0, 3):
        mask = table.examples.masks[unit, rank]
        alpha = shown(page, unit, rank)[..., 3]
        scale = alpha.shape[0] // mask.shape[0]
        centers = alpha[scale // 2 :: scale, scale // 2 :: scale]
        rows, columns = np.nonzero(mask != np.roll(mask, 1, 0))
        near = np.zeros_like(mask)
        for y, x in np.argwhere(mask):
            near[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = True
        deep = np.ones_like(mask)
        for y, x in np.argwhere(~mask):
            deep[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = False
        assert len(rows) == len(columns) > 0
        assert (centers[~near] == 191).all()  # three quarters: a brightness of 0.25
        assert deep.any()
        assert (centers[deep] == 0).all()
    frame = page.locator(f"#unit-{unit} .picture").first
    assert frame.locator("img").evaluate("image => image.naturalWidth") == 112
    page.check("#whole")
    assert frame.locator("canvas").evaluate("canvas => getComputedStyle(canvas).opacity") == "0"


def test_pictures_are_drawn_when_they_come_into_view(open_page):
    page = open_page()
    page.wait_for_timeout(100)
    assert page.locator(".picture").count() > page.locator(".picture canvas").count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#cards > li").count() == UNITS
    assert page.locator(".picture:empty").count() == 0
    page.emulate_media(media="print")
    assert page.locator("#finder").is_hidden()
    assert page.locator("#cards > li").last.is_visible()


def test_an_address_leads_to_its_unit(open_page, folder):
    page = open_page()
    last = units(page)[-5]
    page.fill("#query", "no such thing")
    page.goto((folder / "layer3.html").as_uri() + f"#unit-{last}")
    page.wait_for_selector(f"#unit-{last}")
    assert page.locator(f"#unit-{last}").evaluate(
        "card => { const box = card.getBoundingClientRect(); return box.top >= 0 && box.top < innerHeight; }"
    )


@pytest.mark.parametrize("name", ["layer3", "index", "comparison"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_is_wider_than_the_window(open_file, folder, name, width):
    page = open_file(folder / f"{name}.html", width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bars_stand_out_in_both_schemes(open_page, scheme):
    page = open_page(color_scheme=scheme)
    colors = page.evaluate(
        """() => ["#cards .fill", "#cards .track", "#cards .limit", ".group .bar rect"].map((name) => {
             const style = getComputedStyle(document.querySelector(name));
             return name.endsWith("limit") ? style.stroke : style.fill; })"""
    )
    assert len(set(colors)) == 4
    assert "rgb(0, 0, 0)" not in colors


def test_everything_can_be_reached_with_the_keyboard(open_page):
    page = open_page()
    seen = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    for wanted in ("query", "category", "sort", "detectors", "runners", "whole", "row", "head", "place"):
        assert wanted in seen, wanted


def test_awkward_names_stay_text(open_file, tmp_path, table):
    known = [
        Concept(c.number, made.AWKWARD if k % 2 else c.name, c.category) for k, c in enumerate(table.concepts)
    ]
    write_dissection({made.AWKWARD: replace(table, concepts=tuple(known))}, made.picture, tmp_path)
    (path,) = set(tmp_path.iterdir()) - {tmp_path / "index.html"}
    page = open_file(path)
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.locator("#cards h3", has_text=made.AWKWARD).count() > 0
    assert page.locator("body script").count() == 2


def test_the_table_of_a_comparison_sorts_and_filters(open_page):
    page = open_page("comparison")
    rows = page.locator("#concepts tbody tr:visible")
    total = rows.count()

    def column(at):
        return page.locator("#concepts tbody tr:visible").evaluate_all(
            "(rows, at) => rows.map(row => row.cells[at].dataset.value)", at
        )

    heads = page.locator("#concepts thead button")
    heads.nth(0).click()
    assert column(0) == sorted(column(0))
    heads.nth(0).click()
    assert column(0) == sorted(column(0), reverse=True)
    heads.nth(2).focus()
    page.keyboard.press("Enter")
    numbers = [float(value) for value in column(2)]
    assert numbers == sorted(numbers, reverse=True)
    assert page.locator("#concepts th[aria-sort=descending]").count() == 1
    page.check("#differ")
    assert 0 < rows.count() < total
    assert "of" in page.locator("#count").inner_text()
    page.uncheck("#differ")
    page.fill("#query", "color")
    assert set(column(1)) == {"color"}
    assert page.locator("a[href^='layer3.html#unit-']").count() > 0


def test_the_index_leads_to_every_layer(open_file, folder):
    page = open_file(folder / "index.html")
    links = {link.get_attribute("href") for link in page.locator("a").all()}
    assert links == {"layer1.html", "layer3.html"}
    for link in links:
        other = open_file(folder / link)
        other.wait_for_selector("html[data-ready]", state="attached")
        assert other.get_by_role("link", name="All layers").get_attribute("href") == "index.html"
