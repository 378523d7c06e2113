"""What comes out: pictures with what they reach, how they were made, and files of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from pellucid.core.storage import write_arrays, write_bytes, write_json
from pellucid.data.tensors import to_bytes, to_picture
from pellucid.visualization.certificate import Certificate
from pellucid.visualization.sheet import png, sheet

if TYPE_CHECKING:
    from PIL import Image

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Visualization:
    """Pictures of what was asked for, one or ``count`` per objective, in order.

    ``images`` [batch 3 h w] in [0, 1]; ``achieved``: value of the objective, of the picture in 8 bits, without transforms;
    ``history``: the value at every step. ``status`` per image: ``"ok"``, or ``"never active"`` for a unit that could not be
    switched on. ``certificate``: per image, None without real images. ``finished`` is False after Ctrl-C.
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
    finished: bool = True
    notes: tuple[str, ...] = field(default=())

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
        """Label, and how the image compares with the best real one."""
        if self.status[image] != "ok":
            return f"{self.labels[image]}: {self.status[image]}"
        ratio = math.nan if self.certificate is None else self.certificate[image].ratio
        return self.labels[image] if math.isnan(ratio) else f"{self.labels[image]}  {ratio:.1f}x"

    def sheet(self, columns: int = 8, size: int = 128, captions: bool = True) -> Image.Image:
        """All images at a glance; the number in a caption is the certificate."""
        named = [self.caption(k) for k in range(len(self))] if captions else None
        return sheet(self.pictures, named, columns=columns, size=size)

    def to_json(self) -> dict[str, Any]:
        """Everything but pixels, as JSON can hold it."""
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
            "schema": SCHEMA,
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
        """Write a PNG per image, ``sheet.png``, ``visualization.json`` and ``history.safetensors``; returns the folder."""
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
        write_arrays(target / "history.safetensors", {"history": self.history.float()})
        write_json(target / "visualization.json", facts)
        return target


def safe(label: str) -> str:
    """A label as the stem of a file."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in label).strip("-.") or "image"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_rgb(pictures: Tensor) -> Float[Tensor, "batch 3 height width"]:
    """Float32 on the processor, gray pictures with three equal channels."""
    return pictures.detach().cpu().float().expand(-1, 3, -1, -1).contiguous()
