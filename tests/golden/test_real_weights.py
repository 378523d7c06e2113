"""Real weights on real photographs: what the README of the assets says of them, within sampling error.

The photographs are training images; the README counts 1,000, of which 800 are at hand.
"""

import csv
import math
import os
from pathlib import Path

import pytest
import torch

import pellucid as pl

ASSETS = Path(os.environ.get("PELLUCID_ASSETS", "/nonexistent"))
pytestmark = pytest.mark.skipif(
    not (ASSETS / "weights").is_dir(),
    reason="PELLUCID_ASSETS names no folder with weights; goes when it does",
)

# file, network, top-1 and top-5 in percent of 1,000 sample photographs as its README says
NETWORKS = [
    ("squeezenet1_0.safetensors", "squeezenet1_0", 61.5, 83.8),
    ("resnet18_pqf.safetensors", "resnet18", 77.2, 93.8),
    ("resnet50_pqf.safetensors", "resnet50", 82.7, 95.5),
]
BATCH = 10


def photographs(every):
    with open(ASSETS / "images" / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::every]
    return [(ASSETS / "images" / row["file"], int(row["class_index"])) for row in rows]


def accuracy(net, sample):
    """Share of photographs whose class is the first, and among the first five, of the network's list."""
    from pellucid.data.preprocess import to_batch

    first = five = 0
    for begin in range(0, len(sample), BATCH):
        part = sample[begin : begin + BATCH]
        batch, _ = to_batch([str(file) for file, _ in part], net.preprocess)
        with torch.no_grad():
            ranked = net(batch).topk(5).indices.tolist()
        first += sum(label == row[0] for (_, label), row in zip(part, ranked, strict=True))
        five += sum(label in row for (_, label), row in zip(part, ranked, strict=True))
    return 100 * first / len(sample), 100 * five / len(sample)


def margin(percent, count, stated=1000):
    """Three standard errors of the difference between a share of ``count`` and the stated one of 1,000
    photographs."""
    return 3 * math.sqrt(percent * (100 - percent) * (1 / count + 1 / stated))


def check(file, name, top1, top5, every):
    net = pl.load(f"torchvision:{name}", weights=ASSETS / "weights" / file)
    assert net.notes == (
        "preprocessing was not given: that of torchvision's own weights assumed, which these may not have been trained with",
    )
    sample = photographs(every)
    first, five = accuracy(net, sample)
    print(f"{name}: top-1 {first:.1f} (stated {top1}), top-5 {five:.1f} (stated {top5}) of {len(sample)}")
    assert abs(first - top1) <= margin(top1, len(sample))
    assert abs(five - top5) <= margin(top5, len(sample))
    return net, sample


@pytest.mark.parametrize(("file", "name", "top1", "top5"), NETWORKS, ids=[name for _, name, *_ in NETWORKS])
def test_a_sample_is_classified_as_stated(file, name, top1, top5):
    net, sample = check(file, name, top1, top5, every=20 if name == "resnet50" else 8)
    from pellucid.data.preprocess import to_batch

    batch, _ = to_batch(str(sample[0][0]), net.preprocess)
    trace = pl.capture(net, batch, net.default_layers)
    assert all(trace.gradients[layer].abs().sum() > 0 for layer in net.default_layers)
    assert pl.Tail(net, batch, net.default_layers[-2]).cut


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name", "top1", "top5"), NETWORKS, ids=[name for _, name, *_ in NETWORKS])
def test_all_photographs_are_classified_as_stated(file, name, top1, top5):
    check(file, name, top1, top5, every=1)


def test_class_names_are_those_of_the_photographs():
    import json

    index = json.loads((ASSETS / "images" / "imagenet_class_index.json").read_text())
    from pellucid.zoo.loading import read_classes

    def plain(text):
        return text.replace("_", " ").casefold()

    names = read_classes("imagenet")
    shared = [set(plain(index[str(i)][1]).split()) & set(plain(names[i]).split()) for i in range(1000)]
    assert sum(map(bool, shared)) > 900  # the rest are other words for the same: rooster for cock
    assert len(read_classes(ASSETS / "images" / "imagenet_class_index.json")) == 1000
