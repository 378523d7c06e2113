"""Where a training writes: its checkpoint, then its weights ``NAME.safetensors`` and card ``NAME.md``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pellucid.core.bundle import read_header
from pellucid.core.documents import FlawError
from pellucid.core.locks import locked
from pellucid.core.run import folder_for_results
from pellucid.core.storage import sweep
from pellucid.training.loop import first

_MARKS = ("training", "irenet", "facts", "bundle")  # in the header of weights that a training wrote
_MADE_BY = "`pellucid train "  # in every card


def check_free(folder: Path, name: str) -> None:
    """That a training called ``name`` would overwrite nothing but an earlier one's files. Raises FileExistsError."""
    for file, ours in ((folder / f"{name}.safetensors", _is_weights), (folder / f"{name}.md", _is_card)):
        if (file.exists() or file.is_symlink()) and not _told(ours, file):
            raise FileExistsError(
                f"Expected no file or an earlier training's under the name `{file}`, got another file; try another `--out`."
            )


@contextmanager
def workplace(folder: Path, name: str) -> Iterator[Path]:
    """A folder, made with its parents, in which nobody else trains under this name; gives the name of the checkpoint.

    When the block ends well the checkpoint is taken away: what comes out has to be written in it.

    Raises FileExistsError as `check_free` does, InUseError where another process trains under the name, OSError where the folder
    cannot be written to.
    """
    checkpoint = folder / f"{name}.checkpoint.pt"
    if first():
        folder_for_results(folder)
    refusal = (
        f"Expected a folder in which no other training of `{name}` is under way, got `{folder}`; wait for that one, or try "
        "another `--out`."
    )
    with locked(folder / f".{name}.lock", refusal) if first() else nullcontext():
        if first():
            check_free(folder, name)
            sweep(folder, {checkpoint.name, f"{name}.safetensors", f"{name}.md"})
        yield checkpoint
        if first():
            checkpoint.unlink(missing_ok=True)


def _told(ours: Callable[[Path], bool], file: Path) -> bool:
    try:
        return file.is_file() and ours(file)
    except (FlawError, OSError):
        return False


def _is_weights(file: Path) -> bool:
    return any(mark in read_header(file)[0] for mark in _MARKS)


def _is_card(file: Path) -> bool:
    return _MADE_BY in file.read_text(encoding="utf-8", errors="replace")
