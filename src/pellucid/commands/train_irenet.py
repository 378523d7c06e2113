"""``pellucid train irenet``: a recognizer of parts, colors, textures and materials, with its model card."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from pellucid.commands.console import say
from pellucid.commands.options import Folder, Name, group, parse
from pellucid.commands.train import keeping

_IRENET = """\
Train IRENet, one of its arms or a rival to recognize semantic features; writes NAME.safetensors and its model card NAME.md.

Interrupted, it goes on from the last whole epoch when called again with the same settings. Under torchrun several processes
train together. The published width, --width 1, wants a GPU."""


def run(arguments: Sequence[str]) -> int:
    """Parse the settings and train."""
    from pellucid.training.irenet import RecognizerTraining, train_recognizer

    folder = Annotated[Folder, tyro.conf.arg(help="where weights and card go")]
    named = Annotated[Name, tyro.conf.arg(help="what the files are called")]
    settings = group("settings", "training", RecognizerTraining, "How it is trained.")
    command = dataclasses.make_dataclass(
        "TrainIrenet", [("out", folder, Path("pellucid-out/train")), ("name", named, "irenet"), settings]
    )
    command.__doc__ = _IRENET
    options: Any = parse(command, "train irenet", arguments)
    chosen = RecognizerTraining(**vars(options.settings))
    with keeping(options.out / f"{options.name}.checkpoint.pt"):
        facts = train_recognizer(chosen, options.out, name=options.name)
    if facts["left_out"]:
        say(f"left out for too few positives: {', '.join(facts['left_out'])}")
    for category, one in {"all attributes": facts["quality"], **facts["by_category"]}.items():
        say(
            f"{category}: micro F1 {100 * one['micro_f1']:.1f} %, precision {100 * one['micro_precision']:.1f} %, "
            f"recall {100 * one['micro_recall']:.1f} %, mean average precision {100 * one['map']:.1f} %"
        )
    say(f"weights: {options.out / f'{options.name}.safetensors'}")
    return 0
