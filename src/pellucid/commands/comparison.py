"""What `pellucid evaluate` found: methods and controls at every layer, as a table to read and as JSON and CSV to keep."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from pellucid.evaluation import Interval, Measurement

REASONS = 6  # lines at most about images without a value


@dataclass(frozen=True, eq=False)
class Entry:
    """The measurement of one method or control; ``layer`` is None for a control that belongs to no layer."""

    label: str
    layer: str | None
    control: bool
    measurement: Measurement

    @property
    def where(self) -> str:
        """Label and layer in words."""
        return self.label if self.layer is None else f"{self.label} at {self.layer}"


@dataclass(frozen=True, eq=False)
class Comparison:
    """All entries over the same images; ``layers`` are the columns, ``baseline`` is what the others are compared with;
    ``missing``: how many images were still to come when the run was stopped."""

    entries: Sequence[Entry]
    layers: Sequence[str]
    images: Sequence[str]
    targets: Sequence[str]
    baseline: str | None = None
    seed: int = 0
    missing: int = 0

    @property
    def unfinished(self) -> str:
        """What is to be said of a run that was stopped; else empty."""
        count = len(self.images)
        return f"unfinished: {count} of {_images(count + self.missing)}" if self.missing else ""

    @property
    def first(self) -> Measurement:
        """One of the measurements: metric, parameters and main quantity are those of all."""
        return self.entries[0].measurement

    @cached_property
    def means(self) -> dict[tuple[str, str | None], Interval]:
        """The main quantity by label and layer."""
        return {(e.label, e.layer): e.measurement.mean(seed=self.seed) for e in self.entries}

    @cached_property
    def differences(self) -> dict[tuple[str, str], Interval]:
        """Label minus baseline, image by image, by label and layer; controls of no layer are in every column."""
        found = {}
        for layer in self.layers if self.baseline else ():
            base = self._at(self.baseline, layer)
            for entry in self.entries:
                if base is not None and entry.label != self.baseline and entry.layer in (layer, None):
                    found[entry.label, layer] = entry.measurement.compare(base.measurement, seed=self.seed)
        return found

    def _at(self, label: str | None, layer: str) -> Entry | None:
        fitting = (e for e in self.entries if e.label == label and e.layer in (layer, None))
        return next(fitting, None)

    def better(self, one: Interval, other: Interval) -> bool:
        """Whether one mean speaks more for its map than another; what is equal within rounding does not."""
        sign = 1 if self.first.better[self.first.main] == "higher" else -1
        return sign * (one.mean - other.mean) > 1e-9

    def best(self, layer: str) -> list[str]:
        """The methods, no controls, with the best mean at a layer: more than one where they are equal."""
        known = [
            (e.label, self.means[e.label, layer])
            for e in self.entries
            if e.layer == layer and not e.control and self.means[e.label, layer].count
        ]
        return [label for label, mean in known if not any(self.better(other, mean) for _, other in known)]

    def beaten(self) -> list[tuple[str, str]]:
        """(layer, controls) wherever controls do no worse than the best method."""
        found = []
        for layer in self.layers:
            best = self.best(layer)
            ahead = [
                e.label
                for e in self.entries
                if e.control
                and e.layer in (layer, None)
                and self.means[e.label, e.layer].count
                and not any(
                    self.better(self.means[label, layer], self.means[e.label, e.layer]) for label in best
                )
            ]
            if best and ahead:
                found.append((layer, ", ".join(ahead)))
        return found

    def undefined(self) -> list[str]:
        """How many images have no value and why, one line for each reason and the same images."""
        where: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        for entry in self.entries:
            rows: dict[str, list[int]] = {}
            for row, reason in enumerate(entry.measurement.reasons):
                if reason is not None:
                    rows.setdefault(reason, []).append(row)
            for reason, each in rows.items():
                where.setdefault((reason, tuple(each)), []).append(entry.where)
        lines = []
        for (reason, which), maps in where.items():
            shown = "all maps" if len(maps) == len(self.entries) else ", ".join(maps[:3])
            more = f" and {len(maps) - 3} more maps" if 3 < len(maps) < len(self.entries) else ""
            lines.append(
                f"no value for {len(which)} of {_images(len(self.images))}: {reason} ({shown}{more})"
            )
        rest = len(lines) - REASONS
        return lines if rest <= 0 else [*lines[:REASONS], f"and {rest} more lines: evaluation.json names all"]

    def to_json(self) -> dict[str, Any]:
        """A mapping of JSON types only; of curves the means."""
        whole = self.first.to_json()
        return {
            **{key: whole[key] for key in ("metric", "better")},
            **({"missing": self.missing} if self.missing else {}),
            "main": self.first.main,
            "baseline": self.baseline,
            "seed": self.seed,
            "images": [
                {"name": name, "target": target}
                for name, target in zip(self.images, self.targets, strict=True)
            ],
            "maps": [self._entry(entry) for entry in self.entries],
        }

    def _entry(self, entry: Entry) -> dict[str, Any]:
        found = entry.measurement.to_json()
        intervals = {name: _plain(entry.measurement.mean(name, seed=self.seed)) for name in found["values"]}
        differences = {}
        for layer in self.layers if entry.layer is None else [entry.layer]:
            base = self._at(self.baseline, layer)
            if base is not None and base is not entry:
                differences[layer] = {
                    name: _plain(entry.measurement.compare(base.measurement, name, seed=self.seed))
                    for name in found["values"]
                }
        curves = {name: _mean(curve) for name, curve in entry.measurement.curves.items()}
        return {
            "method": entry.label,
            "control": entry.control,
            "layer": entry.layer,
            "parameters": found["parameters"],
            "means": intervals,
            "differences": differences,
            "values": found["values"],
            "reasons": found["reasons"],
            "curves": curves,
        }

    def to_csv(self) -> str:
        """One line for every image, map and quantity; what is not defined is empty."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("image", "method", "layer", "quantity", "value"))
        for entry in self.entries:
            for quantity, values in entry.measurement.values.items():
                for name, value in zip(self.images, values.tolist(), strict=True):
                    shown = "" if value != value else repr(value)
                    writer.writerow((name, entry.label, entry.layer or "", quantity, shown))
        return stream.getvalue()

    def table(self, width: int) -> str:
        """Means and, with a baseline, differences; columns that do not fit are printed further down."""
        first, one = self.first, len(self.images) == 1
        kind = "value of one image" if one else f"mean of {_images(len(self.images))} [95 % interval]"
        best = "   * best method" if len({e.label for e in self.entries if not e.control}) > 1 else ""
        means = f"{first.metric}, {first.main} ({first.better[first.main]} is better): {kind}{best}"
        parts = [means, *self._blocks(width, self._mean)]
        if self.missing:
            parts.insert(0, self.unfinished)
        if self.differences:
            parts += [
                f"difference to {self.baseline}, image by image",
                *self._blocks(width, self._difference),
            ]
        beaten = [
            f"at {layer} no method is better than the control{'s' if ',' in controls else ''} {controls}"
            for layer, controls in self.beaten()
        ]
        return "\n\n".join([*parts, *(["\n".join(beaten)] if beaten else [])])

    def _mean(self, label: str, layer: str) -> str:
        entry = self._at(label, layer)
        mark = "*" if entry and not entry.control and self._marked(label, layer) else " "
        return "" if entry is None else shown(self.means[label, entry.layer]) + mark

    def _marked(self, label: str, layer: str) -> bool:
        return label in self.best(layer) and sum(e.layer == layer and not e.control for e in self.entries) > 1

    def _difference(self, label: str, layer: str) -> str:
        found = self.differences.get((label, layer))
        return "" if found is None else shown(found, "+") + " "

    def _blocks(self, width: int, cell: Any) -> Iterator[str]:
        methods = dict.fromkeys(e.label for e in self.entries if not e.control)
        controls = dict.fromkeys(e.label for e in self.entries if e.control)
        labels = [*methods, *controls]
        names = [f"{'' if label in methods else 'control: '}{label}" for label in labels]
        margin = max(map(len, names))
        columns = [(layer, [cell(label, layer) for label in labels]) for layer in self.layers]
        columns = [(layer, cells) for layer, cells in columns if any(map(str.strip, cells))]
        rest = iter(columns)
        widest = max((len(text) for layer, cells in columns for text in (layer, *cells)), default=0)
        room = max(1, (width - margin) // (2 + widest))
        while block := list(islice(rest, room)):
            wide = [max(len(layer), *map(len, cells)) for layer, cells in block]
            lines = [
                " " * margin
                + "".join(f"  {layer:<{size}}" for (layer, _), size in zip(block, wide, strict=True))
            ]
            for row, name in enumerate(names):
                cells = [f"  {cells[row]:<{size}}" for (_, cells), size in zip(block, wide, strict=True)]
                if any(map(str.strip, cells)):
                    lines.append(f"{name:<{margin}}" + "".join(cells))
            yield "\n".join(line.rstrip() for line in lines)


def shown(interval: Interval, sign: str = "") -> str:
    """A mean with its interval; of one image there is no interval."""
    if not interval.count:
        return "no value"
    mean = f"{interval.mean:{sign}.3f}"
    if interval.count == 1:
        return mean
    return f"{mean} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def _plain(interval: Interval) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in asdict(interval).items()}


def _mean(curve: Any) -> list[float | None]:
    return [None if value != value else value for value in curve.nanmean(0).tolist()]
