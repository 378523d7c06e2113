"""The loop every training here runs in: what is trained is a `Job`, how it is run is `train`.

One step is forward, loss, backward, optimizer, schedule. Every epoch ends with a checkpoint that is whole or not there; the same
job called again goes on behind its last whole epoch and reaches the very weights it would have reached uninterrupted, since
the order of an epoch and whatever it draws at random depend on the seed and the epoch alone. Under ``torchrun`` every
process takes its share of each batch and gradients are averaged (DistributedDataParallel); the first one writes. A loss that
is not finite stops the training before it touches a weight.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, distributed, nn

from pellucid.core.documents import FlawError
from pellucid.core.progress import bar
from pellucid.core.storage import whole
from pellucid.training.checkpoint import check, plain, read_checkpoint, unreadable

Precision = Literal["bf16", "float32"]
_STRIDE = 100_003  # apart enough that epochs of neighboring seeds do not meet


class Job:
    """What is trained. Subclasses set the attributes and write `batches` and `loss`.

    Attributes:
        settings: frozen dataclass; a checkpoint is taken up only where it is the same
        title: for the progress bar
        module: all state that a checkpoint has to keep is in its parameters and buffers
        optimizer, schedule: the schedule is stepped after every step
        epochs, seed: how often, and what the order and all random draws come from
        monitor: name of a number of `validate` by which the best epoch is known; the module ends as it was then
        better: whether the monitored number should be high or low
        patience: epochs without a better number after which training stops; None never stops early
    """

    settings: Any
    title: str = "training"
    module: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    epochs: int = 1
    seed: int = 0
    monitor: str | None = None
    better: Literal["higher", "lower"] = "lower"
    patience: int | None = None

    def steps(self) -> int:
        """How many batches an epoch has."""
        raise NotImplementedError

    def batches(self, epoch: int) -> Iterator[Any]:
        """This process's batches of an epoch (counted from 0), the same whenever it is asked; see `shares`."""
        raise NotImplementedError

    def loss(self, forward: nn.Module, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """The scalar to go down on, and what else is worth a mean over the epoch. ``forward`` is the module, wrapped where
        several processes train it."""
        raise NotImplementedError

    def count(self, batch: Any) -> int:
        """How many samples a batch holds."""
        return len(batch[0])

    def begin_epoch(self, epoch: int) -> None:
        """Called before an epoch's first step."""

    def validate(self) -> dict[str, float]:
        """Numbers for the history after an epoch; the module is in evaluation mode, gradients are off."""
        return {}

    def blame(self, batch: Any) -> str:
        """Where a loss that is not finite comes from, in words that follow its number; empty where unknown."""
        return ""


@dataclass(eq=False)
class Record:
    """How far a training is: whole epochs, seconds spent in them, a row of numbers for each, and the best epoch."""

    epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best: int | None = None


def device() -> torch.device:
    """Where this process trains: its own GPU where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def rank() -> int:
    """Which of several processes this is; 0 alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def first() -> bool:
    """Whether this process is the one that writes, also when the others have been left."""
    return int(os.environ.get("RANK", "0")) == 0


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def order(count: int, seed: int, epoch: int) -> Tensor:
    """The order [count] in which an epoch visits its samples."""
    return torch.randperm(count, generator=generator(seed, epoch))


def generator(seed: int, epoch: int, purpose: int = 0) -> torch.Generator:
    """A source of random draws for an epoch; another ``purpose`` gives other draws."""
    return torch.Generator().manual_seed(seed * _STRIDE + epoch + purpose * 50_000)


def shares(order: Tensor, batch_size: int) -> Iterator[Tensor]:
    """This process's part of every batch of ``batch_size`` samples; the parts of all processes are as long as each other, the
    first samples of a batch filling up where it does not divide."""
    for chosen in torch.split(order, batch_size):
        yield share(chosen)


def share(batch: Tensor) -> Tensor:
    """This process's part of one batch of indices; with one process all of it."""
    lacking = -len(batch) % world()
    filled = torch.cat([batch, batch.repeat(-(-lacking // len(batch)))[:lacking]]) if lacking else batch
    return filled[rank() :: world()]


@contextmanager
def processes() -> Iterator[None]:
    """Join the other processes where ``torchrun`` started several; leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or distributed.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(device())
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def train(
    job: Job,
    checkpoint: Path,
    *,
    precision: Precision = "bf16",
    progress: bool | None = None,
    resume: bool = True,
) -> Record:
    """Run all epochs that are left, with a checkpoint after each; the module is trained in place and ends in evaluation mode.

    The checkpoint stays until what comes out is written (see `pellucid.training.workplace`). Raises ValueError for a
    checkpoint that cannot be read or was made with other settings, FloatingPointError for a loss that is not finite, naming
    epoch and step.
    """
    if precision not in ("bf16", "float32"):
        raise ValueError(f'Expected `precision` to be "bf16" or "float32", got {precision!r}.')
    with processes():
        run = _Run(job, precision, progress)
        if resume and os.path.lexists(checkpoint):
            run.resume(checkpoint)
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            while run.goes_on():
                run.epoch()
                run.save(checkpoint)
        run.finish()
    return run.record


class _Run:
    """A training under way."""

    def __init__(self, job: Job, precision: Precision, progress: bool | None) -> None:
        self.job, self.precision, self.progress = job, precision, progress
        self.record = Record()
        self.best: dict[str, Tensor] = {}
        where = next(job.module.parameters()).device
        self.kind = where.type
        self.forward: nn.Module = job.module
        if world() > 1:
            ids = [where.index] if where.type == "cuda" else None
            self.forward = nn.parallel.DistributedDataParallel(job.module, device_ids=ids)

    def goes_on(self) -> bool:
        record, job = self.record, self.job
        if record.epoch >= job.epochs:
            return False
        waited = record.epoch - record.best if record.best is not None else 0
        return job.patience is None or waited < job.patience

    def epoch(self) -> None:
        """One pass over this process's batches, and what validation says after it."""
        job, number, started = self.job, self.record.epoch, time.perf_counter()
        torch.manual_seed(job.seed * _STRIDE + number + rank() * 1_000_000_007)
        job.module.train()
        self.forward.train()
        job.begin_epoch(number)
        sums, seen = self._steps(number)
        sums["loss"] = sums.get("loss", 0.0)
        row = {name: value / max(seen, 1) for name, value in _over_all(sums, seen).items()}
        job.module.eval()
        if world() > 1:  # each process has seen other samples last; the first's statistics are everyone's
            for buffer in job.module.buffers():
                distributed.broadcast(buffer, 0)
        with torch.no_grad():
            row |= job.validate()
        self.record.epoch += 1
        self.record.seconds += time.perf_counter() - started
        self.record.history.append({"epoch": self.record.epoch, **row})
        self._judge(row)

    def _steps(self, number: int) -> tuple[dict[str, float], int]:
        job, sums, seen = self.job, dict[str, float](), 0
        title = f"{job.title} epoch {number + 1}/{job.epochs}"
        with bar(job.steps(), title, "step", self.progress if rank() == 0 else False) as shown:
            for step, batch in enumerate(job.batches(number)):
                with torch.autocast(self.kind, torch.bfloat16, enabled=self.precision == "bf16"):
                    loss, numbers = job.loss(self.forward, batch)
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise FloatingPointError(
                        f"Expected a finite loss, got {value} in epoch {number + 1}, step {step + 1}"
                        f"{job.blame(batch)}; try a smaller `learning_rate`."
                    )
                job.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                job.optimizer.step()
                if job.schedule is not None:
                    job.schedule.step()
                count = job.count(batch)
                seen += count
                for name, one in {"loss": value, **numbers}.items():
                    sums[name] = sums.get(name, 0.0) + one * count
                shown.set_postfix(loss=f"{value:.3f}", refresh=False)
                shown.update()
        return sums, seen

    def _judge(self, row: dict[str, float]) -> None:
        """Remember the module where the monitored number is the best so far."""
        name = self.job.monitor
        if name is None:
            return
        if name not in row:
            raise ValueError(
                f"Expected training or `validate` to give the monitored `{name}`, got {', '.join(row) or 'nothing'}."
            )
        sign = 1 if self.job.better == "higher" else -1
        best = self.record.best
        if best is None or sign * row[name] > sign * self.record.history[best - 1][name]:
            self.record.best = self.record.epoch
            self.best = {
                key: value.detach().clone().cpu() for key, value in self.job.module.state_dict().items()
            }

    def finish(self) -> None:
        if self.best:
            self.job.module.load_state_dict(self.best)
        self.job.module.eval()

    def save(self, file: Path) -> None:
        """Write the checkpoint; only the first of several processes does."""
        if rank() == 0:
            job = self.job
            content = {
                "settings": plain(job.settings),
                "module": job.module.state_dict(),
                "optimizer": job.optimizer.state_dict(),
                "cycle": {}
                if job.schedule is None
                else {key: value for key, value in job.schedule.state_dict().items() if not callable(value)},
                **asdict(self.record),
                "best_module": self.best,
            }
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole(file) as partial, partial.open("wb") as stream:
                try:
                    torch.save(content, stream)
                except RuntimeError as error:  # it covers up what happened to the file
                    raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None
        if world() > 1:
            distributed.barrier()

    def resume(self, file: Path) -> None:
        """Go on where a checkpoint ends."""
        saved, job = read_checkpoint(file, self.job.settings), self.job
        try:
            check(saved, job.module, job.optimizer, job.schedule)
            job.module.load_state_dict(saved.module)
            job.optimizer.load_state_dict(saved.optimizer)
            if job.schedule is not None:
                job.schedule.load_state_dict(saved.cycle)
        except (FlawError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise unreadable(file, error) from None
        self.record = Record(saved.epoch, saved.seconds, saved.history, saved.best)
        self.best = saved.best_module


def _over_all(sums: dict[str, float], seen: int) -> dict[str, float]:
    """Sums over all processes, as means of equal shares."""
    if world() == 1:
        return sums
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else None
    values = torch.tensor(list(sums.values()), dtype=torch.float64, device=device)
    distributed.all_reduce(values)
    return dict(zip(sums, (values / world()).tolist(), strict=True))
