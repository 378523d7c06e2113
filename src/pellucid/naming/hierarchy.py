"""Broader words for classes: which nouns stand above them, and the smallest one that holds most of a probability.

    mass(node) = Σ p_c over the classes below node          broader(p, s) = the smallest node that says something with mass ≥ s

For ImageNet's classes the nouns are WordNet 3.0's (Fellbaum 1998; `wordnet/`, derived by ``tools/wordnet_table.py``), in plain
words; nouns that say nothing, such as *object*, *artifact* and *instrumentality*, are never an answer. Other networks take a
table of their user's: one line a class, the class first, then what is broader, narrow to broad.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.registry import suggest
from pellucid.zoo.imagenet import imagenet_classes

TABLE = Path(__file__).parent / "wordnet" / "imagenet.tsv"
SHARE = 0.5  # of the probability that a broader word has to hold
_ALIKE = 0.95  # of ImageNet's classes that have to bear their names for a network to have its vocabulary
_NUMBER = re.compile(r"^(class[\s_-]*)?[\d\s.,_-]*$", re.I)


@dataclass(frozen=True)
class Noun:
    """A broader word: its plain name, the classes below it, and whether it says anything.

    Attributes:
        key: Identifier: WordNet's (`n02084071`) or the name in the user's table.
        name: Plain words: "dog".
        classes: Indices of the classes below it, in order.
        says: False for what is too broad to be an answer.
    """

    key: str
    name: str
    classes: tuple[int, ...]
    says: bool = True


class Hierarchy:
    """The words of a network's classes and the nouns above them.

    Args:
        words: Plain words of every class; None where a class has only a number, of which nothing can be said.
        nouns: What stands above them.

    Example:
        >>> pets = Hierarchy(["tabby", "beagle", "boxer"], [Noun("dog", "dog", (1, 2)), Noun("pet", "pet", (0, 1, 2))])
        >>> pets.broader(torch.tensor([0.1, 0.5, 0.4])).name
        'dog'
    """

    def __init__(self, words: Sequence[str | None], nouns: Iterable[Noun] = ()) -> None:
        self.words = tuple(words)
        self.nouns = tuple(sorted(nouns, key=lambda noun: (len(noun.classes), noun.key)))
        self._by_key = {noun.key: noun for noun in self.nouns}

    @cached_property
    def _speaking(self) -> tuple[tuple[Noun, ...], Float[Tensor, "noun class"]]:
        """Nouns that may be answers, the smallest first, and which classes are below each."""
        nouns = tuple(noun for noun in self.nouns if noun.says and len(noun.classes) > 1)
        members = torch.zeros(len(nouns), len(self.words))
        for row, noun in enumerate(nouns):
            members[row, list(noun.classes)] = 1
        return nouns, members

    def broader(self, mass: Float[Tensor, " class"], share: float = SHARE) -> Noun | None:
        """The smallest noun above at least two classes that holds ``share`` of the probability; None where there is none.

        Among nouns above equally many classes the one that holds more.
        """
        return self.broadest([mass], share)[0]

    def broadest(self, masses: Sequence[Float[Tensor, " class"]], share: float = SHARE) -> list[Noun | None]:
        """`broader` of several distributions at once."""
        nouns, members = self._speaking
        if not nouns:
            return [None] * len(masses)
        held = (
            members @ torch.stack([mass.float() / mass.float().sum().clamp(min=1e-12) for mass in masses]).T
        )
        sizes = torch.tensor([len(noun.classes) for noun in nouns], dtype=torch.float32)
        # smaller first, then more mass: sizes are whole numbers, masses at most 1
        order = sizes[:, None] - held.clamp(max=1) / 2
        order = torch.where(held >= share - 1e-6, order, torch.inf)
        best = order.min(0)
        return [
            nouns[int(row)] if bool(torch.isfinite(value)) else None
            for value, row in zip(best.values, best.indices, strict=True)
        ]

    def under(self, *keys: str) -> Bool[Tensor, " class"]:
        """Which classes are below any of the nouns, by key or name. Raises ValueError for one that is not there."""
        chosen = torch.zeros(len(self.words), dtype=torch.bool)
        for key in keys:
            nouns = (
                [self._by_key[key]]
                if key in self._by_key
                else [noun for noun in self.nouns if noun.name == key]
            )
            if not nouns:
                known = [noun.name for noun in self.nouns]
                raise ValueError(f"Expected a noun of the hierarchy, got `{key}`; {suggest(key, known)}")
            for noun in nouns:
                chosen[list(noun.classes)] = True
        return chosen


def hierarchy_for(classes: Sequence[str], table: str | Path | None = None) -> Hierarchy:
    """The words of a network's classes.

    Args:
        classes: Its class names.
        table: The user's own hierarchy (see `read_hierarchy`). Without one, ImageNet's 1,000 classes in their order get
            WordNet's nouns, and other class names stand alone.
    """
    if table is not None:
        return read_hierarchy(table, classes)
    if _is_imagenet(classes):
        return imagenet_hierarchy()
    return Hierarchy([spoken(name) for name in classes])


def spoken(name: str) -> str | None:
    """A class name as a word: underscores are spaces; None for a number, which says nothing.

    >>> spoken("sports_car"), spoken("class 795")
    ('sports car', None)
    """
    return None if _NUMBER.match(name) else re.sub(r"[\s_]+", " ", name).strip()


@cache
def imagenet_hierarchy() -> Hierarchy:
    """ImageNet's 1,000 classes in their usual order, in plain words, and the nouns of WordNet 3.0 above them."""
    parents, names, says, indices = {}, {}, {}, {}
    for key, index, speaks, above, plain, _ in _rows():
        parents[key], names[key], says[key] = tuple(filter(None, above.split(","))), plain, speaks == "1"
        if index != "-":
            indices[key] = int(index)
    below = _below(parents, indices)
    nouns = [Noun(key, names[key], classes, says[key]) for key, classes in below.items()]
    return Hierarchy(imagenet_classes(), nouns)


def _rows() -> list[list[str]]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def _is_imagenet(classes: Sequence[str]) -> bool:
    """Do nearly all of a thousand classes bear one of the names that WordNet has for ImageNet's, in their order?"""
    if len(classes) != 1000:
        return False
    listed = sorted((int(row[1]), row[5]) for row in _rows() if row[1] != "-")
    alike = 0
    for given, (index, names) in zip(classes, listed, strict=True):
        known = {_folded(name) for name in [*names.split("|"), imagenet_classes()[index]]}
        parts = [given, *given.split(",")]
        # torchvision tells two cranes and two maillots apart by a word of its own
        alike += any(
            _folded(part) in known or any(_folded(part).startswith(name) for name in known) for part in parts
        )
    return alike >= _ALIKE * len(classes)


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _below(parents: Mapping[str, Sequence[str]], indices: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The classes below everything that stands above a class, the classes themselves included."""
    below: dict[str, set[int]] = {key: set() for key in parents}
    for key, index in indices.items():
        waiting, reached = [key], set()
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                below[name].add(index)
                waiting += parents.get(name, ())
    return {key: tuple(sorted(members)) for key, members in below.items() if members}


def read_hierarchy(table: str | Path, classes: Sequence[str]) -> Hierarchy:
    """A user's hierarchy: a CSV file in UTF-8 with a class and what is broader in every line, narrow to broad.

        beagle,dog,animal
        tabby,cat,animal
        dog,pet

    A line may also begin with a noun of another line. Classes that are in no line stand alone. A first line that begins with
    ``class`` where no class bears that name is a heading.

    Raises:
        FileNotFoundError: Where there is no such file.
        ValueError: In one line, for a file that is no text, a first name that is neither class nor noun, or a circle.
    """
    file = Path(table).expanduser()
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            lines = [[cell.strip() for cell in line] for line in csv.reader(stream)]
    except FileNotFoundError:
        raise FileNotFoundError(
            f"Expected a hierarchy of classes, got `{file}`, which is not there; try a CSV file with a class and what is "
            "broader in every line."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"Expected a hierarchy of classes as CSV in UTF-8, got `{file}`, which cannot be read ({error}); save it again."
        ) from None
    lines = [line for line in (list(filter(None, line)) for line in lines) if line]
    if lines and lines[0][0].casefold() in ("class", "classes") and lines[0][0] not in classes:
        lines = lines[1:]
    parents = _parents(file, lines, classes)
    _refuse_circles(file, parents)
    indices = {name: index for index, name in reversed(list(enumerate(classes)))}
    below = _below(parents, {name: indices[name] for name in parents if name in indices})
    words = [spoken(name) for name in classes]
    return Hierarchy(words, [Noun(key, key, members) for key, members in below.items()])


def _parents(file: Path, lines: Sequence[Sequence[str]], classes: Sequence[str]) -> dict[str, list[str]]:
    """What is directly above every name. Raises ValueError for a line that speaks of nothing that is known."""
    known = set(classes)
    nouns = {name for line in lines for name in line[1:]}
    parents: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        if line[0] not in known and line[0] not in nouns:
            raise ValueError(
                f"Expected a class of the network first in every line of `{file}`, got `{line[0]}` in line {number}; "
                f"{suggest(line[0], classes)}"
            )
        for name, above in zip(line, [*line[1:], None], strict=True):
            listed = parents.setdefault(name, [])
            if above is not None and above not in listed and above != name:
                listed.append(above)
    return parents


def _refuse_circles(file: Path, parents: Mapping[str, Sequence[str]]) -> None:
    """Raises ValueError where something is broader than itself."""
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        raise ValueError(
            f"Expected a hierarchy without circles in `{file}`, got {' → '.join(error.args[1])}; leave one of these steps out."
        ) from None
