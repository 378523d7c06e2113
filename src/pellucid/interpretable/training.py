"""Training an interpretable network, or its ordinary twin, from pretrained lower layers: ``pellucid train interpretable``.

As in Zhang 2018 the layers below come from a trained network; they are frozen and their output is computed once, so that a
training takes seconds where there was time for minutes. Weights are rounded to half precision before the network is tested:
the stated accuracy is that of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pellucid._version import __version__
from pellucid.core.provenance import machine
from pellucid.core.storage import write_text
from pellucid.interpretable.job import InterpretableJob, accuracy
from pellucid.interpretable.pictures import open_pictures
from pellucid.interpretable.settings import InterpretableTraining
from pellucid.training.checkpoint import plain
from pellucid.training.loop import Record, first, train
from pellucid.training.weights import rounded
from pellucid.training.workplace import check_free, workplace
from pellucid.zoo.interpretable.backbones import open_backbone
from pellucid.zoo.interpretable.saved import save_network


def train_interpretable(
    settings: InterpretableTraining, out: Path, *, name: str | None = None, progress: bool | None = None
) -> dict[str, Any]:
    """Train, test and write ``NAME.safetensors`` and its model card ``NAME.md`` into ``out``; returns the card's facts.

    Every epoch ends with a checkpoint in ``out``; a later call with the same settings resumes there. Raises as
    `InterpretableJob` and `open_pictures` do, ValueError for a checkpoint of other settings, FloatingPointError when the loss
    is no longer finite, naming epoch, step and filter.
    """
    name = settings.name if name is None else name
    check_free(out, name)
    preprocess = open_backbone(settings.backbone, weights=settings.weights).preprocess
    pictures = open_pictures(settings, "train", preprocess, progress=progress)
    job = InterpretableJob(settings, pictures, progress=progress)
    with workplace(out, name) as checkpoint:
        with job.above():
            record = train(job, checkpoint, precision=settings.precision, progress=progress)
        state = rounded(job.module)
        test = open_pictures(settings, "test", preprocess, progress=progress)
        facts = _facts(
            job, record, name, {"accuracy": accuracy(job.module, job.backbone, test), "test": len(test)}
        )
        if first():
            save_network(
                out / f"{name}.safetensors",
                state,
                name=name,
                architecture=job.backbone.architecture,
                how=job.how,
                classes=pictures.classes,
                preprocess=preprocess,
                training={key: value for key, value in facts.items() if key != "history"},
            )
            write_text(out / f"{name}.md", interpretable_card(facts))
    return facts


def _facts(job: InterpretableJob, record: Record, name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **plain(job.settings),
        "name": name,
        "interpretable_layers": list(job.how.layers),
        "frozen_up_to": job.freeze,
        "classes": list(job.pictures.classes),
        "pictures": len(job.pictures),
        "parameters": sum(each.numel() for each in job.module.parameters()),
        "history": record.history,
        "training_seconds": round(record.seconds, 1),
        "machine": machine(),
        "pellucid": __version__,
        **found,
    }


def interpretable_card(facts: Mapping[str, Any]) -> str:
    """The model card of a network that `train_interpretable` made, in Markdown."""
    held = ", ".join(f"`{each}`" for each in facts["interpretable_layers"])
    above = " and a new 3×3 convolution above" if not facts["alone"] else ""
    mode = "the printed loss" if facts["mode"] == "paper" else "the loss of the released code"
    kind = (
        f"the ordinary twin of an interpretable network, with {held}{above}, without masks and their loss"
        if facts["ordinary"]
        else f"the filters of {held}{above} are each held to one part ({mode}, {facts['norm'].upper()} templates about the "
        f"{facts['position']}, weight {facts['weight']:g})"
    )
    task = (
        f"`{facts['target']}` against the background"
        if facts["target"]
        else f"{len(facts['classes'])} classes"
    )
    start = (
        f"its own weights up to `{facts['frozen_up_to']}`, kept"
        if facts["frozen_up_to"]
        else "all layers trained"
    )
    rows = {
        "task": task,
        "test pictures": f"{100 * facts['accuracy']:.2f} % of {facts['test']:,}",
        "parameters": f"{facts['parameters']:,}, matrices in half precision",
        "backbone": f"{facts['backbone']}, {start}",
        "training": f"{facts['pictures']:,} pictures ({facts['data'] if facts['data'] == 'scenes' else 'a folder'}), "
        f"{facts['epochs']} epochs, batch {facts['batch_size']}, learning rate {facts['learning_rate']:g}, "
        f"weight decay {facts['weight_decay']:g}, {facts['precision']}",
        "seed": facts["seed"],
        "time": f"{facts['training_seconds']:g} seconds of training steps",
        "machine": facts["machine"],
        "licence": "Apache-2.0",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""# {facts["name"]}

A classifier made by `pellucid train interpretable`: {kind}.

| | |
|---|---|
{table}

Zhang, Wu, Zhu, *Interpretable Convolutional Neural Networks*, CVPR 2018; Pang, master's thesis, Xidian University, 2021.
"""
