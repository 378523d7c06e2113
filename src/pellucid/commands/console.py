"""What the command line says: results on standard output, remarks on standard error, one line each.

The library's messages name arguments of functions; on the command line they name the flags.
"""

from __future__ import annotations

import os
import re
import sys

_AS_FLAGS = (
    (re.compile(r"\bmax_pixels=(\d+)"), r"--max-pixels \1"),
    (re.compile(r"\(max_pixels\)"), "(--max-pixels)"),
    (re.compile(r"\brecursive=True\b"), "--recursive"),
    (re.compile(r"`pl\.load\('([^']+)', weights='([^']+)'\)`"), r"`--net \1 --weights \2`"),
    (re.compile(r"`(weights|classes|output|head|layers|target|units|mask|device)=`"), r"`--\1`"),
    (re.compile(r'\bhead="(\w+)"'), r"--head \1"),
    (re.compile(r"`output='?(\w+)'?`"), r"`--output \1`"),
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
    """Print one line for the user's attention; where nobody can read it, the work goes on."""
    if sys.stderr is None:
        return
    try:
        print(f"pellucid: {printable(in_flags(text))}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # its reader has gone, the terminal was closed, the disk is full
        return


def stand_in() -> None:
    """Let something stand where standard input, output or error are closed.

    Else the next file that is opened gets their number, and what is printed lands in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def in_flags(text: str) -> str:
    """A message of the library in the words of the command line."""
    for pattern, words in _AS_FLAGS:
        text = pattern.sub(words, text)
    return text


def printable(text: str) -> str:
    """One line without control characters: names of files may hold anything."""
    text = " ".join(re.split(r"\s*\n\s*", text.strip()))
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
