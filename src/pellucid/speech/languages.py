"""In which languages a sentence can be said, and how a clause becomes text: its phrase, called with its facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.speech.chinese import Chinese
from pellucid.speech.english import English
from pellucid.speech.speaking import Speaker

LANGUAGES: Mapping[str, type[English]] = {each.code: each for each in (English, Chinese)}


class Spoken(Protocol):
    """What of a clause its text is made from."""

    @property
    def phrase(self) -> str:
        """Name of the speaker's method."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its arguments."""


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
    """A clause in the speaker's language, with its marks (`pellucid.speech.text`)."""
    return str(getattr(speaker, clause.phrase)(**clause.facts))
