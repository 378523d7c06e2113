"""One place where every method is found: ``@register(kind, name)``, ``names(kind)``, ``create(kind, name,
...)``.

A capability grows by one file in its package: a frozen dataclass whose fields are the method's parameters
and whose ``__call__`` is the method. Registering it makes it appear in the library, on the command line, in
the report and in the conformance tests. Other distributions add methods through the entry-point groups
``pellucid.<kind>``.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Any, TypeVar

_PACKAGES = {
    "attribution": "pellucid.attribution",
    "neurons": "pellucid.units",
    "evaluation": "pellucid.evaluation",
    "visualization": "pellucid.visualization",
}
KINDS = ("attribution", "neurons", "evaluation", "visualization")
_methods: dict[str, dict[str, type[Any]]] = {kind: {} for kind in KINDS}
_loaded: set[str] = set()

Method = TypeVar("Method", bound=type[Any])


def suggest(name: object, known: Iterable[str], count: int = 3) -> str:
    """A sentence naming the known names closest to a mistyped one; all of them when they are few."""
    options = list(dict.fromkeys(known))
    likeness = {option: _likeness(str(name), option) for option in options}
    ranked = sorted(options, key=lambda option: -likeness[option])
    close = [option for option in ranked if likeness[option] >= max(0.55, likeness[ranked[0]] - 0.15)]
    if close:
        return "did you mean " + " or ".join(f"`{option}`" for option in close[:count]) + "?"
    if not options:
        return "there are none."
    shown = ", ".join(f"`{option}`" for option in options[:12])
    return f"try one of {shown}" + (f" (and {len(options) - 12} more)." if len(options) > 12 else ".")


def _likeness(one: str, other: str) -> float:
    """From 0 to 1; case, hyphens and underscores count for little."""
    exact = difflib.SequenceMatcher(None, one, other).ratio()
    return max(exact, 0.99 * difflib.SequenceMatcher(None, _folded(one), _folded(other)).ratio())


def _folded(text: str) -> str:
    return text.casefold().replace("-", "").replace("_", "").replace(" ", "")


def register(kind: str, name: str, *, paper: str | None = None) -> Callable[[Method], Method]:
    """Make a method known by a name.

    Args:
        kind: ``"attribution"``, ``"neurons"``, ``"evaluation"`` or ``"visualization"``.
        name: lower case, with hyphens.
        paper: key of its source in `pellucid.core.bibliography`.

    Returns:
        A decorator for a frozen dataclass, whose fields are the method's parameters.

    Raises:
        TypeError: the method is not a frozen dataclass.
        ValueError: the name is taken.
        UnknownNameError: another kind.

    Example:
        >>> register("attribution", "mine")(dict)
        Traceback (most recent call last):
        TypeError: Expected dict to be a frozen dataclass; try `@dataclass(frozen=True)`.
    """
    _check_kind(kind)

    def enter(method: Method) -> Method:
        parameters = getattr(method, "__dataclass_params__", None)
        if parameters is None or not parameters.frozen:
            raise TypeError(
                f"Expected {method.__name__} to be a frozen dataclass; try `@dataclass(frozen=True)`."
            )
        known = _methods[kind].get(name)
        if known is not None and _origin(known) != _origin(method):  # the same class again: a reloaded module
            raise ValueError(
                f"Expected a new {kind} name, got `{name}`, which {known.__module__} has; try another."
            )
        method.name, method.paper = name, paper
        _methods[kind][name] = method
        return method

    return enter


def names(kind: str) -> tuple[str, ...]:
    """The names of all methods of a kind.

    Args:
        kind: ``"attribution"``, ``"neurons"``, ``"evaluation"`` or ``"visualization"``.

    Returns:
        Names in alphabetical order.

    Raises:
        UnknownNameError: another kind.

    Example:
        >>> "gradcam" in names("attribution")
        True
    """
    return tuple(sorted(_known(kind)))


@dataclasses.dataclass(frozen=True)
class MethodInfo:
    """What there is to know of a registered method; ``parameters`` maps names to defaults, ``source`` is the paper's key."""

    kind: str
    name: str
    summary: str
    parameters: dict[str, Any]
    source: str | None

    def __str__(self) -> str:
        return f"{self.name}: {self.summary}"


def methods(kind: str | None = None) -> tuple[MethodInfo, ...]:
    """What is registered, with parameters and sources.

    Args:
        kind: ``"attribution"``, ``"neurons"``, ``"evaluation"`` or ``"visualization"``; by default all.

    Returns:
        One entry for every method, in the order of their names.

    Raises:
        UnknownNameError: another kind.

    Example:
        >>> next(method.parameters for method in methods("attribution") if method.name == "smoothgrad")["samples"]
        25
    """
    from pellucid.core.bibliography import PAPERS

    listed = []
    for each in KINDS if kind is None else (kind,):
        for name, method in sorted(_known(each).items()):
            parameters = {field.name: field.default for field in dataclasses.fields(method) if field.init}
            source = PAPERS.get(method.paper) if method.paper else None
            listed.append(MethodInfo(each, name, _first_sentence(method.__doc__ or ""), parameters, source))
    return tuple(listed)


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.strip().split("\n\n")[0].split()).replace("``", "`")
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph)[0]


def get(kind: str, name: str) -> type[Any]:
    """The method class registered as ``name``; raises KeyError naming close ones."""
    return _known(kind)[canonical(kind, name)]


def canonical(kind: str, name: str) -> str:
    """The registered name that is meant, whatever its case, hyphens and underscores; raises KeyError naming close ones.

    >>> canonical("attribution", "Grad-CAM"), canonical("attribution", "grad_cam++"), canonical("attribution", "shallowcam")
    ('gradcam', 'gradcam++', 'shallow-cam')
    """
    known = _known(kind)
    if name in known:
        return name
    meant = [each for each in known if _folded(each) == _folded(name)]
    if len(meant) != 1:
        raise UnknownNameError(
            f"Expected the name of a method for {kind}, got `{name}`; {suggest(name, sorted(known))}"
        )
    return meant[0]


def create(kind: str, method: object, **parameters: Any) -> Any:
    """An instance of a method, from its name and parameters; an instance is passed through.

    Raises TypeError for parameters the method does not have, naming those it has.
    """
    if not isinstance(method, (str, *_known(kind).values())):
        raise TypeError(
            f"Expected the name of a method for {kind} or an instance of one, got {method!r}; "
            f"try one of {', '.join(names(kind))}."
        )
    made: Any = None if isinstance(method, str) else method
    cls: type[Any] = get(kind, method) if isinstance(method, str) else type(method)
    fields = [entry.name for entry in dataclasses.fields(cls) if entry.init]
    for parameter in parameters:
        if parameter not in fields:
            name = method if isinstance(method, str) else cls.__name__
            raise TypeError(
                f"Expected a parameter of `{name}`, got `{parameter}`; {suggest(parameter, fields)}"
            )
    return cls(**parameters) if made is None else dataclasses.replace(made, **parameters)


class UnknownNameError(KeyError, ValueError):
    """A name that is not known, with the close ones; a KeyError whose text prints without quotes."""

    def __str__(self) -> str:
        return str(self.args[0])


def _origin(method: type[Any]) -> tuple[str, str]:
    return method.__module__, method.__qualname__


def _check_kind(kind: str) -> None:
    if kind not in _methods:
        raise UnknownNameError(f"Expected a kind of method, got `{kind}`; {suggest(kind, KINDS)}")


def _known(kind: str) -> dict[str, type[Any]]:
    """Import every module of the kind's package, and what other distributions offer, once."""
    _check_kind(kind)
    if kind not in _loaded:
        if kind in _PACKAGES:
            package = importlib.import_module(_PACKAGES[kind])
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{package.__name__}.{module.name}")
        for entry in entry_points(group=f"pellucid.{kind}"):
            entry.load()
        _loaded.add(kind)
    return _methods[kind]
