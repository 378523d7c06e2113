"""The pictures of the README, made by the product itself: ``python docs/make_images.py`` (needs Chromium and playwright)."""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import skimage
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from pellucid.cli import main as pellucid
from pellucid.world import contact_sheet

IMAGES = Path(__file__).parent / "images"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def write(picture: Image.Image, path: Path) -> None:
    """Write a picture as a fine JPEG."""
    picture.convert("RGB").save(path, quality=88, optimize=True)


def cards(browser: Browser, folder: Path) -> bytes:
    """The first unit cards of a dissection."""
    pellucid(
        [
            "dissect",
            "--concepts",
            "scenes:val/0-999",
            "--layers",
            "features.23",
            "--examples",
            "5",
            "--out",
            str(folder),
        ]
    )
    window = browser.new_page(viewport={"width": 1280, "height": 800})
    window.goto((folder / "features.23.html").as_uri())
    window.evaluate("document.querySelector('#cards').scrollIntoView()")
    window.wait_for_timeout(1500)
    return window.screenshot()


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        cat = Path(skimage.__file__).parent / "data" / "chelsea.png"  # CC0, Stéfan van der Walt
        pellucid(["explain", str(cat), "--net", "efficientnet-lite0", "--out", folder])
        page = next(Path(folder).glob("*.html"))
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=options.chromium, args=ARGUMENTS)
            window = browser.new_page(viewport={"width": 1280, "height": 820})
            window.goto(page.as_uri())
            window.wait_for_selector("html[data-ready]", state="attached")
            shot = window.screenshot()
            units = cards(browser, Path(folder) / "units")
            browser.close()
    write(Image.open(io.BytesIO(shot)), IMAGES / "report.jpg")
    write(Image.open(io.BytesIO(units)), IMAGES / "units.jpg")
    write(contact_sheet("test", count=20, columns=10, size=96), IMAGES / "scenes.jpg")


if __name__ == "__main__":
    main()
