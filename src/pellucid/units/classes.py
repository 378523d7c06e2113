"""Units important for a class: the mean over its images, once per network, kept in a file and used again.

With ``S(x)`` the scores of any criterion for image x and its own class, and D_c the images of class c,

    S_c = mean_{x ∈ D_c} S(x) − w · mean_{d ≠ c} mean_{x ∈ D_d} S(x),      w = ``others``

Every other class counts alike, however many images it has. With w = 0 (the default) a class is looked at alone; with w = 1 a
unit that all classes need is nobody's own; a larger w is more careful of the others.

With a ``temperature`` pictures are reweighted while units are deleted one after another (`pellucid.units.orders`); the
criterion is then asked about the class's log-odds, and a unit's value is the share of units that come after it, from
1 − 1/units to 0.

The standard error over images is that of both means. Comparing is a choice of
this reconstruction of CGNIS (Lü et al. 2023 publish an abstract), open to every criterion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.bundle import SUFFIX, Kind
from pellucid.core.capture import capture
from pellucid.core.documents import Count, DocumentError, FlawError, Side
from pellucid.core.geometry import Geometry
from pellucid.core.layers import Layer
from pellucid.core.network import Network
from pellucid.core.registry import create, suggest
from pellucid.core.results import Unit, UnitScores
from pellucid.core.storage import fingerprint
from pellucid.core.target import Target
from pellucid.data.batches import as_batch
from pellucid.units.criterion import Criterion
from pellucid.units.orders import deletion_order
from pellucid.units.rivals import against_rivals
from pellucid.units.scoring import neurons


@dataclass(frozen=True, eq=False)
class ClassScores:
    """How much every unit of a layer matters for every class: ``values`` and ``error`` are [class unit].

    ``images`` [class] counts the images behind a row; ``error`` is the standard error over them, NaN for a single one.
    ``parameters`` are the criterion's; ``others`` is the weight of the other classes, 0 where a class was looked at alone;
    ``network`` and ``sha256`` name the network the scores were measured on.
    """

    values: Float[Tensor, "class unit"]
    error: Float[Tensor, "class unit"]
    images: Int[Tensor, " class"]
    classes: tuple[str, ...]
    layer: Layer
    criterion: str
    parameters: Mapping[str, Any]
    others: float
    network: str
    sha256: str
    temperature: float | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def index(self, label: str | int) -> int:
        """Row of a class by name, or by place. Raises UnknownNameError naming close ones, IndexError."""
        from pellucid.core.registry import UnknownNameError

        if isinstance(label, str):
            if label not in self.classes:
                raise UnknownNameError(
                    f"Expected a class with scores, got `{label}`; {suggest(label, self.classes)}"
                )
            return self.classes.index(label)
        if not 0 <= label < len(self):
            raise IndexError(f"Expected a row from 0 to {len(self) - 1}, got {label}.")
        return label

    @property
    def scores(self) -> UnitScores:
        """The same as `UnitScores`, one row per class."""
        return UnitScores(self.values, self.layer, self.criterion, self.classes)

    def top(self, label: str | int, count: int) -> tuple[Unit, ...]:
        """The most important units of a class, best first; ties go to the lower index."""
        return self.scores.top(count, self.index(label))

    def share(self, label: str | int, fraction: float) -> tuple[Unit, ...]:
        """The fewest units of a class whose positive scores reach ``fraction`` of the positive total."""
        return self.scores.share(fraction, self.index(label))

    def compared(self, others: float = 1.0) -> ClassScores:
        """Every class's scores less ``others`` times the mean of the other classes'.

        Raises ValueError for a single class, scores that are compared already, or a weight that is not above 0.
        """
        check_others(others, self.classes)
        if self.others or not others or self.temperature is not None:
            raise ValueError(
                f"Expected scores of classes alone and a weight above 0, got {self.others:g} and {others:g}."
            )
        count = len(self) - 1
        rest = (self.values.sum(0) - self.values) / count
        squares = self.error.square()
        spread = others**2 * (squares.sum(0) - squares) / count**2
        return replace(
            self, values=self.values - others * rest, error=(squares + spread).sqrt(), others=float(others)
        )

    def save(self, folder: str | Path, stem: str = "classes") -> list[str]:
        """Write ``<stem>.safetensors`` and give its name; read back by `pellucid.load_class_scores`."""
        return save(self, folder, stem)


def class_importance(
    net: Network,
    images: Any,
    labels: Sequence[str | int],
    layer: str | None = None,
    criterion: str | Criterion = "cgnis",
    *,
    others: float = 0.0,
    temperature: float | None = None,
    classes: Sequence[str | int] | None = None,
    minimum: int = 1,
    batch_size: int = 16,
    normalized: bool | None = None,
    progress: bool | None = None,
    **parameters: Any,
) -> ClassScores:
    """Scores of every unit for every class, from images with their classes (names or indices of ``net``).

    ``images``, ``layer``, ``criterion`` and its ``parameters`` as in `pellucid.neurons`; ``others``: weight of the other
    classes' mean, which is subtracted; ``temperature``: in the order of deletion instead, 0.1 say (one forward pass more, and the
    criterion has to be in units of the score: the signed and the elementwise arm of CGNIS are); ``classes``: which, in which
    order, by default all that occur, in the network's order; ``minimum``: how many images each has to have.

    Raises UnknownNameError or IndexError for an unknown class, ValueError for a class with too few images, a single class to
    be compared, or an image whose scores are not finite.
    """

    rows = [net.class_index(label) for label in (labels.tolist() if hasattr(labels, "tolist") else labels)]
    chosen = sorted(set(rows)) if classes is None else [net.class_index(each) for each in classes]
    _check(net, rows, chosen, minimum, others)
    made: Criterion = create("neurons", criterion, **parameters)
    if temperature is None:
        found = neurons(
            net, images, layer, rows, made, batch_size=batch_size, normalized=normalized, progress=progress
        )
        return gathered(net, found, rows, chosen, made, others)
    check_order(temperature, others)
    batch = as_batch(net, images, normalized)
    target = against_rivals(net, batch, rows)
    found = neurons(
        net, batch, layer, target, made, batch_size=batch_size, normalized=True, progress=progress
    )
    odds = log_odds_of(net, batch, target, batch_size)
    return _in_order(gathered(net, found, rows, chosen, made), found, odds, rows, chosen, temperature)


def log_odds_of(
    net: Network, batch: Float[Tensor, "image channel h w"], target: Target, batch_size: int = 16
) -> Float[Tensor, " image"]:
    """The target's score of normalized images; with a target of `against_rivals`, log-odds."""
    parts = [slice(first, first + batch_size) for first in range(0, len(batch), batch_size)]
    with torch.inference_mode(False), torch.no_grad():
        found = [target[part].score(capture(net, batch[part], (), gradients=False).output) for part in parts]
    return torch.cat(found)


def check_order(temperature: float, others: float) -> None:
    """Raises ValueError for a temperature that is not above 0, or beside a weight of the other classes."""
    if not 0 < temperature < math.inf:
        raise ValueError(f"Expected `temperature` to be a finite number above 0, got {temperature}; try 0.1.")
    if others:
        raise ValueError(
            f"Expected either `others` or `temperature`, got {others} and {temperature}; try `others=0`."
        )


def _in_order(
    alone: ClassScores,
    scores: UnitScores,
    log_odds: Tensor,
    rows: Sequence[int],
    chosen: Sequence[int],
    temperature: float,
) -> ClassScores:
    units = alone.values.shape[1]
    values = torch.zeros_like(alone.values)
    places = torch.arange(units - 1, -1, -1).to(values) / units
    for row, index in enumerate(chosen):
        values[row, deletion_order(scores.values, log_odds, rows, index, temperature).to(values.device)] = (
            places
        )
    return replace(alone, values=values, error=torch.full_like(values, torch.nan), temperature=temperature)


def class_scores_of(
    net: Network,
    scores: Sequence[UnitScores],
    labels: Sequence[str | int],
    criterion: Criterion,
    *,
    others: float = 0.0,
    minimum: int = 1,
    log_odds: Float[Tensor, " image"] | None = None,
    temperature: float | None = None,
) -> ClassScores:
    """As `class_importance`, from scores measured one image after the other, each for its own class.

    A ``temperature`` needs the images' ``log_odds``, and scores that were asked about them (`against_rivals`).
    """
    rows = [net.class_index(label) for label in labels]
    chosen = sorted(set(rows))
    _check(net, rows, chosen, minimum, others)
    whole = replace(scores[0], values=torch.cat([one.values for one in scores]))
    alone = gathered(net, whole, rows, chosen, criterion, others)
    if temperature is None or log_odds is None:
        return alone
    check_order(temperature, others)
    return _in_order(alone, whole, log_odds, rows, chosen, temperature)


def gathered(
    net: Network,
    scores: UnitScores,
    rows: Sequence[int],
    chosen: Sequence[int],
    criterion: Criterion,
    others: float = 0.0,
) -> ClassScores:
    """Class scores from scores per image, whose classes are ``rows``. Raises ValueError for scores that are not finite."""
    broken = (~scores.values.isfinite().all(1)).nonzero()[:, 0].tolist()
    if broken:
        listed = ", ".join(map(str, broken[:5])) + (", …" if len(broken) > 5 else "")
        raise ValueError(
            f"Expected finite scores of `{criterion.name}` at `{scores.layer.name}`, got others for {len(broken)} of "
            f"{len(rows)} images ({listed}); leave these images out, or try float32 if the network runs in half precision."
        )
    place = torch.tensor(list(rows))
    groups = [scores.values[(place == index).to(scores.values.device)] for index in chosen]
    single = torch.full_like(scores.values[0], torch.nan)
    errors = [each.std(0) / len(each) ** 0.5 if len(each) > 1 else single for each in groups]
    alone = ClassScores(
        torch.stack([each.mean(0) for each in groups]),
        torch.stack(errors),
        torch.tensor([len(each) for each in groups]),
        tuple(net.classes[index] for index in chosen),
        scores.layer,
        criterion.name,
        asdict(criterion),
        0.0,
        net.name,
        fingerprint(net.module),
    )
    return alone.compared(others) if others else alone


def _check(net: Network, rows: Sequence[int], chosen: Sequence[int], minimum: int, others: float) -> None:
    if minimum < 1:
        raise ValueError(f"Expected `minimum` of at least 1 image, got {minimum}.")
    if not rows or not chosen:
        raise ValueError("Expected at least one image with its class, got none.")
    few = [(net.classes[index], rows.count(index)) for index in chosen if rows.count(index) < minimum]
    if few:
        listed = ", ".join(f"`{name}` has {count}" for name, count in few[:5]) + (
            ", …" if len(few) > 5 else ""
        )
        raise ValueError(
            f"Expected at least {minimum} image{'s' if minimum > 1 else ''} of every class, but {listed}; "
            "try more images, or name the `classes`."
        )
    check_others(others, [net.classes[index] for index in dict.fromkeys(chosen)])


def check_others(others: float, classes: Sequence[str]) -> None:
    """Raises ValueError for a weight of the other classes that is not finite or below 0, or above it with a single class."""
    if not 0 <= others < math.inf:
        raise ValueError(f"Expected `others` to be a finite number of at least 0, got {others}; try 1.")
    if others and len(classes) < 2:
        raise ValueError(
            f"Expected images of at least two classes to compare, got {len(classes)} ({', '.join(classes)}); "
            "try `others=0`."
        )


class ScoresError(DocumentError):
    """Class scores that cannot be used."""


class _Origin(msgspec.Struct, frozen=True):
    name: str
    sha256: str


class _Grid(msgspec.Struct, frozen=True):
    stride: tuple[float, float]
    start: tuple[float, float]
    size: tuple[float, float]


class _Layer(msgspec.Struct, frozen=True):
    name: str
    kind: str
    shape: tuple[Side, Side, Side]
    geometry: _Grid
    index: Count


class _Facts(msgspec.Struct, frozen=True):
    """What stored class scores say of themselves."""

    network: _Origin
    layer: _Layer
    criterion: str
    parameters: dict[str, Any]
    others: Annotated[float, msgspec.Meta(ge=0)]
    temperature: Annotated[float, msgspec.Meta(gt=0)] | None
    classes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


SCORES = Kind("pellucid class scores", 2, _Facts, "`pellucid neurons --by-class`", ScoresError)


def save(scores: ClassScores, folder: str | Path, stem: str = "classes") -> list[str]:
    """Write the scores and give the names of their files; equal scores give equal bytes."""
    facts = {
        "network": _Origin(scores.network, scores.sha256),
        "layer": scores.layer,
        "criterion": scores.criterion,
        "parameters": dict(scores.parameters),
        "others": scores.others,
        "temperature": scores.temperature,
        "classes": scores.classes,
    }
    arrays = {"values": scores.values, "error": scores.error, "images": scores.images}
    return [SCORES.write(Path(folder) / f"{stem}{SUFFIX}", facts, arrays).name]


def load(path: str | Path, net: Network | None = None) -> ClassScores:
    """Read scores from their file, or from the folder of ``classes.safetensors``.

    With ``net`` only scores measured on that very network are accepted. Raises FileNotFoundError where there is none,
    ScoresError (a ValueError) for another network's, a damaged file, or one of a newer pellucid.
    """
    file = Path(path)
    file = file / "classes.safetensors" if file.is_dir() else file
    bundle = SCORES.read(file)
    facts = bundle.facts
    _check_network(facts.network, net, file)
    shape = len(facts.classes), facts.layer.shape[0]
    try:
        values, error, images = (
            torch.from_numpy(array)
            for array in (
                bundle.arrays.take("values", "floating", shape),
                bundle.arrays.take("error", "floating", shape, 0, nan=True),
                bundle.arrays.take("images", "int64", shape[:1], 1),
            )
        )
    except FlawError as flaw:
        raise SCORES.damaged(file, flaw) from None
    layer, grid = facts.layer, facts.layer.geometry
    return ClassScores(
        values,
        error,
        images,
        facts.classes,
        Layer(layer.name, layer.kind, layer.shape, Geometry(grid.stride, grid.start, grid.size), layer.index),
        facts.criterion,
        facts.parameters,
        facts.others,
        facts.network.name,
        facts.network.sha256,
        facts.temperature,
    )


def _check_network(known: _Origin, net: Network | None, file: Path) -> None:
    if net is not None and fingerprint(net.module) != known.sha256:
        raise ScoresError(
            f"Expected class scores of `{net.name}` with its present weights, got those of `{known.name}` "
            f"(SHA-256 {known.sha256[:12]}…) in `{file}`; try measuring them again."
        )
