"""From what the user names (files, folders, patterns, scenes) to pictures, each with a name of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.commands.console import in_flags, printable
from pellucid.core.storage import digest_of

if TYPE_CHECKING:
    from pellucid.data.images import Picture

DEMONSTRATION = "scenes:test/203"
MOST_SCENES = 100_000  # in one range
Left = list[tuple[str, str]]  # (name, reason)


@dataclass(frozen=True, eq=False)
class Source:
    """One picture: a file to be read, or a scene of the concept world to be painted; no two have the same ``name``.

    ``content``: the file's path, or a function that gives the rendering.
    """

    name: str
    content: Any

    @property
    def is_scene(self) -> bool:
        """Is the truth about every pixel known?"""
        return not isinstance(self.content, Path)

    def label(self, classes: Sequence[str]) -> str | None:
        """The class that a file's folder is named after, as sets with a folder per class have it; None for anything else."""
        name = None if self.is_scene else self.content.absolute().parent.name
        return name if name in classes else None

    def read(self, max_pixels: int) -> Picture:
        """The picture, with its rendering where it is a scene. Raises ImageError."""
        from pellucid.data.images import read_image
        from pellucid.data.pictures import pictures

        if self.is_scene:
            (picture,) = pictures(self.content())
            return replace(picture, name=self.name)
        _ = self.sha256  # while it is there; what was read may go away
        return read_image(self.content, max_pixels=max_pixels, name=self.name)

    @cached_property
    def sha256(self) -> str:
        """Hash of the file's bytes; of a rendering's pixels. Raises ImageError for a file that cannot be read."""
        if self.is_scene:
            return hashlib.sha256(self.content().image.tobytes()).hexdigest()
        from pellucid.data.images import ImageError, read_image

        if not self.content.is_file():
            read_image(self.content, name=self.name)  # says what it is; a pipe would never end
        try:
            return digest_of(self.content)
        except OSError as error:
            raise ImageError(
                f"Expected a picture, got `{self.name}`, which cannot be read ({error.strerror}); try it again when it is there."
            ) from None

    @property
    def key(self) -> str:
        """What its results are known by: the same name and the same bytes. Raises ImageError as `sha256` does."""
        return f"{self.sha256} {self.name}"


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
            for scene in _scenes(text):
                found.setdefault(f"scenes:{scene.name}", scene)
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


def _scenes(text: str) -> list[Source]:
    """The scenes that ``scenes:test/17`` or ``scenes:test/0-59`` names. Raises ValueError for another form."""
    from pellucid.world import SceneDataset

    split, _, numbers = text.removeprefix("scenes:").rpartition("/")
    found = re.fullmatch("([0-9]{1,9})(?:-([0-9]{1,9}))?", numbers)
    if found is None:
        raise ValueError(
            f"Expected `scenes:SPLIT/INDEX` or `scenes:SPLIT/FIRST-LAST`, got `{text}`; "
            "try `scenes:test/17` or `scenes:test/0-59`."
        )
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last < first + MOST_SCENES:
        raise ValueError(
            f"Expected a range of scenes from low to high, of {MOST_SCENES:,} at most, got `{text}`; try `scenes:test/0-59`."
        )
    split = split or "test"
    data = SceneDataset(split, count=last + 1)
    return [
        Source(f"scene-{split}-{index}", partial(data.rendering, index)) for index in range(first, last + 1)
    ]


def _named_apart(sources: list[Source]) -> Iterator[Source]:
    """Files of one name are told apart by as much of their folders as it takes."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for source in sources:
        groups.setdefault(source.name, []).append(_parts(source))
    depths = {name: _depth(group) for name, group in groups.items()}
    for source in sources:
        yield replace(source, name=printable("/".join(_parts(source)[-depths[source.name] :])))


def _parts(source: Source) -> tuple[str, ...]:
    return (source.name,) if source.is_scene else source.content.absolute().parts


def _depth(group: list[tuple[str, ...]]) -> int:
    """How many last parts it takes for all of a group to differ."""
    deepest = max(map(len, group))
    return next((n for n in range(1, deepest) if len({parts[-n:] for parts in group}) == len(group)), deepest)
