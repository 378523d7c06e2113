"""From what the user names (files, folders, patterns, scenes) to pictures, each with a name of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pellucid.commands.console import in_flags, printable

DEMONSTRATION = "scenes:test/203"
Left = list[tuple[str, str]]  # (name, reason)


@dataclass(frozen=True, eq=False)
class Source:
    """One picture: a file to be read, or a rendering of the concept world; no two have the same ``name``."""

    name: str
    content: Any

    def read(self, max_pixels: int) -> Any:
        """A rendering, or the file's picture as an `InputImage`. Raises ImageError."""
        if not isinstance(self.content, Path):
            return self.content
        from pellucid.data.images import read_image

        return read_image(self.content, max_pixels=max_pixels, name=self.name)

    def picture(self, max_pixels: int) -> Any:
        """As `read`, without what a rendering knows beyond its pixels."""
        read = self.read(max_pixels)
        return read if isinstance(self.content, Path) else read.image

    def sha256(self) -> str:
        """Hash of the file's bytes; of a rendering's pixels."""
        if not isinstance(self.content, Path):
            return hashlib.sha256(self.content.image.tobytes()).hexdigest()
        with self.content.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True, eq=False)
class Gathered:
    """What to work on; ``failed``: what was named and cannot be; ``skipped``: what a folder holds besides."""

    sources: list[Source]
    failed: Left
    skipped: Left

    @property
    def several(self) -> bool:
        """Was more than one picture meant?"""
        return len(self.sources) + len(self.failed) + len(self.skipped) > 1


def gather(named: Sequence[str], recursive: bool) -> Gathered:
    """What to work on. Raises ImageError when nothing is left of what was named."""
    from pellucid.data.files import collect
    from pellucid.data.pixels import ImageError

    found: dict[str, Source] = {}
    failed: Left = []
    skipped: Left = []
    first: ImageError | None = None
    for text in named or (DEMONSTRATION,):
        if text.startswith("scenes:") and not Path(text).exists():
            found.setdefault(text, _scene(text))
            continue
        try:
            paths, left = collect([text], recursive=recursive)
        except ImageError as error:
            first = first or error
            failed.append((printable(text), in_flags(str(error))))
            continue
        for path in paths:
            found.setdefault(str(path.resolve()), Source(path.name, path))
        skipped += [(printable(one.name), in_flags(one.reason)) for one in left]
    if not found and first is not None:
        raise first
    return Gathered(list(_named_apart(list(found.values()))), failed, skipped)


def _scene(text: str) -> Source:
    """The rendering that ``scenes:test/17`` names. Raises ValueError for another form."""
    from pellucid.data.scenes import SceneDataset

    split, _, index = text.removeprefix("scenes:").rpartition("/")
    if not (index.isascii() and index.isdigit() and len(index) < 10):
        raise ValueError(
            f"Expected `scenes:INDEX` or `scenes:SPLIT/INDEX`, got `{text}`; try `scenes:test/17`."
        )
    data = SceneDataset(split or "test", count=int(index) + 1)
    return Source(f"scene-{split or 'test'}-{int(index)}", data.rendering(int(index)))


def _named_apart(sources: list[Source]) -> Iterator[Source]:
    """Files of one name are told apart by as much of their folders as it takes."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for source in sources:
        groups.setdefault(source.name, []).append(_parts(source))
    depths = {name: _depth(group) for name, group in groups.items()}
    for source in sources:
        yield replace(source, name=printable("/".join(_parts(source)[-depths[source.name] :])))


def _parts(source: Source) -> tuple[str, ...]:
    return source.content.absolute().parts if isinstance(source.content, Path) else (source.name,)


def _depth(group: list[tuple[str, ...]]) -> int:
    """How many last parts it takes for all of a group to differ."""
    deepest = max(map(len, group))
    return next((n for n in range(1, deepest) if len({parts[-n:] for parts in group}) == len(group)), deepest)
