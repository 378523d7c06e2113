"""What a unit wants to see: pictures that excite a unit, a direction, a layer or a class as much as can be.

`visualize` is the frame around the methods, which are in the other files of this package: it reads what is asked for, gives
every image a random stream of its own, paints batch by batch, and holds the results against real images.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.core.network import Network, NetworkLike, as_network
from pellucid.core.progress import bar
from pellucid.core.registry import create
from pellucid.core.results import Unit
from pellucid.core.running import undisturbed
from pellucid.core.steps import Steps
from pellucid.core.storage import fingerprint
from pellucid.core.target import plain_target
from pellucid.units.patterns import Pattern
from pellucid.visualization.ascent import Run, climb
from pellucid.visualization.certificate import Certificate, as_real, certificates
from pellucid.visualization.draws import Stream
from pellucid.visualization.method import Method
from pellucid.visualization.objective import Activity, Channel, Class, Custom, Direction, Mixture, Objective
from pellucid.visualization.problem import Problem
from pellucid.visualization.result import Stored, Visualization, as_rgb, stored

__all__ = [
    "Activity", "Certificate", "Channel", "Class", "Custom", "Direction", "Method", "Objective", "Stored", "Visualization",
    "certificates", "stored", "visualize",
]  # fmt: skip

What = Unit | Objective | Pattern | str | int
_SMALLEST = 8


def visualize(
    net: NetworkLike,
    what: What | Sequence[What],
    method: str | Method = "pyramid",
    *,
    size: int | tuple[int, int] | None = None,
    steps: int | None = None,
    seed: int = 0,
    count: int = 1,
    diversity: float = 0.0,
    images: Any = None,
    normalized: bool | None = None,
    certify: bool = True,
    batch_size: int = 16,
    bfloat16: bool = False,
    folder: str | Path | None = None,
    progress: bool | None = None,
    **parameters: Any,
) -> Visualization:
    """Paint pictures that excite units, patterns or classes.

    The same call gives the same bytes. An image depends on the seed and on what is asked for, not on what else is in the list,
    within what the order of sums in a convolution leaves open. Nothing of the network is left altered. Ctrl-C ends the work:
    finished images and the best of the unfinished batch, whose status says so, come back, with ``finished=False``. Warns of a
    size below the receptive field, and of units that could not be switched on.

    Args:
        net: a network, module, name or file; see `pellucid.load`.
        what: a unit (its map's mean), a pattern (the mean of its units), a class by index or name, an objective
            (`Channel`, `Direction`, `Activity`, `Class`, `Custom`, and their sums and differences), or a list of these.
        method: a name (``pellucid.names("visualization")``) or an instance.
        size: side, or (height, width), in pixels; the network's own by default.
        steps: how often a picture is moved; the method's own number by default.
        seed: of everything drawn.
        count: pictures of each objective.
        diversity: how strongly pictures of one objective are made unlike.
        images: real images for the certificate, and for ``method="decode"`` to decode the maps of, as in `pellucid.attribute`;
            embedded networks are certified on scenes.
        normalized: of float tensors: True when they are ready for the network, False when they are in [0, 1].
        certify: compare with the best real images.
        batch_size: pictures at once.
        bfloat16: climb the network in that precision, faster where the processor has it; what is reached is measured in the
            network's own.
        folder: where finished batches are stored, so that the same call goes on there.
        progress: see `pellucid.core.progress`.
        **parameters: of a method given by name.

    Returns:
        Pictures in [0, 1], one or ``count`` each, with what they reach.

    Raises:
        IndexError: a unit or class out of range.
        UnknownNameError: an unknown layer, class or method.
        TypeError: a parameter that the method does not have.
        ValueError: a size that the network does not take, or an objective without gradient.
        ArithmeticError: values that stay non-finite.

    Example:
        >>> import pellucid as pl
        >>> net = pl.load(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...     torch.nn.Linear(392, 2)), input_shape=(1, 16, 16))
        >>> visualize(net, [0, 1], steps=4, octaves=1, region=False).images.shape
        torch.Size([2, 3, 16, 16])
    """
    net = as_network(net)
    made: Method = create(
        "visualization", method, **parameters, **({} if steps is None else {"steps": steps})
    )
    for name, value in (("steps", made.steps), ("count", count), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"Expected `{name}` of at least 1, got {value!r}.")
    extent = _extent(net, size)
    layers = net.layers_at(extent)
    objectives = [one.bound(net, lambda layer: layers.find(layer)[0]) for one in listed(what)]
    notes = _too_small(net, objectives, extent) + _partly_shown(net.input_shape[0])
    real = as_real(net, images, normalized) if certify or images is not None else None
    shown = None if real is None else net.preprocess.denormalize(real)
    plan = {
        "network": fingerprint(net.module), "method": made.name, "parameters": repr(made), "size": extent, "seed": seed,
        "objectives": [one.label for one in objectives], "count": count, "diversity": diversity, "batch_size": batch_size,
        "bfloat16": bfloat16,
    }  # fmt: skip
    steps_of = Steps(None if folder is None else Path(folder), plan)
    runs, done = _painted(
        net, made, objectives, extent, seed, count, diversity, batch_size, progress, shown, bfloat16, steps_of
    )
    painted = torch.cat([run.pictures for run in runs])
    achieved = torch.cat([run.achieved for run in runs]).cpu()
    with undisturbed(net.module):
        held = None if real is None or not certify else certificates(net, done, painted, real)
    status = tuple(_status(one, float(value)) for one, value in zip(done, achieved, strict=True))
    dead = [one.label for one, state in zip(done, status, strict=True) if state != "ok"]
    if runs[-1].stopped:
        rest = len(runs[-1].pictures)
        state = f"unfinished: step {len(runs[-1].history)} of {made.steps}"
        status = (*status[: len(status) - rest], *([state] * rest))
    if dead:
        warnings.warn(
            f"never active: {', '.join(dead)}; no picture was found that switches {'it' if len(dead) == 1 else 'them'} on",
            stacklevel=2,
        )
    return Visualization(
        as_rgb(painted), tuple(one.label for one in done), achieved, _joined([run.history for run in runs]), status,
        made.name, {f.name: getattr(made, f.name) for f in dataclasses.fields(made) if f.init}, seed, net.name, held,
        missing=len(objectives) * count - len(done) + sum(one.startswith("unfinished") for one in status), notes=notes,
    )  # fmt: skip


def listed(what: What | Sequence[What]) -> list[Objective]:
    """Objectives of whatever a user asked for. Raises TypeError or ValueError."""
    what = plain_target(what) if hasattr(what, "tolist") else what
    several = not isinstance(what, (Unit, Objective, str)) and isinstance(what, Sequence)
    entries: list[Any] = list(what) if several else [what]  # type: ignore[arg-type]
    if not entries:
        raise ValueError(
            'Expected something to visualize, got an empty list; try `pl.Unit("layer4", 12)` or a class.'
        )
    found: list[Objective] = []
    for entry in entries:
        if isinstance(entry, Objective):
            found.append(entry)
        elif isinstance(entry, Unit):
            found.append(Channel(entry.layer, entry.index))
        elif isinstance(entry, Pattern):
            share = 1 / len(entry.channels)
            found.append(Mixture(tuple((share, Channel(entry.layer, k)) for k in entry.channels)))
        elif isinstance(entry, str) or (hasattr(entry, "__index__") and not isinstance(entry, bool)):
            found.append(Class(entry))
        else:
            raise TypeError(
                f"Expected a unit, a class or an objective, got {entry!r} ({type(entry).__name__}); "
                'try `pl.Unit("layer4", 12)` or the name of a class.'
            )
    return found


def _painted(
    net: Network, method: Method, objectives: list[Objective], extent: tuple[int, int], seed: int, count: int,
    diversity: float, batch_size: int, progress: bool | None, real: Tensor | None, bfloat16: bool,
    steps: Steps,
) -> tuple[list[Run], list[Objective]]:  # fmt: skip
    """Batch after batch; images of one objective are never in two batches."""
    seen: dict[str, int] = {}
    jobs = []
    for group, objective in enumerate(objectives):
        for _ in range(count):
            copy = seen[objective.label] = seen.get(objective.label, -1) + 1
            jobs.append((objective, Stream(seed, objective.label, copy), group))
    step = max(1, batch_size // count) * count
    runs: list[Run] = []
    with (
        torch.autocast(net.device.type, enabled=False),
        undisturbed(net.module),
        bar(len(jobs) * method.steps, method.name, "step", progress) as shown,
    ):
        for first in range(0, len(jobs), step):
            part = jobs[first : first + step]
            known = steps.get(f"batch-{first:06d}")
            if known is not None:
                pictures, achieved = (known[name].to(net.device) for name in ("pictures", "achieved"))
                runs.append(Run(pictures, achieved, known["history"], stopped=False))
                shown.update(len(part) * method.steps)
                continue
            problem = Problem(
                net,
                [job[0] for job in part],
                [job[1] for job in part],
                extent,
                [job[2] for job in part],
                diversity,
                real,
                bfloat16,
            )
            runs.append(climb(problem, method, shown))
            run = runs[-1]
            if run.stopped:
                break
            steps.put(
                f"batch-{first:06d}",
                {"pictures": run.pictures, "achieved": run.achieved, "history": run.history},
            )
    return runs, [job[0] for job in jobs[: sum(len(run.pictures) for run in runs)]]


def _extent(net: Network, size: int | tuple[int, int] | None) -> tuple[int, int]:
    if size is None:
        return net.input_shape[1], net.input_shape[2]
    extent = (size, size) if isinstance(size, int) else tuple(size)
    if len(extent) != 2 or min(extent) < _SMALLEST:
        raise ValueError(f"Expected a size of at least {_SMALLEST} × {_SMALLEST} pixels, got {size}.")
    return int(extent[0]), int(extent[1])


def _partly_shown(channels: int) -> tuple[str, ...]:
    """A note where a picture of the network's channels is more than its three, or one, that can be looked at."""
    if channels in (1, 3):
        return ()
    return (
        f"{'3' if channels > 3 else '1'} of its {channels} channels {'are' if channels > 3 else 'is'} shown",
    )


def _too_small(net: Network, objectives: Sequence[Objective], extent: tuple[int, int]) -> tuple[str, ...]:
    """A picture that does not hold what the network itself would see of the layer's receptive field is warned of."""
    notes = {}
    for atom in (atom for one in objectives for _, atom in one.terms if atom.layer):
        field = net.layer(atom.layer).receptive_field
        needed = [min(math.ceil(side), own) for side, own in zip(field, net.input_shape[1:], strict=True)]
        if extent[0] < needed[0] or extent[1] < needed[1]:
            notes[atom.layer] = (
                f"a picture of {extent[0]} × {extent[1]} is smaller than the receptive field of `{atom.layer}`, "
                f"{needed[0]} × {needed[1]} within the network's input: its units see borders"
            )
    for text in notes.values():
        warnings.warn(text, stacklevel=3)
    return tuple(notes.values())


def _status(objective: Objective, achieved: float) -> str:
    terms = objective.terms
    alone = len(terms) == 1 and isinstance(terms[0][1], Channel) and terms[0][0] > 0
    return "never active" if alone and achieved <= 0 else "ok"


def _joined(histories: list[Tensor]) -> Tensor:
    """[steps batch]; batches that were stopped are filled with NaN."""
    most = max(len(one) for one in histories)
    filled = [torch.cat([one, one.new_full((most - len(one), one.shape[1]), torch.nan)]) for one in histories]
    return torch.cat(filled, 1)
