"""What relevance at every layer costs, against zennit and captum.

    python benchmarks/speed/relevance.py [--rounds 15] [--out relevance.json]

One image at 224 × 224, random weights, one thread: z⁺ at convolutions and ε at linear layers, relevance of every
convolution's output and of the pixels. Operations are counted exactly, in forward passes; seconds are ratios within
interleaved rounds (``meters.py``). For the networks without a peer only operations are counted. zennit keeps relevance by
``retain_grad`` on the outputs of its hooked modules; for ResNet-18 it takes its own canonizer. captum takes its
``LayerLRP`` with all layers at once, which knows no additions: it has no ResNet.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import importlib.metadata
import json
import os
import platform
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cam import _machine
from contenders import CLASS, PLAIN, SEED, SIZE, Contender, Setting
from meters import operations, ratios, seconds
from torch import Tensor, nn

import pellucid
from pellucid.relevance import Composite, Epsilon, ZPlus, propagate

TIMED = ("vgg16", "resnet18")
COUNTED = ("resnet50", "squeezenet1_1", "densenet121", "mobilenet_v2")
PACKAGES = ("pellucid", "torch", "torchvision", "zennit", "captum")
GOAL, GOAL_ROW = 3.1, "pellucid, layers"
SAME_LAYERS, SAME = "pellucid, the peers' z⁺, layers", "pellucid, the peers' z⁺, layers and pixels"
SAME_RULES = Composite(ZPlus(bias=True), Epsilon())  # zennit's and captum's z⁺ let the bias take part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("relevance.json"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    start = os.getloadavg()[0]
    networks = {name: measured(name, arguments.rounds if name in TIMED else 0) for name in (*TIMED, *COUNTED)}
    result: dict[str, Any] = {
        "benchmark": "relevance",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "protocol": {
            "image": [1, 3, SIZE, SIZE],
            "weights": "random",
            "seed": SEED,
            "rounds": arguments.rounds,
            "threads": 1,
            "ratios": "within a round, contenders interleaved in shuffled order; median and quartiles",
            "operations": "convolutions and matrix products over those of one forward pass",
            "left out": "captum on ResNet-18: its LRP refuses functional additions and reused modules",
        },
        "machine": _machine(start),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
            "pellucid's code": _source(),
        },
        "networks": networks,
    }
    result["goals"] = goals(result)
    text = table(result)
    print(text)
    arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    arguments.out.with_suffix(".md").write_text(text)


def measured(name: str, rounds: int) -> list[dict[str, Any]]:
    """Operations of every contender, and seconds where there are peers."""
    setting = Setting(name)
    contenders = runs(setting)
    check(contenders)
    once = operations(setting.plain)
    found = seconds(contenders, rounds, setting.clean) if rounds else {}
    rows = []
    for each in contenders:
        row: dict[str, Any] = {"contender": each.name, "library": each.library}
        row["operations"] = round(operations(each.run) / once, 4)
        if rounds:
            row |= {"rounds": len(found[each.name]), "wall": ratios(found, each.name, PLAIN, 0)}
            row["processor"] = ratios(found, each.name, PLAIN, 1)
            if each.against:
                row["against"] = each.against
                row["over pellucid"] = ratios(found, each.name, each.against, 0)
        rows.append(row)
    return rows


def runs(setting: Setting) -> list[Contender]:
    """Plain, ours down to the first convolution's output, ours down to the pixels, peers where they work."""
    net, image = setting.net, setting.image
    layers = [name for name, child in setting.module.named_modules() if isinstance(child, nn.Conv2d)]
    everything = ["input", *layers]

    def walk(asked: list[str], composite: str | Composite = "epsilon-plus") -> dict[str, Tensor]:
        return dict(propagate(net, image, asked, CLASS, composite=composite).relevance)

    found = [
        Contender(PLAIN, "torch", setting.plain),
        Contender(GOAL_ROW, "pellucid", lambda: walk(layers)),
        Contender("pellucid, layers and pixels", "pellucid", lambda: walk(everything)),
    ]
    if setting.name in TIMED:
        found.append(Contender(SAME_LAYERS, "pellucid", lambda: walk(layers, SAME_RULES)))
        found.append(Contender(SAME, "pellucid", lambda: walk(everything, SAME_RULES)))
    if setting.name in TIMED:
        found.append(Contender("zennit", "zennit", zennit(setting, layers), 0, SAME))
    if setting.name == "vgg16":
        found.append(Contender("captum", "captum", captum(setting, layers), 0, SAME_LAYERS))
    return found


def zennit(setting: Setting, layers: list[str]) -> Callable[[], dict[str, Tensor]]:
    """``EpsilonPlus``, keeping relevance of every convolution's output."""
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlus
    from zennit.torchvision import ResNetCanonizer

    module, image = setting.module, setting.image
    canonizers = [ResNetCanonizer()] if setting.name.startswith("resnet") else []

    def run() -> dict[str, Tensor]:
        kept: dict[str, Tensor] = {}

        def hook(name: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
            output.retain_grad()
            kept[name] = output

        with Gradient(module, EpsilonPlus(canonizers=canonizers)) as attributor:
            handles = [module.get_submodule(n).register_forward_hook(partial(hook, n)) for n in layers]
            try:
                output, relevance = attributor(
                    image.clone().requires_grad_(), lambda z: z * nn.functional.one_hot(_class(z), z.shape[1])
                )
            finally:
                for handle in handles:
                    handle.remove()
        del output
        return {"input": relevance, **{name: each.grad for name, each in kept.items()}}

    return run


def captum(setting: Setting, layers: list[str]) -> Callable[[], dict[str, Tensor]]:
    """``LayerLRP`` of all convolutions' outputs, rules as in our composite."""
    from captum.attr import LayerLRP
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule

    module = copy.deepcopy(setting.module)
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            child.rule = Alpha1_Beta0_Rule()
        elif isinstance(child, (nn.Linear, nn.MaxPool2d, nn.AdaptiveAvgPool2d)):
            child.rule = EpsilonRule()
        elif isinstance(child, nn.ReLU):
            child.inplace = False
    places = [module.get_submodule(name) for name in layers]
    method = LayerLRP(module, places)

    def run() -> dict[str, Tensor]:
        # the operation counter cannot have a leaf as a module's input
        inner = method.attribute(setting.image.clone().requires_grad_().clone(), target=CLASS)
        return {
            name: each[0] if isinstance(each, tuple) else each
            for name, each in zip(layers, inner, strict=True)
        }

    return run


def check(contenders: list[Contender]) -> None:
    """Before anything is timed: the peers' relevance is ours at every layer, up to their stabilizers."""
    results = {each.name: each.run() for each in contenders if each.name == SAME or each.against}
    mine = results.pop(SAME, {})
    for peer, other in results.items():
        for name, relevance in other.items():
            alike = torch.cosine_similarity(mine[name].flatten(), relevance.detach().flatten(), 0)
            assert float(alike) > 0.999, (peer, name, float(alike))


def _source() -> str:
    """A digest of the code that decides what is measured."""
    folder = Path(pellucid.__file__).parent
    files = [*folder.glob("*.py"), *folder.glob("relevance/*.py")]
    return hashlib.sha256(b"".join(each.read_bytes() for each in sorted(files))).hexdigest()[:12]


def _class(output: Tensor) -> Tensor:
    return torch.full((len(output),), CLASS)


def goals(result: dict[str, Any]) -> list[dict[str, Any]]:
    """All-layer relevance in at most so many forward passes, by operations."""
    found = []
    for network, rows in result["networks"].items():
        cost = next(row["operations"] for row in rows if row["contender"] == GOAL_ROW)
        found.append({"network": network, "limit": GOAL, "operations": cost, "met": cost <= GOAL})
    return found


def verdict(row: dict[str, Any], ours: dict[str, Any]) -> str:
    """Operations within 2 % are a tie; seconds need the whole interquartile range on one side of 1."""
    more, wall = row["operations"] / ours["operations"], row["over pellucid"]
    by_count = "tie" if abs(more - 1) <= 0.02 else "win" if more > 1 else "**loss**"
    by_time = "win" if wall["q1"] > 1 else "**loss**" if wall["q3"] < 1 else "tie"
    return f"operations {more:.2f} × ours: {by_count}; seconds {_spread(wall)} × ours: {by_time}"


def table(result: dict[str, Any]) -> str:
    """The result to read."""
    machine, versions = result["machine"], result["versions"]
    about = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        "# Relevance of every layer: cost", "",
        f"{result['date']} · {machine['processor']}, {machine['cores']} cores, load "
        f"{' to '.join(map(str, machine['load at start and end']))} · {about} · {result['protocol']['rounds']} rounds.",
        "",
        "One image 1×3×224×224, random weights, one thread; z⁺ at convolutions, ε at linear layers. All in forward passes. "
        f"Left out: {result['protocol']['left out']}.", "",
        "| network | goal: every layer in at most | operations | |", "|---|---|---|---|",
    ]  # fmt: skip
    for goal in result["goals"]:
        met = "met" if goal["met"] else "**missed**"
        lines.append(f"| {goal['network']} | {goal['limit']} | {goal['operations']:.2f} | {met} |")
    for network, rows in result["networks"].items():
        lines += [
            "",
            f"## {network}",
            "",
            "| | operations | wall clock | processor time | |",
            "|---|---|---|---|---|",
        ]
        by_name = {row["contender"]: row for row in rows}
        for row in rows:
            clocks = [_spread(row[clock]) if clock in row else "" for clock in ("wall", "processor")]
            said = verdict(row, by_name[row["against"]]) if "against" in row else ""
            lines.append(f"| {row['contender']} | {row['operations']:.2f} | {' | '.join(clocks)} | {said} |")
    return "\n".join(lines) + "\n"


def _spread(found: dict[str, float]) -> str:
    return f"{found['median']:.2f} ({found['q1']:.2f}–{found['q3']:.2f})"


if __name__ == "__main__":
    main()
