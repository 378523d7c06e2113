"""`explain` on real pretrained networks and a real photograph: the animal is found, and removing its neurons matters."""

import os
from pathlib import Path

import pytest

import pellucid as pl

ASSETS = os.environ.get("PELLUCID_ASSETS")
pytestmark = pytest.mark.skipif(
    ASSETS is None, reason="needs real weights: set PELLUCID_ASSETS to their folder"
)


@pytest.mark.parametrize(
    ("name", "weights"),
    [("squeezenet1_0", "squeezenet1_0"), ("resnet18", "resnet18_pqf"), ("resnet50", "resnet50_pqf")],
)
def test_a_tiger_is_explained(name, weights, tmp_path):
    assets = Path(ASSETS)
    net = pl.load(f"torchvision:{name}", weights=assets / "weights" / f"{weights}.safetensors")
    explained = pl.explain(net, assets / "images/imagenet_sample/0292_n02129604.jpg")
    assert explained.target["name"] == "tiger"
    assert explained.target["probability"] > 0.5
    assert [
        heatmap.status for heatmap in (maps["layercam"] for maps in list(explained.maps.values())[1:])
    ] == [("ok",)] * (len(explained.maps) - 1)
    # the five neurons found weigh more than five random ones, by far
    effect = explained.removal
    lost, lost_at_random = effect.score_before - effect.score_after, effect.score_before - effect.score_random
    assert lost > 5 * abs(lost_at_random)
    # LayerCAM's strongest place of the deepest stage lies on the animal, which is in these rows and columns
    deepest = explained.maps[net.default_layers[-1]]["layercam"].upsample()[0]
    row, column = divmod(int(deepest.argmax()), deepest.shape[1])
    assert 20 < row < 175
    assert 20 < column < 205
    assert explained.save(tmp_path / "page.html").stat().st_size < 1_500_000
