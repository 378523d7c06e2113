"""What would be there without it: a region of a picture filled in from its surroundings, smoothly.

Pull and push: a filled pixel takes the mean of the known pixels in the smallest square of 2, 4, 8 … pixels that holds any,
blended between scales ::

    level 0:  v = known · x,  w = known           level n + 1:  v, w averaged over 2 × 2
    f at the top = v / w,  below  f = v + (1 − w) · enlarged f above

the "pull-push" of Gortler, Grzeszczuk, Szeliski and Cohen, "The Lumigraph", SIGGRAPH 1996, section 3.4, with box and bilinear
filters; known pixels keep their very values. It is linear in the picture, has no parameter and costs less than a convolution.

Of a part two fills are made, and what they do to the network is averaged (`FILLS`): from all that is around it, which is right
for a window in a wall, and from what is behind the whole object, which is right for a wing before the sky. On 100 validation
scenes, with the parts' true masks, the part whose filling costs the score most is the one whose true removal does in 85 and
80 % with the two honest networks (from around alone 80 and 84 %, from behind alone 81 and 81 %, the nearest pixel's color 76 and
76 %, 40 rounds of a harmonic fill 76 and 80 %); on 60, with masks of cells of 2 × 2 pixels, in 87 and 87 %.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

FILLS = ("around", "behind")  # from which pixels a part is filled in
MARGIN = 1  # pixels by which a region is widened: its antialiased edge belongs to it


def fill(
    images: Float[Tensor, "batch channel h w"], regions: Bool[Tensor, "batch h w"]
) -> Float[Tensor, "batch channel h w"]:
    """Every image with its region filled in from the pixels outside. One image may stand for several regions.

    A region that is the whole picture leaves nothing to take a color from: it becomes 0, the mean of normalized pixels.
    """
    if images.shape[2:] != regions.shape[1:] or images.shape[0] not in (1, regions.shape[0]):
        raise ValueError(
            f"Expected regions [batch h w] for images {tuple(images.shape)}, got {tuple(regions.shape)}."
        )
    known = (~regions[:, None]).to(images)
    clear = torch.where(regions[:, None], 0.0, images)  # NaN in a region stays out of the sums
    values, weights = [clear], [known]
    while max(values[-1].shape[2:]) > 1:
        values.append(F.avg_pool2d(values[-1], 2, ceil_mode=True))
        weights.append(F.avg_pool2d(weights[-1], 2, ceil_mode=True))
    found = values[-1] / weights[-1].clamp(min=torch.finfo(images.dtype).tiny)
    for value, weight in zip(values[-2::-1], weights[-2::-1], strict=True):
        above = F.interpolate(found, size=value.shape[2:], mode="bilinear", align_corners=False)
        found = value + (1 - weight) * above
    return torch.where(regions[:, None], found, images)


def without(
    image: Float[Tensor, "1 channel h w"], regions: Bool[Tensor, "part h w"], thing: Bool[Tensor, "h w"]
) -> Float[Tensor, "picture channel h w"]:
    """The image without each of the regions: all fills of the first, then of the second …; ``len(FILLS)`` pictures for each.

    A region is widened by `MARGIN`, but not over the others. ``thing``: the whole object, from none of whose pixels the fill
    from behind takes its color.
    """
    wide = widened(regions)
    total = regions.sum(0)
    wide &= ~((total[None] - regions.long()) > 0)
    around = fill(image, wide)
    behind = torch.where(wide[:, None], fill(image, wide | thing), image)
    return torch.stack([around, behind], 1).flatten(0, 1)


def widened(regions: Bool[Tensor, "part h w"], by: int = MARGIN) -> Bool[Tensor, "part h w"]:
    """Regions with the pixels around them, ``by`` on every side."""
    return F.max_pool2d(regions[:, None].float(), 2 * by + 1, 1, by)[:, 0] > 0
