"""Does IRENet recognize semantic features better than residual networks of the same width on the same budget?

Every network sees the same crops, around labeled parts, in the same order with the same augmentation for the same number of
steps; it keeps the weights of its best validation epoch. Three sets: part crops of the concept world (parts, colors, textures,
materials), photographed cars (parts, left and right merged) and street clothing. One threshold for all labels is chosen on
validation crops: that at which micro precision equals micro recall. Channel counts of all networks are a quarter of the
published ones: two processor cores train no more; ``--width 1`` is the published size. Every run is kept in ``--work`` and
never done twice.

Run: ``pellucid study semantic-features [--assets FOLDER] [--work FOLDER] [--seeds 3] [--width 0.25] …``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kit
from pellucid.core.storage import whole
from pellucid.training.irenet.build import NETWORKS, multiplications, parameters
from pellucid.training.irenet.card import answers
from pellucid.training.irenet.learning import RecognizerJob
from pellucid.training.irenet.metrics import even_threshold
from pellucid.training.irenet.preparing import Prepared, prepare
from pellucid.training.irenet.samples import Crops
from pellucid.training.irenet.settings import RecognizerTraining
from pellucid.training.loop import train
from semantic_features_report import page, plot

RESULTS = Path(__file__).parent / "results"
SETS = ("carparts", "scenes", "clothing")
ENLARGED = "resnet18-x3"  # torchvision's ResNet-18 on the same crops three times as large: as many multiply-adds as IRENet


@dataclass(frozen=True)
class Options:
    """What the study is run with; part of its result."""

    sets: tuple[str, ...] = SETS
    networks: tuple[str, ...] = (*NETWORKS, ENLARGED)
    seeds: int = 3
    width: float = 0.25
    size: int = 48
    samples: int = 8_000
    pictures: int = 300
    batch_size: int = 32
    learning_rate: float = 2e-3

    def training(self, name: str, assets: Path) -> RecognizerTraining:
        """The settings of a set, but for network, seed and epochs."""
        common = RecognizerTraining(
            width=self.width,
            crops="parts",
            maps=False,
            size=self.size,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            positives=20,
            pictures=self.pictures,
            checked=max(2, self.pictures // 2),
        )
        if name == "scenes":
            return replace(common, categories=("part", "color", "texture", "material"))
        folder = f"folder:{assets / 'parts'}"
        if name == "carparts":
            return replace(
                common, data=f"{folder}:carparts", merge="group", categories=("part",), checked=500
            )
        return replace(common, data=f"{folder}:ccp", categories=("object", "part"), checked=500)


class Enlarged(nn.Module):
    """A network that sees its pictures larger: a residual network's early strides then cost it less of a small crop."""

    def __init__(self, inner: nn.Module, times: int) -> None:
        super().__init__()
        self.inner, self.times = inner, times

    def forward(self, images: Tensor) -> Tensor:
        """What the network says of the enlarged pictures."""
        larger = F.interpolate(images, scale_factor=self.times, mode="bilinear", align_corners=False)
        return torch.as_tensor(self.inner(larger))


def run(
    settings: RecognizerTraining, prepared: Prepared, work: Path, key: str, times: int = 1
) -> dict[str, Any]:
    """Train one network and keep its test probabilities; read again where that was done. ``times``: how much larger it sees
    its crops."""
    kept = work / f"{key}.pt"
    if kept.is_file():
        saved: dict[str, Any] = torch.load(kept, weights_only=True)
        if saved["settings"] == _plain(settings):
            return saved
    job = RecognizerJob(settings, prepared)
    if times > 1:
        job.module = Enlarged(job.module, times)
    started = time.process_time()
    record = train(job, work / f"{key}.checkpoint.pt", precision=settings.precision, progress=False)
    spent = time.process_time() - started
    threshold = even_threshold(*answers(job.module, prepared.validation))
    truth, found = answers(job.module, prepared.test)
    saved = {
        "settings": _plain(settings),
        "truth": truth,
        "probabilities": found,
        "threshold": threshold,
        "best_epoch": record.best,
        "map": [row["map"] for row in record.history],
        "loss": [row["loss"] for row in record.history],
        "seconds": spent,
        "parameters": parameters(job.module),
        "multiplications": multiplications(job.module, settings.size),
    }
    with whole(kept) as partial:
        torch.save(saved, partial)
    (work / f"{key}.checkpoint.pt").unlink(missing_ok=True)
    return saved


def _plain(settings: RecognizerTraining) -> dict[str, Any]:
    """Settings as they are kept: the place of the pictures on this machine is no part of them."""
    values = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()
    }
    return {**values, "data": settings.data.rpartition("/")[2]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not there yet, then write JSON, page and figure."""
    options, places = _options(arguments)
    torch.set_num_threads(1)
    places.work.mkdir(parents=True, exist_ok=True)
    sets: dict[str, Any] = {}
    for name in options.sets:
        settings = options.training(name, places.assets)
        prepared = prepare(settings, progress=False)
        assert isinstance(prepared.test, Crops)
        settings = replace(settings, epochs=max(1, round(options.samples / len(prepared.training))))
        rows = []
        for seed in range(options.seeds):
            for network in options.networks:
                chosen = replace(settings, network=network.removesuffix("-x3"), seed=seed)
                key = f"{name}-{network}-{options.width:g}-{seed}"
                row = run(chosen, prepared, places.work, key, 3 if network == ENLARGED else 1)
                rows.append({"network": network, "seed": seed, **row})
                last = row["map"][-1]
                print(f"{name} {network} seed {seed}: mAP {last:.3f}, {row['seconds']:.0f} s", flush=True)
        sets[name] = {
            "rows": rows,
            "places": prepared.test.places,
            "prepared": prepared,
            "epochs": settings.epochs,
        }
    result = page(sets, {**asdict(options), **_metadata()})
    kit.write(places.out, "semantic-features", result["json"], result["text"])
    plot(result["json"], places.out / "semantic-features.png")
    return 0


def _metadata() -> dict[str, Any]:
    code = [
        *Path(__file__).parent.glob("semantic_features*.py"),
        *(kit.PACKAGE / "training" / "irenet").glob("*.py"),
    ]
    return kit.metadata(code)


def _options(arguments: Sequence[str] | None) -> tuple[Options, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="semantic-features", description=(__doc__ or "").splitlines()[0])
    for name, value in asdict(Options()).items():
        many = isinstance(value, tuple)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=str if many else type(value),
            nargs="+" if many else None,
            default=value,
            choices={"sets": SETS, "networks": (*NETWORKS, ENLARGED)}.get(name),
        )
    parser.add_argument(
        "--assets", type=Path, default=os.environ.get("PELLUCID_ASSETS"), help="folder with parts/"
    )
    parser.add_argument("--work", type=Path, default=Path("pellucid-out/semantic-features"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = vars(parser.parse_args(arguments))
    places = argparse.Namespace(**{name: given.pop(name) for name in ("assets", "work", "out")})
    given["sets"], given["networks"] = tuple(given["sets"]), tuple(given["networks"])
    if places.assets is None and set(given["sets"]) - {"scenes"}:
        parser.error("Expected the folder of the real part sets; give --assets or set PELLUCID_ASSETS.")
    places.assets = Path(places.assets or ".")
    return Options(**given), places


if __name__ == "__main__":
    raise SystemExit(main())
