"""Steps of a long computation, each a file of arrays in a folder, so that a stopped one goes on behind its last step.

The folder of a command is `RunDirectory.unfinished`, which goes away at the end; a library call that is given a folder leaves it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.core.bundle import SUFFIX, Kind
from pellucid.core.documents import DocumentError, FlawError, parse, read_regular
from pellucid.core.run import PLAN
from pellucid.core.storage import write_json

STEP: Kind[dict[str, Any]] = Kind("pellucid step", 2, dict[str, Any], "deleting it: it is made again")


class Steps:
    """What is known of a computation so far.

    Args:
        folder: Where it is kept, made where it is not there; None keeps nothing.
        plan: What the steps belong to, as JSON has it.

    Raises:
        ValueError: Where the folder holds the steps of another plan.
    """

    def __init__(self, folder: Path | None, plan: Mapping[str, Any]) -> None:
        self.folder = folder
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        known = plan_of(folder)
        if known is None:
            write_json(folder / PLAN, plan)
        elif known != json.loads(json.dumps(plan)):
            raise other_plan(folder)

    def get(self, name: str) -> dict[str, Tensor] | None:
        """The arrays of a step; None where it is not done. A damaged one is made again."""
        if self.folder is None:
            return None
        try:
            arrays = STEP.read(self.folder / f"{name}{SUFFIX}").arrays
            return {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}
        except (FileNotFoundError, DocumentError):
            return None

    def put(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Keep a step."""
        if self.folder is not None:
            STEP.write(self.folder / f"{name}{SUFFIX}", {}, arrays)


def plan_of(folder: Path) -> Any:
    """What the steps in a folder belong to; None where there are none. Raises ValueError for a damaged plan."""
    try:
        return parse(read_regular(folder / PLAN))
    except FileNotFoundError:
        return None
    except FlawError:
        raise other_plan(folder) from None


def other_plan(folder: Path) -> ValueError:
    """The error for a folder with the steps of another run."""
    return ValueError(
        f"Expected the unfinished results in `{folder}` to be of the same network, data, layers and settings, got those of "
        "another run; try another folder, or delete this one."
    )
