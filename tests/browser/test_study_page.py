"""The page of example maps of the study `shallow-cam` in a real browser, on scenes."""

import sys
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install pellucid[plot]")
    sys.path.insert(0, str(STUDIES))
    try:
        from shallow_cam_maps import page
    finally:
        sys.path.remove(str(STUDIES))
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(page(["scenes-resnet", "scenes-vgg"], count=2), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [390, 1440])
def test_a_map_is_enlarged_and_changed_in_place(open_file, page, width):
    window = open_file(page, width=width)
    window.wait_for_selector("html[data-ready]", state="attached")
    assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cells = window.locator(".network:not([hidden]) .maps button")
    assert cells.count() == 4 * 2 * 4  # methods, images, stages
    cells.nth(1).click()
    first = window.get_attribute("#map", "src")
    assert window.inner_text("#title") == "Shallow-CAM at layer2"
    window.keyboard.press("ArrowRight")
    window.keyboard.press("ArrowDown")
    window.click("#methods button:nth-child(2)")
    assert window.inner_text("#title") == "LayerCAM at layer3"
    assert "scene 1" in window.inner_text("#about")
    assert window.get_attribute("#map", "src") not in ("", first)
    assert window.evaluate("document.querySelector('dialog').getBoundingClientRect().right <= innerWidth")
    window.keyboard.press("Escape")
    window.click("#networks button:nth-child(2)")
    assert window.locator(".network:not([hidden])").get_attribute("data-title") == "scenes-vgg"
