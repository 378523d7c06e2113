"""What can be asked of an explanation: one dataclass that `explain` builds, the command line reads, and the explanation keeps.

Nothing heavy is imported here: the command line reads it for its help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.explanation.concepts import Names, TableLike
    from pellucid.explanation.patterns import PatternsLike
    from pellucid.explanation.sight import RecognizerLike
    from pellucid.units.criterion import Criterion
    from pellucid.visualization.painted import Pictures, PicturesLike

DEFAULT_METHOD = "shallow-cam"


def _flag(shown: str, kind: Any = None) -> dict[str, Any]:
    """How a setting shows on the command line: the name of its value, and what the flag takes where the library takes more."""
    return {"shown": shown, "kind": kind}


@dataclass(frozen=True, kw_only=True)
class ExplainSettings:
    """How an explanation is made.

    Attributes:
        method: map the sentence speaks of
        methods: maps on the page, or all; by default those that one forward and one backward pass allow
        layers: where to look; by default at the end of every resolution stage
        criterion: how important neurons are found
        neuron_layer: layer whose neurons are looked at; by default the last one
        units: how many neurons
        table: results of pellucid dissect for this network, from which neurons get the names of concepts; by default the tables
            that come with the embedded networks; none for no names
        pictures: results of pellucid visualize for this network, shown beside the neurons they were painted for; may be repeated
        patterns: results of pellucid patterns for this network; the one of the class that is in the picture is then said
        recognizer: what names the parts of a picture, as pellucid train irenet writes it; by default the one that comes with the
            concept world, for networks of its classes; none for no parts
        why_not: another class, by name or index; say what speaks against it, and what would have to change
        language: of the sentence and the page, en or zh
        seed: of the random neurons removed for comparison, and of the sanity check's random network
        faithfulness: test whether the map is faithful, at up to 40 forward passes; with no-, do not
    """

    method: str = field(default=DEFAULT_METHOD, metadata=_flag("NAME"))
    methods: Sequence[str] | None = field(default=None, metadata=_flag("NAME ...", tuple[str, ...]))
    layers: Sequence[str] | None = field(default=None, metadata=_flag("LAYER ...", tuple[str, ...]))
    criterion: str | Criterion = field(default="cgnis", metadata=_flag("NAME", str))
    neuron_layer: str | None = field(default=None, metadata=_flag("LAYER"))
    units: int = field(default=5, metadata=_flag("NUMBER"))
    table: TableLike | Names = field(default=None, metadata=_flag("FOLDER", str | None))
    pictures: PicturesLike | Pictures = field(default=None, metadata=_flag("FOLDER", "repeated"))
    patterns: PatternsLike = field(default=None, metadata=_flag("FOLDER", str | None))
    recognizer: RecognizerLike = field(default=None, metadata=_flag("NAME|FILE", str | None))
    why_not: int | str | None = field(default=None, metadata=_flag("CLASS", str | None))
    language: str = field(default="en", metadata=_flag("en|zh"))
    seed: int = field(default=0, metadata=_flag("NUMBER"))
    faithfulness: bool = True

    def __post_init__(self) -> None:
        if self.units < 1:
            raise ValueError(f"Expected `units` to be at least 1, got {self.units}.")
        for name in ("methods", "layers"):
            if isinstance(getattr(self, name), str):
                raise TypeError(
                    f"Expected `{name}` to be a list of names, got `{getattr(self, name)}`; try a list of one."
                )

    def to_json(self) -> dict[str, Any]:
        """Plain data: objects by their type."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return str(value) if hasattr(value, "__fspath__") else type(value).__name__
