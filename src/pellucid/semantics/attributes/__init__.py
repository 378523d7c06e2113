"""Recognizing parts, colors, textures and materials in pictures: words that need no concept annotation of the user's."""

from pellucid.semantics.attributes.recognizer import Recognizer as Recognizer
from pellucid.semantics.attributes.recognizer import recognizer as recognizer

__all__ = ["Recognizer", "recognizer"]
