"""`parts`: which part every filter of a layer means, and how steadily it points there.

    T_f: P(x_f > T_f) = 0.005 over all cells of all pictures;  S_f: the pixels its valid cells stand for in a picture
    P[f, k]: share of the pictures with part k in which |S_f and k| / |S_f or k| > 0.2
    D[f, k]: standard deviation of |landmark of k − center of f's strongest cell| / √(w² + h²) over the 100 pictures with k that
             activate f most

Source: Zhang, Wu, Zhu, Interpretable Convolutional Neural Networks, CVPR 2018. What the paper leaves open, and what we do:

- S_f, the valid cells "scaled up to the image resolution": interpolated maps above T_f, as in Network Dissection, whose
  procedure the paper names (default), and the union of theoretical receptive fields, which in deep layers are larger than any
  part; and of their middles, as much of them as was found to matter. The paper's numbers cannot come from the first: on maps
  of 14 × 14 about one cell per picture is valid, a two-hundredth of the picture. All three are measured, and the first is the
  strictest about place. The released code draws fields measured by occlusion, and does not have this metric.
- the cells T_f is taken over: all pictures of the set, of whatever class.
- several classes: P_f over parts of the class whose pictures activate f most (as in the paper); D_f: see `PartTable`.
- the center of a cell: effective (see `Geometry.effective`) or nominal. The spread divides by n − 1, as the released code does.
- both numbers say little alone: beside them stand those of regions and positions of other pictures, and D of a mark that
  stands still in the middle of the picture, which is small where objects are cropped or centered.
- a filter without contrast in a picture has no position there: the picture is passed over instead of taking the first cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, overload

from pellucid.core.layers import INPUT, Layer, LayerLike
from pellucid.core.network import Network, NetworkLike, as_network
from pellucid.core.progress import bar
from pellucid.core.storage import fingerprint
from pellucid.data.concepts.base import ConceptSource
from pellucid.data.parts.opening import open_parts
from pellucid.data.parts.source import PartSource
from pellucid.interpretable.parts.counting import LayerCount
from pellucid.interpretable.parts.gathering import Gathering
from pellucid.interpretable.parts.settings import PartSettings
from pellucid.interpretable.parts.table import PartTable


@overload
def parts(
    net: Network,
    layers: str | None,
    source: PartSource | ConceptSource | str | Path,
    *,
    folder: str | Path | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> PartTable: ...
@overload
def parts(
    net: Network,
    layers: Sequence[str],
    source: PartSource | ConceptSource | str | Path,
    *,
    folder: str | Path | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> dict[str, PartTable]: ...
def parts(
    net: NetworkLike,
    layers: LayerLike | Sequence[LayerLike] | None,
    source: PartSource | ConceptSource | str | Path,
    *,
    folder: str | Path | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> PartTable | dict[str, PartTable]:
    """Measure which part each filter of a layer means, and how steadily.

    Follows Zhang, Wu, Zhu, CVPR 2018. The size of batches changes nothing but the last bits of some convolutions. What cannot be
    read is left out and listed in the source's ``problems``.

    Args:
        net: a network, module, name or file; see `pellucid.load`.
        layers: names, positions or modules; None takes the last stage.
        source: pictures with labeled parts, or where they are; see `open_parts`.
        folder: where what was seen of the pictures is stored, so that the same call goes on there; by default a temporary one.
        progress: None shows a bar on a terminal.
        **settings: fields of `PartSettings` (``quantile``, ``iou``, ``most_active``, ``regions``, ``anchor``, ``resamples``,
            ``seed``, ``batch_size``, …).

    Returns:
        A table of one layer; of several ``{layer: PartTable}`` from one forward pass.

    Raises:
        UnknownNameError: an unknown layer.
        TypeError: an unknown setting.
        ValueError: a layer of a single cell, no usable picture, or activations that are not finite.
    """
    net = as_network(net)
    chosen = PartSettings(**settings)
    found = open_parts(source)
    names = net.default_layers[-1:] if layers is None else net.layer_names(layers)
    places = [_layer(net, name) for name in names]
    if not places:
        raise ValueError(f"Expected at least one layer of `{net.name}`, got none; try {_deepest(net)}.")
    if not len(found):
        raise ValueError(f"Expected at least one picture, got the empty set `{found.name}`.")
    about = {
        "network": {"name": net.name, "sha256": fingerprint(net.module)},
        "parts": found.facts(),
        "settings": {k: v for k, v in asdict(chosen).items() if k != "batch_size"},
    }
    plan = {**about, "layers": [layer.name for layer in places], "batch_size": chosen.batch_size}
    with ExitStack() as stack:
        scratch = folder or stack.enter_context(TemporaryDirectory(prefix="pellucid-parts-"))
        gathering = Gathering(net, places, found, chosen, Path(scratch), plan)
        with bar(len(found), "parts", "image", progress) as shown:
            gathering.run(lambda count: shown.update(min(count, len(found) - shown.n)))
        if not gathering.used:
            first = found.problems[0] if found.problems else None
            reason = f" ({first.where}: {first.reason})" if first else ""
            raise ValueError(f"Expected at least one usable picture in {found.name}, got none{reason}.")
        tables = {layer.name: LayerCount(layer, gathering, chosen).table(about) for layer in places}
    return (
        tables[names[0]]
        if layers is None or not isinstance(layers, Sequence) or isinstance(layers, str)
        else tables
    )


def _layer(net: Network, name: str) -> Layer:
    layer = net.layer(name)
    if name == INPUT:
        raise ValueError(
            f"Expected a layer of `{net.name}` behind its input, got `{name}`; try {_deepest(net)}."
        )
    if layer.shape[1] * layer.shape[2] < 2:
        raise ValueError(
            f"Expected a layer with several cells, got `{name}` with maps of 1 × 1, which point nowhere; "
            f"try {_deepest(net)}."
        )
    return layer


def _deepest(net: Network) -> str:
    """The name of a layer to try."""
    several = [
        layer.name for layer in net.layers if layer.name != INPUT and layer.shape[1] * layer.shape[2] > 1
    ]
    return next(iter(net.layers.stages[-1:]), several[-1] if several else "another")
