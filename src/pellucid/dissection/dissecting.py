"""`dissect`: what every unit of the asked layers detects.

    T_k: P(a_k > T_k) = 0.005 over all cells of all pictures;  M_k = Up(A_k) > T_k on the label grid;
    IoU[k, c] = |M_k and c| / (|M_k| where c's category occurs + |c| - |M_k and c|);  detector: IoU > 0.04.

Source: Bau, Zhou, Khosla, Oliva, Torralba, CVPR 2017. Where we differ: thresholds are exact order statistics (the released
code sketches them); maps are anchored at effective receptive-field centers (``anchor="paper"`` gives the published ones); a
concept that two label maps name at one pixel counts once; a label of 0 never counts, for a whole picture neither. What the
paper has not: held-out scores, intervals, and what chance gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pellucid.core.layers import INPUT, LayerLike
from pellucid.core.network import Network, NetworkLike, as_network
from pellucid.core.steps import plan_of
from pellucid.core.storage import fingerprint
from pellucid.data.concepts import ConceptSource, open_concepts
from pellucid.dissection.engine import Dissection
from pellucid.dissection.settings import Settings
from pellucid.dissection.table import UnitTable


def dissect(
    net: NetworkLike,
    concepts: ConceptSource | str | Path,
    layers: LayerLike | Sequence[LayerLike] | None = None,
    *,
    folder: str | Path | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> dict[str, UnitTable]:
    """Find out what every unit of a network detects.

    Follows Bau, Zhou, Khosla, Oliva, Torralba, CVPR 2017, with exact thresholds in place of sampled ones. The size of batches
    changes the last bits of some convolutions in float32; all else is exact, whatever the order, batches or interruptions.

    Args:
        net: a network, module, name or file; see `pellucid.load`.
        concepts: pictures with labels, or where they are: ``"scenes:val/0-999"``, a folder in the layout of Broden, COCO, VOC,
            ADE20K, CUB-200, or one with index.csv and labels.csv (`pellucid.open_concepts`).
        layers: names, positions or modules; by default the end of every resolution stage.
        folder: where partial results are stored, so that a stopped run goes on there; they stay until you delete them, once
            the tables are saved. By default a temporary folder.
        progress: None shows bars on a terminal.
        **settings: fields of `pellucid.dissection.settings.Settings` (``quantile``, ``anchor``, ``ratio``, ``draws``,
            ``resamples``, ``examples``, ``seed``, ``batch_size``, …).

    Returns:
        ``{layer: UnitTable}``, in the order of ``layers``.

    Raises:
        UnknownNameError: an unknown layer.
        TypeError: an unknown setting.
        ValueError: no picture can be used, activations are not finite, or ``folder`` holds another run's unfinished results.

    Example:
        >>> import pellucid as pl
        >>> tables = pl.dissect("scenes-resnet", "scenes:val/0-3", draws=0, resamples=0)  # doctest: +SKIP
    """
    net = as_network(net)
    chosen = Settings(**settings)
    concepts = open_concepts(concepts)
    names = net.default_layers if layers is None else net.layer_names(layers)
    if not names or INPUT in names:
        raise ValueError(
            f"Expected at least one layer of `{net.name}` behind its input, got {list(names)}; try {list(net.default_layers)}."
        )
    if not len(concepts):
        raise ValueError(f"Expected at least one picture, got the empty set `{concepts.name}`.")
    found = [net.layer(name) for name in names]
    about = {
        "network": {"name": net.name, "sha256": fingerprint(net.module)},
        "concepts": concepts.facts(),
    }
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tables = _run(net, concepts, found, chosen, Path(folder), about, progress)
    else:
        with TemporaryDirectory(prefix="pellucid-dissect-") as scratch:
            tables = _run(net, concepts, found, chosen, Path(scratch), about, progress)
    return tables


def _run(
    net: Network,
    concepts: ConceptSource,
    layers: Any,
    settings: Settings,
    folder: Path,
    about: Any,
    progress: Any,
) -> dict[str, UnitTable]:
    wanted = [layer.name for layer in layers]
    planned = (plan_of(folder) or {}).get("layers", ())
    if set(wanted) < set(planned):  # of a stopped run some tables are saved
        layers = [net.layer(name) for name in planned]
    tables = Dissection(net, concepts, layers, settings, folder, about, progress, wanted).run()
    kept = {key: value for key, value in asdict(settings).items() if key not in ("scratch", "batch_size")}
    return {
        name: replace(table, facts={**about, "settings": kept, **table.facts})
        for name, table in tables.items()
    }
