"""Where a concept comes from: the relevance that flows through one concept alone, as a heatmap of its own.

Relevance of the class is carried to the book's layer; of every cell the concept keeps its share of the activation, and that goes
on down (concept relevance propagation, Achtibat et al. 2023, who do it for single units) ::

    R_k(ij | c) = R_k(ij) · U_c(ij) V_ck / Σ_d U_d(ij) V_dk

We carry it with the rules of `pellucid.relevance`, and through directions instead of units.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.layers import INPUT
from pellucid.core.network import Network, TargetLike
from pellucid.core.results import Heatmap, judged
from pellucid.naming.book.book import Book
from pellucid.relevance.recording import Recording


def concept_heatmap(
    net: Network,
    image: Float[Tensor, "1 channel height width"],
    book: Book,
    index: int,
    *,
    target: TargetLike = None,
    to: str | None = None,
) -> Heatmap:
    """The evidence for a class that flows through one concept.

    Args:
        net: The book's network.
        image: One normalized image.
        book: The concepts.
        index: Which of them.
        target: The class; by default the predicted one.
        to: Layer whose cells are shown; by default the end of the first stage; "input" for pixels.

    Raises:
        IndexError: For a concept that the book does not have.
        DocumentError: For another network's book.
    """
    if not 0 <= index < len(book):
        raise IndexError(f"Expected a concept from 0 to {len(book) - 1}, got {index}.")
    book.check(net)
    lower = to or net.default_layers[0]
    recording = Recording(net, image, [lower, book.layer])
    resolved = net.resolve_target(target, recording.output)
    start = torch.zeros_like(recording.output)
    assert resolved.indices is not None, "a class has an index"
    start[0, int(resolved.indices[0])] = resolved.score(recording.output)[0]
    above = recording.carry(start, None, [book.layer])[book.layer]
    strength = book.strength(recording.activations[book.layer])
    parts = strength[0, :, None] * book.directions.to(strength)[:, :, None, None]
    total = parts.sum(0)
    share = torch.where(total > 0, parts[index] / total.clamp(min=torch.finfo(total.dtype).tiny), 0)
    carried = recording.carry(above * share.to(above), book.layer, [lower])[lower].sum(1)
    size = (int(image.shape[2]), int(image.shape[3]))
    layer = net.layers_at(size).image if lower == INPUT else net.layers_at(size)[lower]
    return judged(carried, layer, f"relevance through concept {index}", size, resolved.names, rectified=True)
