"""The page a stranger gets from `pellucid explain` with no arguments, in a real browser: whole, alive and silent."""

import json

import pytest
from tests.browser.conftest import unfold

from pellucid.cli import main


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demonstration")
    assert main(["explain", "--out", str(folder)]) == 0
    (page,) = folder.glob("*.html")
    return page


def pixels(page):
    """What is painted over the photograph."""
    return page.evaluate("() => document.getElementById('heat').toDataURL()")


def test_the_page_shows_every_stage_and_method_and_says_the_sentence(demonstration, open_file):
    document = json.loads(demonstration.with_suffix(".json").read_text(encoding="utf-8"))
    page = open_file(demonstration)
    page.wait_for_selector("html[data-ready]", state="attached")
    unfold(page)
    said = " ".join(page.inner_text("body").split())
    for clause in document["clauses"]:
        assert clause["text"].replace("**", "") in said
    assert page.locator(".neuron").count() == len(document["neurons"]) == 5
    shown = [option.get_attribute("value") for option in page.locator("#method option").all()]
    assert sorted(shown) == sorted(method["name"] for method in document["methods"])
    (default,) = [method["name"] for method in document["methods"] if method["default"]]
    homes = [stage["layer"] for stage in document["stages"] if default in stage["maps"]]
    assert page.locator("#strip button:visible").count() == len(homes) >= 5


def test_the_page_says_whether_its_map_can_be_trusted(demonstration, open_file):
    found = json.loads(demonstration.with_suffix(".json").read_text(encoding="utf-8"))["faithfulness"]
    page = open_file(demonstration)
    page.wait_for_selector("html[data-ready]", state="attached")
    unfold(page)
    section = page.locator("section.trust")
    assert page.inner_text(".trusted strong") in section.inner_text()
    assert section.locator("svg[role=img]").count() == 2
    assert found["layer"] in section.locator(".about strong").inner_text()
    assert page.locator("#trust-other").is_hidden(), "the page opens with the map that was tested"


def test_slider_and_method_change_the_picture(demonstration, open_file):
    page = open_file(demonstration)
    page.wait_for_selector("html[data-ready]", state="attached")
    unfold(page)
    before = pixels(page)
    page.locator("#stage").fill("1")
    at_another_stage = pixels(page)
    page.select_option("#method", "eigencam")
    by_another_method = pixels(page)
    page.locator("#opacity").fill("10")
    fainter = pixels(page)
    assert len({before, at_another_stage, by_another_method, fainter}) == 4
