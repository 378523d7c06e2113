"""`train`: everything that can be trained, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.interpretable.settings import InterpretableTraining
from pellucid.interpretable.training import train_interpretable
from pellucid.training import ClassifierTraining, train_classifier
from pellucid.training.irenet import RecognizerTraining, train_recognizer
from pellucid.visualization.decoder.settings import DecoderTraining
from pellucid.visualization.decoder.training import train_decoder

KINDS = ("classifier", "interpretable", "irenet", "decoder")


def train(
    kind: str, out: str | Path = "pellucid-out/train", *, progress: bool = True, **settings: Any
) -> Any:
    """Train a network and write its weights with a model card into a folder; interrupted, the same call goes on there.

    Args:
        kind: ``"classifier"`` (an embedded network on rendered scenes), ``"interpretable"`` (a network whose filters mean one
            part each), ``"irenet"`` (a recognizer of parts, colors, textures and materials), or ``"decoder"`` (paints what
            patterns of units hold; needs ``net`` and ``images``, and takes ``layer``).
        out: folder of weights, card and checkpoints; made when it is not there.
        progress: show bars.
        **settings: fields of `ClassifierTraining`, `InterpretableTraining`, `RecognizerTraining` or `DecoderTraining`.

    Returns:
        The facts of the model card, a mapping; for a decoder the `Decoder`.

    Raises:
        UnknownNameError: another kind.
        TypeError: a setting that the training does not have.
        ValueError: settings out of range, or a checkpoint of other settings in ``out``.

    Example:
        >>> import tempfile
        >>> facts = train("classifier", tempfile.mkdtemp(), network="scenes-vgg", images=20, test=10, epochs=1,
        ...     progress=False)  # doctest: +SKIP
    """
    folder = Path(out)
    if kind == "classifier":
        return train_classifier(ClassifierTraining(**settings), folder, progress=progress)
    if kind == "interpretable":
        return train_interpretable(InterpretableTraining(**settings), folder, progress=progress)
    if kind == "irenet":
        return train_recognizer(RecognizerTraining(**settings), folder, progress=progress)
    if kind == "decoder":
        given = {key: settings.pop(key) for key in ("net", "images", "layer") if key in settings}
        if not {"net", "images"} <= given.keys():
            raise TypeError(
                "Expected a network and pictures to train a decoder on, got "
                f'{", ".join(given) or "neither"}; try `pl.train("decoder", net=net, images="folder")`.'
            )
        return train_decoder(**given, settings=DecoderTraining(**settings), out=folder, progress=progress)
    raise UnknownNameError(f"Expected what to train, got `{kind}`; {suggest(kind, KINDS)}")
