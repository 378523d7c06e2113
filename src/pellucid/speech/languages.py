"""In which languages a sentence can be said, and how a clause becomes text: its phrase, called with its facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.speech.chinese import Chinese
from pellucid.speech.english import English
from pellucid.speech.speaking import Quantity, Speaker

LANGUAGES: Mapping[str, type[English]] = {each.code: each for each in (English, Chinese)}


class Numbered(Quantity, Protocol):
    """A number of a clause."""

    @property
    def said(self) -> bool:
        """Whether the text ends with it."""


class Spoken(Protocol):
    """What of a clause its text is made from."""

    @property
    def phrase(self) -> str:
        """Name of the speaker's method."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its arguments."""

    @property
    def numbers(self) -> Sequence[Numbered]:
        """What it rests on."""


def check_language(code: str) -> str:
    """The code of a language that can be spoken.

    Raises:
        UnknownNameError: for another.
    """
    if code not in LANGUAGES:
        raise UnknownNameError(f"Expected a language, got `{code}`; {suggest(str(code), tuple(LANGUAGES))}")
    return code


def speaker_of(code: str, names: Mapping[str, str] | None = None) -> English:
    """Who says clauses in a language.

    Args:
        code: of the language.
        names: of classes and concepts, in that language; not used for English.

    Raises:
        UnknownNameError: for another language.
    """
    check_language(code)
    return LANGUAGES[code]({} if code == "en" else names)


def said(clause: Spoken, speaker: Speaker) -> str:
    """A clause in the speaker's language, with its marks (`pellucid.speech.text`), and the numbers that are said behind it."""
    numbers = [speaker.number(quantity) for quantity in clause.numbers if quantity.said]
    return speaker.gap.join([str(getattr(speaker, clause.phrase)(**clause.facts)), *numbers])
