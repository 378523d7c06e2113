"""What the networks say of the study's photographs, once for each: scores of cells, of filled and enlarged regions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

import pellucid as pl
from pellucid.core.network import Network
from pellucid.core.storage import write_arrays
from pellucid.naming import Cells, cells, class_regions, effects, last_layer, pictures_without
from pellucid.naming.effects import Fill
from words_data import KINDS, Labeled

FILLS: tuple[Fill, ...] = ("blur", "mean", "around")
MARGIN = 8  # pixels around a region that is enlarged
DRAWS = 4  # regions of the same shape elsewhere
UNITS = 5
CRITERIA = ("activation", "gradient", "gradient-x-activation", "relevance", "cgnis", "random")


def of_labeled(net: Network, picture: Labeled, folder: Path) -> dict[str, Any] | None:
    """Everything measured of a labeled photograph; from its file where there is one. None where no object is large enough.

    ``cells`` [class h w], ``whole`` [class], ``masks`` [region height width], ``filled`` [region fill class],
    ``zoom`` [region class], ``labels``.
    """
    file = folder / f"{picture.name}.safetensors"
    _, masks = picture.read(net)
    if not any(label in KINDS for label in masks):
        return None
    if not file.is_file():
        image, masks = picture.read(net)
        read = cells(net, image)
        assert read.scores is not None, f"{net.name} has a linear head"
        stacked = torch.stack(list(masks.values()))
        measured = effects(net, image, stacked, fills=FILLS, whole=read.output)
        with torch.no_grad():
            zoomed = net(torch.cat([enlarged(image, mask) for mask in stacked]))
        arrays = {
            "cells": read.scores.half(),
            "whole": read.output[0],
            "filled": measured.filled.half(),
            "zoom": zoomed.half(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_arrays(file, arrays)
    arrays = {name: value.float() for name, value in load_file(file).items()}
    return {**arrays, "masks": torch.stack(list(masks.values())), "labels": tuple(masks)}


def enlarged(image: Tensor, mask: Tensor) -> Tensor:
    """A region's box with a margin, enlarged to the whole input."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    top, left = (max(int(ends[0]) - MARGIN, 0) for ends in (rows, columns))
    bottom, right = int(rows[-1]) + 1 + MARGIN, int(columns[-1]) + 1 + MARGIN
    part = image[:, :, top:bottom, left:right]
    return F.interpolate(part, size=tuple(image.shape[2:]), mode="bilinear", align_corners=False)


def as_cells(net: Network, record: dict[str, Any]) -> Cells:
    """The cells of a stored record, ready to be asked about regions."""
    layer = net.layers[last_layer(net)]
    size = (int(record["masks"].shape[1]), int(record["masks"].shape[2]))
    empty = record["cells"].new_zeros(1, 1, *record["cells"].shape[1:])
    return Cells(layer, empty, record["whole"][None], "linear", size, None, record["cells"])


def of_photograph(net: Network, file: Path, target: int) -> dict[str, Any]:
    """A photograph of a known class: what its own regions are worth, alone and taken away, and what units are worth."""
    from PIL import Image

    with Image.open(file) as picture:
        image = net.preprocess(picture.convert("RGB"))[None]
    read = cells(net, image)
    probability = float(net.probabilities(read.output)[0, target])
    if int(read.output.argmax()) != target:
        return {"right": False}
    regions = class_regions(read, target, image[0])
    if not regions:
        return {"right": True, "probability": probability, "regions": 0}
    union = torch.stack([region.mask for region in regions]).any(0)
    draw = torch.Generator().manual_seed(0)
    shifts = [
        (int(torch.randint(32, 192, (), generator=draw)), int(torch.randint(32, 192, (), generator=draw)))
        for _ in range(DRAWS)
    ]
    masks = torch.stack([union, *(union.roll(shift, (0, 1)) for shift in shifts)])
    pictures = torch.cat(
        [pictures_without(image, ~masks, ("blur",)), pictures_without(image, masks, ("blur",))]
    )
    with torch.no_grad():
        output = torch.cat([net(part) for part in pictures.split(5)])
    kept, filled = net.probabilities(output)[:, target].view(2, -1).tolist()
    return {
        "right": True,
        "probability": probability,
        "regions": len(regions),
        "area": float(union.float().mean()),
        "kept": kept[0],
        "kept elsewhere": kept[1:],
        "filled": filled[0],
        "filled elsewhere": filled[1:],
        "units": unit_losses(net, image, read, target),
    }


def unit_losses(net: Network, image: Tensor, read: Cells, target: int) -> dict[str, list[float]]:
    """By how much score and probability fall when the first few units of each criterion are removed, at the last stage."""
    trace = pl.capture(net, image, [read.layer.name], target)
    tail = pl.Tail(net, image, read.layer.name)
    before = float(net.probabilities(tail.output)[0, target])
    found: dict[str, list[float]] = {}
    chosen = {}
    if read.weight is not None:
        chosen["named"] = (read.weight[target] * read.activation[0].mean((1, 2))).topk(UNITS).indices.tolist()
    for criterion in CRITERIA:
        if criterion == "random":
            draw = torch.Generator().manual_seed(1)
            chosen[criterion] = torch.randperm(trace.activations[read.layer.name].shape[1], generator=draw)[
                :UNITS
            ].tolist()
        else:
            scores = pl.neurons(
                net, image, layer=read.layer.name, target=target, criterion=criterion, normalized=True
            )
            chosen[criterion] = [unit.index for unit in scores.top(UNITS)]
    for criterion, units in chosen.items():
        activation = tail.activation.clone()
        activation[:, units] = 0
        with torch.no_grad():
            output = tail(activation)
        score = float(tail.output[0, target] - output[0, target])
        found[criterion] = [score, before - float(net.probabilities(output)[0, target])]
    return found
