"""Detectors while a network is trained, and in networks of several widths: small trainings for `studies/dissection.py`.

Every training is stochastic gradient descent with one learning-rate cycle on the same few scenes, much shorter than that of
the embedded networks, in the order their seed gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import pellucid as pl
from dissection_networks import concepts, facts, measured, rows
from pellucid.data.concepts import ConceptSource
from pellucid.data.preprocess import Preprocess
from pellucid.training.classifier import measured_accuracy
from pellucid.training.settings import ClassifierTraining
from pellucid.world import SceneDataset
from pellucid.zoo.embedded import ScenesVGG

WIDTHS = (16, 32, 64, 96, 128)
FACTORS = (0.25, 0.5, 1.0, 2.0)
BATCH = 64
RATE, DECAY = 0.1, 5e-4


def rendered(count: int) -> tuple[Tensor, Tensor]:
    """The first training scenes as bytes [count 3 128 128], and their classes."""
    data = SceneDataset("train", count)
    pictures = [data[index] for index in range(count)]
    return torch.stack([picture for picture, _ in pictures]), torch.tensor(
        [int(label) for _, label in pictures]
    )


def train(
    factor: float,
    seed: int,
    data: tuple[Tensor, Tensor],
    epochs: int,
    at: Sequence[float],
    see: Callable[[int, ScenesVGG], None],
) -> int:
    """Train a plain network ``factor`` times as wide as the embedded one; shows it after each of the parts ``at`` of the
    steps (0 the fresh network, 1 the end), and returns how many steps there were."""
    pictures, labels = data
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        module = ScenesVGG(widths=tuple(int(width * factor) for width in WIDTHS))
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = -(-len(labels) // BATCH)
    steps = batches * epochs
    stops = {round(part * steps) for part in at}
    optimizer = torch.optim.SGD(module.parameters(), RATE / 25, 0.9, weight_decay=DECAY, nesterov=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(8, steps), pct_start=0.25)
    step = 0
    if 0 in stops:
        see(0, module.eval())
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(labels), generator=generator), BATCH):
            module.train()
            x = Preprocess.scenes().normalize(pictures[chosen])
            mirrored = torch.rand(len(chosen), generator=generator) < 0.5
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
            with torch.autocast("cpu", torch.bfloat16):
                output = module(x.contiguous(memory_format=torch.channels_last))
            optimizer.zero_grad()
            F.cross_entropy(output.float(), labels[chosen]).backward()
            optimizer.step()
            cycle.step()
            step += 1
            if step in stops:
                see(step, module.eval())
    return steps


def state(
    module: ScenesVGG, source: ConceptSource, test_images: int, layers: Sequence[int] | None = None
) -> dict[str, Any]:
    """Accuracy and unit tables of a network as it is."""
    net = pl.load(module, preprocess=Preprocess.scenes(), name="scenes-vgg")
    names = net.default_layers if layers is None else [net.default_layers[place] for place in layers]
    settings = ClassifierTraining(test_images=test_images)
    return {
        "accuracy": round(measured_accuracy(module, settings, 0.0), 4),
        "layers": rows(net, measured(net, source, names)),
        "weights sha256": facts(net, source)["weights sha256"],
    }


def trainings(
    factors: Sequence[float] = FACTORS,
    seeds: Sequence[int] = (0, 1),
    *,
    images: int = 4000,
    epochs: int = 4,
    at: Sequence[float] = (0, 0.05, 0.125, 0.25, 0.5, 1),
    scenes: int = 500,
    test_images: int = 1000,
    twice: float = 0.5,
) -> dict[str, Any]:
    """Train every width; the embedded one (factor 1, first seed) is dissected on its way too. Widths above ``twice`` are
    trained with the first seed only."""
    data, source = rendered(images), concepts("scenes-vgg", scenes, keep=True)
    widths: list[dict[str, Any]] = []
    checkpoints: list[dict[str, Any]] = []
    for factor in factors:
        for seed in seeds if factor <= twice else seeds[:1]:
            way: list[dict[str, Any]] = []

            def see(step: int, module: ScenesVGG, way: list[dict[str, Any]] = way) -> None:
                way.append({"step": step, **state(module, source, test_images)})

            steps = train(factor, seed, data, epochs, at if factor == 1 else (1,), see)
            widths.append({"factor": factor, "seed": seed, "steps": steps} | way[-1])
            checkpoints += way if factor == 1 else []
    budget = {
        "training scenes": images, "epochs": epochs, "batch": BATCH, "learning rate": RATE, "precision": "bf16",
        "test scenes": test_images, "scenes": scenes,
    }  # fmt: skip
    return {"budget": budget, "concepts": source.facts(), "checkpoints": checkpoints, "widths": widths}
