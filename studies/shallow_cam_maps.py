"""Example maps of the study `shallow-cam`: a picture for the documentation (scenes only) and a page (photographs if at hand).

The images are not chosen for what they show. The picture has the first test scenes of different classes that the network gets
right, the page the images that the reporting half would consist of if it were that small. Maps of all methods alike lie over
their picture in dark gray and are cut at their own 99th percentile; uncut, a map of a few bright points shows nothing.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import torch
from jinja2 import Environment, StrictUndefined
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

import pellucid as pl
from pellucid.core.overlay import overlay
from pellucid.core.registry import get
from pellucid.data.preprocess import to_batch
from shallow_cam import PRETRAINED, maps_of, network, pictures
from shallow_cam_numbers import BASE, MAIN, called

TEMPLATE = Path(__file__).with_name("shallow_cam_page.html.j2")
SHOWN = (BASE, MAIN, "relevance-cam")
BLOCKS = (MAIN, BASE, "relevance-cam", "fg-cam")
SIDE, GAP, HEAD, GROUP = 168, 6, 46, 18  # pixels of the picture
INK, SOFT, PAPER = (22, 32, 31), (86, 99, 97), (255, 255, 255)
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
CUT = 0.99


def picture(name: str = "scenes-vgg", rows: int = 4, stages: int = 2) -> Image.Image:
    """Scenes in rows; the image, then every method at the shallowest stages in columns."""
    net = network(name)
    layers = list(net.default_layers)[:stages]
    width = GAP + SIDE + stages * (GROUP + len(SHOWN) * (SIDE + GAP))
    sheet = Image.new("RGB", (width, HEAD + rows * (SIDE + GAP)), PAPER)
    pen = ImageDraw.Draw(sheet)
    _text(pen, (GAP, 26), "scene", INK, 14)
    for group, layer in enumerate(layers):
        _, height, across = net.layer(layer).shape
        left = _left(group, 0)
        ordinal = ("shallowest", "second", "third")[group]
        _text(pen, (left, 4), f"{ordinal} stage, {layer}: {height} × {across} cells", SOFT, 13)
        for k, method in enumerate(SHOWN):
            _text(pen, (_left(group, k), 26), called(method), INK, 14)
    for row, (image, _) in enumerate(_right_ones(net, name, rows)):
        top = HEAD + row * (SIDE + GAP)
        view = _view(net, image).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        sheet.paste(view, (GAP, top))
        for k, method in enumerate(SHOWN):
            maps = maps_of(net, image, method)
            for group, layer in enumerate(layers):
                sheet.paste(_drawn(view, maps[layer]), (_left(group, k), top))
    return sheet


def _left(group: int, column: int) -> int:
    return GAP + SIDE + GROUP + group * (GROUP + len(SHOWN) * (SIDE + GAP)) + column * (SIDE + GAP)


def _text(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, color: tuple[int, int, int], size: int
) -> None:
    pen.text(at, text, fill=color, font=ImageFont.truetype(str(FONT), size))


def _drawn(view: Image.Image, heatmap: pl.Heatmap) -> Image.Image:
    """The map over its picture in dark gray."""
    dark = ImageOps.grayscale(view).point([value * 0.5 for value in range(256)]).convert("RGB")
    cut = torch.quantile(heatmap.values.flatten(1).double(), CUT, dim=1).to(heatmap.values)
    return overlay(dark, replace(heatmap, values=heatmap.values.minimum(cut[:, None, None])), strength=0.95)


def _right_ones(net: pl.Network, name: str, count: int) -> list[tuple[Tensor, int]]:
    """The first scenes of different classes that the network gets right."""
    found: dict[int, Tensor] = {}
    for _, image, scene in pictures(net, name, 12 * count, tuning=False):
        if int(net(image).argmax()) == scene.target and scene.target not in found:
            found[scene.target] = image
        if len(found) == count:
            break
    return [(image, target) for target, image in found.items()]


def _view(net: pl.Network, image: Tensor) -> Image.Image:
    return to_batch(image, net.preprocess, normalized=True)[1][0].image


def page(names: Sequence[str] = (), count: int = 8) -> str:
    """The page as HTML: pretrained networks on photographs where the assets are at hand, else embedded ones on scenes."""
    real = "PELLUCID_ASSETS" in os.environ
    chosen = names or (tuple(PRETRAINED) if real else ("scenes-vgg", "scenes-resnet"))
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    shown = [_section(name, count) for name in chosen]
    return template.from_string(TEMPLATE.read_text(encoding="utf-8")).render(networks=shown)


def _section(name: str, count: int) -> dict[str, Any]:
    """One network: its images, and of every method the maps by image and stage."""
    net = network(name)
    images: list[dict[str, str]] = []
    maps: dict[str, list[dict[str, str]]] = {method: [] for method in BLOCKS}
    for file, image, scene in pictures(net, name, count, tuning=False):
        view = _view(net, image)
        if scene is not None:  # small scenes are enlarged before the map is laid on them, which stays smooth
            view = view.resize((2 * view.width, 2 * view.height), Image.Resampling.LANCZOS)
        target = ""
        for method in BLOCKS:
            found = maps_of(net, image, method)
            maps[method].append({layer: _uri(_drawn(view, one)) for layer, one in found.items()})
            (target,) = next(iter(found.values())).target
        images.append(
            {"title": target, "file": file if scene is None else f"scene {file}", "uri": _uri(view)}
        )
    stages = [
        {"layer": layer, "cells": " × ".join(map(str, net.layer(layer).shape[1:]))}
        for layer in net.default_layers
    ]
    title = PRETRAINED[name][1] if name in PRETRAINED else name
    methods = [{"name": called(m), "about": _about(m), "maps": maps[m]} for m in BLOCKS]
    return {"name": name, "title": title, "stages": stages, "images": images, "methods": methods}


def _about(method: str) -> str:
    """What a method does: its first line behind its name."""
    line = (get("attribution", method).__doc__ or "").strip().splitlines()[0].partition(":")[2].strip()
    return line[:1].upper() + line[1:]


def _uri(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
