"""``pellucid data``: look at the concept world, or write it to disk in the layout of Broden."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pellucid.commands.console import say
from pellucid.commands.options import File, Folder, Number, flag, parse
from pellucid.core.registry import suggest

if TYPE_CHECKING:
    from PIL import Image

Split = Annotated[Literal["train", "val", "test"], flag()]
Share = Annotated[float, flag("SHARE")]
_USAGE = """\
usage: pellucid data sheet | export | scene [options]        pellucid data sheet --help

  sheet   many scenes in one picture, with their class names
  export  scenes with all their labels, in Broden's layout
  scene   one scene as a picture, and its description as JSON"""
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Sheet:
    """A contact sheet of scenes, with their class names."""

    out: File = Path("scenes.png")
    """picture to write"""
    split: Split = "test"
    """split the scenes are from"""
    count: Number = 40
    """how many scenes"""
    columns: Number = 8
    """scenes in a row"""
    confounding: Share = 0.0
    """probability that a class stands in its habitual scene"""
    size: Number = 128
    """side of a scene in pixels"""


@dataclass(frozen=True)
class Export:
    """Scenes with all their labels on disk, in Broden's layout, for dissection tools."""

    out: Folder = Path("broden-scenes")
    """where the scenes go"""
    split: Split = "test"
    """split the scenes are from"""
    count: Number = 1000
    """how many scenes"""
    confounding: Share = 0.0
    """probability that a class stands in its habitual scene"""
    size: Number = 224
    """side of a scene in pixels"""


@dataclass(frozen=True)
class OneScene:
    """One scene as a picture, and its description as JSON beside it."""

    out: File = Path("scene.png")
    """picture to write"""
    split: Split = "test"
    """split the scene is from"""
    index: Number = 0
    """which scene"""
    size: Number = 256
    """side in pixels"""


def run(arguments: Sequence[str]) -> int:
    """Dispatch on what is wanted."""
    if not arguments or arguments[0] in ("-h", "--help"):
        say(_USAGE)
        return 0
    if arguments[0] not in _KINDS:
        raise ValueError(
            f"Expected sheet, export or scene, got `{arguments[0]}`; {suggest(arguments[0], _KINDS)}"
        )
    command, work = _KINDS[arguments[0]]
    work(parse(command, f"data {arguments[0]}", arguments[1:]))
    return 0


def _sheet(options: Sheet) -> None:
    from pellucid.world import contact_sheet

    _check_picture(options.out)
    sheet = contact_sheet(
        options.split,
        count=options.count,
        columns=options.columns,
        size=options.size,
        confounding=options.confounding,
    )
    _save(sheet, options.out)
    say(f"{options.count} scenes: {options.out}")


def _export(options: Export) -> None:
    from pellucid.world import export_broden

    share, size = options.confounding, options.size
    export_broden(options.out, options.split, options.count, confounding=share, size=size)
    say(f"{options.count} scenes in Broden's layout: {options.out}")


def _scene(options: OneScene) -> None:
    from PIL import Image

    from pellucid.core.storage import write_text
    from pellucid.world import draw, render

    _check_picture(options.out)
    rendering = render(draw(options.index, split=options.split), options.size)
    _save(Image.fromarray(rendering.image), options.out)
    description = write_text(options.out.with_suffix(".json"), rendering.scene_data.to_json())
    say(f"{rendering.scene_data.label}: {options.out}, {description}")


_KINDS: dict[str, tuple[type[Any], Callable[[Any], None]]] = {
    "sheet": (Sheet, _sheet),
    "export": (Export, _export),
    "scene": (OneScene, _scene),
}


def _check_picture(file: Path) -> None:
    if file.suffix.lower() not in _PICTURES:
        raise ValueError(
            f"Expected `--out` to end in {', '.join(_PICTURES)}, got `{file}`; try `{file.stem}.png`."
        )


def _save(picture: Image.Image, file: Path) -> None:
    from PIL import Image

    from pellucid.core.storage import write_bytes

    stream = io.BytesIO()
    picture.save(stream, Image.registered_extensions()[file.suffix.lower()])
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, stream.getvalue())
