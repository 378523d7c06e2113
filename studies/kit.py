"""What studies share: metadata, numbers and tables in Markdown, intervals, results that grow and are resumed.

A study is a measurement and a page: it measures, keeps what it has after every step, and writes ``results/NAME.json`` with the
page ``results/NAME.md`` made of it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

import pellucid as pl
from pellucid.core.provenance import code_digest, processor, versions
from pellucid.core.storage import write_json, write_text
from pellucid.evaluation.measurement import bootstrap

RESULTS = Path(__file__).parent / "results"
PACKAGE = Path(pl.__file__).parent


def parser(about: str | None, **options: Any) -> argparse.ArgumentParser:
    """A parser that shows the study's own text, with ``--out``."""
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter, **options
    )
    made.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    return made


def assets() -> Path | None:
    """Folder of real weights and photographs, where `PELLUCID_ASSETS` names one."""
    named = os.environ.get("PELLUCID_ASSETS")
    return Path(named) if named else None


def metadata(
    code: Iterable[Path] = (),
    options: argparse.Namespace | None = None,
    leave: Sequence[str] = (),
    **facts: Any,
) -> dict[str, Any]:
    """What numbers depend on: date, versions, machine; a digest of ``code``; ``options`` but those to ``leave``; more facts."""
    made: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "pellucid": pl.__version__,
        **versions("torch", "numpy"),
        "python": platform.python_version(),
        "machine": processor(),
        "threads": torch.get_num_threads(),
    }
    files = list(code)
    if files:
        made["code"] = code_digest(files)
    if options is not None:
        made["options"] = {
            key: str(value) if isinstance(value, Path) else value
            for key, value in vars(options).items()
            if key not in ("out", *leave)
        }
    return made | facts


def write(folder: Path, stem: str, result: Mapping[str, Any] | None, page: str | None = None) -> None:
    """Write ``STEM.json`` and, of a page, ``STEM.md``; print the page."""
    folder.mkdir(parents=True, exist_ok=True)
    if result is not None:
        write_json(folder / f"{stem}.json", result)
    if page is not None:
        write_text(folder / f"{stem}.md", page)
        print(page)


def read(file: Path, otherwise: Any = None) -> Any:
    """What a JSON file holds; ``otherwise`` where it is not there."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else otherwise


def step(folder: Path, key: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """One step of a study: from its file where there is one, else computed and kept."""
    file = folder / f"{key}.json"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, dict(compute()))
    return dict(read(file))


def plain(value: Any, digits: int = 4) -> Any:
    """JSON's own types: rounded, and None for what is no number."""
    if isinstance(value, (float, np.floating)):
        return round(float(value), digits) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), digits)
    if isinstance(value, Mapping):
        return {key: plain(entry, digits) for key, entry in value.items()}
    return [plain(entry, digits) for entry in value] if isinstance(value, (list, tuple)) else value


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], *, right: bool = False) -> str:
    """A table in Markdown; ``right``: all columns but the first to the right."""
    dashes = ["---", *[("---:" if right else "---")] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (head, dashes, *rows))


def number(value: float | None, digits: int = 0) -> str:
    """A number with so many decimals."""
    return "–" if value is None else minus(f"{value:.{digits}f}")


def percent(value: float | None, digits: int = 0) -> str:
    """A share."""
    return "–" if value is None else f"{number(100 * value, digits)} %"


def signed(value: float | None, digits: int = 1) -> str:
    """A difference, with its sign."""
    return "–" if value is None else minus(f"{value:+.{digits}f}")


def minus(text: str) -> str:
    """With a minus sign instead of a hyphen."""
    return text.replace("-", "−")


def listed(words: Iterable[str]) -> str:
    """Words as a list in a sentence."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def mean_interval(values: Sequence[float], digits: int | None = None) -> list[float]:
    """Mean and its 95 % bootstrap interval: [mean, low, high]."""
    found = bootstrap(torch.as_tensor(list(values), dtype=torch.float64))
    ends = [found.mean, found.low, found.high]
    return ends if digits is None else [round(end, digits) for end in ends]


def normal_interval(values: Sequence[float]) -> list[float]:
    """Mean and its 95 % interval by the normal law: [mean, low, high]."""
    mean = fmean(values)
    half = 1.96 * stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("inf")
    return [mean, mean - half, mean + half]


def percentile_interval(draws: Any) -> list[float]:
    """95 % interval of draws that were made already: [low, high]."""
    return [float(end) for end in np.quantile(draws, (0.025, 0.975))]
