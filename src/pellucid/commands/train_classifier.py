"""``pellucid train classifier``: an embedded network from scratch, with its model card."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from pellucid.commands.console import say
from pellucid.commands.options import Folder, group, parse
from pellucid.commands.train import keeping

_CLASSIFIER = """\
Train a classifier of the concept world; writes NAME.safetensors and its model card NAME.md.

Interrupted, it goes on from the last whole epoch when called again with the same settings."""


def run(arguments: Sequence[str]) -> int:
    """Parse the settings and train."""
    from pellucid.training import ClassifierTraining, train_classifier

    folder = Annotated[Folder, tyro.conf.arg(help="where weights and card go")]
    settings = group("settings", "training", ClassifierTraining, "How it is trained.")
    command = dataclasses.make_dataclass(
        "TrainClassifier", [("out", folder, Path("pellucid-out/train")), settings]
    )
    command.__doc__ = _CLASSIFIER
    options: Any = parse(command, "train classifier", arguments)
    chosen = ClassifierTraining(**vars(options.settings))
    out, name = options.out, chosen.network
    with keeping(out / f"{name}.checkpoint.pt"):
        facts = train_classifier(chosen, out)
    for world, accuracy in facts["accuracy"].items():
        say(f"accuracy on {facts['test_images']} test scenes, {world}: {100 * accuracy:.2f} %")
    say(f"weights: {out / f'{name}.safetensors'}")
    return 0
