"""The short sentence: its length, its numbers, and that both languages say the same of the same facts."""

import itertools
import re
from dataclasses import dataclass

import pytest

from pellucid.speech.languages import speaker_of
from pellucid.speech.text import plain, segments


@dataclass(frozen=True)
class Left:
    score: float
    probability: float | None


@dataclass(frozen=True)
class Against:
    name: str
    whole: Left
    without: Left | None


PLACES = ("center", "upper left", "lower middle", "left side", "right side")
WORDS = ("bottle, pot or bowl", "German short-haired pointer", None)
OTHERS = ((), ("black and gold garden spider",), ("soft-coated wheaten terrier", "great white shark"))


def region(number, word, place, others):
    return {"number": number, "word": word, "place": place, "placed": True, "others": others}


def facts(**changed):
    given = {
        "name": "Staffordshire bullterrier", "whole": Left(9.4, 0.934), "predicted": None, "rival": None, "against": None,
        "numeric": False, "unsure": False, "regions": [], "without": None, "least": None, "warning": None,
    }  # fmt: skip
    return given | changed


def numbers(text):
    return re.findall(r"\d+(?:\.\d+)?", text)


def every():
    for count, word, others in itertools.product((1, 2, 3), WORDS, OTHERS):
        seen = [region(k + 1, word, PLACES[k], others) for k in range(count)]
        for left in (0.001, 0.4, 0.9):
            yield facts(regions=seen, without=Left(2.0, left))
            yield facts(
                regions=seen,
                without=Left(2.0, left),
                unsure=True,
                rival=("American Staffordshire terrier", 0.28),
            )
            yield facts(regions=seen, without=Left(2.0, left), warning="insensitive")
            against = Against("American Staffordshire terrier", Left(1, 0.02), Left(2, 0.4))
            yield facts(regions=seen, without=Left(2.0, left), against=against)
    yield facts(least=Left(2.0, 0.85))
    yield facts(warning="untrained")
    yield facts(warning="transformer")


def test_at_most_35_words_and_four_numbers():
    speaker = speaker_of("en")
    for given in every():
        text = plain(speaker.brief(**given))
        doubtful = given["warning"] or given["unsure"] or given["against"]
        assert len(text.split()) <= (40 if doubtful else 35), text
        assert len(numbers(text)) <= 4, text


def test_both_languages_say_the_same_numbers_and_regions():
    english, chinese = speaker_of("en"), speaker_of("zh")
    for given in every():
        one, other = english.brief(**given), chinese.brief(**given)
        assert sorted(numbers(plain(one))) == sorted(numbers(plain(other)))
        spots = [
            {segment.about for segment in segments(text) if segment.about[:1] == ("region",)}
            for text in (one, other)
        ]
        assert (
            spots[0]
            == spots[1]
            == {("region", str(each["number"])) for each in given["regions"]}
            - (spots[0] if given["warning"] == "transformer" else set())
        )


def test_what_it_reads_like():
    speaker = speaker_of("en")
    wheel = {**region(1, "car wheel", "lower left", ()), "placed": True}
    front = region(2, None, "right side", ("minivan", "limousine"))
    given = facts(name="beach wagon", regions=[front, wheel], without=Left(2.0, 0.12))
    assert plain(speaker.brief(**given)) == (
        "beach wagon, 93 %. It looks at the right side (as for minivan or limousine) and the car wheel at the bottom left; "
        "without both, 12 % is left."
    )
    sure = facts(name="library", regions=[front], without=Left(9.0, 0.9))
    assert plain(speaker.brief(**sure)).endswith(", but without it 90 % is left.")
    doubt = facts(
        name="malamute", whole=Left(3, 0.29), unsure=True, rival=("husky", 0.28), least=Left(3, 0.2)
    )
    assert plain(speaker.brief(**doubt)) == (
        "malamute, 29 %: unsure, husky has 28 %. No region carries it alone: whichever is covered, at least 20 % is left."
    )
    assert plain(speaker.brief(**facts(warning="untrained"))).startswith("Its weights look untrained")
    number = facts(name="age", whole=Left(34.91, None), numeric=True)
    assert plain(speaker.brief(**number)).startswith("Predicts 34.9 for age.")


@pytest.mark.parametrize("code", ["en", "zh"])
def test_names_cannot_break_the_marks(code):
    awkward = "a](unit:x:1) **b** [c"
    text = speaker_of(code).brief(**facts(name=awkward, regions=[region(1, awkward, "center", (awkward,))]))
    assert {segment.about for segment in segments(text)} <= {(), ("region", "1")}
    assert "a](unit:x:1) **b** [c" in plain(text)
