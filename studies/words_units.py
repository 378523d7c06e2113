"""Names of units, scored as CoSy does: is a unit more active on pictures of what its name says than on others?

For ResNet-18 with torchvision's own numbering of units (``resnet18_ktb``), last stage. A name stands for the classes that
WordNet puts under it: published names are looked up among WordNet's names of ImageNet's classes and of the nouns above them,
the longest that occurs; names that are not there cannot be scored. AUC: the probability that a unit's mean activation is larger
on a picture of such a class than on another; MAD: the difference of the means, in standard deviations of the others. Pictures
are those of ImageNet's sample of one half; our own names are chosen on none.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor

import pellucid as pl
from pellucid.naming import imagenet_hierarchy
from pellucid.naming.hierarchy import TABLE
from words_data import half, photographs

METHODS = ("INVERT", "CLIP-Dissect", "MILAN", "FALCON")
LAYER = "layer4"
SHARE = 0.6  # of the weights of a unit's first classes that its noun holds
FEWEST = 3  # pictures that a name has to have


def activations(assets: Path, which: str) -> tuple[Tensor, list[int], Tensor]:
    """Mean activation of every unit in every photograph of a half, the photographs' classes, and the head's weight."""
    weights = assets / "weights" / "resnet18_ktb.safetensors"
    net = pl.load("torchvision:resnet18", weights=weights, classes="imagenet", name="resnet18-ktb")
    means, classes = [], []
    batch: list[Tensor] = []

    def run() -> None:
        trace = pl.capture(net, torch.cat(batch), [LAYER], gradients=False)
        means.append(trace.activations[LAYER].mean((2, 3)))
        batch.clear()

    for _, target, file in photographs(assets, which):
        with Image.open(file) as picture:
            batch.append(net.preprocess(picture.convert("RGB"))[None])
        classes.append(target)
        if len(batch) == 16:
            run()
    if batch:
        run()
    return torch.cat(means), classes, net.module.fc.weight.detach()


def ours(weight: Tensor) -> dict[str, list[frozenset[int]]]:
    """Names from the network's own vocabulary alone: of every unit the class it adds most to, and the noun of the first few."""
    hierarchy = imagenet_hierarchy()
    first = weight.T.topk(5, 1)
    masses = torch.zeros(weight.shape[1], weight.shape[0])
    masses.scatter_(1, first.indices, first.values.clamp(min=0))
    nouns = hierarchy.broadest(list(masses), SHARE)
    top = [frozenset([int(classes[0])]) for classes in first.indices]
    five = [frozenset(classes.tolist()) for classes in first.indices]
    broad = [
        frozenset(noun.classes) if noun is not None else classes
        for noun, classes in zip(nouns, five, strict=True)
    ]
    return {"own: first class": top, "own: first five classes": five, "own: noun above them": broad}


@cache
def lexicon() -> dict[str, frozenset[int]]:
    """WordNet's names, folded, of every class and noun that says something → the classes below."""
    below = {noun.key: frozenset(noun.classes) for noun in imagenet_hierarchy().nouns if noun.says}
    found: dict[str, frozenset[int]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        key, *_, names = line.split("\t")
        for name in names.split("|") if key in below else ():
            found[_folded(name)] = found.get(_folded(name), frozenset()) | below[key]
    return found


def _folded(text: str) -> str:
    return " ".join(word.rstrip("s") for word in re.findall(r"[a-z0-9]+", text.casefold()))


def looked_up(text: str) -> frozenset[int]:
    """The classes under the longest of WordNet's names that occurs in a description; none where none does."""
    words = _folded(text).split()
    for length in range(min(len(words), 5), 0, -1):
        for start in range(len(words) - length + 1):
            classes = lexicon().get(" ".join(words[start : start + length]))
            if classes:
                return classes
    return frozenset()


def published(assets: Path) -> dict[str, dict[int, frozenset[int]]]:
    """Unit → classes of its published name, for each method."""
    folder = assets / "unit_names" / "resnet18_imagenet"
    found: dict[str, dict[int, frozenset[int]]] = {}
    for method in METHODS:
        with (folder / f"{method}_resnet18-{LAYER}.csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        found[method] = {}
        for row in rows:
            unit = int(row.get("neuron") or row.get("unit") or row["group"])
            text = row.get("concept") or row.get("description") or ""
            if method == "FALCON":
                listed = re.findall(r"\('([^']+)'", row["concept_set_words"])
                text = next((word for word in listed if looked_up(word)), "")
            found[method][unit] = looked_up(text)
    return found


def scored(
    means: Tensor, classes: Sequence[int], names: Mapping[int, frozenset[int]]
) -> dict[int, tuple[float, float]]:
    """(AUC, MAD) of every unit whose name has pictures."""
    found = {}
    for unit, below in names.items():
        shown = np.array([target in below for target in classes])
        if not FEWEST <= shown.sum() < len(shown):
            continue
        values = means[:, unit].double().numpy()
        rest = values[~shown]
        found[unit] = (
            float(roc_auc_score(shown, values)),
            float((values[shown].mean() - rest.mean()) / max(rest.std(), 1e-12)),
        )
    return found


def measured(assets: Path) -> dict[str, Any]:
    """AUC and MAD of every method's names on photographs of the reporting half, and on units that both can name."""
    means, classes, weight = activations(assets, "reporting")
    names = {name: dict(enumerate(sets)) for name, sets in ours(weight).items()} | published(assets)
    results = {name: scored(means, classes, given) for name, given in names.items()}
    own = results["own: noun above them"]
    found = {}
    for name, values in results.items():
        both = sorted(set(values) & set(own))
        found[name] = {
            "auc": [values[unit][0] for unit in sorted(values)],
            "mad": [values[unit][1] for unit in sorted(values)],
            "ours less theirs": [own[unit][0] - values[unit][0] for unit in both],
            "named": len(values),
        }
    return {"names": found, "units": means.shape[1], "pictures": len(classes), "halves": half.__doc__}
