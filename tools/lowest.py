"""The lowest versions that pyproject.toml claims, as requirements: ``torch>=2.6`` becomes ``torch==2.6``."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

TESTS = "pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "beartype"


def lowest() -> list[str]:
    """Every dependency at its lowest version, and what the tests need at any version that goes with it."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    return [re.sub(r">=", "==", each) for each in project["project"]["dependencies"]] + list(TESTS)


if __name__ == "__main__":
    print(*lowest(), sep="\n")
