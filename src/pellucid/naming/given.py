"""Names that people give to units and concepts, in a file kept for the network that has these very weights.

The file is JSON and can be edited: ``{"network": SHA-256 of the weights, "names": {"unit:layer4:73": "rows of books"}}``. It
lies in the user's configuration folder (``$XDG_CONFIG_HOME/pellucid/names``, else ``~/.config/pellucid/names``) under the first
digits of that hash, or wherever it is said to.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pellucid.core.documents import DocumentError, Sha256, read_json
from pellucid.core.network import Network
from pellucid.core.storage import fingerprint, write_json

LONGEST = 80  # characters of a name


class _Document(msgspec.Struct, frozen=True):
    network: Sha256
    names: dict[str, str] = {}


@dataclass(frozen=True)
class GivenNames:
    """The names given to parts of one network.

    Attributes:
        network: SHA-256 of its weights.
        file: Where they are kept.
        names: Key → name; see `unit_key` and `concept_key`.
    """

    network: str
    file: Path
    names: Mapping[str, str] = field(default_factory=dict)

    def unit(self, layer: str, unit: int) -> str | None:
        """The name of a unit, None where it has none."""
        return self.names.get(unit_key(layer, unit))

    def concept(self, book: str, index: int) -> str | None:
        """The name of a concept of a book, None where it has none."""
        return self.names.get(concept_key(book, index))

    def give(self, key: str, name: str | None) -> GivenNames:
        """The names with one more, written to the file; None takes a name away.

        Raises ValueError for a name that is empty, longer than `LONGEST` characters or not one line.
        """
        others = {known: value for known, value in self.names.items() if known != key}
        if name is not None:
            spoken = name.strip()
            if not spoken or len(spoken) > LONGEST or not spoken.isprintable():
                raise ValueError(
                    f"Expected a name of 1 to {LONGEST} characters in one line, got {name[:LONGEST]!r}; try `rows of books`."
                )
            others[key] = spoken
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.file, {"network": self.network, "names": dict(sorted(others.items()))})
        return GivenNames(self.network, self.file, others)


def unit_key(layer: str, unit: int) -> str:
    """Under what a unit's name is kept."""
    return f"unit:{layer}:{unit}"


def concept_key(book: str, index: int) -> str:
    """Under what the name of a concept is kept; ``book``: the book's fingerprint."""
    return f"concept:{book}:{index}"


def names_folder() -> Path:
    """Where names are kept by default; it need not exist."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "pellucid" / "names"


def given_names(net: Network, file: str | Path | None = None) -> GivenNames:
    """The names given to parts of this network; none where no file is there yet.

    Args:
        net: The network.
        file: Another file than the one in the user's configuration folder.

    Raises:
        DocumentError: In one line, for a file that is damaged or belongs to other weights.

    Example:
        >>> import pellucid as pl
        >>> from tempfile import TemporaryDirectory
        >>> net = pl.load("scenes-resnet")
        >>> with TemporaryDirectory() as folder:
        ...     names = given_names(net, Path(folder, "names.json")).give(unit_key("layer4", 3), "round windows")
        ...     given_names(net, names.file).unit("layer4", 3)
        'round windows'
    """
    own = fingerprint(net.module)
    path = names_folder() / f"{own[:16]}.json" if file is None else Path(file).expanduser()
    if not path.is_file():
        return GivenNames(own, path)
    document = read_json(path, _Document, "a file of given names", "another, or mend it")
    if document.network != own:
        raise DocumentError(
            f"Expected names given to `{net.name}`, got `{path}`, which belongs to other weights; try another file."
        )
    return GivenNames(own, path, document.names)


def kept_names(net: Network) -> GivenNames | None:
    """The names in the user's configuration folder, without reading the weights where nothing was ever named."""
    folder = names_folder()
    return given_names(net) if folder.is_dir() and any(folder.glob("*.json")) else None
