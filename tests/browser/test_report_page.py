"""The report as a reader uses it: pictures equal the library's arithmetic, every control does its work."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.core.geometry import Geometry, upsample

SIZE = (96, 144)


def pixels(page, canvas="heat"):
    """The colors of a canvas, [height, width, 4]."""
    encoded = page.evaluate("id => document.getElementById(id).toDataURL('image/png')", canvas)
    with Image.open(io.BytesIO(base64.b64decode(encoded.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGBA")).astype(int)


def set_range(page, name, value):
    page.locator(f"#{name}").fill(str(value))


def point_at(page, selector):
    """Move the mouse to the beginning of a text that may run over several lines."""
    page.locator(selector).scroll_into_view_if_needed()
    line = page.locator(selector).evaluate("element => element.getClientRects()[0].toJSON()")
    page.mouse.move(line["x"] + 4, line["y"] + line["height"] / 2)


def small(documents, levels=None, start=(0.0, 0.0), stride=(16.0, 16.0), **changes):
    """A small document; with ``levels``, one stage whose map has these grey levels and this geometry."""
    made = documents.document(size=SIZE, statuses={})
    if levels is not None:
        stage = made["stages"][-1]
        stage.update(shape=[4, *levels.shape], start=list(start), stride=list(stride))
        entry = {
            "status": "ok",
            "min": 0.0,
            "max": 1.0,
            "png": documents.png(levels),
            "inside": None,
            "box": None,
        }
        stage["maps"] = {"layercam": {**entry, **changes}}
        made["stages"] = [stage]
    return made


GEOMETRIES = [
    ((6, 9), (0.0, 0.0), (16.0, 16.0)),
    ((7, 5), (-3.5, 11.25), (13.0, 29.5)),
    ((1, 4), (40.0, -20.0), (1.0, 40.0)),
    ((96, 144), (0.0, 0.0), (1.0, 1.0)),
]


@pytest.mark.parametrize(("shape", "start", "stride"), GEOMETRIES)
def test_the_canvas_is_upsampled_as_the_library_does(documents, open_report, shape, start, stride):
    levels = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)
    levels[:, -1] = 255
    page = open_report(small(documents, levels, start, stride))
    set_range(page, "opacity", 100)
    shown = pixels(page)
    size = shown.shape[:2]
    geometry = Geometry(stride=stride, start=start)
    ours = upsample(torch.tensor(levels / 255.0)[None], geometry, SIZE, size)[0].numpy()
    rows, columns = ((np.arange(size[k]) + 0.5) * SIZE[k] / size[k] - 0.5 for k in (0, 1))
    across = np.stack(
        [np.interp(columns, start[1] + stride[1] * np.arange(shape[1]), row) for row in levels / 255]
    )
    slow = np.stack(
        [np.interp(rows, start[0] + stride[0] * np.arange(shape[0]), column) for column in across.T], 1
    )
    assert np.abs(ours - slow).max() < 1e-9
    expected = 255 * np.minimum(1, 1.4 * slow)  # how densely a value covers the photograph
    assert np.abs(shown[..., 3] - expected).max() <= 1
    inferno = pytest.importorskip("matplotlib", reason="needs matplotlib's table").colormaps["inferno"]
    solid = expected > 254.9
    assert solid.mean() > 0.05
    assert np.abs(shown[..., :3] - 255 * inferno(slow)[..., :3])[solid].max() <= 6


def test_true_cells_are_flat_and_meet_halfway_between_centers(documents, open_report):
    levels = np.array([[10, 120], [60, 180]], np.uint8)
    page = open_report(small(documents, levels, (24.03, 30.03), (40.0, 60.0)))
    set_range(page, "opacity", 100)
    smooth = pixels(page)[..., 3]
    page.locator("#cells").check(force=True)
    shown = pixels(page)[..., 3]
    rows, columns = ((np.arange(shown.shape[k]) + 0.5) * SIZE[k] / shown.shape[k] - 0.5 for k in (0, 1))
    expected = 255 * np.minimum(
        1, 1.4 * levels[(rows > 44.03).astype(int)][:, (columns > 60.03).astype(int)] / 255
    )
    assert np.abs(shown - expected).max() <= 1
    assert len(np.unique(shown)) == 4 < len(np.unique(smooth))


def test_signed_maps_show_both_signs_apart(documents, open_report):
    levels = np.array([[0, 64, 255]], np.uint8)  # -1, about 0, 3
    page = open_report(small(documents, levels, (48.0, 24.0), (1.0, 48.0), min=-1.0, max=3.0))
    page.locator("#cells").check(force=True)
    set_range(page, "opacity", 100)
    middle = pixels(page)[240]
    against, nothing, speaks_for = middle[80], middle[360], middle[640]
    assert nothing[3] <= 3
    assert against[2] > against[0] + 50
    assert speaks_for[0] > 200
    assert page.locator("#low").inner_text() == "-1"


def test_colors_begin_at_zero_not_at_the_lowest_value(documents, open_report):
    page = open_report(small(documents, np.array([[0, 255]], np.uint8), min=0.5, max=1.0))
    set_range(page, "opacity", 100)
    assert abs(pixels(page)[..., 3].min() - 255 * 1.4 * 0.5) <= 1
    assert [page.locator(f"#{end}").inner_text() for end in ("low", "high")] == ["0.5", "1"]


def test_slider_method_and_opacity_change_the_picture(documents, open_report):
    page = open_report(small(documents))
    seen = [pixels(page)]
    captions = [page.locator("#caption").inner_text()]
    for act in (
        lambda: set_range(page, "stage", 2),
        lambda: page.select_option("#method", "gradcam"),
        lambda: set_range(page, "opacity", 30),
        lambda: page.locator("#strip button").nth(3).click(),
    ):
        act()
        now = pixels(page)
        assert all(not np.array_equal(now, before) for before in seen)
        seen.append(now)
        captions.append(page.locator("#caption").inner_text())
    assert seen[3][..., 3].max() <= 0.3 * 255 + 1
    assert captions == [
        "LayerCAM at layer4",
        "LayerCAM at layer1",
        "Grad-CAM at layer1",
        "Grad-CAM at layer1",
        "Grad-CAM at layer2",
    ]
    assert page.locator('#strip [aria-pressed="true"] b').inner_text() == "layer2"
    page.select_option("#method", "gradient")  # only the input has it: the picture goes there by itself
    assert page.locator("#caption").inner_text() == "Gradient at input"


def test_hovering_reads_the_true_value_and_draws_what_the_cell_sees(documents, open_report):
    levels = np.arange(54, dtype=np.uint8).reshape(6, 9) * 4
    page = open_report(small(documents, levels, max=0.5))
    box = page.locator("#view").bounding_box()
    page.mouse.move(
        box["x"] + box["width"] * 32.6 / 144, box["y"] + box["height"] * 48.4 / 96
    )  # center of cell (3, 2)
    text = page.locator("#readout").inner_text()
    value = 0.5 * levels[3, 2] / 255
    assert f"Row 4, column 3: {value:.3g} ({round(200 * value)} % of the highest)" in text
    assert page.locator("#ink .cell").count() == page.locator("#ink .field").count() == 1
    assert page.locator("#needle").is_visible()
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] + 200)
    assert page.locator("#ink path").count() == 0


def test_the_receptive_field_box_is_the_librarys(documents, open_report):
    made = small(documents, np.full((6, 9), 200, np.uint8), (3.5, 1.0))
    made["stages"][0]["receptive_field"] = [30.0, 43.0]
    page = open_report(made)
    page.locator("#view").focus()
    page.keyboard.press("ArrowUp")
    top, left, bottom, right = Geometry((16.0, 16.0), (3.5, 1.0), (30.0, 43.0)).region(3, 4, SIZE)
    assert f"rows {top}–{bottom - 1}, columns {left}–{right - 1}" in page.locator("#readout").inner_text()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("constant", "points nowhere"),
        ("negative", "speaks against balloon"),
        ("zero", "No cell"),
        ("not finite", "no map to read"),
        ("ok", "could not be decoded"),
    ],
)
def test_a_map_that_cannot_be_read_is_said_not_drawn(documents, open_report, status, words):
    made = small(documents)
    made["stages"][-1]["maps"]["layercam"].update(status=status, min=None, max=None, png="AAAA")
    page = open_report(made)
    assert words in page.locator("#message").inner_text()
    assert not pixels(page).any()
    assert page.locator("#strip button").last.locator(".unread").count() == 1
    set_range(page, "stage", 4)
    assert page.locator("#message").is_hidden()
    assert pixels(page).any()


def test_a_clause_shows_its_numbers_and_its_regions(documents, open_report):
    page = open_report(small(documents))
    point_at(page, '[data-clause="3"]')
    assert page.locator("#ink .region").count() == 3
    assert page.locator("#numbers").inner_text().split("\n")[1:] == [
        "share of the CGNIS score\t21.6\xa0%",
        "probability before\t93.1\xa0%",
        "probability without them\t41.2\xa0%",
        "neurons of the layer\t2,048",
    ]
    assert not pixels(page).any()
    point_at(page, '[data-clause="2"]')
    assert page.locator("#caption").inner_text() == "LayerCAM at layer3"
    assert page.locator("#ink .mask").count() == 1
    point_at(page, '[data-clause="1"]')
    assert page.locator("#ink .box").count() == 1
    page.locator(".brand").hover()
    assert page.locator("#ink path").count() == 0
    assert page.locator("#caption").inner_text() == "LayerCAM at layer4"


def test_a_neuron_is_shown_from_its_card_and_from_its_mention(documents, open_report):
    made = small(documents)
    page = open_report(made)
    for spot in ('.neuron[data-neuron="1"]', '.mention[data-neuron="1"]'):
        page.locator(spot).hover()
        assert page.locator("#caption").inner_text() == "Neuron 12 of layer4"
        shown = pixels(page, "dim")[..., 3] == 0
        top, left, bottom, right = made["neurons"][1]["region"]["box"]
        assert shown[top:bottom, left:right].any()
        assert np.argwhere(shown).min(0).tolist() == [top, left]
        assert (np.argwhere(shown).max(0) + 1).tolist() == [bottom, right]
        page.locator(".brand").hover()
        assert page.locator("#dim").is_hidden()


@pytest.mark.parametrize("width", [1280, 360])
def test_a_painted_picture_is_on_the_card_of_its_neuron(documents, open_report, width):
    made = small(documents)
    square = f"data:image/png;base64,{documents.png(np.full((128, 128), 90))}"
    made["neurons"][0]["painted"] = {"method": "pyramid", "status": "ok", "ratio": 2.7, "picture": square}
    made["neurons"][1]["painted"] = {
        "method": "pyramid",
        "status": "never active",
        "ratio": None,
        "picture": square,
    }
    made["neurons"][2]["painted"] = {
        "method": "pyramid",
        "status": "ok",
        "ratio": 2.7,
    }  # saved without pictures
    page = open_report(made, width=width)
    cards = page.locator(".neuron")
    image = cards.nth(0).locator("figure img")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 128
    assert image.get_attribute("alt").endswith("; what it wants to see: 2.7 × the best real picture")
    region, painted, words = (
        cards.nth(0).locator(s).bounding_box() for s in ("canvas", "img", ":scope > div")
    )
    assert painted["y"] >= region["y"] + region["height"]
    assert painted["x"] == region["x"]
    assert abs(painted["width"] - region["width"]) < 1
    assert words["x"] > painted["x"] + painted["width"]
    assert words["y"] == region["y"]
    assert "never active: this is not what it wants to see" in cards.nth(1).inner_text()
    assert [cards.nth(k).locator("figure").count() for k in range(4)] == [1, 1, 0, 0]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_works_from_the_keyboard(documents, open_report):
    page = open_report(small(documents))
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    for name in ("clause", "mention", "view", "stage", "method", "opacity", "smooth", "neuron-0", "download"):
        assert any(name in entry.split() for entry in reached), name
    page.locator("#stage").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#caption").inner_text() == "LayerCAM at layer3"
    page.locator("#view").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.locator("#readout").inner_text().startswith("Row 4, column 6:")
    page.locator('[data-clause="3"]').focus()
    assert page.locator("#ink .region").count() == 3
    page.keyboard.press("Enter")
    page.locator("#opacity").focus()
    assert page.locator("#ink .region").count() == 3, "kept"
    page.keyboard.press("Escape")
    assert page.locator("#ink .region").count() == 0
    page.locator("#strip button").nth(1).focus()
    page.keyboard.press("Enter")
    assert page.locator("#caption").inner_text() == "LayerCAM at relu1"


def test_every_control_has_a_name(documents, open_report):
    page = open_report(small(documents))
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button, a, [role]")].filter(e =>
             !e.labels?.length && !e.getAttribute("aria-label") && !e.textContent.trim()
             && e.id !== "message").length"""
    )
    assert nameless == 0
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("img:not([alt])").count() == 0


def test_awkward_names_do_nothing(documents, open_report):
    made = documents.document(documents.AWKWARD, documents.AWKWARD, size=SIZE)
    for entry in (made["network"], made["mask"]):
        entry["name"] = documents.AWKWARD
    made["methods"][0]["title"] = made["stages"][-1]["layer"] = made["image"]["notes"][0] = documents.AWKWARD
    made["stages"][-1]["maps"]["layercam"]["status"] = documents.AWKWARD
    for entry in [*made["neurons"], made["faithfulness"]]:
        entry["layer"] = documents.AWKWARD
    page = open_report(made)
    point_at(page, '[data-clause="3"]')
    page.locator(".neuron").first.hover()
    page.locator("#strip button").nth(2).click()
    page.locator("#trust-show").click()
    assert documents.AWKWARD in page.locator(".about").inner_text()
    assert documents.AWKWARD in page.locator("#message").inner_text()
    assert page.evaluate("document.images.length") == 1
    assert page.title() != "owned"
    assert page.locator("#sentence b").count() == 0


@pytest.mark.parametrize("width", [320, 390, 820, 1024, 1440])
def test_no_width_overflows(documents, open_report, width):
    made = documents.document("a" * 120 + ".jpg", "b" * 90, size=SIZE)
    made["stages"][1]["layer"] = "features.denseblock1.denselayer6.norm2.relu2.and.so.on"
    made["stages"][2]["maps"]["layercam"]["max"] = 3.2e-12
    page = open_report(made, width=width, height=700)
    for at in (1, 2):
        set_range(page, "stage", at)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    view = page.locator("#view").bounding_box()
    assert view["width"] >= 250
    assert abs(view["width"] / view["height"] - SIZE[1] / SIZE[0]) < 0.02


def test_paper_and_darkness(documents, open_report):
    page = open_report(small(documents), color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 21, 21)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".controls").is_hidden()
    assert page.locator("#clause-4 td").first.is_visible()


def test_the_test_of_a_map_says_which_map_it_is_about(documents, open_report):
    page = open_report(small(documents))
    note = page.locator("#trust-other")
    assert page.locator(".about strong").inner_text() == "LayerCAM at layer4"
    assert note.is_hidden()
    set_range(page, "stage", 2)
    assert note.inner_text().startswith("Shown now: LayerCAM at layer1, not tested.")
    page.select_option("#method", "gradcam")
    assert note.inner_text().startswith("Shown now: Grad-CAM at layer1, not tested.")
    assert page.locator(".about strong").inner_text() == "LayerCAM at layer4"
    page.locator("#trust-show").click()
    assert page.locator("#caption").inner_text() == "LayerCAM at layer4"
    assert note.is_hidden()
    page.locator(".neuron").first.hover()  # regions of a neuron are no map
    assert note.is_hidden()


def overlaps(one, other):
    return (
        one["x"] < other["x"] + other["width"]
        and other["x"] < one["x"] + one["width"]
        and one["y"] < other["y"] + other["height"]
        and other["y"] < one["y"] + one["height"]
    )


@pytest.mark.parametrize("verdict", ["better", "worse"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_charts_are_legible_at_every_width(documents, open_report, width, verdict):
    made = small(documents)
    made["faithfulness"] = documents.faithfulness(verdict)
    page = open_report(made, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for chart in page.locator(".chart svg").all():
        frame = chart.bounding_box()
        assert frame["width"] >= 230
        words = [text.bounding_box() for text in chart.locator("text").all()]
        assert min(box["height"] for box in words) >= 9
        for place, box in enumerate(words):
            assert frame["x"] - 1 <= box["x"]
            assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
            assert not any(overlaps(box, other) for other in words[place + 1 :])


def test_the_numbers_of_the_charts_open_and_print(documents, open_report):
    page = open_report(small(documents))
    table = page.locator(".trust table")
    assert table.is_hidden()
    page.locator(".trust summary").focus()
    page.keyboard.press("Enter")
    assert table.is_visible()
    assert table.locator("tbody tr").last.inner_text().startswith("mean")
    page.emulate_media(media="print")
    assert page.locator(".chart").first.is_visible()
    assert page.locator("#trust-other").is_hidden()
    colors = page.locator(".chart polyline").evaluate_all(
        "lines => lines.map(line => getComputedStyle(line).stroke)"
    )
    assert len(set(colors)) >= 2
    assert (
        page.locator("polyline.other").first.evaluate("line => getComputedStyle(line).strokeDasharray")
        != "none"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_take_the_colors_of_the_page(documents, open_report, scheme):
    page = open_report(small(documents), color_scheme=scheme)
    accent = page.evaluate(
        """() => { const probe = document.body.appendChild(document.createElement("p"));
             probe.className = "finding"; probe.append(document.createElement("strong"));
             return getComputedStyle(probe.firstChild).color; }"""
    )
    assert (
        page.locator(".chart polyline.own").first.evaluate("line => getComputedStyle(line).stroke") == accent
    )


def test_a_page_of_an_untested_map_works(documents, open_report):
    made = small(documents)
    made["faithfulness"] = None
    page = open_report(made)
    assert page.locator(".trust").count() == 0
    set_range(page, "stage", 2)
    assert page.locator("#caption").inner_text() == "LayerCAM at layer1"


def test_the_document_can_be_taken_away(documents, open_report):
    made = small(documents)
    page = open_report(made)
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "balloon.json"
    with open(download.value.path(), encoding="utf-8") as file:
        assert json.load(file) == made


def test_a_tiny_input_and_missing_parts(documents, open_report):
    made = documents.document(size=(32, 32), masked=False)
    made.update(neurons=[], removal=None, clauses=made["clauses"][:1])
    page = open_report(made)
    assert page.locator("#outline").count() == 0
    assert pixels(page).shape[:2] == (640, 640)
    assert page.locator("#caption").inner_text() == "LayerCAM at layer4"


def test_the_index_leads_to_every_page(documents, open_file, tmp_path):
    from pellucid.report import write_report

    made = [documents.document(name, size=SIZE) for name in ("one.jpg", documents.AWKWARD)]
    page = open_file(write_report(made, tmp_path, skipped=[("broken.jpg", "no image")]), width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".listing img").first.evaluate("image => image.naturalWidth") > 0
    links = [link.get_attribute("href") for link in page.locator(".listing a").all()]
    for link in links:
        other = open_file(tmp_path / link)
        other.wait_for_selector("html[data-ready]", state="attached")
        assert other.get_by_role("link", name="All images").get_attribute("href") == "index.html"
