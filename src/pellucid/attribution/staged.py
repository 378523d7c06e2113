"""Methods whose map of one layer comes, at no further cost, with those of all stages behind it.

Asked for several stages, the first one first, they run the network once and remember the rest as long as the
trace lives.
"""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.method import Method, Needs
from pellucid.core.capture import Trace


@dataclass(frozen=True)
class Staged(Method):
    """Base of the methods that make the maps of many layers in one go."""

    needs: ClassVar[Needs] = "passes"

    @abstractmethod
    def maps(self, trace: Trace, layers: Sequence[str]) -> Mapping[str, Float[Tensor, "batch h w"]]:
        """The maps of a layer and of the stages behind it, given in the network's order."""

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """The map of one layer."""
        known = _remembered.setdefault(trace, {})
        if (self, layer) not in known:
            listed = trace.network.layers_at((int(trace.images.shape[2]), int(trace.images.shape[3])))
            place = listed[layer].index
            behind = [name for name in trace.network.default_layers if listed[name].index > place]
            known.update({(self, name): map_ for name, map_ in self.maps(trace, [layer, *behind]).items()})
        return known[self, layer]


_remembered: weakref.WeakKeyDictionary[Trace, dict[tuple[Staged, str], Tensor]] = weakref.WeakKeyDictionary()
