"""``pellucid attribute``: maps as arrays and pictures; the method's own parameters become flags."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pellucid.commands.console import say
from pellucid.commands.options import ImageOptions, Layers, Name, parse, with_parameters

if TYPE_CHECKING:
    from PIL import Image

    from pellucid.attribution import Method
    from pellucid.commands.sources import Source
    from pellucid.core.network import Network
    from pellucid.core.run import RunDirectory


@dataclass(frozen=True)
class Attribute(ImageOptions):
    """Compute one method's maps; writes them as IMAGE.safetensors (on the layers' own grids) and, over the
    picture, as IMAGE-LAYER.png.

    The method's own parameters are flags too: "--method smoothgrad --help" shows them.
    """

    method: Name = "shallow-cam"
    """attribution method; "pellucid methods" lists them"""
    layers: Layers = ()
    """where to look; by default where the method belongs: every stage, or the input"""


def run(arguments: Sequence[str]) -> int:
    """Parse, with the method's parameters among the flags, and write maps image by image."""
    options: Any = parse(
        with_parameters(Attribute, "attribution", "method", arguments), "attribute", arguments
    )
    from pellucid.commands.work import one_by_one, prepare, results, verdict
    from pellucid.core.registry import create

    method = create("attribution", options.method, **vars(options.parameters))
    net, gathered = prepare(options)
    for layer in options.layers:
        net.layer(layer)
    with results("attribute", options, net, gathered) as directory:
        one_by_one(
            gathered, directory, options.method, lambda source: _one(source, net, method, options, directory)
        )
    code = verdict(directory)
    count = len(directory.facts["results"])
    if count:
        say(f"maps of {count} image{'' if count == 1 else 's'}: {options.out}")
    return code


def _one(source: Source, net: Network, method: Method, options: Attribute, directory: RunDirectory) -> None:
    import pellucid as pl
    from pellucid.core.overlay import overlay
    from pellucid.core.storage import write_arrays, write_bytes
    from pellucid.data.preprocess import to_batch

    picture = source.read(options.max_pixels)
    layers = options.layers or None
    maps = pl.attribute(net, picture, method, layers, options.target, progress=False)
    view = to_batch(picture, net.preprocess)[1][0].image
    endings = {layer: f"-{_safe(layer)}.png" for layer in maps}
    stem = directory.claim(source.name, [".safetensors", *endings.values()])
    for layer, heatmap in maps.items():
        write_bytes(directory.folder / f"{stem}{endings[layer]}", _png(overlay(view, heatmap)))
    arrays = {layer: heatmap.values[0] for layer, heatmap in maps.items()}
    write_arrays(directory.folder / f"{stem}.safetensors", arrays)
    directory.add(
        {
            "image": source.name,
            "sha256": source.sha256,
            "target": next(iter(maps.values())).target[0],
            "arrays": f"{stem}.safetensors",
            "maps": {
                layer: {
                    "picture": f"{stem}{endings[layer]}",
                    "status": heatmap.status[0],
                    "shape": list(heatmap.values.shape[1:]),
                }
                for layer, heatmap in maps.items()
            },
        },
        stem,
        key=source.key,
    )


def _safe(layer: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in layer)


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
