"""What the command line says: results on standard output, remarks on standard error, one line each.

The library's messages name arguments of functions; on the command line they name the flags.
"""

from __future__ import annotations

import re
import sys

_AS_FLAGS = (
    (re.compile(r"\bmax_pixels=(\d+)"), r"--max-pixels \1"),
    (re.compile(r"\(max_pixels\)"), "(--max-pixels)"),
    (re.compile(r"\brecursive=True\b"), "--recursive"),
    (re.compile(r"`pl\.load\('([^']+)', weights='([^']+)'\)`"), r"`--net \1 --weights \2`"),
    (re.compile(r"`(weights|classes|output|head|layers|target|units|mask|device)=`"), r"`--\1`"),
    (re.compile(r", or read_images\(\) for all"), ", or all with the folder's name alone"),
)


def say(text: str) -> None:
    """Print at once, also into a pipe, and whatever the encoding of the terminal."""
    try:
        print(text, flush=True)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "ascii"
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def complain(text: str) -> None:
    """Print one line for the user's attention."""
    print(f"pellucid: {printable(in_flags(text))}", file=sys.stderr, flush=True)


def in_flags(text: str) -> str:
    """A message of the library in the words of the command line."""
    for pattern, words in _AS_FLAGS:
        text = pattern.sub(words, text)
    return text


def printable(text: str) -> str:
    """One line without control characters: names of files may hold anything."""
    text = " ".join(re.split(r"\s*\n\s*", text.strip()))
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
