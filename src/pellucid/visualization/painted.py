"""What a neuron wants to see: pictures painted before, found again for the neurons of an explanation and the units of a table.

`pellucid.visualization` paints and stores; here a stored picture is checked to be of this network. The number
of a caption is the ratio of `visualization.certificate`: the unit's mean response to the painted picture over that to the best
real one. A picture that did not switch its unit on, or that real pictures beat, is said to be so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from pellucid.core.network import Network
from pellucid.core.run import read_run
from pellucid.core.storage import fingerprint
from pellucid.data.images import read_image
from pellucid.speech.english import English
from pellucid.visualization.result import Stored, stored

SIDE = 160  # of a picture on a card: longest side at most
PicturesLike = str | Path | Sequence[str | Path] | None
_LARGEST = 100_000_000


@dataclass(frozen=True, eq=False)
class Painted:
    """A unit's painted picture, small; ``ratio``: how it compares with the best real picture, None where that is unknown."""

    method: str
    status: str
    ratio: float | None
    picture: Image.Image

    @property
    def caption(self) -> str:
        """What may be said of the picture."""
        return English().caption(self.status, self.ratio)

    def to_json(self) -> dict[str, Any]:
        """The facts, as the card of a neuron carries them; without pixels."""
        return {"method": self.method, "status": self.status, "ratio": self.ratio}


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures by label (``"layer4:12"``), known to be of one network; ``notes``: what could not be told. Made by
    `pictures_for`."""

    found: Mapping[str, Stored] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    given: bool = True

    def of(self, layer: str, unit: int) -> Painted | None:
        """The picture of a unit; None where none was painted. Raises ValueError for a file that cannot be read."""
        one = self.found.get(f"{layer}:{unit}")
        return None if one is None else Painted(one.method, one.status, one.ratio, read(one, SIDE))

    def missing(self, layer: str, units: Sequence[int]) -> tuple[str, ...]:
        """One note on units without a picture, and how to paint them; none where all have one or none were asked for."""
        left = [str(unit) for unit in units if f"{layer}:{unit}" not in self.found]
        if not left or not self.given:
            return ()
        which = f"neuron {left[0]}" if len(left) == 1 else f"neurons {', '.join(left)}"
        return (
            f"no picture was painted of {which} of {layer}: `pellucid visualize --units {layer}:{','.join(left)} "
            "--out FOLDER` paints what is missing, and both folders can be given",
        )


def pictures_for(net: Network, folders: PicturesLike | Pictures) -> Pictures:
    """The pictures of one or several folders that `Visualization.save` or ``pellucid visualize`` wrote; of two of the same
    unit the first.

    Raises FileNotFoundError for a folder without pictures, ValueError for one with those of another network (other weights, or
    another name where the folder does not tell them), or with damaged facts; TypeError for what is no folder.
    """
    if isinstance(folders, Pictures):
        return folders
    if folders is None:
        return Pictures(given=False)
    listed = [folders] if isinstance(folders, (str, Path)) else folders
    if not isinstance(listed, Sequence) or not all(isinstance(one, (str, Path)) for one in listed):
        raise TypeError(
            f"Expected `pictures` to be a folder or a list of folders, got {type(folders).__name__}; try the one that "
            "`pellucid visualize --out` names."
        )
    found: dict[str, Stored] = {}
    notes = []
    ours = fingerprint(net.module) if listed else ""
    for folder in map(Path, listed):
        theirs = _weights(folder)
        # the same weights may have been loaded under another name, from another path
        for label, one in stored(folder, None if theirs == ours else net.name).items():
            found.setdefault(label, one)
        if theirs is None:
            notes.append(
                f"the pictures of `{folder.name}` do not say with which weights of {net.name} they were painted; they are "
                "taken on trust"
            )
        elif theirs != ours:
            raise ValueError(
                f"Expected pictures of this network, `{net.name}` with weights {ours[:12]}, got those of weights "
                f"{theirs[:12]} in `{folder}`; paint them anew with `pellucid visualize`."
            )
    return Pictures(found, tuple(notes), bool(listed))


def read(one: Stored, side: int) -> Image.Image:
    """A stored picture in RGB, its longest side at most ``side``. Raises ImageError for a file that cannot be read."""
    picture = read_image(one.file, max_pixels=_LARGEST).image.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def _weights(folder: Path) -> str | None:
    """With which weights a folder was painted; None where it does not say. Raises DocumentError for a damaged run.json."""
    run = read_run(folder)
    return run.network.sha256 if run is not None and run.command == "visualize" and run.network else None
