"""FG-CAM (fine-grained CAM), Qiu et al. 2023: the class activation map of the last stage, kept channel by
channel, carried down to finer layers as relevance.

    E^L_k = w_k A_k,      E^l = z⁺(E^{l+1}) from stage to stage,      M^l = Σ_k E^l_k.

At the last stage, and behind it, M is the class activation map itself. On the way down every stage keeps what
speaks for the target: positions whose evidence Σ_k E_k is not positive hand nothing on (in an image where no
position speaks for the target, all of them do, and its maps are negative).

``weights``: ``"gradient"``, w_k = mean_ij g_k (Grad-CAM); ``"relevance"``, w_k = mean_ij R_k by z⁺ from the
contrastive seed (Relevance-CAM). A reconstruction of the published description: the authors' rule between
stages and the place of their filter may differ, and their denoising variant is not built. Evidence on ways past
a stage is lost at that stage's filter; none of the usual classifiers has such ways.

Cost: two forward passes, a backward pass and a walk (about two forward passes more), for all stages together;
``"relevance"`` one walk from the output instead of the backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.staged import Staged
from pellucid.core.capture import Trace, capture
from pellucid.core.precision import widest
from pellucid.core.reading import precise
from pellucid.core.registry import UnknownNameError, register, suggest
from pellucid.relevance.recording import Recording
from pellucid.relevance.unknown import note_unknown
from pellucid.relevance.walk import relevances_of


@register("attribution", "fg-cam", paper="qiu2023")
@dataclass(frozen=True)
class FGCAM(Staged):
    """FG-CAM: the class activation map of the last stage, carried to finer layers as relevance."""

    propagates: ClassVar[bool] = True
    weights: Literal["gradient", "relevance"] = "gradient"

    def __post_init__(self) -> None:
        if self.weights not in ("gradient", "relevance"):
            raise UnknownNameError(
                f"Expected `weights` to be gradient or relevance, got `{self.weights}`; "
                f"{suggest(self.weights, ('gradient', 'relevance'))}"
            )

    def maps(self, trace: Trace, layers: Sequence[str]) -> Mapping[str, Float[Tensor, "batch h w"]]:
        """``Σ_k E_k`` of every layer, from the last one down."""
        evidence = self._start(trace, layers[-1])
        found = {layers[-1]: evidence.sum(1)}
        if len(layers) > 1:
            recording = Recording(trace.network, trace.images, layers, composite="z-plus")
            note_unknown(trace, recording.unknown)
        for upper, lower in zip(layers[:0:-1], layers[-2::-1], strict=True):
            evidence = recording.carry(favorable(evidence), upper, [lower])[lower]
            found[lower] = evidence.sum(1)
        return found

    def _start(self, trace: Trace, layer: str) -> Float[Tensor, "batch channel h w"]:
        """``w_k A_k``."""
        if self.weights == "relevance":
            walk = relevances_of(trace, layer, "z-plus", "contrastive")
            weighing, activations = walk.relevance[layer], walk.activations[layer]
        else:
            pass_ = capture(trace.network, trace.images, [layer], trace.target)
            weighing, activations = pass_.gradients[layer], pass_.activations[layer]
        weights = weighing.mean((2, 3), keepdim=True, dtype=widest(weighing.device))
        return weights.to(precise(activations)) * precise(activations)


def favorable(evidence: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch channel h w"]:
    """The evidence at positions where it is positive in sum; all of it where there is no such position."""
    total = evidence.sum(1, keepdim=True)
    return torch.where((total > 0) | (total.amax((2, 3), keepdim=True) <= 0), evidence, 0)
