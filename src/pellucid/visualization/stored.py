"""Pictures that were painted once and are shown where their unit or class is spoken of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stored:
    """One picture on disk: the file, what it shows, and how it compares with the best real picture (None where unknown)."""

    file: Path
    label: str
    status: str
    ratio: float | None
    method: str


def stored(folder: str | Path, network: str | None = None) -> dict[str, Stored]:
    """The pictures of a folder that `Visualization.save` or ``pellucid visualize`` wrote, by label: ``"layer4:12"``,
    ``"class zebra"``; of several copies the first.

    Raises ValueError where the folder holds none, or those of another network than ``network``.
    """
    file = Path(folder) / "visualization.json"
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        made_of, method, rows = facts["network"], facts["method"], facts["images"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"Expected a folder of pictures with its visualization.json, got `{folder}`; "
            "try `pellucid visualize --out FOLDER` first."
        ) from None
    if network is not None and made_of != network:
        raise ValueError(
            f"Expected pictures of `{network}`, got those of `{made_of}` in `{folder}`; paint them anew."
        )
    found: dict[str, Stored] = {}
    for row in rows:
        ratio = row.get("certificate", {}).get("ratio")
        one = Stored(Path(folder) / row["file"], row["label"], row["status"], ratio, method)
        if one.file.is_file():
            found.setdefault(one.label, one)
    return found
