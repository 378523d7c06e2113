"""Training a recognizer: what ``pellucid train irenet`` runs.

AdamW and one learning-rate cycle on binary cross-entropy, doubtful labels left out; with maps, plus the mean over categories of
weighted cross-entropy and the Dice loss of the cells' labels. Weights are rounded to half precision, then thresholds are chosen
on validation pictures and everything is measured on test pictures: the card speaks of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.core.storage import whole, write_text
from pellucid.training.irenet.build import Architecture, build, load_convolutions
from pellucid.training.irenet.card import answers, facts_of, recognizer_card, save_recognizer
from pellucid.training.irenet.metrics import average_precision
from pellucid.training.irenet.preparing import Prepared, prepare
from pellucid.training.irenet.samples import DRAWS, MIRRORED, Batch, Views
from pellucid.training.irenet.settings import RecognizerTraining
from pellucid.training.loop import Job, device, first, generator, order, shares, train
from pellucid.training.weights import rounded
from pellucid.training.workplace import check_free, workplace

_HEAVIEST = 30.0


def train_recognizer(
    settings: RecognizerTraining, out: Path, *, name: str = "irenet", progress: bool | None = None
) -> dict[str, Any]:
    """Train, choose thresholds, test, and write ``NAME.safetensors`` and ``NAME.md`` into ``out``; returns the card's facts.

    Every epoch ends with a checkpoint in ``out``; a later call with the same settings goes on there. Raises ValueError for a
    set of concepts without the categories, without crops or without positives, CheckpointError for weights of another network
    or width, FloatingPointError for a loss that is no longer finite.
    """
    check_free(out, name)
    prepared = prepare(settings, progress=progress)
    job = RecognizerJob(settings, prepared)
    with workplace(out, name) as checkpoint:
        record = train(job, checkpoint, precision=settings.precision, progress=progress)
        module = job.module.cpu().float()
        weights = rounded(module)
        facts = facts_of(settings, job.architecture, prepared, module, record, name)
        if first():
            with whole(out / f"{name}.safetensors") as partial:
                save_recognizer(partial, weights, facts)
            write_text(out / f"{name}.md", recognizer_card(facts))
    return facts


class RecognizerJob(Job):
    """A recognizer under way, on prepared samples."""

    settings: RecognizerTraining
    monitor = "map"
    better = "higher"

    def __init__(self, settings: RecognizerTraining, prepared: Prepared) -> None:
        """A fresh network, from the seed; the caller's random state stays as it is."""
        self.settings, self.prepared = settings, prepared
        self.title, self.epochs, self.seed = settings.network, settings.epochs, settings.seed
        self.patience = settings.patience or None
        words = prepared.vocabulary
        self.architecture = Architecture(
            settings.network,
            len(words.names),
            settings.width,
            words.sizes if settings.maps else (),
            settings.grid,
            settings.depth,
        )
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(settings.seed)
            self.module = build(self.architecture)
        if settings.weights is not None:
            load_convolutions(self.module, settings.weights)
        self.place = device()
        module: Any = self.module
        module.to(device=self.place, memory_format=torch.channels_last)
        decayed = [each for each in self.module.parameters() if each.ndim > 1]
        others = [each for each in self.module.parameters() if each.ndim < 2]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(
            groups,
            settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            settings.learning_rate,
            total_steps=max(8, self.steps() * settings.epochs),
            pct_start=0.2,
        )
        self.weight = prepared.weights(settings.balance).to(self.place)
        self.draws = torch.empty(0)

    def steps(self) -> int:
        """Whole batches alone, but for a set smaller than one: batch normalization wants more than a remainder."""
        return max(1, len(self.prepared.training) // self.settings.batch_size)

    def begin_epoch(self, epoch: int) -> None:
        """All that is drawn at random in an epoch; and views are small in the first half of the epochs, which is quicker."""
        samples, settings = self.prepared.training, self.settings
        if isinstance(samples, Views):
            share = settings.early if 2 * epoch < settings.epochs - 1 else 1.0
            samples.size = max(32, round(share * settings.size / 16) * 16) if share < 1 else settings.size
            samples.cells = samples.size // settings.grid if settings.maps else 1
        count = len(self.prepared.training)
        self.draws = torch.rand(count, DRAWS, generator=generator(self.seed, epoch, 1))
        if not self.settings.mirror:
            self.draws[:, MIRRORED] = 1

    def batches(self, epoch: int) -> Iterator[Batch]:
        """This process's part of every batch."""
        samples = self.prepared.training
        visited = order(len(samples), self.seed, epoch)[: self.steps() * self.settings.batch_size]
        for chosen in shares(visited, self.settings.batch_size):
            yield samples.batch(chosen, self.draws)

    def loss(self, forward: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Binary cross-entropy of the labels, and cross-entropy of the cells."""
        x, labels, maps = (each.to(self.place) for each in batch)
        if not self.settings.maps:
            return label_loss(forward(x), labels, self.weight), {}
        logits, logs = forward(x, True)
        present = label_loss(logits, labels, self.weight)
        seen = cell_loss(logs, maps)
        return present + seen, {"labels": float(present.detach()), "cells": float(seen.detach())}

    def validate(self) -> dict[str, float]:
        """Mean average precision on validation pictures."""
        truth, found = answers(self.module, self.prepared.validation)
        held = (truth == 1).any(0)
        return {"map": float(average_precision(truth, found)[held].mean())}


def label_loss(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Mean binary cross-entropy over the labels that are not doubtful; ``weight`` [label] is that of a positive."""
    sure = labels >= 0
    every = F.binary_cross_entropy_with_logits(
        logits.float(), labels.clamp(min=0).float(), pos_weight=weight, reduction="none"
    )
    return torch.as_tensor(every[sure].sum() / sure.sum().clamp(min=1))


def cell_loss(logs: Sequence[Tensor], maps: Tensor) -> Tensor:
    """Mean over categories of weighted cross-entropy plus Dice loss: log-probabilities [batch answer h w] of each category, label
    maps [batch category h w].

    Cross-entropy alone leaves out small parts, which are few cells among many that show none: a cell of an answer that n of the
    batch's cells have weighs √(m / n), at most 30, m being the cells of the commonest answer. Dice (Milletari et al. 2016) is
    1 − 2 Σ p g / (Σ p + Σ g) for every label that is in the batch, sums over all its cells.
    """
    losses = []
    for row, part in enumerate(logs):
        labels = maps[:, row].long()
        each = F.nll_loss(part, labels, reduction="none")
        count = torch.bincount(labels.flatten(), minlength=part.shape[1]).to(part)
        weight = (count.max() / count.clamp(min=1)).sqrt().clamp(max=_HEAVIEST)[labels]
        hit = torch.zeros_like(count).index_add(0, labels.flatten(), (-each).exp().flatten())
        dice = (2 * hit / (part.exp().sum((0, 2, 3)) + count).clamp(min=1e-6))[1:][count[1:] > 0]
        losses.append((weight * each).sum() / weight.sum() + (1 - dice).sum() / max(1, len(dice)))
    return torch.stack(losses).mean()
