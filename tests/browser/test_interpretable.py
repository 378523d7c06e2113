"""Pages about filters and parts in a real browser, from disk: nothing but the page, nothing on the console."""

import importlib.util
from pathlib import Path

import pytest

from pellucid.report import interpretable_words as say
from pellucid.report.interpretable import write_image_page, write_interpretable


def _load():
    path = Path(__file__).parents[1] / "report" / "part_tables.py"
    spec = importlib.util.spec_from_file_location("part_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _load()


@pytest.fixture(scope="module")
def table():
    return made.table()


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    """A layer's page with templates, an index over two layers, and the pages of two pictures."""
    root = tmp_path_factory.mktemp("pages")
    write_interpretable({"l": table}, made.picture, root / "one", templates={"l": made.templates()})
    both = {"features.2": made.table("features.2", 1), "features.30": table}
    write_interpretable(both, made.picture, root / "two", images=[("cat.html", "cat.jpg")])
    for norm in ("l2", "l1"):
        found = {"l": made.here(table, 5, norm)}
        write_image_page(
            made.picture(3),
            f"{norm}.jpg",
            found,
            {"l": table},
            root / "one" / f"{norm}.html",
            index="index.html",
        )
    layers = {name: made.here(both[name]) for name in both}
    write_image_page(made.picture(3), "cat.jpg", layers, both, root / "two" / "cat.html", index="index.html")
    return root


@pytest.fixture
def opened(open_file, folder):
    def ready(name="one/index.html", **options):
        page = open_file(folder / name, **options)
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    return ready


def indices(page):
    while page.locator("#more").is_visible():
        page.click("#more")
    return [
        int(name.removeprefix("filter-"))
        for name in page.locator("#cards > li").evaluate_all("all => all.map(e => e.id)")
    ]


def test_cards_come_clearest_first_and_sort(opened, table):
    page = opened()
    shares = table.interpretability()
    found = indices(page)
    assert len(found) == made.FILTERS
    assert [shares[k] for k in found[:-2]] == sorted(shares, reverse=True)[:-2]
    assert page.locator(f"#filter-{found[0]} h3").text_content() == say.named(table.meaning(found[0]))
    page.select_option("#sort", "index")
    assert indices(page) == list(range(made.FILTERS))
    page.select_option("#sort", "instability")
    steady = [table.instability[k] for k in indices(page)]
    assert steady[:-1] == sorted(steady[:-1])
    assert indices(page)[-1] == made.DEAD


def test_cards_are_found_by_part_and_number(opened, table):
    page = opened()
    page.fill("#query", "bird head")
    wanted = {k for k in range(made.FILTERS) if table.meaning(k) == made.KEYS[0]}
    assert set(indices(page)) == wanted
    assert page.locator("#count").inner_text() == f"{len(wanted)} of 50 filters"
    page.fill("#query", "filter 7")
    assert indices(page) == [7]
    page.fill("#query", "no known part")
    assert set(indices(page)) == {made.DEAD, made.NONE}
    page.click("#reset")
    assert len(indices(page)) == made.FILTERS
    page.check("#clear-only")
    assert set(indices(page)) == set(say.clear(table).nonzero()[0].tolist())


def test_a_part_of_the_overview_shows_its_filters(opened, table):
    page = opened()
    button = page.locator("[data-part]").first
    place, count = int(button.get_attribute("data-part")), int(button.locator(".value").inner_text())
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    found = indices(page)
    assert len(found) == count
    assert all(table.best()[k] == place and say.clear(table)[k] for k in found)
    assert page.locator("#reset").inner_text() == f"Only {say.named(made.KEYS[place])}: show all filters"
    button.click()
    assert len(indices(page)) == made.FILTERS


def test_positions_and_templates_are_drawn_where_they_are(opened, table):
    page = opened()
    page.fill("#query", "12")
    frame = page.locator("#filter-12 .picture").first
    frame.scroll_into_view_if_needed()
    frame.locator("img").wait_for()
    row, column = table.examples.cells[12, 0]
    mark = frame.locator("ellipse.mark")
    assert float(mark.get_attribute("cx")) == 8 + 16 * column
    assert float(mark.get_attribute("cy")) == 8 + 16 * row
    assert frame.locator(".template").get_attribute("d").startswith(f"M{8 + 16 * column - 16 * 3.2:g}")
    box, middle = frame.bounding_box(), mark.bounding_box()
    assert (middle["x"] + middle["width"] / 2 - box["x"]) / box["width"] == pytest.approx(
        (8 + 16 * column) / 128, abs=0.02
    )
    assert (middle["y"] + middle["height"] / 2 - box["y"]) / box["height"] == pytest.approx(
        (8 + 16 * row) / 128, abs=0.02
    )
    assert frame.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 112


def test_measures_are_the_tables(opened, table):
    page = opened()
    page.fill("#query", "12")
    card = page.locator("#filter-12")
    shown = say.share(table.interpretability()[12]).replace("\xa0", " ")
    assert card.locator(".measure strong").first.text_content() == shown
    fill = card.locator(".measure .fill").first
    assert float(fill.get_attribute("width")) == pytest.approx(100 * table.interpretability()[12], abs=0.02)
    chance = card.locator(".measure .chance").first.get_attribute("d")
    assert float(chance[1:].split()[0]) == pytest.approx(100 * table.chance_interpretability()[12], abs=0.02)
    assert say.diagonal(table.instability[12]).replace("\xa0", " ") in card.text_content()


def test_filters_that_say_nothing_say_so(opened):
    page = opened()
    indices(page)
    for index in (made.DEAD, made.NONE):
        assert page.locator(f"#filter-{index} h3").text_content() == "lies on no known part"
    assert "has no place" in page.locator(f"#filter-{made.DEAD}").text_content()
    assert page.locator(f"#filter-{made.DEAD} .picture").count() == 0


def test_an_address_leads_to_its_filter(opened, table):
    page = opened()
    last = indices(page)[-5]
    page.fill("#query", "nothing of the kind")
    page.goto(page.url + f"#filter-{last}")
    page.wait_for_selector(f"#filter-{last}")
    assert page.locator(f"#filter-{last}").evaluate("card => card.getBoundingClientRect().top < innerHeight")


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_choosing_a_filter_shows_where_it_sits(opened, table, norm):
    page = opened(f"one/{norm}.html")
    buttons = page.locator(".here button")
    assert buttons.count() == 5
    buttons.nth(3).click()
    page.mouse.move(2, 2)
    assert page.locator(".frame g.on").count() == 1
    assert page.locator(".frame g.on").get_attribute("data-filter") == "13"
    assert page.locator(".frame g.on .template").is_visible()
    assert page.locator(".frame g:not(.on) .template").first.is_hidden()
    assert page.locator("figcaption").inner_text() == f"Filter 13, {say.named(table.meaning(13))}"
    buttons.nth(1).hover()
    assert page.locator(".frame g.on").get_attribute("data-filter") == "11"
    page.mouse.move(2, 2)
    assert page.locator(".frame g.on").get_attribute("data-filter") == "13"
    frame, mark = page.locator(".frame").bounding_box(), page.locator(".frame g.on .mark").bounding_box()
    y, x = 8 + 16 * 3, 8 + 16 * 4
    assert (mark["x"] + mark["width"] / 2 - frame["x"]) / frame["width"] == pytest.approx(x / 128, abs=0.01)
    assert (mark["y"] + mark["height"] / 2 - frame["y"]) / frame["height"] == pytest.approx(y / 128, abs=0.01)


def test_every_layer_of_a_picture_has_its_own_choice(opened):
    page = opened("two/cat.html")
    assert page.locator(".picture-page").count() == 2
    page.locator(".picture-page").nth(1).locator(".here button").nth(2).click()
    page.mouse.move(2, 2)
    shown = page.locator(".frame g.on").evaluate_all("all => all.map(one => one.dataset.filter)")
    assert len(shown) == 2
    assert shown[1] == "12"


@pytest.mark.parametrize("name", ["one/index.html", "one/l2.html", "two/cat.html"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_is_wider_than_the_window(opened, name, width):
    page = opened(name, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_index_is_quiet_and_narrow_enough(open_file, folder):
    page = open_file(folder / "two" / "index.html", width=360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert {link.get_attribute("href") for link in page.locator("a").all()} == {
        "features.2.html",
        "features.30.html",
        "cat.html",
    }


def test_everything_can_be_reached_with_the_keyboard(opened):
    page = opened("one/l2.html")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.locator(".frame g.on").get_attribute("data-filter") == "11", (
        "focus shows a filter as the mouse does"
    )
    page.keyboard.press("Enter")
    assert page.locator('.here button[aria-pressed="true"]').get_attribute("data-filter") == "11"


def test_without_scripts_every_number_is_there(open_file, folder):
    page = open_file(folder / "one" / "index.html", java_script_enabled=False)
    assert page.locator("noscript tbody tr").count() == made.FILTERS
    other = open_file(folder / "one" / "l2.html", java_script_enabled=False)
    assert other.locator(".frame g.on").count() == 1
    assert other.locator(".here .small img").count() == 5


def test_printing_shows_every_card(opened):
    page = opened()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#cards > li").count() == made.FILTERS
    assert page.locator(".picture:not(:has(img))").count() == 0
