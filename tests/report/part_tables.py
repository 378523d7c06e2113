"""Made-up tables of filters and parts with pictures for them, drawn from a seed."""

import numpy as np
from PIL import Image

from pellucid.data.parts.source import PartKey
from pellucid.interpretable.parts.filters import FilterHere, LayerTemplates, Template
from pellucid.interpretable.parts.table import Examples, PartTable

AWKWARD = '<script>alert("x")</script>&amp;{{ 7*7 }}'
KEYS = tuple(PartKey(kind, part) for kind in ("bird", "car") for part in ("head", "wheel", "tail"))
FILTERS, DEAD, NONE = 50, 48, 49  # filter 48 has no place, filter 49 lies on no part
FACTS = {
    "network": {"name": "scenes-vgg", "sha256": "3f" * 32},
    "parts": {"name": "scenes:test/0-99", "images": 100, "view": "network", "classes": {}},
    "settings": {"quantile": 0.005, "iou": 0.2, "most_active": 100, "fewest": 2, "anchor": "effective", "seed": 0},
    "images": 100, "images_left_out": 0, "input_size": [128, 128], "grid": [128, 128], "cells": [8, 8],
    "start": [7.5, 7.5], "stride": [16.0, 16.0], "receptive_field": [90.0, 90.0], "valid_cells_per_image": 0.32,
    "without_position": 0,
}  # fmt: skip


def table(layer="features.30", seed=0, filters=FILTERS, **changes):
    draw = np.random.default_rng(seed)
    probability = draw.uniform(0, 0.45, (filters, len(KEYS)))
    lucky = draw.random(filters) < 0.5
    probability[np.arange(filters), draw.integers(0, len(KEYS), filters)] += 0.5 * lucky
    spread = draw.uniform(0.02, 0.2, (filters, len(KEYS)))
    strength = draw.uniform(1, 4, (filters, 2))
    images = np.argsort(draw.random((filters, 20)), 1)[:, :6]
    cells = draw.integers(0, 8, (filters, 6, 2))
    if filters > NONE:
        probability[NONE] = 0
        probability[DEAD], spread[DEAD], images[DEAD] = 0, np.nan, -1
    spread[3, 1] = np.nan
    noise = draw.normal(0, 0.03, (30, filters))
    made = {
        "layer": layer,
        "keys": KEYS,
        "pictures": np.array([60, 40]),
        "masked": np.full(len(KEYS), 30),
        "landmarked": np.full(len(KEYS), 28),
        "thresholds": draw.uniform(0.5, 2, filters).astype(np.float32),
        "strength": strength,
        "probability": {"upsampled": probability, "receptive-field": probability * 0.4},
        "spread": spread,
        "used": np.full(spread.shape, 28),
        "chance_probability": {"upsampled": probability * 0.3, "receptive-field": probability * 0.2},
        "chance_spread": spread * 1.7,
        "center_spread": np.linspace(0.08, 0.12, len(KEYS)),
        "draws": {
            "interpretability": draw.normal(0.5, 0.02, 30),
            "instability": draw.normal(0.08, 0.005, 30),
            "filter interpretability": 0.4 + noise,
            "filter instability": np.abs(0.08 + noise),
        },
        "examples": Examples(
            images, cells, draw.uniform(1, 9, images.shape), {k: f"scene-{k}" for k in range(20)}
        ),
        "facts": FACTS,
    }
    return PartTable(**made | changes)


def picture(index):
    """What the network saw: a disk of a color of its own."""
    y, x = np.mgrid[:128, :128]
    pixels = np.full((128, 128, 3), 230, np.uint8)
    pixels[np.hypot(y - 40 - 2 * index, x - 64) < 25] = (10 * index, 255 - 10 * index, 90)
    return Image.fromarray(pixels)


def templates(norm="l2", filters=FILTERS, position="argmax"):
    return LayerTemplates(norm, position, tuple(2.0 + 0.1 * k for k in range(filters)))


def here(made, count=5, norm=None):
    """Filters in one picture, the strongest first."""
    found = []
    for place, index in enumerate(range(10, 10 + count)):
        cell = (place, 7 - place)
        center = (7.5 + 16 * cell[0], 7.5 + 16 * cell[1])
        template = None if norm is None else Template(norm, cell, 2.0)
        strength = 2.5 - 0.5 * place
        found.append(
            FilterHere(
                index, made.meaning(index), float(made.interpretability()[index]), float(made.instability[index]),
                3.0, strength, cell, center, template, np.zeros((8, 8), np.float32),
            )
        )  # fmt: skip
    return found
