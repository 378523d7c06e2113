"""Training a classifier of the concept world from scratch: what ``pellucid train classifier`` runs.

Stochastic gradient descent with momentum and one learning-rate cycle on cross-entropy. Pictures are rendered
once into memory; the order of an epoch depends on seed and epoch alone, so an interrupted training, resumed,
goes on exactly as it would have. The weights are rounded to half precision before they are tested: the stated
accuracy is that of the file.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from pellucid import embedded
from pellucid._version import __version__
from pellucid.data.preprocess import Preprocess
from pellucid.storage import whole, write_text
from pellucid.training.card import model_card
from pellucid.training.settings import ClassifierTraining


def train_classifier(settings: ClassifierTraining, out: Path, *, progress: bool = True) -> dict[str, Any]:
    """Train, test and write ``NAME.safetensors`` and its model card ``NAME.md`` into ``out``; returns the
    card's facts.

    Every epoch ends with a checkpoint in ``out``; a later call with the same settings resumes there. Raises
    ValueError where a checkpoint is there of other settings, FloatingPointError when the loss is no longer
    finite, naming epoch and step.
    """
    out.mkdir(parents=True, exist_ok=True)
    state = _State.begin(settings)
    checkpoint = out / f"{settings.network}.checkpoint.pt"
    if checkpoint.is_file():
        state.resume(checkpoint)
    if state.epoch < settings.epochs:
        images, labels = _render("train", settings.images, settings, settings.confounding, progress)
        while state.epoch < settings.epochs:
            state.train_epoch(images, labels, progress)
            state.save(checkpoint)
    weights = _rounded(state.module)
    facts = _facts(state, progress)
    with whole(out / f"{settings.network}.safetensors") as partial:
        _save_weights(partial, weights, facts)
    card = model_card(facts)
    write_text(out / f"{settings.network}.md", card)
    checkpoint.unlink(missing_ok=True)
    return facts


@dataclass(eq=False)
class _State:
    """A training under way: what a checkpoint holds."""

    settings: ClassifierTraining
    module: nn.Module
    optimizer: torch.optim.Optimizer
    cycle: torch.optim.lr_scheduler.LRScheduler
    epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def begin(cls, settings: ClassifierTraining) -> _State:
        """A fresh network, from the seed; the caller's random state stays as it is."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(settings.seed)
            module: Any = embedded.architecture(settings.network)()
            module.to(memory_format=torch.channels_last)
        rate, steps = settings.learning_rate, -(-settings.images // settings.batch_size)
        optimizer = torch.optim.SGD(
            module.parameters(), rate / 25, 0.9, weight_decay=settings.weight_decay, nesterov=True
        )
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=max(8, steps * settings.epochs), pct_start=0.25
        )
        return cls(settings, module, optimizer, cycle)

    def resume(self, file: Path) -> None:
        """Go on where a checkpoint ends; raises ValueError for another file or other settings."""
        try:
            saved = torch.load(file, weights_only=True)
            given = saved["settings"]
        except Exception as error:  # a damaged file fails in many ways
            raise ValueError(
                f"Expected the checkpoint of an unfinished training, got `{file}`, which cannot be read; "
                "remove it to start anew."
            ) from error
        changed = [key for key, value in asdict(self.settings).items() if given.get(key) != value]
        if changed:
            raise ValueError(
                f"Expected the settings of the unfinished training in `{file}`, got others "
                f"({', '.join(f'{key} was {given.get(key)!r}' for key in changed)}); "
                "repeat them to go on, or remove that file to start anew."
            )
        self.module.load_state_dict(saved["module"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.cycle.load_state_dict(saved["cycle"])
        self.epoch, self.seconds, self.history = saved["epoch"], saved["seconds"], saved["history"]

    def save(self, file: Path) -> None:
        """Write the checkpoint."""
        content = {
            "settings": asdict(self.settings),
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "cycle": {key: value for key, value in self.cycle.state_dict().items() if not callable(value)},
            "epoch": self.epoch,
            "seconds": self.seconds,
            "history": self.history,
        }
        with whole(file) as partial:
            torch.save(content, partial)

    def train_epoch(self, images: Tensor, labels: Tensor, progress: bool) -> None:
        """One pass over all images in the order of this epoch."""
        started, settings = time.perf_counter(), self.settings
        self.module.train()
        total, right = 0.0, 0
        with tqdm(
            _batches(settings, self.epoch),
            total=-(-settings.images // settings.batch_size),
            desc=f"{settings.network} epoch {self.epoch + 1}/{settings.epochs}",
            unit="step",
            disable=None if progress else True,
            delay=2,
            leave=False,
        ) as bar:
            for step, (chosen, mirrored) in enumerate(bar):
                loss, hits = self._step(images[chosen], labels[chosen], mirrored)
                if not math.isfinite(loss):
                    raise FloatingPointError(
                        f"Expected a finite loss, got {loss} in epoch {self.epoch + 1}, step {step + 1}; "
                        "try a smaller `learning_rate`."
                    )
                total, right = total + loss * len(chosen), right + hits
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self.epoch += 1
        self.seconds += time.perf_counter() - started
        count = settings.images
        self.history.append({"epoch": self.epoch, "loss": total / count, "training_accuracy": right / count})

    def _step(self, pictures: Tensor, labels: Tensor, mirrored: Tensor) -> tuple[float, int]:
        """One step down; loss and how many were right before it."""
        x = Preprocess.scenes(self.settings.size).normalize(pictures)
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.precision == "bf16"):
            output = self.module(x)
        loss = F.cross_entropy(output.float(), labels)
        value = float(loss.detach())
        if math.isfinite(value):
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.cycle.step()
        return value, int((output.argmax(1) == labels).sum())


def _batches(settings: ClassifierTraining, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices of every batch of an epoch, and which of its pictures are mirrored."""
    order = torch.Generator().manual_seed(settings.seed * 100_003 + epoch)
    flips = torch.Generator().manual_seed(settings.seed * 100_003 + epoch + 50_000)
    for chosen in torch.split(torch.randperm(settings.images, generator=order), settings.batch_size):
        yield chosen, torch.rand(len(chosen), generator=flips) < 0.5


def _render(
    split: str, count: int, settings: ClassifierTraining, confounding: float, progress: bool
) -> tuple[Tensor, Tensor]:
    """Scenes as bytes [count 3 size size] and class indices."""
    from pellucid.data.scenes import SceneDataset

    data = SceneDataset(split=split, count=count, confounding=confounding, size=settings.size)
    images = torch.empty(count, 3, settings.size, settings.size, dtype=torch.uint8)
    labels = torch.empty(count, dtype=torch.long)
    workers = min(2, os.cpu_count() or 1) if count >= 1000 else 0  # starting them costs more than 1000 scenes
    own = torch.Generator()  # else the loader would draw from the caller's random state
    loader = torch.utils.data.DataLoader(data, batch_size=256, num_workers=workers, generator=own)
    place = 0
    with tqdm(
        total=count,
        desc=f"rendering {split}",
        unit="scene",
        disable=None if progress else True,
        delay=2,
        leave=False,
    ) as bar:
        for pictures, classes in loader:
            part = slice(place, place + len(classes))
            images[part], labels[part] = pictures, classes
            place += len(classes)
            bar.update(len(classes))
    return images, labels


def measured_accuracy(
    module: nn.Module, settings: ClassifierTraining, confounding: float, progress: bool = False
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


def _rounded(module: nn.Module) -> dict[str, Tensor]:
    """Weights with matrices in half precision; the module gets the rounded values too."""
    state = {
        key: value.half() if value.is_floating_point() and value.ndim > 1 else value
        for key, value in module.state_dict().items()
    }
    module.load_state_dict(
        {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    )
    return state


def _facts(state: _State, progress: bool) -> dict[str, Any]:
    """What the model card and the weights file say."""
    settings = state.settings
    return {
        **asdict(settings),
        "confounding": settings.confounding,
        "parameters": sum(parameter.numel() for parameter in state.module.parameters()),
        "accuracy": {
            f"confounding {level:g}": measured_accuracy(state.module, settings, level, progress)
            for level in (0.0, 1.0)
        },
        "history": state.history,
        "training_minutes": round(state.seconds / 60, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__.split('+')[0]}",
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
