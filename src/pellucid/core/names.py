"""Names of files from any names."""

from __future__ import annotations

import unicodedata
from pathlib import Path

_LONGEST = 120  # bytes of a file name's stem; file systems allow 255 with all suffixes


def stem_of(name: str) -> str:
    """A file name from any name: letters and digits of any script, short enough with suffixes."""
    base = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(name).stem).strip(".-")
    return base.encode()[:_LONGEST].decode(errors="ignore") or "image"


def folded(name: str) -> str:
    """Names that some file systems hold for the same fold to the same text."""
    return unicodedata.normalize("NFC", name).casefold()
