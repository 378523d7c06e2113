"""Names out of foreign files, as errors may print them."""

from __future__ import annotations


def shown(name: object, most: int = 80) -> str:
    """A name out of a file as an error may print it: in one line, not too long, without control characters."""
    text = str(name)
    text = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
