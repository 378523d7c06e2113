"""CF-CAM (coarse to fine, with contrastive relevance), Sun et al. 2023: the feature maps of a layer, each cut to
where it speaks for the target alone, weighted by what the network makes of the image shown through them.

    m_k = N(ReLU(R_k)) ⊙ N(A_k),      u_k = N(Up(m_k)),
    w_k = p(x ⊙ u_k + blur(x) ⊙ (1 − u_k)),      M = Σ_k w_k m_k.

R is relevance by z⁺ from the contrastive seed (z_t at the target, −z_t / (N − 1) elsewhere), N brings each map to
[0, 1] (a constant one to 0), Up goes to pixels at receptive-field centers, p is the target's probability (of a
target that is a function of the output: its value). Only the ``channels`` with most positive relevance are
re-fed: a stage of 512 would cost as many forward passes, nearly all of them for maps that carry next to nothing.

A declared reconstruction: the paper's equations are not public. Its description fixes the contrastive relevance,
a spatial mask for every feature map, the blend with a blurred image and the target score as weight. Ours are the
product of the two maps, the probability as the score (the logit's gain over the blurred image was tried: sparse
masks of shallow stages mostly lower it, and maps are empty) and the choice of channels. ``blur`` is the σ of the
Gaussian as a share of the image's shorter side.

Cost: per layer ``channels`` forward passes; one walk in float64 for all stages together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.attribution.method import Method, Needs
from pellucid.attribution.rsi_gradcam import probability
from pellucid.core.capture import Trace, capture
from pellucid.core.geometry import gaussian, upsample
from pellucid.core.layers import Layer
from pellucid.core.reading import groups, precise, unit
from pellucid.core.registry import register
from pellucid.relevance.walk import relevances_of


@register("attribution", "cf-cam", paper="sun2023")
@dataclass(frozen=True)
class CFCAM(Method):
    """CF-CAM: feature maps cut out by contrastive relevance, weighted by the image seen through them."""

    needs: ClassVar[Needs] = "passes"
    propagates: ClassVar[bool] = True
    channels: int = 32
    blur: float = 0.06

    def __post_init__(self) -> None:
        if self.channels < 1 or not self.blur > 0:
            raise ValueError(
                f"Expected `channels` of at least 1 and `blur` above 0, got {self.channels} and {self.blur}; "
                "try channels=32, blur=0.06."
            )

    def __call__(self, trace: Trace, layer: str) -> Float[Tensor, "batch h w"]:
        """``Σ_k w_k m_k``."""
        walk = relevances_of(trace, layer, "z-plus", "contrastive")
        relevance = precise(walk.relevance[layer]).relu()
        order = torch.sort(relevance.sum((2, 3)), dim=1, descending=True, stable=True).indices[
            :, : self.channels
        ]
        chosen = order[:, :, None, None].expand(-1, -1, *relevance.shape[2:])
        masks = unit(relevance.gather(1, chosen)) * unit(precise(walk.activations[layer]).gather(1, chosen))
        return (self.weights(trace, masks, walk.layers[layer])[:, :, None, None] * masks).sum(1)

    def weights(
        self, trace: Trace, masks: Float[Tensor, "batch mask h w"], layer: Layer
    ) -> Float[Tensor, "batch mask"]:
        """The target's probability in the blurred image that shows the image itself through each mask."""
        images = precise(trace.images)
        vague = blurred(images, self.blur)
        size = (int(images.shape[2]), int(images.shape[3]))
        geometry = layer.geometry.effective((int(masks.shape[2]), int(masks.shape[3])), size)
        target = probability(trace.network, trace.target)
        found: list[Tensor] = []
        for group in groups(masks.shape[1], len(trace)):
            shown = []
            for place in group:
                window = unit(upsample(masks[:, place], geometry, size, size)[:, None])
                shown.append(torch.lerp(vague, images, window))
            scenes = torch.cat(shown).to(trace.images)
            seen = capture(trace.network, scenes, [], target.repeat(len(group)), gradients=False)
            found += precise(seen.score).chunk(len(group))
        return torch.stack(found, 1)


def blurred(images: Float[Tensor, "batch channel h w"], share: float) -> Float[Tensor, "batch channel h w"]:
    """Gaussian blur with a σ of ``share`` of the shorter side; at the border the rest of the kernel counts."""
    sigma = share * min(images.shape[2:])
    rows, columns = (gaussian(side, sigma).to(images) for side in images.shape[2:])
    return rows @ images @ columns.T
