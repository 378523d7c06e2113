"""Fit the readout of parts, colors and scenes (`pellucid.explanation.readout`), and write it with its thresholds.

The networks stay frozen. Of every training scene as many cells are drawn of each part it shows, and twice as many of none; a
cell of 2 × 2 pixels has the label of its upper left one. A part's threshold is the lowest probability from which on the parts
named on validation scenes are there in 99 %, at least 0.3.

Run: ``python studies/sentences_readout.py [--scenes 1600] [--epochs 10]``; about three minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.explanation.readout import CELLS, FILE, NETWORKS, Decoder, Readout, features, fresh, resized
from pellucid.world import SceneDataset
from pellucid.world.vocabulary import COLORS, PARTS, SCENES

GOAL, LOWEST = 0.99, 0.3
BATCH, CHUNK = 16, 1024
CELLS_DRAWN = 150  # of a scene
CARD = """# {name}

Parts, colors and scenes of pellucid's concept world (`pellucid.world`), read off the frozen stages of
{networks}; precision, recall and IoU are those of parts on validation scenes.

| | |
|---|---|
{rows}
| licence | Apache-2.0 |

Made by `pellucid study sentences-readout`. It knows nothing of real photographs.
"""


def sampled(networks: list[pl.Network], count: int, seed: int) -> dict[str, Tensor]:
    """Drawn cells of training scenes: features of all stages, labels of parts and colors; pooled features and scenes."""
    data, draws = SceneDataset("train", count), torch.Generator().manual_seed(seed)
    found: dict[str, list[Tensor]] = {name: [] for name in ("cells", "parts", "colors", "pooled", "scenes")}
    for first in range(0, count, BATCH):
        seen = [data.rendering(index) for index in range(first, min(count, first + BATCH))]
        pixels = torch.from_numpy(np.stack([one.image for one in seen])).permute(0, 3, 1, 2).float() / 255
        stages, last = features(networks, pixels)
        fine = [resized(stage) if stage.shape[2] > CELLS else stage for stage in stages]
        found["pooled"].append(last)
        found["scenes"].append(torch.tensor([one.scene - 1 for one in seen]))
        for place, one in enumerate(seen):
            parts, colors = (
                torch.from_numpy(getattr(one, what)[::2, ::2].astype(np.int64)).flatten()
                for what in ("part", "color")
            )
            chosen = _drawn(parts, draws)
            where = (
                torch.stack([chosen % CELLS, chosen // CELLS], 1)
                .float()
                .add(0.5)
                .mul(2 / CELLS)
                .sub(1)[None, None]
            )
            rows = [
                F.grid_sample(stage[place, None], where, padding_mode="border", align_corners=False)[
                    0, :, 0
                ].T
                for stage in fine
            ]
            found["cells"].append(torch.cat(rows, 1).half())
            found["parts"].append(parts[chosen])
            found["colors"].append(colors[chosen])
    return {name: torch.cat(pieces) for name, pieces in found.items()}


def _drawn(labels: Tensor, draws: torch.Generator) -> Tensor:
    """Places of cells: as many of every label there is, twice as many of none of them."""
    there = labels.unique().tolist()
    each = max(1, CELLS_DRAWN // len(there))
    chosen = []
    for label in there:
        places = (labels == label).nonzero()[:, 0]
        chosen.append(places[torch.randperm(len(places), generator=draws)[: each if label else 2 * each]])
    return torch.cat(chosen)


def fitted(networks: list[pl.Network], count: int, epochs: int, seed: int = 0) -> Decoder:
    """A decoder fitted on training scenes; the spread of features is folded into its weights."""
    torch.manual_seed(seed)
    data = sampled(networks, count, seed)
    decoder = fresh(networks)
    mean, spread = data["cells"].float().mean(0), data["cells"].float().std(0) + 1e-3
    widths = [one.weight.shape[1] for one in decoder.lateral]
    first = nn.Linear(sum(widths), len(decoder.bias))
    second = nn.Linear(len(decoder.bias), decoder.answer.out_channels)
    steps = epochs * (len(data["cells"]) // CHUNK)
    optimizer = torch.optim.AdamW([*first.parameters(), *second.parameters()], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(data["cells"]))[: len(data["cells"]) // CHUNK * CHUNK].split(CHUNK):
            hidden = first((data["cells"][chosen].float() - mean) / spread).relu()
            part, color = second(hidden).split([len(PARTS) + 1, len(COLORS) + 1], 1)
            loss = F.cross_entropy(part, data["parts"][chosen]) + 0.3 * F.cross_entropy(
                color, data["colors"][chosen]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"loss {float(loss.detach()):.3f}", flush=True)
    with torch.no_grad():
        folded = first.weight / spread
        decoder.bias.copy_(first.bias - folded @ mean)
        for lateral, weight in zip(decoder.lateral, folded.split(widths, 1), strict=True):
            lateral.weight.copy_(weight[:, :, None, None])
        decoder.answer.weight.copy_(second.weight[:, :, None, None])
        decoder.answer.bias.copy_(second.bias)
    _fit_scenes(decoder.scene, data["pooled"], data["scenes"])
    return decoder


def _fit_scenes(scene: nn.Linear, pooled: Tensor, labels: Tensor) -> None:
    optimizer = torch.optim.AdamW(scene.parameters(), 0.01, weight_decay=0.1)
    for _ in range(400):
        loss = F.cross_entropy(scene(pooled), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def thresholds(found: Readout, count: int) -> tuple[list[float], dict[str, float]]:
    """A threshold for every attribute from validation scenes, and what it comes to there."""
    data = SceneDataset("val", count)
    probable, there, inter, union = [], [], torch.zeros(len(PARTS)), torch.zeros(len(PARTS))
    for index in range(count):
        one = data.rendering(index)
        probable.append(found.probabilities(one.image)[0, : len(PARTS)])
        labels = torch.from_numpy(one.part).long()
        there.append(torch.bincount(labels.flatten(), minlength=len(PARTS) + 1)[1:] > 0)
        maps = F.interpolate(
            found.maps(one.image, PARTS), size=labels.shape, mode="bilinear", align_corners=False
        )[0]
        seen = torch.cat([1 - maps.sum(0, keepdim=True), maps]).argmax(0)
        for k in range(len(PARTS)):
            inter[k] += ((seen == k + 1) & (labels == k + 1)).sum()
            union[k] += ((seen == k + 1) | (labels == k + 1)).sum()
    values, truth = torch.stack(probable), torch.stack(there)
    chosen = [_threshold(values[:, k], truth[:, k]) for k in range(len(PARTS))]
    named = values >= torch.tensor(chosen)
    facts = {
        "precision": round(float((named & truth).sum() / named.sum()), 4),
        "recall": round(float((named & truth).sum() / truth.sum()), 4),
        "mean IoU": round(float((inter / union.clamp(min=1))[union > 0].mean()), 4),
    }
    return [*chosen, *[0.5] * (len(COLORS) + len(SCENES))], facts


def _threshold(values: Tensor, truth: Tensor) -> float:
    """The lowest from which on `GOAL` of what is named is there."""
    ordered, order = values.sort(descending=True, stable=True)
    precision = truth[order].double().cumsum(0) / torch.arange(1, len(values) + 1)
    good = (precision >= GOAL).nonzero()[:, 0]
    if not len(good):
        return 1.0
    last = int(good[-1])
    below = float(ordered[last + 1]) if last + 1 < len(ordered) else 0.0
    return round(max(LOWEST, (float(ordered[last]) + below) / 2), 4)


def main(arguments: list[str] | None = None) -> int:
    """Fit, choose thresholds, write weights and a card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--checked", type=int, default=300)
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args(arguments)
    start = time.process_time()
    networks = [pl.load(name) for name in NETWORKS]
    decoder = fitted(networks, options.scenes, options.epochs)
    limits, facts = thresholds(Readout(networks, decoder, []), options.checked)
    state = {name: value.detach().half().contiguous() for name, value in decoder.state_dict().items()}
    save_file(state, str(options.out), {"thresholds": json.dumps(limits)})
    told = {**facts, "scenes": options.scenes, "epochs": options.epochs, "validation scenes": options.checked}
    told["core seconds"] = round(time.process_time() - start)
    rows = "\n".join(f"| {name} | {value} |" for name, value in told.items())
    card = CARD.format(name=options.out.stem, networks=" and ".join(NETWORKS), rows=rows)
    options.out.with_suffix(".md").write_text(card, encoding="utf-8")
    print(told)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
