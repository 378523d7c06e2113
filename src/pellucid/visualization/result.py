"""What comes out: pictures with what they reach, how they were made, and files of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from jaxtyping import Float
from torch import Tensor

from pellucid.core.bundle import SUFFIX, Kind
from pellucid.core.documents import DocumentError, FileName, damaged, read_json
from pellucid.core.storage import write_bytes
from pellucid.data.tensors import to_bytes, to_picture
from pellucid.visualization.certificate import Certificate
from pellucid.visualization.sheet import png, sheet

if TYPE_CHECKING:
    from PIL import Image

_STEM = "visualization"


@dataclass(frozen=True, eq=False)
class Visualization:
    """Pictures of what was asked for, one or ``count`` per objective, in order.

    Attributes:
        images: [batch 3 h w], in [0, 1].
        labels: what each picture shows.
        achieved: value of the objective [batch], of the picture in 8 bits, without transforms.
        history: the value at every step, [steps batch].
        status: per image, ``"ok"``, or ``"never active"`` for a unit that could not be switched on.
        method: name of the method.
        parameters: of the method.
        seed: of everything drawn.
        network: name of the network.
        certificate: per image, None without real images.
        missing: after Ctrl-C, how many of the images asked for are not finished; those begun are here, as far as they came.
        notes: what else a reader has to know.
    """

    images: Float[Tensor, "batch 3 height width"]
    labels: tuple[str, ...]
    achieved: Float[Tensor, " batch"]
    history: Float[Tensor, "steps batch"]
    status: tuple[str, ...]
    method: str
    parameters: Mapping[str, Any]
    seed: int
    network: str
    certificate: tuple[Certificate, ...] | None = None
    missing: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def finished(self) -> bool:
        """Whether all that was asked for is here; False after Ctrl-C."""
        return not self.missing

    @property
    def done(self) -> int:
        """How many images are finished."""
        return sum(not one.startswith("unfinished") for one in self.status)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Visualization]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, image: int) -> Visualization:
        if not -len(self) <= image < len(self):
            raise IndexError(f"Expected an image from 0 to {len(self) - 1}, got {image}.")
        keep = slice(image, image + 1 or None)
        return replace(
            self,
            images=self.images[keep],
            labels=self.labels[keep],
            achieved=self.achieved[keep],
            history=self.history[:, keep],
            status=self.status[keep],
            certificate=None if self.certificate is None else self.certificate[keep],
        )

    @property
    def pictures(self) -> tuple[Image.Image, ...]:
        """The images in 8 bits, mode RGB."""
        return tuple(to_picture(one).convert("RGB") for one in to_bytes(self.images.cpu()))

    def caption(self, image: int) -> str:
        """What one picture shows, and how it compares with the best real one.

        Args:
            image: number of the picture.

        Returns:
            A line of text.
        """
        if self.status[image] != "ok":
            return f"{self.labels[image]}: {self.status[image]}"
        ratio = math.nan if self.certificate is None else self.certificate[image].ratio
        return self.labels[image] if math.isnan(ratio) else f"{self.labels[image]}  {ratio:.1f}x"

    def sheet(self, columns: int = 8, size: int = 128, captions: bool = True) -> Image.Image:
        """All pictures at a glance; the number in a caption is the certificate. An unfinished one says so on top.

        Args:
            columns: pictures in a row, at most.
            size: side of one picture, in pixels.
            captions: write labels below.

        Returns:
            One RGB picture.
        """
        named = [self.caption(k) for k in range(len(self))] if captions else None
        title = "" if self.finished else f"unfinished: {self.done} of {self.done + self.missing} pictures"
        return sheet(self.pictures, named, columns=columns, size=size, title=title)

    def to_json(self) -> dict[str, Any]:
        """Everything but pixels.

        Returns:
            A mapping of JSON types only.
        """
        rows = []
        for k, label in enumerate(self.labels):
            row: dict[str, Any] = {
                "label": label,
                "status": self.status[k],
                "achieved": _number(float(self.achieved[k])),
            }
            if self.certificate is not None:
                one = self.certificate[k]
                row["certificate"] = {
                    "ratio": _number(one.ratio), "peak ratio": _number(one.peak_ratio), "best real": _number(one.best),
                    "best real image": one.image, "real images": one.count,
                }  # fmt: skip
            rows.append(row)
        return {
            "network": self.network,
            "method": self.method,
            "parameters": {k: list(v) if isinstance(v, tuple) else v for k, v in self.parameters.items()},
            "seed": self.seed,
            "size": list(self.images.shape[2:]),
            "finished": self.finished,
            "notes": list(self.notes),
            "images": rows,
        }

    def save(self, folder: str | Path) -> Path:
        """Write a PNG per picture, ``sheet.png`` and ``visualization.safetensors``, by which `stored` finds them.

        Args:
            folder: made when it is not there.

        Returns:
            The folder.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        facts = self.to_json()
        taken: set[str] = set()
        for row, picture in zip(facts["images"], self.pictures, strict=True):
            stem = base = safe(row["label"])
            count = 1
            while stem in taken:
                count += 1
                stem = f"{base}-{count}"
            taken.add(stem)
            row["file"] = f"{stem}.png"
            write_bytes(target / row["file"], png(picture))
        write_bytes(target / "sheet.png", png(self.sheet()))
        write_facts(target / f"{_STEM}{SUFFIX}", facts, self.history)
        return target


def safe(label: str) -> str:
    """A label as the stem of a file."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in label).strip("-.") or "image"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_rgb(pictures: Tensor) -> Float[Tensor, "batch 3 height width"]:
    """Float32 on the processor: gray as three equal channels, the first three of more, of two the first, as gray."""
    channels = pictures.shape[1]
    pictures = pictures[:, :3] if channels >= 3 else pictures[:, :1]
    return pictures.detach().cpu().float().expand(-1, 3, -1, -1).contiguous()


@dataclass(frozen=True)
class Stored:
    """One picture on disk: the file, what it shows, and how it compares with the best real picture (None where unknown)."""

    file: Path
    label: str
    status: str
    ratio: float | None
    method: str


class _Certificate(msgspec.Struct, frozen=True):
    ratio: float | None = None


class _Row(msgspec.Struct, frozen=True):
    label: str
    status: str
    file: FileName
    certificate: _Certificate = _Certificate()


class _Facts(msgspec.Struct, frozen=True):
    """What is read again of painted pictures; more is written for people."""

    network: str
    method: str
    images: tuple[_Row, ...]
    schema: Literal[1] = 1  # of visualization.json, as it was before


class PicturesError(DocumentError):
    """Painted pictures whose facts cannot be read."""


PAINTED = Kind("pellucid painted pictures", 2, _Facts, "`pellucid visualize --out FOLDER`", PicturesError)


def write_facts(file: Path, facts: Mapping[str, Any], history: Float[Tensor, "steps batch"]) -> Path:
    """Write what painted pictures are, with the names of their files, and the values at every step."""
    return PAINTED.write(file, facts, {"history": history.float()})


def stored(folder: str | Path, network: str | None = None) -> dict[str, Stored]:
    """The pictures of a folder that `Visualization.save` or ``pellucid visualize`` wrote, by label: ``"layer4:12"``,
    ``"class zebra"``; of several copies the first.

    Raises FileNotFoundError where the folder holds none, PicturesError (a ValueError) for damaged facts, such as a file
    outside of the folder, ValueError for those of another network than ``network``.
    """
    place = Path(folder)
    file = place / f"{_STEM}{SUFFIX}"
    if not file.exists() and file.with_suffix(".json").exists():
        file = file.with_suffix(".json")
    try:
        facts = (
            read_json(file, _Facts, PAINTED.what, PAINTED.advice, PicturesError)
            if file.suffix == ".json"
            else PAINTED.read(file).facts
        )
    except FileNotFoundError:
        raise FileNotFoundError(
            f"Expected a folder of painted pictures, got `{folder}`, which holds none; try `pellucid visualize --out FOLDER` "
            "first."
        ) from None
    if network is not None and facts.network != network:
        raise ValueError(
            f"Expected pictures of `{network}`, got those of `{facts.network}` in `{folder}`; paint them anew."
        )
    found: dict[str, Stored] = {}
    inside = place.resolve()
    for number, row in enumerate(facts.images):
        picture = place / row.file
        if not picture.resolve().is_relative_to(inside):
            flaw = f"images[{number}].file: expected a file in the folder, got a link out of it"
            raise damaged(file, PAINTED.what, flaw, PAINTED.advice, PicturesError)
        if picture.is_file():
            found.setdefault(
                row.label, Stored(picture, row.label, row.status, row.certificate.ratio, facts.method)
            )
    return found
