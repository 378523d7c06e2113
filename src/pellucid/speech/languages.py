"""In which languages a sentence can be said, and how a clause becomes text: its phrase, called with its facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.speech.chinese import Chinese
from pellucid.speech.english import English

LANGUAGES: Mapping[str, type[English]] = {"en": English, "zh": Chinese}


class Spoken(Protocol):
    """What of a clause its text is made from."""

    @property
    def text(self) -> str:
        """The text, where there is no phrase."""

    @property
    def phrase(self) -> str:
        """Name of the speaker's method."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its arguments."""


def check_language(code: str) -> str:
    """The code of a language that can be spoken. Raises UnknownNameError for another."""
    if code not in LANGUAGES:
        raise UnknownNameError(f"Expected a language, got `{code}`; {suggest(str(code), tuple(LANGUAGES))}")
    return code


def speaker_of(code: str, names: Mapping[str, str]) -> English:
    """Who says clauses in a language; ``names``: of classes and concepts in it, used where it is not English."""
    check_language(code)
    return LANGUAGES[code]({} if code == "en" else names)


def said(clause: Spoken, speaker: English) -> str:
    """A clause in the speaker's language; one without a phrase as it stands."""
    return str(getattr(speaker, clause.phrase)(**clause.facts)) if clause.phrase else clause.text
