"""Decoded patterns at a glance: per pattern a row of the image, the pattern's region in it, and what the decoder paints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from pellucid.core.storage import write_bytes, write_json
from pellucid.data.tensors import to_bytes, to_picture
from pellucid.units.patterns import overlay
from pellucid.visualization.decoder.decoding import Decoded, Decodings
from pellucid.visualization.result import safe
from pellucid.visualization.sheet import png, sheet

COLUMNS = ("image", "where", "all channels", "the pattern", "as many random")


def row(found: Decodings, one: Decoded) -> list[Image.Image]:
    """The pictures of a pattern: image, region, all channels, the pattern's, random ones."""
    real = _picture(one.real)
    where = overlay(found.patterns, one.where, real)
    return [real, where, *(_picture(part) for part in (one.whole, one.picture, one.random))]


def patterns_sheet(
    found: Decodings,
    words: Mapping[int, str] | None = None,
    *,
    size: int = 128,
    per_row: int = 1,
) -> Image.Image:
    """A row of five pictures for every pattern, ``per_row`` patterns side by side; ``words``: what to call them, by place."""
    pictures, captions = [], []
    for place, one in enumerate(found.decoded):
        label = one.pattern.label if words is None else words.get(place, one.pattern.label)
        pictures += row(found, one)
        captions += [
            label,
            f"found in {100 * one.pattern.shares.share:.0f} %, rest {100 * one.pattern.shares.rest_share:.0f} %",
            f"all channels: p {one.of_whole.probability:.2f}",
            f"pattern: {100 * one.own.channels:.0f} %, p {one.own.probability:.2f}",
            f"random: {100 * one.of_random.channels:.0f} %, p {one.of_random.probability:.2f}",
        ]
    return sheet(pictures, captions, columns=len(COLUMNS) * per_row, size=size)


def save(
    found: Decodings,
    folder: str | Path,
    words: Mapping[int, str] | None = None,
    claim: Callable[[str, str], str] = lambda stem, _: stem,
) -> list[dict[str, Any]]:
    """Write a PNG of the picture of every pattern, ``sheet.png`` and ``decode.json``; returns the rows of the latter.

    ``claim`` turns the stem of a file and its suffix into a stem that is free.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for place, one in enumerate(found.decoded):
        file = f"{claim(safe(one.pattern.label), '.png')}.png"
        write_bytes(target / file, png(_picture(one.picture)))
        rows.append(
            {"file": file, **({"words": words[place]} if words and place in words else {}), **one.to_json()}
        )
    write_bytes(target / f"{claim('sheet', '.png')}.png", png(patterns_sheet(found, words)))
    write_json(
        target / f"{claim('decode', '.json')}.json",
        {"network": found.patterns.network, "layer": found.patterns.layer, "patterns": rows, "notes": list(found.notes)},
    )  # fmt: skip
    return rows


def _picture(values: Tensor) -> Image.Image:
    return to_picture(to_bytes(values)).convert("RGB")
