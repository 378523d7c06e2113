"""Concepts that are not single units: directions found in the user's own pictures, with examples, words and measured worth."""

from __future__ import annotations

from pellucid.naming.book.book import Book, Crop, Facts, Seen, load_book
from pellucid.naming.book.finding import Finding, concepts, with_names
from pellucid.naming.book.walking import concept_heatmap

__all__ = [
    "Book",
    "Crop",
    "Facts",
    "Finding",
    "Seen",
    "concept_heatmap",
    "concepts",
    "load_book",
    "with_names",
]
