"""What the study of words measures of the stored features: right names, their calibration, which region matters most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from pellucid.core.network import Network
from pellucid.naming import Vocabulary, class_regions, imagenet_hierarchy
from pellucid.naming.calibration import SAID, SHARES, Calibration, logit
from words_data import KINDS, right, true_of
from words_features import FILLS, as_cells

SOURCES = ("cells", "whole picture", "zoom", "removal")
FIRST = 3


def named(net: Network, records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each labeled region of an object: is the name right, by each source; and the words that might be said."""
    rows = []
    for record in records:
        scores = as_cells(net, dict(record)).regions(record["masks"])
        for place, label in enumerate(record["labels"]):
            if label not in KINDS:
                continue
            given = {
                "cells": scores[place],
                "whole picture": record["whole"],
                "zoom": record["zoom"][place],
                "removal": record["whole"] - record["filled"][place].mean(0),
            }
            area = float(record["masks"][place].float().mean())
            rows.append(
                {
                    "picture": record["name"],
                    "label": label,
                    "area": area,
                    "right": {source: _right(values, label) for source, values in given.items()},
                    "mass": scores[place].softmax(0),
                }
            )
    return rows


def _right(scores: Tensor, label: str) -> tuple[bool, bool]:
    """Whether the first name is right, and any of the first three."""
    hits = right(label)[scores.topk(FIRST).indices]
    return bool(hits[0]), bool(hits.any())


def chance(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """As `_right`, of a class drawn at random, or three."""
    shares = [float(right(row["label"]).float().mean()) for row in rows]
    return float(np.mean(shares)), float(np.mean([1 - (1 - share) ** FIRST for share in shares]))


def candidates(rows: Sequence[Mapping[str, Any]]) -> list[list[tuple[list[float], bool]]]:
    """Of every region its candidate words, narrow to broad: what the calibration looks at, and whether the word is right."""
    hierarchy = imagenet_hierarchy()
    by_share = [hierarchy.broadest([row["mass"] for row in rows], share) for share in SHARES]
    found = []
    for index, row in enumerate(rows):
        mass, label, area = row["mass"], row["label"], float(np.log(row["area"]))
        top = int(mass.argmax())
        best = logit(float(mass[top]))
        words = [([best, 0.0, best, area], true_of(top, label))]
        for noun in dict.fromkeys(nouns[index] for nouns in by_share):
            if noun is not None:
                held = float(mass[list(noun.classes)].sum())
                words.append(
                    ([logit(held), float(np.log(len(noun.classes))), best, area], true_of(noun, label))
                )
        found.append(words)
    return found


def fit(regions: Sequence[Sequence[tuple[list[float], bool]]]) -> Calibration:
    """Logistic regression in which every region counts once."""
    from sklearn.linear_model import LogisticRegression

    values = np.array([features for words in regions for features, _ in words])
    truth = np.array([is_right for words in regions for _, is_right in words])
    weight = np.concatenate([np.full(len(words), 1 / len(words)) for words in regions])
    fitted = LogisticRegression(C=1e3).fit(values, truth, sample_weight=weight)
    return Calibration(float(fitted.intercept_[0]), *map(float, fitted.coef_[0]))


def fitted(by_network: Mapping[str, Sequence[Any]]) -> Calibration:
    """One calibration for all networks, and by how much it is too sure of a network that it was not fitted to, at worst."""
    whole = fit([words for regions in by_network.values() for words in regions])
    excess = [0.0]
    for left in by_network if len(by_network) > 1 else ():
        others = fit([words for name, regions in by_network.items() if name != left for words in regions])
        said = [entry for entry in spoken(by_network[left], others) if entry is not None]
        if said:
            excess.append(float(np.mean([confidence - is_right for confidence, is_right, _ in said])))
    return Calibration(whole.bias, whole.mass, whole.count, whole.top, whole.area, round(max(excess), 2))


def spoken(
    regions: Sequence[Sequence[tuple[list[float], bool]]], calibration: Calibration, level: float = SAID
) -> list[tuple[float, bool, bool] | None]:
    """What is said of every region: confidence, whether it is right, whether it is a class; None where nothing is."""
    found: list[tuple[float, bool, bool] | None] = []
    weights = np.array([calibration.mass, calibration.count, calibration.top, calibration.area])
    for words in regions:
        sure = [1 / (1 + np.exp(-(calibration.bias + weights @ np.array(features)))) for features, _ in words]
        chosen = next((place for place, value in enumerate(sure) if value >= level), None)
        found.append(None if chosen is None else (sure[chosen], words[chosen][1], chosen == 0))
    return found


def harmful(
    net: Network, records: Iterable[Mapping[str, Any]], images: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """One entry for each picture with several labeled regions: which is the most harmful to fill, and who says so.

    Agreement with the labeled region whose filling costs the predicted class most, mean over the fills, and Spearman's rank
    correlation with the falls; ``own``: the labeled region in which most of our first region lies.
    """
    rows = []
    for record in records:
        if len(record["labels"]) < 2:
            continue
        target = int(record["whole"].argmax())
        falls = (record["whole"][target] - record["filled"][:, :, target]).double()
        truth = falls.mean(1)
        read = as_cells(net, dict(record))
        per_cell = read.regions(record["masks"])[:, target].double()
        area = record["masks"].float().mean((1, 2)).double()
        ours = {"evidence per cell": per_cell, "total evidence": per_cell * area, "area": area}
        own = class_regions(read, target, images[record["name"]][0])
        entry: dict[str, Any] = {
            "picture": record["name"],
            "chance": 1 / len(truth),
            "agree": {name: int(values.argmax()) == int(truth.argmax()) for name, values in ours.items()},
            "rank": {name: float(spearmanr(values, truth).statistic) for name, values in ours.items()},
            "fills": {
                fill: int(falls[:, place].argmax()) == int(truth.argmax()) for place, fill in enumerate(FILLS)
            },
        }
        if own:
            inside = (record["masks"] & own[0].mask).float().sum((1, 2)) / own[0].mask.float().sum()
            entry["agree"]["our first region"] = int(inside.argmax()) == int(truth.argmax())
            share = (
                record["masks"].float().flatten(1).double()
                @ torch.stack([region.mask.float() * region.evidence for region in own])
                .amax(0)
                .flatten()
                .double()
                / record["masks"].float().flatten(1).sum(1).double()
            )
            entry["rank"]["our first region"] = float(spearmanr(share, truth).statistic)
        else:
            entry["agree"]["our first region"] = False
        rows.append(entry)
    return rows


def maps(
    net: Network, records: Iterable[Mapping[str, Any]], images: Mapping[str, Tensor], methods: Sequence[str]
) -> list[dict[str, Any]]:
    """As `harmful`, by the mean over a region of each method's map at the last stage."""
    import pellucid as pl

    rows = []
    for record in records:
        if len(record["labels"]) < 2:
            continue
        target = int(record["whole"].argmax())
        truth = (record["whole"][target] - record["filled"][:, :, target]).mean(1)
        found = {}
        for method in methods:
            heatmap = pl.attribute(net, images[record["name"]], method, target=target, normalized=True)
            pixels = list(heatmap.values())[-1].upsample()[0]
            values = (record["masks"].float() * pixels).sum((1, 2)) / record["masks"].float().sum((1, 2))
            found[method] = int(values.argmax()) == int(truth.argmax())
        rows.append({"picture": record["name"], "agree": found})
    return rows


def words_of(vocabulary: Vocabulary, rows: Sequence[Mapping[str, Any]], limit: int) -> list[dict[str, Any]]:
    """What is said of the first regions, and of which label: to look at."""
    found = []
    for row in rows[:limit]:
        naming = vocabulary.name(row["mass"], row["area"], True)
        found.append(
            {
                "picture": row["picture"],
                "label": row["label"],
                "said": naming.words,
                "confidence": naming.confidence,
                "classes": list(naming.classes[:FIRST]),
            }
        )
    return found
