"""Does pellucid work on the network families of torchvision? Random weights; nothing is downloaded.

For every family: the stages it finds with their grids; whether one capture gives at every stage what plain
autograd gives layer by layer; whether the network can be cut at a middle and at the last stage, with the
largest error of a changed activation against a hook that replaces it (relative to the largest class score);
and how much longer a capture of all stages takes than a plain forward pass. Writes families.json and
families.md beside itself::

    python benchmarks/quality/families.py [--threads 1] [NAME ...]   # with names: those rows anew
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

import pellucid as pl
from pellucid.zoo.zoos import import_torchvision

FAMILIES = (
    "alexnet", "convnext_small", "convnext_tiny", "densenet121", "densenet169", "efficientnet_b0",
    "efficientnet_b1", "efficientnet_v2_s", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5",
    "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "regnet_x_400mf",
    "regnet_y_400mf", "resnet18", "resnet34", "resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0", "squeezenet1_0", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn",
    "vgg16_bn", "vit_b_16", "wide_resnet50_2",
)  # fmt: skip
TOLERANCE = 1e-3


def measure(name: str, size: int | None = None) -> dict[str, Any]:
    """One row of the table; ``size`` is the side of the input, by default the family's own."""
    torch.manual_seed(0)
    net = pl.load(f"torchvision:{name}", **({} if size is None else {"input_shape": (3, size, size)}))
    for parameter in net.module.parameters():
        if parameter.ndim > 1 and not parameter.any():  # a head of zeros (ViT) lets no gradient pass
            torch.nn.init.normal_(parameter, std=0.02)
    images = torch.randn(1, *net.input_shape)
    stages = net.default_layers
    row: dict[str, Any] = {
        "name": name,
        "input": list(net.input_shape),
        "parameters": sum(p.numel() for p in net.module.parameters()),
        "layers": len(net.layers),
        "stages": {stage: list(net.layer(stage).shape) for stage in stages},
    }
    trace = pl.capture(net, images, stages, 0)
    row["capture_error"] = max(capture_error(net, trace, stage) for stage in stages)
    for place, stage in (("middle", stages[len(stages) // 2]), ("last", stages[-1])):
        row[f"{place}_layer"] = stage
        row[f"{place}_cut"], row[f"{place}_tail_error"] = tail_error(net, images, stage)
    errors = (row["capture_error"], row["middle_tail_error"], row["last_tail_error"])
    row["ok"] = row["middle_cut"] and row["last_cut"] and all(error < TOLERANCE for error in errors)
    return row


def replaced(net: pl.Network, images: torch.Tensor, layer: str, value: torch.Tensor) -> torch.Tensor:
    """Class scores of a plain forward pass in which a hook puts ``value`` in the place of the layer's last
    call."""
    found = net.layers_at((images.shape[2], images.shape[3])).find(layer)[1]
    assert found is not None
    calls = 0

    def hook(*_: Any) -> torch.Tensor | None:
        nonlocal calls
        calls += 1
        return value * 1 if calls - 1 == found.number else None

    handle = net.module.get_submodule(found.module).register_forward_hook(hook)
    try:
        return net(images.clone())
    finally:
        handle.remove()


def capture_error(net: pl.Network, trace: pl.Trace, layer: str) -> float:
    """Largest difference of the captured gradient to that of plain autograd, relative to the largest
    gradient."""
    leaf = trace.activations[layer].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(replaced(net, trace.images, layer, leaf)[:, 0].sum(), leaf)
    largest = float(gradient.abs().max())
    return float((gradient - trace.gradients[layer]).abs().max()) / largest if largest > 0 else float("inf")


@torch.no_grad()
def tail_error(net: pl.Network, images: torch.Tensor, layer: str) -> tuple[bool, float]:
    """Could the network be cut there; and the relative error for an activation of which half is silenced."""
    tail = pl.Tail(net, images, layer)
    changed = tail.activation * (torch.rand_like(tail.activation) > 0.5)
    expected = replaced(net, images, layer, changed)
    return tail.cut, float((tail(changed) - expected).abs().max() / expected.abs().max())


def metadata() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": import_torchvision().__version__,
        "pellucid": pl.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "tolerance": TOLERANCE,
        "weights": "random (seed 0; matrices of zeros redrawn)",
    }


def table(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """The results in Markdown."""
    good = sum(row["ok"] for row in rows)
    made = ", ".join(f"{key} {value}" for key, value in facts.items())
    lines = [
        "# Network families",
        "",
        f"{good} of {len(rows)} torchvision classifiers pass, with random weights. Made by "
        f"`benchmarks/quality/families.py`; {made}. Errors are relative.",
        "",
        "| network | parameters | input | stages (grid) | capture error | cut middle (error) "
        "| cut last (error) |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(line, rows)]) + "\n"


def line(row: dict[str, Any]) -> str:
    """One row of the table; a failure is shown, not left out."""
    if "failure" in row:
        return f"| {row['name']} | | | **fails**: {row['failure']} | | | |"
    stages = ", ".join(f"{name} ({shape[1]}×{shape[2]})" for name, shape in row["stages"].items())
    cells = [
        row["name"] + ("" if row["ok"] else " **fails**"),
        f"{row['parameters'] / 1e6:.1f} M",
        f"{row['input'][1]}",
        stages,
        f"{row['capture_error']:.0e}",
        *(
            f"{'yes' if row[f'{place}_cut'] else '**no**'} ({row[f'{place}_tail_error']:.0e})"
            for place in ("middle", "last")
        ),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=FAMILIES)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.names:
        begin = time.perf_counter()
        try:
            rows.append(measure(name))
        except Exception as error:
            rows.append({"name": name, "ok": False, "failure": f"{type(error).__name__}: {str(error)[:300]}"})
        verdict = "ok" if rows[-1]["ok"] else "FAILS"
        print(f"{name}: {verdict} ({time.perf_counter() - begin:.0f} s)", flush=True)
    here, facts = Path(__file__).with_suffix(""), metadata()
    results = here.with_suffix(".json")
    if tuple(options.names) != FAMILIES and results.is_file():  # some again: the others stay
        anew = {row["name"]: row for row in rows}
        rows = [anew.pop(row["name"], row) for row in json.loads(results.read_text())["rows"]] + [
            *anew.values()
        ]
    results.write_text(json.dumps({"metadata": facts, "rows": rows}, indent=1) + "\n")
    here.with_suffix(".md").write_text(table(rows, facts))


if __name__ == "__main__":
    main()
