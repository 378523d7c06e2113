"""How numbers, lists and marked sentences are written: once, for the sentence, the pages and the terminal.

A sentence marks what it speaks of, in a small part of Markdown: ``**bold**``, and links that say which unit, part or region
the words between the brackets mean ::

    without [**90**](unit:features.23:90) the score falls

`segments` reads the marks, for pages; `plain` takes them away, for the terminal. Names are escaped by `name`, so that none can
break a mark.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

UNKNOWN = "–"
MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MARK = re.compile(
    r"\\(?P<escaped>.)|(?P<bold>\*\*)|(?P<open>\[)|\]\((?P<kind>[a-z]+):(?P<target>[^()\s]*)\)"
)


def percent(share: float | None, digits: int = 0) -> str:
    """A share of 1 as a percentage, never rounded to a certainty it is not.

    Args:
        share: 0.25 is 25 %; negative ones are changes; None and NaN are unknown.
        digits: decimals. Below 1 % and from 99.5 % on there is one at least.

    Example:
        >>> percent(0.971), percent(0.971, 1), percent(0.9996), percent(0.0004), percent(-0.25), percent(None)
        ('97 %', '97.1 %', '>99.9 %', '<0.1 %', '−25 %', '–')
    """
    if share is None or not math.isfinite(share):
        return UNKNOWN
    if share < 0:
        mirrored = percent(-share, digits)
        sign = {"<": ">", ">": "<"}.get(mirrored[0], "")
        return f"{sign}{MINUS}{mirrored[1:] if sign else mirrored}"
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f} %"
    if value < 0.1:
        return "<0.1 %"
    if 99.95 <= value < 100:
        return ">99.9 %"
    return f"{value:.{max(digits, int(value < 1 or 99.5 <= value < 100))}f} %"


def number(value: Any) -> str:
    """Any value for a reader: three significant digits, thousands apart, lists joined, yes and no.

    Example:
        >>> number(9.4343), number(1234.5), number(5.0), number(-0.0307), number(2.5e-7), number(None)
        ('9.43', '1,234', '5', '−0.0307', '2.5 · 10⁻⁷', '–')
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {number(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(number(entry) for entry in value)
    return str(value)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return UNKNOWN
    if value < 0:
        return f"{MINUS}{_number(-value)}"
    if value >= 1e15:
        return _power(value)
    if value >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 1e-4 else _power(value)


def _power(value: float) -> str:
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits} · 10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def measured(value: float | None, spread: float | None) -> str:
    """A number with as many digits as how far it varies lets stand, three at most.

    Args:
        value: what was measured.
        spread: its standard error, or half of an interval around it; None and 0 where nothing is known of it.

    Example:
        >>> measured(0.3127, 0.08), measured(0.3127, 0.3), measured(12.91, 3.2), measured(12.91, None)
        ('0.31', '0.3', '13', '12.9')
    """
    if value is None or not spread or not math.isfinite(spread) or not math.isfinite(value):
        return number(value)
    decimals = -math.floor(math.log10(abs(spread)))
    most = 2 - math.floor(math.log10(abs(value))) if value else decimals
    decimals = max(0, min(decimals, most))
    shown = f"{abs(value):,.{decimals}f}"
    return shown if value >= 0 or not float(shown.replace(",", "")) else f"{MINUS}{shown}"


def count(number_of: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    Example:
        >>> count(1, "unit"), count(1200, "unit"), count(0, "category", "categories")
        ('1 unit', '1,200 units', '0 categories')
    """
    return f"{number_of:,} {noun if number_of == 1 else plural or noun + 's'}"


def listed(words: Sequence[str], last: str = " and ", between: str = ", ") -> str:
    """Words as a sentence lists them; ``last`` stands before the last one.

    Example:
        >>> listed(["sky"]), listed(["sky", "sea", "sand"]), listed(["天", "海"], "和", "、")
        ('sky', 'sky, sea and sand', '天和海')
    """
    return last.join([between.join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def iou(value: float | None) -> str:
    """An overlap in three decimals, and never a zero that is none.

    Example:
        >>> iou(0.18249), iou(0.0001), iou(0.0), iou(None)
        ('0.182', '<0.001', '0', '–')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


def times(ratio: float) -> str:
    """A ratio in two or more digits; below 1 it is never rounded up to 1.

    Example:
        >>> times(2.79), times(0.999), times(1234.5), times(0.0001)
        ('2.8 ×', '0.99 ×', '1,234 ×', '<0.01 ×')
    """
    if 0 < ratio < 0.01:
        return "<0.01 ×"
    if ratio < 1:
        return f"{math.floor(ratio * 100) / 100:.2f} ×"
    return f"{ratio:,.{0 if ratio >= 100 else 1}f} ×"


def unbroken(text: str) -> str:
    """The text with spaces at which no line ends: a number stays with its sign on a page."""
    return text.replace(" ", _SPACE)


def bar_width(value: float | None) -> float:
    """How long a bar for this share is, in percent; nothing where it is unknown."""
    return round(100 * min(max(value, 0.0), 1.0), 2) if value is not None and math.isfinite(value) else 0.0


def name(label: str) -> str:
    """A name that cannot break the marks of a sentence.

    Example:
        >>> plain(name("a*b  [c]"))
        'a*b [c]'
    """
    return re.sub(r"([\\*\[\]])", r"\\\1", " ".join(label.split())) or "(no name)"


def bracketed(label: str) -> str:
    """A name that can stand in round brackets: its own become square ones."""
    return name(label.replace("(", "[").replace(")", "]"))


def bold(text: str) -> str:
    """Words to stress; ``text`` is escaped already."""
    return f"**{text}**"


def mention(text: str, kind: str, *target: object) -> str:
    """Words that mean a unit (``"unit", layer, index``), a part or a region (``"part", name``); ``text`` is escaped already.

    Example:
        >>> mention("**90**", "unit", "features.23", 90)
        '[**90**](unit:features.23:90)'
    """
    return f"[{text}]({kind}:{':'.join(quote(str(each), safe='/.') for each in target)})"


@dataclass(frozen=True)
class Segment:
    """A run of a sentence: bold or not, and what its words mean: ``("unit", layer, index)``, ``("part", name)`` or nothing."""

    text: str
    bold: bool = False
    about: tuple[str, ...] = ()


def segments(text: str) -> tuple[Segment, ...]:
    """A marked text cut wherever boldness or what is spoken of changes. A mark without its partner is an ordinary character.

    Example:
        >>> segments("neuron [**7**](unit:conv:7)")
        (Segment(text='neuron ', bold=False, about=()), Segment(text='7', bold=True, about=('unit', 'conv', '7')))
    """
    tokens = _tokens(text)
    made: list[Segment] = []
    is_bold, about = False, tuple[str, ...]()
    for kind, value in tokens:
        if kind == "bold":
            is_bold = not is_bold
        elif kind == "open":
            about = tuple(unquote(each) for each in value.split(":"))
        elif kind == "close":
            about = ()
        elif made and (made[-1].bold, made[-1].about) == (is_bold, about):
            made[-1] = Segment(made[-1].text + value, is_bold, about)
        else:
            made.append(Segment(value, is_bold, about))
    return tuple(made)


def plain(text: str) -> str:
    """The text without its marks, for the terminal.

    Example:
        >>> plain("neuron [**7**](unit:conv:7) of **two**")
        'neuron 7 of two'
    """
    return "".join(segment.text for segment in segments(text))


def _tokens(text: str) -> list[tuple[str, str]]:
    """("text", words), ("bold", ""), ("open", "kind:target") and ("close", ""), with marks that have no partner as text."""
    tokens: list[tuple[str, str]] = []
    opened: int | None = None
    bolds: list[int] = []
    for kind, value in _scan(text):
        if kind == "bold":
            bolds.append(len(tokens))
        if kind == "open" and opened is not None:
            tokens.append(("text", value))
            continue
        if kind == "open":
            opened = len(tokens)
        if kind == "close":
            if opened is None:
                tokens.append(("text", f"]({value})"))
                continue
            tokens[opened], opened = ("open", value), None
        tokens.append((kind, value))
    if opened is not None:
        tokens[opened] = ("text", "[")
    if len(bolds) % 2:
        tokens[bolds[-1]] = ("text", "**")
    return tokens


def _scan(text: str) -> Iterator[tuple[str, str]]:
    end = 0
    for match in _MARK.finditer(text):
        if match.start() > end:
            yield "text", text[end : match.start()]
        end = match.end()
        if match["escaped"] is not None:
            yield "text", match["escaped"]
        elif match["bold"]:
            yield "bold", "**"
        elif match["open"]:
            yield "open", "["
        else:
            yield "close", f"{match['kind']}:{match['target']}"
    if end < len(text):
        yield "text", text[end:]
