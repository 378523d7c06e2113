"""Which operations of a trace's network had no rule, or could not be looked into: said beside every map it concerns."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from pellucid.core.capture import Trace


def note_unknown(trace: Trace, names: Iterable[str]) -> None:
    """Remember operations without a rule as long as the trace lives."""
    _noted.setdefault(trace, set()).update(names)


def without_rule(trace: Trace) -> tuple[str, ...]:
    """A sentence for the reader of a map, where there is something to say."""
    names = sorted(_noted.get(trace, ()))
    if not names:
        return ()
    listed = ", ".join(f"`{name}`" for name in names)
    return (f"no relevance rule for {listed}: gradient × input was used there, and need not conserve",)


_noted: weakref.WeakKeyDictionary[Trace, set[str]] = weakref.WeakKeyDictionary()
_hidden: weakref.WeakKeyDictionary[Trace, set[str]] = weakref.WeakKeyDictionary()


def note_hidden(trace: Trace, names: Iterable[str]) -> None:
    """Remember ``autograd.Function``s and scripted functions that had to be taken as they are."""
    _hidden.setdefault(trace, set()).update(names)


def taken_as_they_are(trace: Trace) -> tuple[str, ...]:
    """A sentence for the reader of a map, where there is something to say."""
    names = sorted(_hidden.get(trace, ()))
    if not names:
        return ()
    listed = ", ".join(f"`{name}`" for name in names)
    return (f"what {listed} computes is hidden in a function of its own: its plain gradient was used there",)
