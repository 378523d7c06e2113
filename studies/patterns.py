"""Patterns of channels in the concept world: how many, how telling on scenes they were not mined from, whether their concepts
are there, and whether what a decoder paints of them brings back their channels and their class.

Mined on training scenes with their classes, shares measured on the half held out. A pattern's concepts are those of its channels
in the tables that come with the networks; how often they are truly in a scene is known from the scene. The decoder of the layer
is trained on training scenes (or read from ``--decoders``) and paints validation scenes. Every decoded picture is fed back,
beside that of as many random channels active in the same maps; differences are paired by pattern, with a 95 % interval over
patterns. Results are written network by network, and a decoder is trained once and goes on where it was.

Run: ``pellucid study patterns [--scenes 1000] [--networks scenes-vgg scenes-resnet] [--decoders FOLDER]``, about five minutes of
one core a decoder.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

import kit
import pellucid as pl
from patterns_report import table
from pellucid.explanation.concepts import Names, names_for
from pellucid.explanation.patterns import called, concepts, meanings, sentence
from pellucid.speech.text import plain
from pellucid.units.patterns import Mining, Patterns, mine, region
from pellucid.visualization.decoder import (
    Decoder,
    DecoderTraining,
    Decodings,
    decode,
    load_decoder,
    patterns_sheet,
    train_decoder,
)
from pellucid.visualization.decoder.training import stem_of
from pellucid.world import SceneDataset

RESULTS = Path(__file__).parent / "results"
# the layer that is decoded, and the layers that are mined
LAYERS = {
    "scenes-vgg": ("features.23", ("features.23", "features.30")),
    "scenes-resnet": ("layer3", ("layer3", "layer4")),
    "scenes-vgg-interpretable": ("features.30", ("features.30",)),
}
MINING = Mining(shortest=5, longest=6, support=0.25, keep=2)
_LARGEST = 400_000


def scenes(split: str, count: int) -> tuple[torch.Tensor, list[int]]:
    """Pictures [count 3 128 128] and classes."""
    data = SceneDataset(split, count)
    items = [data[k] for k in range(count)]
    return torch.stack([image for image, _ in items]), [label for _, label in items]


def by_class(found: Patterns, names: Names) -> list[dict[str, Any]]:
    """A row per class: how many patterns, and the shares of the first."""
    rows = []
    for one in found.summary:
        first = found.of_class(one.name)[:1]
        row: dict[str, Any] = {"class": one.name, "accepted": one.accepted, "kept": one.kept}
        for pattern in first:
            shares = pattern.shares
            row |= {
                "channels": list(pattern.channels),
                "concepts": list(concepts(pattern, names)),
                "sentence": plain(sentence(pattern, names)),
                "share": shares.share,
                "interval": list(shares.interval),
                "rest": shares.rest_share,
                "rest interval": list(shares.rest_interval),
                "mined share": pattern.mined.share,
                "mined rest": pattern.mined.rest_share,
            }
        rows.append(row)
    return rows


def truth(
    found: Patterns, names: Names, present: torch.Tensor, split: str, labels: Sequence[int]
) -> dict[str, Any]:
    """How often a pattern's concepts are in the scenes that have it, and in all scenes; scenes [scene pattern] by themselves.

    A pair is a pattern and one of its named concepts; means over the pairs. ``inside``: the concept reaches into the region of
    the pattern, in the scenes whose regions were kept.
    """
    data = SceneDataset(split, len(labels))
    pairs = [
        (place, meaning.concept, meaning.category)
        for place, one in enumerate(found.patterns)
        for meaning in {
            (m.concept, m.category): m for m in meanings(one, names) if m is not None and m.named
        }.values()
    ]
    if not pairs:
        return {"pairs": 0}
    wanted = sorted({(concept, category) for _, concept, category in pairs})
    there = np.zeros((len(labels), len(wanted)), bool)
    for k in range(len(labels)):
        rendering = data.rendering(k)
        there[k] = [bool(rendering.mask(concept, category).any()) for concept, category in wanted]
    having, everywhere = [], []
    for place, concept, category in pairs:
        column = there[:, wanted.index((concept, category))]
        has = present[:, place].numpy()
        if has.any():
            having.append(float(column[has].mean()))
            everywhere.append(float(column.mean()))
    return {
        "pairs": len(pairs),
        "patterns with a concept": len({place for place, _, _ in pairs}),
        "in scenes with the pattern": fmean(having) if having else None,
        "in all scenes": fmean(everywhere) if everywhere else None,
        **inside(found, pairs),
    }


def inside(found: Patterns, pairs: Sequence[tuple[int, str, str]]) -> dict[str, Any]:
    """Share of kept regions into which the concept reaches, and of the same regions laid over another scene of the pattern."""
    data = SceneDataset("train", 100_000)
    own, other = [], []
    for place, concept, category in pairs:
        shown = found.patterns[place].occurrences
        masks = [data.rendering(one.image).mask(concept, category) for one in shown]
        for k, one in enumerate(shown):
            area = region(found, one).numpy()
            own.append(float((masks[k] & area).any()))
            if len(shown) > 1:
                other.append(float((masks[(k + 1) % len(shown)] & area).any()))
    return {
        "reaches into the region": fmean(own) if own else None,
        "into that of another scene": fmean(other) if other else None,
    }


def feedback(found: Decodings) -> dict[str, Any]:
    """Means over the patterns, and paired differences of the pattern's picture and random channels'."""
    rows: dict[str, Any] = {"patterns": len(found)}
    for name, pick in (
        ("pattern", lambda one: one.own),
        ("all channels", lambda one: one.of_whole),
        ("random", lambda one: one.of_random),
    ):
        rows[name] = {
            key: fmean(getattr(pick(one), key) for one in found.decoded)
            for key in ("channels", "present", "probability")
        }
    for key in ("channels", "probability"):
        apart = [getattr(one.own, key) - getattr(one.of_random, key) for one in found.decoded]
        rows[f"{key} over random"] = kit.normal_interval(apart)
    rows["error, all channels"] = fmean(one.error for one in found.decoded)
    rows["error, pattern alone"] = fmean(one.error_alone for one in found.decoded)
    return rows


def decoder_of(net: pl.Network, layer: str, options: argparse.Namespace) -> Decoder:
    """The decoder in the folder, or one trained there."""
    file = options.decoders / f"{stem_of(net.name, layer)}.safetensors"
    if file.is_file():
        return load_decoder(file, net, layer)
    training = DecoderTraining(epochs=options.epochs, width=options.width)
    shown, _ = scenes("train", options.pictures)
    train_decoder(net, shown, layer, training, out=options.decoders)
    return load_decoder(file, net, layer)


def measured(name: str, options: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    """All of one network, and its sheet."""
    net = pl.load(name)
    decoded_layer, layers = LAYERS[name]
    shown, labels = scenes("train", options.scenes)
    tested, truths = scenes("val", options.tested)
    mined: list[dict[str, Any]] = []
    result: dict[str, Any] = {"network": name, "mined": mined}
    page = None
    for layer in layers:
        found = mine(net, shown, labels, layer, settings=MINING)
        names = names_for(net, None, layer)
        row: dict[str, Any] = {"layer": layer, "patterns": len(found), "notes": list(found.notes)}
        row["classes"] = by_class(found, names)
        tops = [one for one in row["classes"] if one["kept"]]
        row["share"] = fmean(one["share"] for one in tops)
        row["rest"] = fmean(one["rest"] for one in tops)
        row["truth"] = truth(found, names, present_in(net, found, tested), "val", truths)
        mined.append(row)
        if layer == decoded_layer:
            decoder = decoder_of(net, layer, options)
            decoded = decode(net, decoder, found, tested, truths, draws=options.draws)
            result["decoder"] = {
                "layer": layer,
                "errors": decoder.facts["errors"],
                "settings": decoder.facts["settings"],
                "pictures": decoder.facts["pictures"],
                "minutes": decoder.facts["training_minutes"],
            }
            result["feedback"] = {**feedback(decoded), "notes": list(decoded.notes)}
            result["decoded"] = [one.to_json() for one in decoded.decoded]
            page = sheet_of(decoded, names)
    return result, page


def present_in(net: pl.Network, found: Patterns, shown: torch.Tensor) -> torch.Tensor:
    """Which patterns are present in pictures, [picture pattern]."""
    from pellucid.core.capture import observe

    kept: list[torch.Tensor] = []
    for part in torch.split(shown, 64):
        observe(
            net,
            net.preprocess.normalize(part),
            (found.layer,),
            lambda _, maps: kept.append(found.present(maps)),
        )
    return torch.cat(kept)


def sheet_of(decoded: Decodings, names: Names) -> Any:
    """The first two decoded patterns of every class, side by side."""
    from dataclasses import replace

    chosen = [
        one
        for k, one in enumerate(decoded.decoded)
        if sum(other.pattern.name == one.pattern.name for other in decoded.decoded[:k]) < 2
    ]
    some = replace(decoded, decoded=tuple(chosen))
    return patterns_sheet(some, called([one.pattern for one in chosen], names), size=112, per_row=2)


def write_sheet(page: Any, file: Path) -> None:
    """A PNG below 400 KB: with as many colors as that allows."""
    from pellucid.visualization.sheet import png

    for colors in (256, 128, 64, 32, 16):
        content = png(page.quantize(colors))
        if len(content) <= _LARGEST:
            break
    file.write_bytes(content)


def metadata(options: argparse.Namespace) -> dict[str, Any]:
    """What the results were made with."""
    folders = (kit.PACKAGE / "units" / "patterns", kit.PACKAGE / "visualization" / "decoder")
    code = [Path(__file__), *(file for folder in folders for file in folder.glob("*.py"))]
    return kit.metadata(code, options, leave=("decoders", "only_report"), mining=asdict(MINING))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the networks, one after the other; write JSON, page and sheets."""
    parser = kit.parser(__doc__)
    parser.add_argument(
        "--networks", nargs="+", default=["scenes-vgg", "scenes-resnet"], choices=tuple(LAYERS)
    )
    parser.add_argument(
        "--scenes", type=int, default=1000, help="training scenes that are mined, half of them held out"
    )
    parser.add_argument("--tested", type=int, default=300, help="validation scenes that are decoded")
    parser.add_argument("--pictures", type=int, default=4000, help="training scenes of a decoder")
    parser.add_argument("--epochs", type=int, default=9, help="of a decoder")
    parser.add_argument("--width", type=float, default=1.0, help="of a decoder")
    parser.add_argument("--draws", type=int, default=8, help="of random channels")
    parser.add_argument(
        "--decoders", type=Path, default=Path("pellucid-out/train"), help="where decoders are or go"
    )
    parser.add_argument("--only-report", action="store_true", help="make the page anew from the JSON")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "patterns.json"
    study: dict[str, Any] = kit.read(file, {"networks": []})
    for name in [] if options.only_report else options.networks:
        found, page = measured(name, options)
        found["metadata"] = metadata(options)
        others = [one for one in study["networks"] if one["network"] != name]
        study["networks"] = sorted([*others, found], key=lambda one: list(LAYERS).index(one["network"]))
        write_sheet(page, options.out / f"patterns-{name}.png")
        kit.write(options.out, "patterns", study)
    for one in study["networks"]:  # what was seen in a sheet is said of that very sheet
        one["sheet"] = hashlib.sha256(
            (options.out / f"patterns-{one['network']}.png").read_bytes()
        ).hexdigest()[:16]
    kit.write(options.out, "patterns", study, table(study))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
