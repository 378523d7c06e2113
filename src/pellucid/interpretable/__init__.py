"""Networks whose filters mean one part each: templates, their loss, and how any network gets them."""

from pellucid.interpretable.lesson import learning as learning
from pellucid.interpretable.masking import Masking as Masking
from pellucid.interpretable.templates import Templates as Templates
from pellucid.interpretable.wrapping import Interpretation as Interpretation
from pellucid.interpretable.wrapping import interpret as interpret
from pellucid.interpretable.wrapping import maskings as maskings
from pellucid.interpretable.wrapping import release as release

__all__ = ["Interpretation", "Masking", "Templates", "interpret", "learning", "maskings", "release"]
