"""``pellucid train interpretable``: a network whose filters each mean one part, or its ordinary twin."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from pellucid.commands.console import say
from pellucid.commands.options import Folder, group, parse
from pellucid.commands.train import keeping

_INTERPRETABLE = """\
Train a network whose filters each mean one part, from a trained one; writes NAME.safetensors and its model card NAME.md.

With --target the network tells one class from the background, else all classes apart. --ordinary trains the twin to compare
with. Interrupted, it goes on from the last whole epoch when called again with the same settings. Under torchrun several
processes train together."""


def run(arguments: Sequence[str]) -> int:
    """Parse the settings and train."""
    from pellucid.interpretable.settings import InterpretableTraining
    from pellucid.interpretable.training import train_interpretable

    folder = Annotated[Folder, tyro.conf.arg(help="where weights and card go")]
    about = tyro.conf.arg(
        metavar="NAME",
        help="what the files are called; by default after the network",
        help_behavior_hint=lambda default: "",
    )
    named = Annotated[str | None, about]
    settings = group("settings", "training", InterpretableTraining, "How it is trained.")
    command = dataclasses.make_dataclass(
        "TrainInterpretable", [("out", folder, Path("pellucid-out/train")), ("name", named, None), settings]
    )
    command.__doc__ = _INTERPRETABLE
    options: Any = parse(command, "train interpretable", arguments)
    chosen = InterpretableTraining(**vars(options.settings))
    name = options.name or chosen.name
    with keeping(options.out / f"{name}.checkpoint.pt"):
        facts = train_interpretable(chosen, options.out, name=name)
    say(f"accuracy on {facts['test']} test pictures: {100 * facts['accuracy']:.2f} %")
    say(f"weights: {options.out / f'{name}.safetensors'}")
    return 0
