"""The report of the study `shallow-cam`: its numbers on made-up results, its words, its pictures."""

import importlib.util
import io
import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install pellucid[plot]")

STUDIES = Path(__file__).parents[2] / "studies"
LAYERS = ["a", "b", "c"]


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(STUDIES))
    yield
    sys.path.remove(str(STUDIES))


@pytest.fixture(scope="module")
def made_up():
    spec = importlib.util.spec_from_file_location("made_up", Path(__file__).with_name("made_up.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def study(made_up):
    from shallow_cam_numbers import Study

    return lambda name="resnet18", **changes: Study(made_up.results(name) | changes)


def of(insertions, fewer=()):
    """A study of three layers in which deletion is always 0 and every layer has the same insertion curves' areas."""
    from shallow_cam_numbers import Study

    faithfulness = {
        method: {
            layer: {"insertion": values, "deletion": [0.0] * len(values)}
            for layer in (LAYERS if method != "random" else "*")
        }
        for method, values in insertions.items()
    }
    return Study(
        {"network": "n", "title": "N", "layers": LAYERS, "faithfulness": faithfulness,
         "fewer": {"images": 2, "methods": list(fewer)}}
    )  # fmt: skip


def test_composite_margin_and_undefined_images():
    board = of(
        {"shallow-cam": [0.5, None, 0.9], "layercam": [0.4, 0.1, 0.5], "random": [0.0, 0.0, 0.3]}
    ).composite
    assert board.mean("shallow-cam", "a") == pytest.approx(70)
    margin = board.margin("shallow-cam", "a")
    assert (margin.mean, margin.count) == (pytest.approx(25), 2)
    assert board.margin("random", "b").mean == pytest.approx(100 * (-0.4 - 0.1 - 0.2) / 3)
    assert board.margin("gradcam", "a") is None
    assert board.controls == ["random"]


def test_fewer_images_are_compared_on_exactly_those():
    values = {
        "shallow-cam": [0.2, 0.4, 0.9],
        "layercam": [0.1, 0.1, 0.1],
        "gradcam": [0.3, 0.5],
        "eigencam": [0.3, 0.2],
    }
    board = of(values, fewer=["gradcam", "eigencam"]).composite
    assert board.margin("gradcam", "a").mean == pytest.approx(30)
    assert board.mean("gradcam", "a") < board.mean("shallow-cam", "a")
    assert board.best("a") == ["shallow-cam", "gradcam"]
    assert list(board.rivals("a")) == ["gradcam"]
    with pytest.raises(ValueError, match="same images"):
        of(values).composite.margin("gradcam", "a")


@pytest.mark.parametrize(
    ("layer", "margin", "short"),
    [("a", 2.73, None), ("a", 2.7, 0.03), ("b", 0.25, None), ("c", 0.24, 0.0), ("c", -1, 1.24)],
)
def test_the_goal_is_reached_or_missed(layer, margin, short, monkeypatch):
    from pellucid.evaluation import Interval
    from shallow_cam_numbers import Board

    study = of({"shallow-cam": [0.5], "layercam": [0.5]})
    monkeypatch.setattr(Board, "margin", lambda *_: Interval(margin, margin, margin, 1))
    assert study.short_of(layer) == (None if short is None else pytest.approx(short))


def test_numbers_that_are_no_shares_are_refused():
    with pytest.raises(ValueError, match="try shares"):
        of({"shallow-cam": [50.0], "layercam": [40.0]}).composite.best("a")


def test_the_page_has_every_number_of_the_summary(study):
    from shallow_cam_report import document
    from shallow_cam_tables import shown

    one, other = study("resnet18"), study("scenes-vgg")
    text = document([one, other], "plot.png")
    assert not re.search(r"nan|None|inf\b", text)
    assert "![" in text
    assert "(plot.png)" in text
    for found in (one, other):
        for layer in found.layers:
            (row,) = [line for line in text.splitlines() if line.startswith(f"| {found.name} `{layer}` |")]
            assert shown(found.composite.margin("shallow-cam", layer)) in row
            assert ("missed" in row) == (found.short_of(layer) is not None)
    assert text.count("control: random map |") == 3  # two of faithfulness, one of intervention
    assert "Grad-CAM † |" in text
    assert "+0.24 | +2.73" in text


def test_losses_are_told(study, made_up):
    from shallow_cam_report import document

    found = made_up.results("scenes-resnet")
    swapped = found["faithfulness"]
    swapped["shallow-cam"], swapped["layercam"] = swapped["layercam"], swapped["shallow-cam"]
    text = document([study("scenes-resnet", faithfulness=swapped)], "plot.png")
    assert "Not above LayerCAM: scenes-resnet `layer1`" in text
    assert "Above it at `layer1`: LayerCAM by +" in text
    board = study("scenes-resnet").composite
    row = next(line for line in text.splitlines() if line.startswith("| scenes-resnet `layer1`"))
    assert f"**missed by {2.73 + board.margin('shallow-cam', 'layer1').mean:.2f}**" in row


def test_worse_localization_is_told(study):
    from shallow_cam_report import document

    def at(value):
        values = [value - 0.01, value, value + 0.01]
        return {"relu": {"pointing": values, "energy": values, "relative": [None, None, None]}}

    masks = {"cars": {"images": 3, "shallow-cam": at(0.3), "layercam": at(0.5)}}
    text = document([study(localization=masks)], "plot.png")
    assert "| `relu`, pointing game | 0.500 | 0.300 | −0.200 [−0.200, −0.200] | **worse** |" in text
    assert "| `relu`, relative IoU | – | – | – | undefined |" in text
    assert "no worse than LayerCAM in 0 of 3 comparisons" in text


def test_forms_are_compared_on_the_tuning_half(study):
    from shallow_cam_report import document

    tuning = {
        "shallow-cam": {"relu": [0.6, 0.7]},
        "layercam": {"relu": [0.5, 0.5]},
        "arm spatial": {"relu": [0.4, 0.8]},
    }
    text = document([study(tuning=tuning, layers=["relu"])], "plot.png")
    assert "| LayerCAM, its composite | 50.0 |" in text
    assert re.search(r"\| shallow-cam \| \*\*\+15\.0 \[", text)
    assert re.search(r"\| arm spatial \| \+10\.0 \[", text)


def test_files_without_results_are_left_out_and_an_empty_folder_is_named(made_up, tmp_path):
    from shallow_cam_numbers import read

    with pytest.raises(FileNotFoundError, match="got none; try"):
        read(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps({"network": "resnet50", "tuning": {}}))
    for name in ("scenes-vgg", "resnet18"):
        (tmp_path / f"{name}.json").write_text(json.dumps(made_up.results(name)))
    assert [study.name for study in read(tmp_path)] == ["resnet18", "scenes-vgg"]


def test_plot(study):
    from shallow_cam_plot import _apart, plot

    with Image.open(io.BytesIO(plot([study("resnet18"), study("scenes-vgg")]))) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > 600
    heights = _apart({"one": 1.0, "two": 1.1, "three": 1.2, "far": -4.0}, 0.5, (-5.0, 1.3))
    ordered = [heights[name] for name in ("far", "one", "two", "three")]
    assert all(b - a > 0.49 for a, b in pairwise(ordered))
    assert ordered[0] == -4
    assert ordered[-1] < 1.31


def test_the_picture_shows_the_embedded_world_only(monkeypatch):
    import shallow_cam_maps

    asked = []
    real = shallow_cam_maps.network
    monkeypatch.setattr(shallow_cam_maps, "network", lambda name: asked.append(name) or real(name))
    drawn = shallow_cam_maps.picture(rows=1, stages=1)
    assert asked
    assert all(name.startswith("scenes-") for name in asked)
    tile = shallow_cam_maps.SIDE + shallow_cam_maps.GAP
    assert drawn.size == (4 * tile + shallow_cam_maps.GROUP, shallow_cam_maps.HEAD + tile)


def test_a_map_of_one_bright_cell_still_shows_the_others():
    import pellucid as pl
    from pellucid.core.layers import Layer
    from pellucid.core.results import Heatmap
    from shallow_cam_maps import _drawn

    values = torch.zeros(1, 20, 20, dtype=torch.float64)
    values[0, 10, :] = 1
    values[0, 0, 0] = 1000
    layer = Layer("l", "Conv2d", (1, 20, 20), pl.Geometry())
    drawn = _drawn(Image.new("RGB", (20, 20), (90, 90, 90)), Heatmap(values, layer, "m", (20, 20), ("ok",)))
    assert min(drawn.getpixel((5, 10))) > 100
    assert drawn.getpixel((5, 15)) == (45, 45, 45)


def test_the_committed_page_is_what_the_committed_numbers_say():
    from shallow_cam_numbers import read
    from shallow_cam_report import document

    written = STUDIES / "results" / "shallow-cam.md"
    if not written.exists():
        pytest.skip("needs the results of studies/shallow_cam.py and its report")
    assert written.read_text(encoding="utf-8") == document(
        read(STUDIES / "results" / "shallow-cam"), "shallow-cam.png"
    )
