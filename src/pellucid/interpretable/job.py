"""What one training of an interpretable network is, for `pellucid.training.loop`: the task's loss plus that of the templates.

The ordinary twin is the same job without templates: the same new convolution from the same random numbers, the same pictures in
the same order, the same steps. In the released mode the softmax loss is as large as the classes are many (its gradient is
multiplied by their number there), which is the same as a loss of the templates as much smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.core.network import Network
from pellucid.core.precision import exact
from pellucid.interpretable.caching import entered, finished_by, lower_maps
from pellucid.interpretable.pictures import Pictures
from pellucid.interpretable.settings import InterpretableTraining
from pellucid.training.loop import Job, device, generator, order, share
from pellucid.zoo.interpretable.backbones import Backbone, open_backbone
from pellucid.zoo.interpretable.lesson import Lesson, learning
from pellucid.zoo.interpretable.wrapping import Interpretation, interpret


class InterpretableJob(Job):
    """An interpretable network, or its ordinary twin, under way.

    ``pictures``: to train on. ``backbone``: by default the settings' own. ``lower``: what `lower_maps` gives of the frozen layer
    for these pictures, where several trainings share it. Raises as `interpret` and `open_backbone` do.
    """

    settings: InterpretableTraining

    def __init__(
        self,
        settings: InterpretableTraining,
        pictures: Pictures,
        *,
        backbone: Backbone | None = None,
        lower: Tensor | None = None,
        progress: bool | None = None,
    ) -> None:
        self.settings, self.pictures, self.progress, self.given = settings, pictures, progress, lower
        self.title, self.epochs, self.seed = settings.name, settings.epochs, settings.seed
        outputs = 1 if settings.target is not None else len(pictures.classes)
        if backbone is None:
            backbone = open_backbone(
                settings.backbone, weights=settings.weights, outputs=outputs, seed=settings.seed
            )
        self.backbone = backbone
        size = (int(pictures.images.shape[2]), int(pictures.images.shape[3]))
        stages = Network(backbone.module, backbone.preprocess, input_shape=(3, *size)).default_layers
        layers = settings.layers or stages[-1:]
        self.freeze = "" if settings.freeze == "none" else settings.freeze
        if self.freeze == "auto":
            self.freeze = stages[-2] if len(stages) > 1 and not settings.layers else ""
        self.how = Interpretation(
            layers,
            None if settings.alone else layers[-1],
            outputs,
            size,
            None if settings.ordinary else settings.templates,
        )
        module = interpret(backbone.module, self.how, seed=settings.seed)
        self.module = module.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frozen = self._freeze()
        rate = settings.learning_rate
        learned = [each for each in self.module.parameters() if each.requires_grad]
        self.optimizer = torch.optim.SGD(
            learned, rate / 25, 0.9, weight_decay=settings.weight_decay, nesterov=True
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rate, total_steps=max(8, self.steps() * settings.epochs), pct_start=0.25
        )
        self.epoch, self.lesson = 0, Lesson(pictures.labels[:0])

    def _freeze(self) -> tuple[str, ...]:
        """Modules up to the frozen layer; their parameters are left alone from here on."""
        if not self.freeze:
            return ()
        probe = self.backbone.preprocess.normalize(self.pictures.images[:1]).to(device())
        names = finished_by(self.module, self.freeze, probe)
        for name in names:
            self.module.get_submodule(name).requires_grad_(False)
        if any(name in self.how.layers for name in names):
            raise ValueError(
                f"Expected `freeze` below the layers that are made interpretable, got `{self.freeze}` with "
                f"{', '.join(self.how.layers)}; try a lower layer."
            )
        return names

    @cached_property
    def lower(self) -> Tensor:
        """What the frozen layer gives for every picture, and for its mirror image."""
        if self.given is not None:
            return self.given
        kind = torch.bfloat16 if self.settings.precision == "bf16" else torch.float32
        normalize = self.backbone.preprocess.normalize
        return lower_maps(
            self.module, self.freeze, self.pictures.images, normalize, dtype=kind, progress=self.progress
        )

    def above(self) -> AbstractContextManager[None]:
        """Inside, the module starts from the frozen layer, where there is one; to be entered around the training."""
        if not self.frozen:
            return nullcontext()
        _ = self.lower  # computed while the module is whole
        return entered(self.module, self.frozen)

    def steps(self) -> int:
        """How many batches an epoch has."""
        return -(-len(self.pictures) // self.settings.batch_size)

    def begin_epoch(self, epoch: int) -> None:
        """The loss of the templates gets weaker with the epochs."""
        self.epoch = epoch

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices of every batch of an epoch, and which of its pictures are mirrored."""
        settings, flips = self.settings, generator(self.settings.seed, epoch, 1)
        for chosen in torch.split(order(len(self.pictures), settings.seed, epoch), settings.batch_size):
            yield share(chosen), share(torch.rand(len(chosen), generator=flips) < 0.5)

    def loss(self, forward: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """The task's loss and the templates', with both apart, and how many were right before the step."""
        chosen, mirrored = batch
        labels = self.pictures.labels[chosen].to(device())
        with learning(labels, self.epoch + 1) as lesson:
            output = forward(self._input(chosen, mirrored)).float()
        self.lesson = lesson
        single = self.settings.target is not None
        right = ((output[:, 0] > 0).long() if single else output.argmax(1)) == labels
        task = self._task(output, labels)
        held = lesson.loss() / self._ratio()
        numbers = {
            "task": float(task.detach()),
            "templates": float(held.detach()),
            "training_accuracy": float(exact(right).mean()),
        }
        return task + held, numbers

    def blame(self, batch: tuple[Tensor, Tensor]) -> str:
        """The filter whose loss is not finite, or that it is the task's."""
        return self.lesson.blame() or ", in the loss of the classification"

    def _input(self, chosen: Tensor, mirrored: Tensor) -> Tensor:
        if self.frozen:
            x = self.lower[mirrored.long(), chosen].to(device())
            return x.contiguous(memory_format=torch.channels_last)
        x = self.backbone.preprocess.normalize(self.pictures.images[chosen].to(device()))
        x = torch.where(mirrored[:, None, None, None].to(x.device), x.flip(3), x)
        return x.contiguous(memory_format=torch.channels_last)

    def _task(self, output: Tensor, labels: Tensor) -> Tensor:
        if self.settings.target is not None:
            return F.binary_cross_entropy_with_logits(output[:, 0], labels.to(output))
        if self.settings.loss == "logistic":
            member = F.one_hot(labels, output.shape[1]).to(output)
            return F.binary_cross_entropy_with_logits(output, member, reduction="none").sum(1).mean()
        return F.cross_entropy(output, labels)

    def _ratio(self) -> int:
        """How much smaller the templates' loss is beside a softmax, in the released mode."""
        scaled = self.settings.mode == "released" and self.settings.loss == "softmax"
        return self.how.classes if scaled else 1


@torch.no_grad()
def accuracy(module: nn.Module, backbone: Backbone, pictures: Pictures) -> float:
    """Share of pictures that the module classifies right."""
    module.eval()
    right = 0
    for chosen in torch.split(torch.arange(len(pictures)), 128):
        x = backbone.preprocess.normalize(pictures.images[chosen]).to(device())
        output = module(x.contiguous(memory_format=torch.channels_last))
        found = (output[:, 0] > 0).long() if output.shape[1] == 1 else output.argmax(1)
        right += int((found.cpu() == pictures.labels[chosen]).sum())
    return right / len(pictures)
