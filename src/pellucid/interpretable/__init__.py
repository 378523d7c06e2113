"""Networks whose filters mean one part each: templates, their loss, and how any network gets them."""

from pellucid.zoo.interpretable.lesson import learning as learning
from pellucid.zoo.interpretable.masking import Masking as Masking
from pellucid.zoo.interpretable.templates import Templates as Templates
from pellucid.zoo.interpretable.wrapping import Interpretation as Interpretation
from pellucid.zoo.interpretable.wrapping import interpret as interpret
from pellucid.zoo.interpretable.wrapping import maskings as maskings
from pellucid.zoo.interpretable.wrapping import release as release

__all__ = ["Interpretation", "Masking", "Templates", "interpret", "learning", "maskings", "release"]
