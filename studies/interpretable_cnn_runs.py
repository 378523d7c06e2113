"""Trainings of interpretable networks and their ordinary twins, each measured by its parts: for `studies/interpretable_cnn.py`.

Every run is one training from the same pretrained lower layers, then `measure_parts` of the topmost layer on test pictures. A
run's numbers go into a file of their own, so that a stopped study goes on where it was.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import pellucid as pl
from pellucid.core.storage import write_json
from pellucid.interpretable.caching import entered, lower_maps
from pellucid.interpretable.job import InterpretableJob, accuracy
from pellucid.interpretable.parts import PartSource, PartTable, open_parts
from pellucid.interpretable.parts import parts as measure_parts
from pellucid.interpretable.pictures import Pictures, open_pictures
from pellucid.interpretable.settings import InterpretableTraining
from pellucid.training.loop import train
from pellucid.zoo.interpretable.backbones import Backbone, open_backbone

CONDITIONS: dict[str, dict[str, Any]] = {
    "ordinary": {"ordinary": True},
    "paper-l2": {},
    "paper-l1": {"norm": "l1"},
    "released-l2": {"mode": "released"},
    "released-l1": {"mode": "released", "norm": "l1"},
}
EXTRA: dict[str, dict[str, Any]] = {
    "masks-l2": {"weight": 0.0},
    "printed-l2": {"position": "argmax", "beta": 4.0},
}
BACKBONES = ("scenes-vgg", "scenes-resnet")
TARGETS = ("bicycle", "bird", "house")
MORE_TARGETS = (*TARGETS, "car", "airliner", "sailboat")
FINE = "scenes-resnet, 16×16"


@dataclass(frozen=True)
class Plan:
    """How much is done: ``seeds`` multi-class trainings, and one single-class training per target, each with its own seed."""

    seeds: int = 3
    targets: tuple[str, ...] = TARGETS
    images: int = 3000
    epochs: int = 4
    single_images: int = 1200
    single_epochs: int = 10
    test_images: int = 1000
    scenes: int = 500
    single_scenes: int = 150
    fine_seeds: int = 1
    categories: int = 4


@dataclass(eq=False)
class Study:
    """Where the runs' files are, and what is still to do."""

    plan: Plan
    work: Path
    say: Callable[[str], None] = print
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)

    def run(self, key: str, compute: Callable[[], Mapping[str, Any]]) -> None:
        """One run, from its file where there is one."""
        file = self.work / f"{key.replace(' ', '-').replace('×', 'x').replace(',', '')}.json"
        if file.is_file():
            self.done[key] = json.loads(file.read_text(encoding="utf-8"))
            return
        found = {"key": key, **compute()}
        self.work.mkdir(parents=True, exist_ok=True)
        write_json(file, found)
        self.done[key] = found
        numbers = " ".join(
            f"{name} {found[name]:.4f}" for name in ("interpretability", "instability", "accuracy")
        )
        self.say(f"{key}: {numbers}, {found['seconds']:.0f} s")

    def load(self) -> None:
        """All runs that are there."""
        for file in sorted(self.work.glob("*.json")):
            found = json.loads(file.read_text(encoding="utf-8"))
            self.done[found["key"]] = found


class Shared:
    """Pictures, and what the frozen layers give for them: made once for all conditions, when the first needs them."""

    def __init__(self, base: InterpretableTraining, preprocess: Any, pictures: Any = None) -> None:
        self.base, self.preprocess = base, preprocess
        self._pictures = pictures
        self._lower: torch.Tensor | None = None
        self._test: Pictures | None = None
        self._test_lower: torch.Tensor | None = None

    def pictures(self) -> Pictures:
        """To train on."""
        if self._pictures is None:
            self._pictures = open_pictures(self.base, "train", self.preprocess)
        return self._pictures

    def test(self) -> Pictures:
        """To test on."""
        if self._test is None:
            self._test = open_pictures(self.base, "test", self.preprocess)
        return self._test

    def job(self, settings: InterpretableTraining, backbone: Backbone | None = None) -> InterpretableJob:
        """A training that uses what is shared."""
        job = InterpretableJob(
            settings, self.pictures(), backbone=backbone, lower=self._lower, progress=False
        )
        if job.frozen:
            self._lower = job.lower
        return job

    def accuracy(self, job: InterpretableJob) -> float:
        """Share of the test pictures that are classified right, from what the frozen layers give for them."""
        test = self.test()
        if not job.frozen:
            return accuracy(job.module, job.backbone, test)
        if self._test_lower is None:
            normalize = job.backbone.preprocess.normalize
            self._test_lower = lower_maps(job.module, job.freeze, test.images, normalize, mirrored=False)[0]
        right = 0
        with torch.no_grad(), entered(job.module, job.frozen), torch.autocast("cpu", torch.bfloat16):
            for chosen in torch.split(torch.arange(len(test)), 128):
                output = job.module(
                    self._test_lower[chosen].contiguous(memory_format=torch.channels_last)
                ).float()
                found = (output[:, 0] > 0).long() if output.shape[1] == 1 else output.argmax(1)
                right += int((found == test.labels[chosen]).sum())
        return right / len(test)


def trained(job: InterpretableJob) -> float:
    """Train a job to its end; seconds of training steps."""
    with tempfile.TemporaryDirectory() as scratch, job.above():
        record = train(job, Path(scratch) / "checkpoint.pt", precision=job.settings.precision, progress=False)
    return record.seconds


def measured(
    job: InterpretableJob, source: PartSource, regions: tuple[str, ...] = ("upsampled",)
) -> dict[str, Any]:
    """Part interpretability and location instability of the topmost layer.

    Where the source has pictures of other classes too, as the background of a network for one class, thresholds are over all of
    them, and only the parts of the target count.
    """
    net = pl.load(job.module, preprocess=job.backbone.preprocess, classes=job.pictures.classes)
    layer, target = job.how.layers[-1], job.settings.target
    options: dict[str, Any] = {
        "resamples": 0,
        "draws": 0,
        "examples": 0,
        "regions": regions,
        "progress": False,
    }
    table = measure_parts(net, layer, source, **options)
    if target is None or len(table.classes) == 1:
        summary = table.summary()
        found = {
            **{name: summary[name] for name in ("interpretability", "instability")},
            "interpretability_by_region": summary["interpretability_by_region"],
        }
    else:
        found = _of_target(table, target)
        cells = net.layer(layer).shape[1] * net.layer(layer).shape[2]
        wider = _of_target(measure_parts(net, layer, source, **options, quantile=1 / cells), target)
        found["interpretability_by_region"] = {"one cell a picture": wider["interpretability"]}
    found["filters"] = len(table)
    found["filters_with_a_place"] = int(np.isfinite(table.instability).sum())
    return found


def _of_target(table: PartTable, target: str) -> dict[str, Any]:
    """Means over all filters, for the parts of one class alone."""
    place = table.classes.index(target)
    shares = table.probability[table.regions[0]][:, table.class_of == place]
    return {
        "interpretability": float(np.nanmax(shares, 1).mean()),
        "instability": float(np.nanmean(table.per_class[:, place])),
    }


def against_background(target: str, count: int) -> PartSource:
    """Test scenes of a class and as many of others: what a network for one class is tested on."""
    own: Any = open_parts(f"scenes:{target}:test/0-{count - 1}")
    every: Any = open_parts(f"scenes:test/0-{2 * count - 1}")
    others = [item for index, item in enumerate(every.items) if every.class_name(index) != target]
    return replace(every, items=(*own.items, *others[:count]))


def one(
    shared: Shared,
    settings: InterpretableTraining,
    source: PartSource,
    backbone: Backbone | None = None,
    regions: tuple[str, ...] = ("upsampled",),
) -> dict[str, Any]:
    """Train, test and measure."""
    job = shared.job(settings, backbone)
    started = time.process_time()
    seconds = trained(job)
    steps = job.steps() * settings.epochs
    return {
        **measured(job, source, regions),
        "accuracy": shared.accuracy(job),
        "loss": job_loss(job),
        "seconds": round(seconds, 1),
        "steps": steps,
        "processor_seconds": round(time.process_time() - started, 1),
    }


def job_loss(job: InterpretableJob) -> float:
    """The templates' loss of the last batch."""
    return round(float(job.lesson.loss().detach()), 5)


def scenes(study: Study, mode: str) -> None:
    """All trainings on scenes with one mode's loss; the ordinary twins come with the paper's."""
    plan = study.plan
    chosen = {
        name: change
        for name, change in CONDITIONS.items()
        if (mode == "released") == name.startswith("released")
    }
    for backbone in BACKBONES:
        _multi(study, backbone, chosen, range(plan.seeds))
        _singles(study, backbone, chosen, plan.targets)


def finer_scenes(study: Study) -> None:
    """The residual network with maps of 16×16 instead of 8×8."""
    chosen = {name: CONDITIONS[name] for name in ("ordinary", "paper-l2")}
    _multi(study, FINE, chosen, range(study.plan.fine_seeds))


def more_scenes(study: Study) -> None:
    """What is added on demand: more classes, and what masks alone and the printed constants give."""
    plan = study.plan
    for backbone in BACKBONES:
        _multi(study, backbone, EXTRA, range(plan.seeds))
        _singles(study, backbone, EXTRA, plan.targets)
        _singles(study, backbone, CONDITIONS, MORE_TARGETS)


def _multi(study: Study, name: str, conditions: Mapping[str, dict[str, Any]], seeds: range) -> None:
    plan = study.plan
    base = InterpretableTraining(
        backbone=name.split(",")[0], images=plan.images, epochs=plan.epochs, test_images=plan.test_images
    )
    shared = _shared(study, base)
    source = open_parts(f"scenes:test/0-{plan.scenes - 1}")
    for seed in seeds:
        for condition, change in conditions.items():

            def compute(seed: int = seed, change: dict[str, Any] = change) -> dict[str, Any]:
                settings = InterpretableTraining(**{**asdict(base), **change, "seed": seed})
                fine = name == FINE
                return one(shared, settings, source, finer(settings, shared) if fine else None)

            study.run(f"multi {name} {condition} {seed}", compute)


def _singles(
    study: Study, name: str, conditions: Mapping[str, dict[str, Any]], targets: tuple[str, ...]
) -> None:
    plan = study.plan
    for seed, target in enumerate(targets):
        base = InterpretableTraining(
            backbone=name,
            target=target,
            images=plan.single_images,
            epochs=plan.single_epochs,
            test_images=min(plan.test_images, 600),
            seed=seed,
        )
        shared = _shared(study, base)
        source = against_background(target, plan.single_scenes)
        for condition, change in conditions.items():

            def compute(
                base: InterpretableTraining = base,
                shared: Shared = shared,
                source: PartSource = source,
                change: dict[str, Any] = change,
            ) -> dict[str, Any]:
                return one(shared, InterpretableTraining(**{**asdict(base), **change}), source)

            study.run(f"single {name} {condition} {target}", compute)


def _shared(study: Study, base: InterpretableTraining) -> Shared:
    key = f"{base.backbone} {base.target}"
    if key not in study.shared:
        study.shared[key] = Shared(base, open_backbone(base.backbone, weights=base.weights).preprocess)
    return study.shared[key]  # type: ignore[no-any-return]


def finer(settings: InterpretableTraining, shared: Shared) -> Backbone:
    """The residual network with its last stage at the resolution of the one below."""
    found = open_backbone(settings.backbone, outputs=len(shared.pictures().classes), seed=settings.seed)
    for layer in strided(found.module.get_submodule("layer4")):
        layer.stride = (1, 1)
    return found


def strided(stage: nn.Module) -> Iterator[nn.Conv2d]:
    """Convolutions that make a stage coarser."""
    return (each for each in stage.modules() if isinstance(each, nn.Conv2d) and each.stride != (1, 1))
