"""What a trained recognizer is said to be: thresholds, measures, the weights file and the model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid._version import __version__
from pellucid.core.provenance import machine
from pellucid.training.checkpoint import plain
from pellucid.training.irenet.build import Architecture, multiplications, parameters
from pellucid.training.irenet.metrics import best_thresholds, by_label, quality
from pellucid.training.irenet.network import IRENet
from pellucid.training.irenet.preparing import Prepared
from pellucid.training.irenet.samples import Samples, Views
from pellucid.training.irenet.settings import RecognizerTraining
from pellucid.training.loop import Record


@torch.no_grad()
def answers(module: nn.Module, samples: Samples, batch_size: int = 64) -> tuple[Tensor, Tensor]:
    """Truth int8 and probabilities float32, [sample attribute] each, of samples as they are; the module is left as it was."""
    place, training = next(module.parameters()).device, module.training
    module.eval()
    truth, found = [], []
    try:
        for chosen in torch.split(torch.arange(len(samples)), batch_size):
            x, labels, _ = samples.batch(chosen)
            truth.append(labels)
            found.append(module(x.to(place)).float().sigmoid().cpu())
    finally:
        module.train(training)
    return torch.cat(truth), torch.cat(found)


def thresholds_of(prepared: Prepared, truth: Tensor, probabilities: Tensor, goal: float) -> Tensor:
    """[attribute]: for parts the best recall at no less than the precision ``goal``, for all others the best F1."""
    found = best_thresholds(truth, probabilities)
    if goal:
        strict = best_thresholds(truth, probabilities, precision=goal)
        parts = torch.tensor([category == "part" for category in prepared.vocabulary.categories])
        found = torch.where(parts, strict, found)
    return found


@torch.no_grad()
def overlaps(module: IRENet, views: Views, batch_size: int = 32) -> Tensor:
    """[attribute with maps]: IoU, over all pictures, of where the map is above one half with where the attribute is, at the
    picture's own size (the map enlarged bilinearly); NaN for what is nowhere."""
    pictures, sizes = views.pictures, module.where.sizes if module.where else ()
    both, either = torch.zeros(sum(sizes)), torch.zeros(sum(sizes))
    for chosen in torch.split(torch.arange(len(views)), batch_size):
        x, _, _ = views.batch(chosen)
        shares = module.maps(x)
        for k, place in enumerate(chosen.tolist()):
            truth = pictures.read(place)[1]
            seen = (
                F.interpolate(shares[k][None], truth.shape[1:], mode="bilinear", align_corners=False)[0] > 0.5
            )
            first = 0
            for row, size in enumerate(sizes):
                there = truth[row] == torch.arange(1, size + 1)[:, None, None]
                said = seen[first : first + size]
                both[first : first + size] += (there & said).sum((1, 2))
                either[first : first + size] += (there | said).sum((1, 2))
                first += size
    return both / either


def facts_of(
    settings: RecognizerTraining,
    architecture: Architecture,
    prepared: Prepared,
    module: nn.Module,
    record: Record,
    name: str,
) -> dict[str, Any]:
    """Thresholds from validation, and everything measured on test."""
    words = prepared.vocabulary
    thresholds = thresholds_of(prepared, *answers(module, prepared.validation), settings.precision_goal)
    truth, found = answers(module, prepared.test)
    single = by_label(truth, found >= thresholds)
    mapped = isinstance(module, IRENet) and module.where is not None and isinstance(prepared.test, Views)
    regions = overlaps(module, prepared.test).tolist() if mapped else []  # type: ignore[arg-type]
    parts = [k for k, category in enumerate(words.categories) if category == "part"]
    by_category = {
        category: quality(truth[:, chosen], found[:, chosen], thresholds[chosen]).plain()
        for category in dict.fromkeys(words.categories)
        if (chosen := [k for k, each in enumerate(words.categories) if each == category])
        and bool((truth[:, chosen] == 1).any())
    }
    card = {
        label: {
            "category": words.categories[k],
            "threshold": round(float(thresholds[k]), 5),
            **{kind: round(float(values[k]), 4) for kind, values in single.items()},
            "positives": int((truth[:, k] == 1).sum()),
            **({"iou": round(regions[k], 4)} if k < len(regions) and regions[k] == regions[k] else {}),
        }
        for k, label in enumerate(words.names)
    }
    return {
        "name": name,
        "names": list(words.names),
        "categories": list(words.categories),
        "thresholds": [float(value) for value in thresholds],
        "size": settings.size,
        "architecture": asdict(architecture),
        "settings": plain(settings),
        "parts": len(parts),
        "quality": quality(truth, found, thresholds).plain(),
        "by_category": by_category,
        "card": card,
        "samples": {
            "training": len(prepared.training),
            "validation": len(prepared.validation),
            "test": len(prepared.test),
        },
        "left_out": list(prepared.left_out),
        "parameters": parameters(module),
        "multiplications": multiplications(module, settings.size),
        "epochs": record.epoch,
        "best_epoch": record.best,
        "training_minutes": round(record.seconds / 60, 1),
        "machine": machine(),
        "pellucid": __version__,
    }


def save_recognizer(file: Path, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """The weights with what they recognize, as safetensors."""
    from safetensors.torch import save

    metadata = {
        "licence": "Apache-2.0",
        "name": str(facts["name"]),
        "irenet": json.dumps(facts),
    }
    file.write_bytes(save({key: value.contiguous() for key, value in weights.items()}, metadata))


def recognizer_card(facts: Mapping[str, Any]) -> str:
    """The model card, in Markdown."""
    made, q, architecture = facts["settings"], facts["quality"], facts["architecture"]
    data = (
        "rendered scenes of pellucid's concept world" if made["data"] == "scenes" else Path(made["data"]).name
    )
    shown = {
        "views": "whole pictures and random squares of them",
        "parts": "squares around labeled parts",
        "neurons": f"squares around the regions of the {made['units']} most important neurons of {made['net']}",
    }[made["crops"]]
    rows = {
        "attributes": ", ".join(
            f"{facts['categories'].count(c)} × {c}" for c in dict.fromkeys(facts["categories"])
        ),
        "shown": f"{shown}; {facts['samples']['training']:,} for training, {facts['samples']['validation']:,} for thresholds, "
        f"{facts['samples']['test']:,} for this card",
        "parameters": f"{facts['parameters']:,}, matrices in half precision; {facts['multiplications'] / 1e6:,.0f} million "
        "multiply-adds a picture",
        "input": f"{facts['size']} × {facts['size']}, mean 0.5, standard deviation 0.25",
        "training": f"{facts['epochs']} epochs, batch {made['batch_size']}, AdamW, learning rate {made['learning_rate']:g}, "
        f"weight decay {made['weight_decay']:g}, positives weighted up to {made['balance']:g}, {made['precision']}",
        **({"began with": Path(made["weights"]).name} if made["weights"] else {}),
        "test, all attributes": _measures(q),
        **{f"test, {category}": _measures(one) for category, one in facts["by_category"].items()},
        "seed": made["seed"],
        "time": f"{facts['training_minutes']:g} minutes",
        "machine": facts["machine"],
        "licence": "Apache-2.0",
    }
    if facts["left_out"]:
        rows["left out, too few positives"] = ", ".join(facts["left_out"])
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""# {facts["name"]}

{architecture["network"]} at {architecture["width"]:g} of its published width, trained on {data} to recognize semantic features.
{_words(facts)}

| | |
|---|---|
{table}

| attribute | category | threshold | precision | recall | F1 | IoU of its map |
|---|---|---|---|---|---|---|
{_by_attribute(facts["card"])}

Made by `pellucid train irenet`. It says what is seen in a picture, not what a classifier uses.
"""


def _words(facts: Mapping[str, Any]) -> str:
    goal = facts["settings"]["precision_goal"]
    said = (
        f"Thresholds of parts are the lowest that reach a precision of {goal:g} on validation, all others those of the best F1."
        if goal and facts["parts"]
        else "Thresholds are those of the best F1 on validation."
    )
    if not facts["architecture"]["sizes"]:
        return said
    grid = facts["architecture"]["grid"]
    return (
        f"{said} The maps, one answer every {grid} pixels of the input, are an extension of ours: the published abstract "
        "speaks of labels alone."
    )


def _measures(q: Mapping[str, float]) -> str:
    return (
        f"micro F1 {100 * q['micro_f1']:.1f} %, precision {100 * q['micro_precision']:.1f} %, recall "
        f"{100 * q['micro_recall']:.1f} %, accuracy {100 * q['accuracy']:.1f} %, mAP {100 * q['map']:.1f} %, ECE {q['ece']:.3f}"
    )


def _by_attribute(card: Mapping[str, Mapping[str, Any]]) -> str:
    return "\n".join(
        f"| {name} | {one['category']} | {one['threshold']:.3f} | {one['precision']:.3f} | {one['recall']:.3f} | "
        f"{one['f1']:.3f} | {one.get('iou', '–')} |"
        for name, one in card.items()
    )
