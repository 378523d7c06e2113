"""Options that several commands share: which network, which images, where results go; how flags are read."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import tyro

from pellucid.commands.console import complain, say
from pellucid.commands.everyday import opening

if TYPE_CHECKING:
    from pellucid.core.network import Network

Command = TypeVar("Command")
_NUMBERS = (("layer", "layers"), ("method", "methods"), ("image", "images"))
_LISTS = ("layers", "methods")
_Head = Literal["auto", "softmax", "sigmoid", "binary", "probabilities", "regression"]


def flag(metavar: str | None = None) -> Any:
    """How a flag shows in the help: its value's name, and its default where that says something."""
    return tyro.conf.arg(
        metavar=metavar,
        help_behavior_hint=lambda default: (
            "" if default in ("None", "", "False", "True") else f"(default: {default})"
        ),
    )


Switch = Annotated[bool, flag()]
Name = Annotated[str, flag("NAME")]
Folder = Annotated[Path, flag("FOLDER")]
File = Annotated[Path, flag("FILE")]
Number = Annotated[int, flag("NUMBER")]
MaybeClass = Annotated[str | None, flag("CLASS")]
Layers = Annotated[tuple[str, ...], flag("LAYER ...")]
Images = Annotated[tuple[str, ...], tyro.conf.Positional, flag("[IMAGE ...]")]


@dataclass(frozen=True)
class NetOptions:
    """Which network."""

    net: Name = "scenes-vgg"
    """embedded name, torchvision:NAME, timm:NAME, or a weights file that names its architecture"""
    weights: Annotated[str | None, flag("FILE")] = None
    """weights file for a zoo network, or DEFAULT to download the zoo's own"""
    classes: Annotated[str | None, flag("FILE")] = None
    """class names: imagenet, or a file: one name per line, CSV or JSON"""
    head: Annotated[_Head, flag()] = "auto"
    """what the outputs mean"""
    output: Annotated[str | None, flag("KEY")] = None
    """key or position of the class scores where the network returns several tensors"""
    mean: Annotated[tuple[float, ...], flag("NUMBER ...")] = ()
    """preprocessing: mean of every channel on the scale from 0 to 1, or one for all; by default what the weights ask for"""
    std: Annotated[tuple[float, ...], flag("NUMBER ...")] = ()
    """preprocessing: standard deviation, likewise"""
    size: Annotated[int | None, flag("PIXELS")] = None
    """preprocessing: length of a picture's short side"""
    crop: Annotated[int | None, flag("PIXELS")] = None
    """preprocessing: side of the square that is cut from its center"""
    device: Annotated[str | None, flag("NAME")] = None
    """where to compute, for example cuda; by default on the processor"""

    def load(self) -> Network:
        """The network these options name. Raises as `pellucid.load` does, ValueError for another device."""
        import pellucid as pl

        if self.device is not None:
            _check_device(self.device)
        net: Network = pl.load(
            self.net,
            weights=self.weights,
            classes=self.classes,
            head=self.head,
            output=int(self.output) if self.output is not None and self.output.isdecimal() else self.output,
            device=self.device,
            preprocess=self.preprocessing(),
        )
        return net

    def preprocessing(self) -> dict[str, Any] | None:
        """The fields of a `Preprocess` that were given; None where none was."""
        fields = {"mean": self.mean, "std": self.std, "resize": self.size, "crop": self.crop}
        return {name: value for name, value in fields.items() if value not in ((), None)} or None

    def noted(self) -> Network:
        """The same, with what has to be known of it printed."""
        net = self.load()
        for note in net.notes:
            complain(f"note on {net.name}: {note}")
        return net


def _check_device(name: str) -> None:
    import torch

    try:
        torch.empty(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"Expected a device that torch can use here, got `{name}` ({reason}); try `--device cpu`."
        ) from error


@dataclass(frozen=True)
class ImageOptions(NetOptions):
    """Which network, on which images."""

    images: Images = ()
    """files, folders, patterns, scenes:SPLIT/INDEX or scenes:SPLIT/FIRST-LAST; by default a picture of the embedded
    concept world"""
    target: MaybeClass = None
    """class in question, by name or index; by default the predicted one"""
    recursive: Switch = False
    """look into subfolders too"""
    max_pixels: Number = 100_000_000
    """larger images are refused before they are decoded"""
    out: Folder = Path("pellucid-out")
    """where the results go"""


def parse(command: type[Command], name: str, arguments: Sequence[str]) -> Command:
    """Read a command's flags; tyro prints errors itself, and the help below `opening`, and exits."""
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    if {"-h", "--help"} & set(arguments) and opening(name):
        say(opening(name))
    return tyro.cli(command, prog=f"pellucid {name}", args=understood(command, arguments), config=config)


def understood(command: type[Any], arguments: Sequence[str]) -> list[str]:
    """Arguments with ``--layer`` and ``--layers`` (likewise methods and metrics) as the command has them, and lists of names
    with commas as lists with blanks.

    >>> @dataclass(frozen=True)
    ... class Command:
    ...     layers: Layers = ()
    >>> understood(Command, ["--layer", "layer3,layer4"])
    ['--layers', 'layer3', 'layer4']
    """
    fields = {field.name: field for field in dataclasses.fields(command)}
    words: list[str] = []
    listing = False
    for word in arguments:
        if word.startswith("--"):
            flag_, equals, value = word.partition("=")
            flag_ = _number_of(flag_, fields)
            listing = flag_[2:] in _LISTS and flag_[2:] in fields
            if listing and equals:
                words += [flag_, *filter(None, value.split(","))]
            else:
                words.append(flag_ + equals + value)
        elif listing and "," in word:
            words += filter(None, word.split(","))
        else:
            words.append(word)
    return words


def _number_of(flag_: str, fields: Mapping[str, Any]) -> str:
    """A flag in the singular or plural that the command has."""
    for singular, plural in _NUMBERS:
        if flag_ == f"--{singular}" and singular not in fields and plural in fields:
            return f"--{plural}"
        if flag_ == f"--{plural}" and plural not in fields and singular in fields:
            return f"--{singular}"
    return flag_


def at_least(value: int, least: int, name: str) -> None:
    """Raises ValueError for a number that is too small."""
    if value < least:
        raise ValueError(f"Expected `--{name}` to be at least {least}, got {value}.")


def plain(options: Any) -> dict[str, Any]:
    """Options as JSON can hold them."""
    values = dataclasses.asdict(options)
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def with_parameters(
    command: type[Any],
    kind: str,
    option: str,
    arguments: Sequence[str],
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> type[Any]:
    """The command's dataclass with the chosen method's parameters as further flags (field ``parameters``).

    The method is the one that ``--option`` names in the arguments. ``defaults``: method → parameters for which the
    command has a default of its own. Raises UnknownNameError for another method.
    """
    from pellucid.core.registry import get

    name = str(next(field.default for field in dataclasses.fields(command) if field.name == option))
    for place, word in enumerate(arguments):
        if word == f"--{option}" and place + 1 < len(arguments):
            name = arguments[place + 1]
        elif word.startswith(f"--{option}="):
            name = word.partition("=")[2]
    method = get(kind, name)
    about = " ".join(inspect.cleandoc(method.__doc__ or "").split("\n\nAttributes:")[0].split())
    made = dataclasses.make_dataclass(
        command.__name__,
        [group("parameters", name, method, about, (defaults or {}).get(name, {}))],
        bases=(command,),
        frozen=True,
    )
    made.__doc__ = command.__doc__
    return made


def group(
    field: str, title: str, settings: type[Any], about: str, defaults: Mapping[str, Any] | None = None
) -> tuple[str, Any, Any]:
    """A dataclass as a group of flags, for `dataclasses.make_dataclass`; ``defaults`` take the place of its own.

    Only its fields are taken: what its own checks say is for us to print, not for tyro.
    """
    types = get_type_hints(settings, include_extras=True)
    fields: list[Any] = []
    for one in dataclasses.fields(settings):
        if one.init:
            default: Any = dataclasses.field(default=one.default, default_factory=one.default_factory)
            if one.name in (defaults or {}):
                default = dataclasses.field(default=(defaults or {})[one.name])
            fields.append((one.name, _as_flag(types[one.name]), default))
    made = dataclasses.make_dataclass(settings.__name__, fields, frozen=True)
    made.__doc__ = (settings.__doc__ or "").replace("``", "`")
    shown = tyro.conf.arg(name=title, help=about.replace("``", "`"))
    return field, Annotated[made, shown], dataclasses.field(default_factory=made)


def with_settings(command: type[Any], settings: type[Any]) -> type[Any]:
    """A command with a dataclass of settings as further flags, in a group of their own."""
    about = " ".join((settings.__doc__ or "").partition("Attributes:")[0].split())
    made = dataclasses.make_dataclass(
        command.__name__, [group("settings", "settings", settings, about)], bases=(command,), frozen=True
    )
    made.__doc__ = command.__doc__
    return made


def with_flags(command: type[Any], settings: type[Any]) -> type[Any]:
    """A command with every field of a dataclass of settings as a flag of its own.

    Metadata of a field say how it shows: ``shown``, the name of its value, and ``kind``, what the flag takes where the library
    takes more ("repeated": a flag that may be given several times). Their help is the dataclass's own.
    """
    fields: list[Any] = []
    for each in dataclasses.fields(settings):
        kind = each.metadata.get("kind") or _SIMPLE[str(each.type)]
        default = each.default
        if kind == "repeated":
            kind = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
        if default is None and type(None) not in get_args(kind):
            default = ()
        made = dataclasses.field(default=default)
        fields.append((each.name, Annotated[kind, flag(each.metadata.get("shown"))], made))
    made_command = dataclasses.make_dataclass(command.__name__, fields, bases=(command,), frozen=True)
    attributes = (settings.__doc__ or "").partition("Attributes:")[2]
    made_command.__doc__ = f"{command.__doc__}\n\n    Attributes:{attributes}"
    return made_command


_SIMPLE = {"str": str, "int": int, "bool": bool, "str | None": str | None}


def settings_in(options: Any, settings: type[Any]) -> Any:
    """The settings that the flags of `with_flags` say. Raises ValueError in the names of the flags."""
    values = {each.name: getattr(options, each.name) for each in dataclasses.fields(settings)}
    given = {name: value for name, value in values.items() if value != ()}
    return settings_of(settings, given)


def settings_of(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """Settings from what their flags said; what they refuse is said of the flag."""
    try:
        return kind(**values)
    except ValueError as error:
        text = str(error)
        for name in values:
            text = text.replace(f"`{name}`", f"`--{name.replace('_', '-')}`")
        raise ValueError(text) from None


def _as_flag(kind: Any) -> Any:
    """Switches, and numbers that may be left out, without a default of False or None in the help."""
    inner = [each for each in get_args(kind) if each is not type(None)]
    if kind is bool:
        return Annotated[kind, flag()]
    if len(inner) != 1 or len(get_args(kind)) != 2:
        return kind
    words = get_args(inner[0]) or (inner[0],)
    return Annotated[kind, flag(" ".join(getattr(word, "__name__", str(word)).upper() for word in words))]
