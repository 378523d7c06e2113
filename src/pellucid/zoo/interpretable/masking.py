"""The module behind a rectified layer that keeps, of every filter's map, one place: ``max(x ∘ T_μ̂ / τ, 0)``.

No gradient passes through μ̂. Inside `pellucid.zoo.interpretable.lesson.learning`, in training mode, it also computes each
filter's loss and updates its running estimates: log Z of every template and filter, the mean activation of every filter for
every class (which decides what class a filter is of), and in the released mode the sharpness.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, distributed, nn

from pellucid.zoo.interpretable import information
from pellucid.zoo.interpretable.lesson import Lesson, current
from pellucid.zoo.interpretable.templates import Templates, bank, cones, positions, prior, tau

KEEP = 0.9  # of a running estimate, each step


class Masking(nn.Module):
    """Masks the maps of ``channels`` filters of size ``grid``; other sizes are masked too, but not learned from.

    ``classes``: of a network for several classes; 1 where all filters are of the one object. ``place``: the layer's name,
    for messages.
    """

    log_z: Tensor
    evidence: Tensor
    sharpness: Tensor
    steps: Tensor

    def __init__(
        self, channels: int, grid: tuple[int, int], classes: int, templates: Templates, place: str = ""
    ) -> None:
        super().__init__()
        self.channels, self.grid, self.classes, self.place = channels, grid, classes, place
        self.templates = templates
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        if classes > 1:
            self.register_buffer("evidence", torch.full((channels, classes), -1.0))  # −1: never seen
        if templates.mode == "paper":
            self.register_buffer("log_z", torch.zeros(channels, grid[0] * grid[1] + 1))
        else:
            self.register_buffer("sharpness", torch.full((channels,), templates.sharpness))

    def extra_repr(self) -> str:
        """Norm and mode, for printing."""
        return f"{self.channels} filters of {self.grid[0]}×{self.grid[1]}, {self.templates.norm}, {self.templates.mode}"

    def filter_classes(self) -> Int[Tensor, " filter"]:
        """The class each filter is of: the one whose pictures excite it most on average."""
        if self.classes == 1:
            return torch.zeros(self.channels, dtype=torch.long, device=self.steps.device)
        return self.evidence.argmax(1)

    def forward(self, maps: Float[Tensor, "batch filter h w"]) -> Float[Tensor, "batch filter h w"]:
        """The maps with everything away from each one's peak suppressed."""
        # To whoever follows the calls (relevance, receptive fields) the cones are constants.
        with torch.no_grad(), torch._C.DisableTorchFunction():
            values = maps.detach()
            row, column = positions(values, self.templates.position)
            grid = (int(maps.shape[2]), int(maps.shape[3]))
            dtype = torch.float64 if maps.dtype == torch.float64 else torch.float32
            shape = cones(row, column, grid, self._slope(grid), self.templates.norm, dtype)
            mask = shape.clamp_min(0).to(maps.dtype)
        lesson = current()
        if lesson is not None and self.training:
            self._learn(maps, row, column, shape, lesson)
        return maps * mask

    def _slope(self, grid: tuple[int, int]) -> float | Tensor:
        """What a template loses per cell, over τ."""
        if self.templates.mode == "paper":
            return self.templates.beta / max(grid)
        return self.sharpness * (2 / max(max(grid) - 1, 1))

    def _learn(self, maps: Tensor, row: Tensor, column: Tensor, shape: Tensor, lesson: Lesson) -> None:
        if tuple(maps.shape[2:]) != self.grid:
            raise ValueError(
                f"Expected maps of {self.grid[0]}×{self.grid[1]} to learn from in `{self.place}`, got "
                f"{maps.shape[2]}×{maps.shape[3]}; try pictures of the size it was made for."
            )
        with torch.autocast(maps.device.type, enabled=False):
            maps = maps if maps.dtype == torch.float64 else maps.float()
            with torch.no_grad():
                self._note(maps.detach(), lesson.labels)
                own = self._own(lesson.labels)
            released = self.templates.mode == "released"
            losses = (self._released if released else self._printed)(
                maps, row, column, shape, own, lesson.epoch
            )
            lesson.losses[self.place] = losses
            self.steps += 1

    def _own(self, labels: Tensor) -> Bool[Tensor, "batch filter"]:
        """Which pictures are of which filters' class."""
        if self.classes == 1:
            return (labels > 0)[:, None].expand(-1, self.channels)
        return labels[:, None] == self.filter_classes()

    def _note(self, maps: Tensor, labels: Tensor) -> None:
        """Bring every filter's mean strongest activation, class by class, up to date."""
        if self.classes == 1:
            return
        member = nn.functional.one_hot(labels, self.classes).to(maps.dtype)
        sums, counts = _summed(maps.amax((2, 3)).T @ member), _summed(member.sum(0))
        mean = (sums / counts.clamp_min(1)).to(self.evidence)
        moved = torch.where(self.evidence < 0, mean, self.evidence * KEEP + mean * (1 - KEEP))
        self.evidence.copy_(torch.where(counts > 0, moved, self.evidence))

    def _printed(
        self, maps: Tensor, row: Tensor, column: Tensor, shape: Tensor, own: Tensor, epoch: int
    ) -> Float[Tensor, " filter"]:
        """λ · Loss of every filter, λ = weight · mean strongest activation / epoch."""
        templates, (height, width) = self.templates, self.grid
        cells, height_of = height * width, tau(self.grid) / templates.temperature
        with torch.no_grad():
            values = maps.detach()
            table = bank(self.grid, templates.beta, templates.norm, maps.dtype).to(maps.device)
            fit = information.fits(values, table) / templates.temperature
            self._estimate(information.log_partition(fit))
            log_z = self.log_z.to(maps.dtype)
            log_px = information.log_evidence(fit, log_z, information.log_prior(self.grid, fit))
            chosen = torch.where(own, row * width + column, cells)
            log_z = log_z.gather(1, chosen.T).T
            alpha = prior(self.grid)
            present, absent = values.new_tensor([math.log(alpha / cells), math.log(1 - alpha)])
            log_pt = torch.where(own, present, absent)
            peaks = values.amax((2, 3))
            peaks = torch.where(peaks.isfinite(), peaks, 0)  # else one broken filter would take all along
            strength = templates.weight * peaks.mean() / epoch
            template = height_of * torch.where(own[:, :, None, None], shape, -1)
        fitted = (maps * template).sum((2, 3))
        return strength * information.information_loss(fitted, log_z, log_px, log_pt)

    def _estimate(self, log_z: Tensor) -> None:
        """Move the running mean of exp(tr(x T)) towards that of this batch."""
        new = _log_mean(log_z)
        if int(self.steps):
            new = torch.logaddexp(self.log_z.to(new) + math.log(KEEP), new + math.log(1 - KEEP))
        self.log_z.copy_(new)

    def _released(
        self, maps: Tensor, row: Tensor, column: Tensor, shape: Tensor, own: Tensor, epoch: int
    ) -> Float[Tensor, " filter"]:
        """A loss whose gradient is the released code's, per picture of the batch."""
        with torch.no_grad():
            values = maps.detach()
            fit, mass = (values * shape).mean((2, 3)), values.mean((2, 3))
            # their stand-in for Z: every map under the mask of another filter in another picture
            reversed_fit = (values * shape.flip(0, 1)).mean((2, 3))
            log_z, log_none = (information.soft_log_mean(each) for each in (reversed_fit, -mass))
            here = information.released_strength(fit, log_z, own)
            absent = information.released_strength(-mass, log_none, ~own)
            if self.classes > 1:
                here, absent = 0.5 * self.classes * here, 0.5 / (1 - 1 / self.classes) * absent
            scale = self.templates.weight * information.RELEASED / epoch
            self._sharpen(values, row, column, fit, own)
            pull = scale * (absent[:, :, None, None] - shape * here[:, :, None, None])
        return (maps * pull).sum((2, 3)).mean(0)

    def _sharpen(self, values: Tensor, row: Tensor, column: Tensor, fit: Tensor, own: Tensor) -> None:
        """Move the sharpness towards 3/σ, between 1.5 and 3, σ being the spread of the filter's own maps in cells."""
        spread = information.centered_spread(values, row, column)
        sums = _summed(torch.stack([(fit * spread * own).sum(0), (fit * own).sum(0)]))
        aim = (3 / (sums[0] / sums[1])).clamp(1.5, 3).to(self.sharpness)
        moved = self.sharpness * KEEP + aim * (1 - KEEP)
        self.sharpness.copy_(torch.where(aim.isfinite(), moved, self.sharpness))


def _processes() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _summed(values: Tensor) -> Tensor:
    """Over all processes that train together."""
    if _processes() > 1:
        values = values.contiguous()
        distributed.all_reduce(values)
    return values


def _log_mean(values: Tensor) -> Tensor:
    """log of the mean of exp(values) over all processes."""
    if _processes() == 1:
        return values
    largest = values.clone()
    distributed.all_reduce(largest, distributed.ReduceOp.MAX)
    return largest + (_summed((values - largest).exp()) / _processes()).log()
