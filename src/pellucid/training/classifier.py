"""Training a classifier of the concept world from scratch: what ``pellucid train classifier`` runs.

Stochastic gradient descent with momentum and one learning-rate cycle on cross-entropy. Pictures are rendered
once into memory; the order of an epoch depends on seed and epoch alone, so an interrupted training, resumed,
goes on exactly as it would have. The weights are rounded to half precision before they are tested: the stated
accuracy is that of the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid._version import __version__
from pellucid.core.precision import exact
from pellucid.core.progress import bar
from pellucid.core.provenance import machine
from pellucid.core.storage import whole, write_text
from pellucid.data.preprocess import Preprocess
from pellucid.training.card import model_card
from pellucid.training.loop import Job, Record, device, first, generator, order, share, train
from pellucid.training.settings import ClassifierTraining
from pellucid.training.weights import rounded
from pellucid.training.workplace import workplace
from pellucid.zoo import embedded


def train_classifier(
    settings: ClassifierTraining, out: Path, *, progress: bool | None = None
) -> dict[str, Any]:
    """Train, test and write ``NAME.safetensors`` and its model card ``NAME.md`` into ``out``; returns the
    card's facts.

    Every epoch ends with a checkpoint in ``out``; a later call with the same settings resumes there. Raises
    ValueError where a checkpoint is there of other settings, FloatingPointError when the loss is no longer
    finite, naming epoch and step.
    """
    with workplace(out, settings.network) as checkpoint:
        job = _Classifier(settings, progress)
        record = train(job, checkpoint, precision=settings.precision, progress=progress)
        weights = rounded(job.module.cpu())
        facts = _facts(job, record, progress)
        if first():
            with whole(out / f"{settings.network}.safetensors") as partial:
                _save_weights(partial, weights, facts)
            write_text(out / f"{settings.network}.md", model_card(facts))
    return facts


class _Classifier(Job):
    """An embedded classifier under way. Pictures are rendered when the first epoch needs them."""

    settings: ClassifierTraining

    def __init__(self, settings: ClassifierTraining, progress: bool | None) -> None:
        """A fresh network, from the seed; the caller's random state stays as it is."""
        self.settings, self.progress = settings, progress
        self.title, self.epochs, self.seed = settings.network, settings.epochs, settings.seed
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(settings.seed)
            module = embedded.architecture(settings.network)()
        self.module = module.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
        rate = settings.learning_rate
        self.optimizer = torch.optim.SGD(
            self.module.parameters(), rate / 25, 0.9, weight_decay=settings.weight_decay, nesterov=True
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rate, total_steps=max(8, self.steps() * settings.epochs), pct_start=0.25
        )

    def steps(self) -> int:
        """How many batches an epoch has."""
        return -(-self.settings.images // self.settings.batch_size)

    @cached_property
    def scenes(self) -> tuple[Tensor, Tensor]:
        """All training scenes as bytes, and their classes."""
        settings = self.settings
        return _render("train", settings.images, settings, settings.confounding, self.progress)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices of every batch of an epoch, and which of its pictures are mirrored."""
        settings = self.settings
        flips = generator(settings.seed, epoch, 1)
        for chosen in torch.split(order(settings.images, settings.seed, epoch), settings.batch_size):
            yield share(chosen), share(torch.rand(len(chosen), generator=flips) < 0.5)

    def loss(self, forward: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of a batch, and how many were right before the step."""
        chosen, mirrored = batch
        images, labels = (each[chosen].to(device()) for each in self.scenes)
        x = Preprocess.scenes(self.settings.size).normalize(images)
        x = torch.where(mirrored[:, None, None, None].to(x.device), x.flip(3), x)
        output = forward(x.contiguous(memory_format=torch.channels_last)).float()
        right = exact(output.argmax(1) == labels).mean()
        return F.cross_entropy(output, labels), {"training_accuracy": float(right)}


def _render(
    split: str, count: int, settings: ClassifierTraining, confounding: float, progress: bool | None
) -> tuple[Tensor, Tensor]:
    """Scenes as bytes [count 3 size size] and class indices."""
    from pellucid.world import SceneDataset

    data = SceneDataset(split=split, count=count, confounding=confounding, size=settings.size)
    images = torch.empty(count, 3, settings.size, settings.size, dtype=torch.uint8)
    labels = torch.empty(count, dtype=torch.long)
    workers = min(2, os.cpu_count() or 1) if count >= 1000 else 0  # starting them costs more than 1000 scenes
    own = torch.Generator()  # else the loader would draw from the caller's random state
    loader = torch.utils.data.DataLoader(data, batch_size=256, num_workers=workers, generator=own)
    place = 0
    with bar(count, f"rendering {split}", "scene", progress) as shown:
        for pictures, classes in loader:
            part = slice(place, place + len(classes))
            images[part], labels[part] = pictures, classes
            place += len(classes)
            shown.update(len(classes))
    return images, labels


def measured_accuracy(
    module: nn.Module, settings: ClassifierTraining, confounding: float, progress: bool | None = False
) -> float:
    """Share of the first ``test_images`` scenes of the test split that are classified right."""
    images, labels = _render("test", settings.test_images, settings, confounding, progress)
    preprocess = Preprocess.scenes(settings.size)
    module.eval()
    right = 0
    with torch.no_grad():
        for chosen in torch.split(torch.arange(len(images)), 128):
            right += int((module(preprocess.normalize(images[chosen])).argmax(1) == labels[chosen]).sum())
    return right / len(images)


def _facts(job: Job, record: Record, progress: bool | None) -> dict[str, Any]:
    """What the model card and the weights file say."""
    settings: ClassifierTraining = job.settings
    return {
        **asdict(settings),
        "confounding": settings.confounding,
        "parameters": sum(parameter.numel() for parameter in job.module.parameters()),
        "accuracy": {
            f"confounding {level:g}": measured_accuracy(job.module, settings, level, progress)
            for level in (0.0, 1.0)
        },
        "history": record.history,
        "training_minutes": round(record.seconds / 60, 1),
        "machine": machine(),
        "pellucid": __version__,
    }


def _save_weights(file: Path, weights: dict[str, Tensor], facts: dict[str, Any]) -> None:
    from safetensors.torch import save

    metadata = {
        "architecture": facts["network"].removesuffix("-confounded"),
        "name": facts["network"],
        "licence": "Apache-2.0",
        "training": json.dumps({key: value for key, value in facts.items() if key != "history"}),
    }
    file.write_bytes(save({key: value.contiguous() for key, value in weights.items()}, metadata))
