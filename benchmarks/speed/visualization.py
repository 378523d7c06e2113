"""What a step of activation maximization costs, against Lucent.

    pip install --no-deps --target FOLDER torch-lucent kornia==0.4.1
    python benchmarks/speed/visualization.py --lucent FOLDER [--rounds 7] [--out visualization.json]

Lucent's ``render_vis`` with its defaults (Fourier image, its transforms, Adam) on units of one layer, four in a batch, against
ours on the same module, units, batch and image size, one thread, random weights. Its notebook display (IPython) is stood in
for by an empty module. Lucent enlarges pictures below 224 pixels to 224 before the network sees them: a picture of 128 is its
default size, so it is measured as it comes; rows at 224 compare equal pictures in the network. Scenes are of 128 pixels,
and Lucent is told to leave them. Operations are those of convolutions and matrix products per step; seconds are ratios
within interleaved rounds (``meters.py``). Peak memory is that of a fresh process per contender; ``--only-memory`` measures it
alone and leaves the rest as it is. The pyramid's octaves make its pictures small at first: ``one octave`` is without.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from cam import _machine
from contenders import Contender
from meters import memory, operations, ratios, seconds
from torch import nn

import pellucid as pl
from pellucid.visualization import visualize
from pellucid.zoo.zoos import import_torchvision

SETTINGS = (
    ("torchvision:resnet18", "layer1", 128),
    ("torchvision:resnet18", "layer2", 128),
    ("torchvision:resnet18", "layer4", 128),
    ("torchvision:resnet18", "layer1", 224),
    ("torchvision:resnet18", "layer2", 224),
    ("torchvision:resnet18", "layer4", 224),
    ("scenes-vgg", "features.16", 128),
    ("scenes-vgg", "features.30", 128),
)
MEMORY = (
    ("torchvision:resnet18", "layer2", 128),
    ("torchvision:resnet18", "layer4", 224),
    ("scenes-vgg", "features.30", 128),
)
BATCH, STEPS, GOAL = 4, 4, 3.0
LUCENT, PEER = "lucent", "pellucid fourier"
OURS: dict[str, dict[str, Any]] = {
    PEER: {"method": "fourier"},
    "pellucid pyramid, one octave": {"method": "pyramid", "octaves": 1},
    "pellucid pyramid": {"method": "pyramid"},
    "pellucid pyramid, bfloat16": {"method": "pyramid", "bfloat16": True},
}
REMEMBERED = (LUCENT, PEER, "pellucid pyramid")


def lucent(folder: Path | None) -> Any:
    """Lucent's ``render``, ``param`` and ``objectives``, from the environment or a folder; None where it is not there."""
    import_torchvision()
    if folder is not None:
        sys.path.append(str(folder))
    for name in ("IPython", "IPython.display"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["IPython"].display = sys.modules["IPython.display"]  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from lucent.optvis import objectives, param, render
        except ImportError:
            return None
    return types.SimpleNamespace(render=render, param=param, objectives=objectives)


def rendered(
    peer: Any, module: nn.Module, names: list[tuple[str, int]], size: int, steps: int, keep: int | None,
    normalize: Callable[[Any], Any] | None = None,
) -> Any:  # fmt: skip
    """Lucent's pictures [batch h w 3] of (layer, unit), one each; ``keep``: the size it must not enlarge; ``normalize``: in
    place of ImageNet's mean and deviation."""
    from lucent.optvis import transform

    objective = peer.objectives.channel(names[0][0].replace(".", "_"), names[0][1], batch=0)
    for place, (layer, unit) in enumerate(names[1:], 1):
        objective = objective + peer.objectives.channel(layer.replace(".", "_"), unit, batch=place)
    own = (
        {}
        if normalize is None
        else {"transforms": [*transform.standard_transforms, normalize], "preprocess": False}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peer.render.render_vis(
            module, objective, lambda: peer.param.image(size, batch=len(names)), thresholds=(steps,),
            show_image=False, progress=False, fixed_image_size=keep, **own,
        )[-1]  # fmt: skip


def runs_of(peer: Any, net: pl.Network, name: str, layer: str, size: int) -> dict[str, Callable[[int], None]]:
    """What every contender does at one layer, by its name: a function of the number of steps."""
    names = [(layer, unit) for unit in range(BATCH)]
    keep = size if not name.startswith("torchvision") else None

    def theirs(steps: int) -> None:
        # its hooks stay on the module: each run has a fresh one
        module = pl.load(name).module.eval()
        for parameter in module.parameters():
            parameter.requires_grad_(True)
        rendered(peer, module, names, size, steps, keep)

    def mine(options: dict[str, Any]) -> Callable[[int], None]:
        def run(steps: int) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                units = [pl.Unit(*each) for each in names]
                visualize(net, units, size=size, steps=steps, certify=False, progress=False, **options)

        return run

    return {LUCENT: theirs, **{who: mine(options) for who, options in OURS.items()}}


def loaded(name: str, size: int) -> pl.Network:
    """A network for pictures of that size."""
    return pl.load(name, input_shape=(3, size, size)) if size != 128 or ":" in name else pl.load(name)


def remembered(folder: Path | None) -> list[dict[str, Any]]:
    """Peak memory of every contender, a fresh process each."""
    rows = []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for name, layer, size in MEMORY:
        for who in REMEMBERED:
            command = [sys.executable, __file__, "--child", name, layer, str(size), who]
            command += [] if folder is None else ["--lucent", str(folder)]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            rows.append({"network": name, "layer": layer, "size": size, "contender": who, **found})
    return rows


def _child(peer: Any, name: str, layer: str, size: int, who: str) -> dict[str, float]:
    """Peak of one contender above what is resident after a forward pass with the network loaded."""
    net = loaded(name, size)
    run = runs_of(peer, net, name, layer, size)[who]

    def plain() -> None:
        with torch.no_grad():
            net(torch.zeros(BATCH, 3, size, size))

    return memory(lambda: run(STEPS), plain)


def measured(peer: Any, name: str, layer: str, size: int, rounds: int) -> dict[str, Any]:
    """Operations and ratios of every contender at one layer."""
    runs = runs_of(peer, loaded(name, size), name, layer, size)
    contenders = [Contender(who, who.split()[0], lambda run=run: run(STEPS)) for who, run in runs.items()]
    found = seconds(contenders, rounds, lambda: None)
    once = {who: _per_step(run) for who, run in runs.items() if "bfloat16" not in who}
    rows = []
    for who in runs:
        row: dict[str, Any] = {"contender": who, "operations": once.get(who)}
        row["milliseconds"] = round(1000 * min(t[0] for t in found[who].values()) / STEPS / BATCH, 1)
        row["times faster"] = ratios(found, LUCENT, who, 0)
        row["times faster, processor"] = ratios(found, LUCENT, who, 1)
        rows.append(row)
    return {"network": name, "layer": layer, "size": size, "rows": rows}


def _per_step(run: Callable[[int], None]) -> float:
    """Billions of operations per image and step."""
    return round((operations(lambda: run(12)) - operations(lambda: run(4))) / 8 / BATCH / 1e9, 4)


def table(result: dict[str, Any]) -> str:
    """All settings in Markdown, the goal's verdict in the last column."""
    machine, versions = result["machine"], result["versions"]
    lines = [
        "# A step of activation maximization: cost",
        "",
        f"{result['date']} · {machine['processor']}, {machine['cores']} cores, load {machine['load at start and end'][0]} to "
        f"{machine['load at start and end'][1]} · "
        + ", ".join(f"{k} {v}" for k, v in versions.items())
        + ".",
        "",
        f"{BATCH} units in a batch, one thread, random weights for ResNet-18; {result['rounds']} interleaved rounds of "
        f"{STEPS} steps, set-up included; median and quartiles of the ratio to Lucent within a round. Operations: GFLOP of "
        "convolutions and "
        f"matrix products per image and step. Goal: {GOAL:.0f} times faster than Lucent at the same unit, batch and image size. "
        "Lucent enlarges a picture of 128 to 224 for ResNet-18; that is how it comes. By "
        "`python benchmarks/speed/visualization.py`.",
        "",
        "| network | layer | image | | GFLOP | ms | times faster, wall clock | processor | goal |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for setting in result["settings"]:
        for row in setting["rows"]:
            wall, processor = row["times faster"], row["times faster, processor"]
            verdict = "" if row["contender"] == LUCENT else "met" if wall["median"] >= GOAL else "**missed**"
            lines.append(
                f"| {setting['network']} | {setting['layer']} | {setting['size']} | {row['contender']} | "
                f"{row['operations'] or '–'} | {row['milliseconds']} | {_shown(wall)} | {_shown(processor)} | {verdict} |"
            )
    lines += [
        "",
        f"Peak memory above what is resident after a forward pass, MB (2^20 bytes), {STEPS} steps of {BATCH} pictures, a fresh "
        "process each:",
        "",
        "| network | layer | image | " + " | ".join(REMEMBERED) + " |",
        "|---" * (3 + len(REMEMBERED)) + "|",
    ]
    for name, layer, size in MEMORY:
        extra = {
            row["contender"]: row["extra_mb"]
            for row in result["memory"]
            if (row["network"], row["layer"], row["size"]) == (name, layer, size)
        }
        cells = [f"{extra[who]:.0f}" for who in REMEMBERED]
        lines.append(f"| {name} | {layer} | {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f} ({spread['q1']:.2f}–{spread['q3']:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lucent", type=Path, help="folder in which Lucent and kornia are installed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("visualization.json"))
    parser.add_argument("--only-memory", action="store_true", help="memory alone; the rest as it is")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    peer = lucent(options.lucent)
    if peer is None:
        sys.exit(
            "Expected Lucent to be installed, got none; see the head of this file, then try --lucent FOLDER."
        )
    if options.child:
        name, layer, size, who = options.child
        print(json.dumps(_child(peer, name, layer, int(size), who)))
        return
    again = options.only_memory
    result = json.loads(options.out.read_text()) if again else _everything(peer, options.rounds)
    result["memory"] = remembered(options.lucent)
    text = table(result)
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    options.out.with_suffix(".md").write_text(text)
    print(text)


def _everything(peer: Any, rounds: int) -> dict[str, Any]:
    """All settings, with when, where and with which code."""
    start = os.getloadavg()[0]
    settings = []
    for name, layer, size in SETTINGS:
        settings.append(measured(peer, name, layer, size, rounds))
        print(name, layer, size, flush=True)
    folder = Path(pl.__file__).parent / "visualization"
    code = hashlib.sha256(b"".join(each.read_bytes() for each in sorted(folder.glob("*.py")))).hexdigest()[
        :12
    ]
    return {
        "benchmark": "visualization",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": rounds,
        "machine": _machine(start),
        "versions": {
            "python": platform.python_version(),
            **{
                each: importlib.metadata.version(each)
                for each in ("pellucid", "torch", "torchvision", "torch-lucent", "kornia")
            },
            "pellucid's code": code,
        },
        "settings": settings,
    }


if __name__ == "__main__":
    main()
