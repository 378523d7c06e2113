"""The cases of `hostile_checkpoints`: what tools write, and tensors, names, containers and pickles made to harm."""

from __future__ import annotations

import argparse
import os
import pickle
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from checkpoint_archives import of_archives, of_files, of_safetensors, of_shards
from checkpoint_making import (
    BIAS,
    MEAN,
    VARIANCE,
    WEIGHT,
    Case,
    State,
    healthy_state,
    saved,
    under,
    written,
    zipped,
)
from safetensors.torch import save
from torch import Tensor, nn

import pellucid as pl


def cases(draw: random.Random) -> Iterator[Case]:
    """All cases; ``draw`` decides where files are damaged."""
    state = healthy_state()
    yield from _of_tools(state)
    yield from _of_types(state)
    yield from _of_tensors(state)
    yield from _of_names(state)
    yield from _of_containers(state)
    yield from _of_pickles(state)
    yield from of_archives(state)
    yield from of_safetensors(state)
    yield from of_shards(state)
    yield from of_files(state, draw)


# ---- healthy: what training tools write


def _of_tools(state: State) -> Iterator[Case]:
    prefixes = (
        "module.", "model.", "_orig_mod.", "net.", "backbone.", "network.", "encoder.", "resnet.", "module._orig_mod.",
        "_orig_mod.module.", "model._orig_mod.", "model.module.", "a.b.c.", "_fsdp_wrapped_module.", "teacher.backbone.",
    )  # fmt: skip
    for prefix in prefixes:
        yield Case("wrappers", prefix, saved(under(prefix, state)), True)
        yield Case(
            "wrappers",
            f"{prefix} in state_dict",
            saved({"state_dict": under(prefix, state), "epoch": 3}),
            True,
        )
    for key in (
        "state_dict",
        "model_state_dict",
        "model",
        "model_state",
        "net",
        "ema",
        "teacher",
        "weights",
        "params",
        "mine",
    ):
        yield Case("containers", key, saved({key: state, "epoch": 1, "lr": [0.1, 0.01]}), True)
        yield Case("containers", f"{key}, twice", saved({"checkpoint": {key: OrderedDict(state)}}), True)
    yield Case("containers", "in a list", saved([state, 3]), True)
    leftovers: dict[str, Any] = {
        "criterion.weight": torch.ones(10), "loss_fn.pos_weight": torch.ones(10), "arcface.weight": torch.ones(10, 128),
        "n_averaged": torch.tensor(4), "ema.decay": torch.tensor(0.9), "train_acc.correct": torch.tensor(1),
        "metrics.total": torch.tensor(1), "pos_weight": torch.ones(10), "layer1.total_ops": torch.zeros(1),
    }  # fmt: skip
    for name, value in leftovers.items():
        yield Case("leftovers", name, saved({"state_dict": {**under("model.", state), name: value}}), True)
        yield Case("leftovers", f"{name}, no prefix", saved({**state, name: value}), True)

    def trained() -> dict[str, Any]:
        module = nn.Linear(3, 3)
        optimizer = torch.optim.AdamW(module.parameters())
        module(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        return {
            "model": state,
            "optimizer": optimizer.state_dict(),
            "args": argparse.Namespace(lr=1),
            "best": np.float64(0.9),
        }

    yield Case("containers", "optimizer, arguments, NumPy", saved(trained), True)
    half = {key: value.half().float() if value.is_floating_point() else value for key, value in state.items()}
    for name, dtype in (("half", torch.float16), ("double", torch.float64)):
        cast = {key: value.to(dtype) if value.is_floating_point() else value for key, value in half.items()}
        yield Case("precision", name, saved(cast), True, expected=half)
        yield Case(
            "precision",
            f"{name}, safetensors",
            written(lambda cast=cast: save(cast), "w.safetensors"),
            True,
            expected=half,
        )
        yield Case(
            "precision",
            f"{name}, old stream",
            saved(cast, _use_new_zipfile_serialization=False),
            True,
            expected=half,
        )
    rounded = {
        key: value.bfloat16().float() if value.is_floating_point() else value for key, value in state.items()
    }
    brain = {key: value.bfloat16() if value.is_floating_point() else value for key, value in state.items()}
    yield Case("precision", "bfloat16", saved(brain), True, expected=rounded)
    uncounted = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    yield Case("precision", "no batch counters", saved(uncounted), True, expected=uncounted)
    parameters = {
        key: nn.Parameter(value) if value.is_floating_point() else value for key, value in state.items()
    }
    yield Case("precision", "parameters", saved(parameters), True)
    for protocol in (3, 4, 5):
        yield Case("precision", f"pickle protocol {protocol}", saved(state, pickle_protocol=protocol), True)
    last = {
        key: value.to(memory_format=torch.channels_last) if value.ndim == 4 else value
        for key, value in state.items()
    }
    yield Case("precision", "channels last", saved(last), True)


# ---- hostile: tensors


def _of_types(state: State) -> Iterator[Case]:
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "int8": lambda value: (value * 100).to(torch.int8),
        "uint8": lambda value: (value * 100).to(torch.uint8),
        "int64": lambda value: (value * 100).long(),
        "bool": lambda value: value > 0,
        "complex": lambda value: value * (1 + 1j),
        "float8": lambda value: value.to(torch.float8_e4m3fn),
        "sparse": lambda value: value.to_sparse(),
        "meta": lambda value: value.to("meta"),
        "quantized": lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
        "beyond float32": lambda value: value.double() * 0 + 1e300,
        "expanded to 24 GB": lambda value: torch.zeros(1).expand(10**5, 6 * 10**4),
        "conjugated": lambda value: (value * 1j).conj(),
    }
    for key in (WEIGHT, BIAS, MEAN):
        for name, change in changes.items():
            yield Case(
                "types",
                f"{key} {name}",
                saved(lambda key=key, change=change: {**state, key: change(state[key])}),
            )


def _of_tensors(state: State) -> Iterator[Case]:
    def put(key: str, value: float, at: int) -> State:
        changed = state[key].clone()
        changed.view(-1)[at] = value
        return {**state, key: changed}

    for key in (WEIGHT, BIAS, MEAN, VARIANCE):
        for value in (float("nan"), float("inf"), float("-inf")):
            yield Case("values", f"{key} {value}", saved(put(key, value, -1)))
    yield Case("values", "negative variance", saved({**state, VARIANCE: -state[VARIANCE]}))
    shapes: dict[str, Callable[[Tensor], Tensor]] = {
        "transposed": lambda value: value.transpose(0, -1).contiguous(),
        "flat": lambda value: value.flatten(),
        "one axis more": lambda value: value[None],
        "one row less": lambda value: value[1:],
        "one row more": lambda value: torch.cat([value, value[:1]]),
        "empty": lambda value: value[:0],
        "a number": lambda value: value.flatten()[0],
    }
    for key in (WEIGHT, "classifier.weight", MEAN):
        for name, change in shapes.items():
            if state[key].ndim > 1 or name not in ("transposed", "flat"):
                yield Case("shapes", f"{key} {name}", saved({**state, key: change(state[key])}))


def _of_names(state: State) -> Iterator[Case]:
    away = {key: value for key, value in state.items() if key != WEIGHT}
    other = {key: value + 1 for key, value in state.items()}
    yield Case("names", "one away", saved(away))
    yield Case(
        "names",
        "one layer away",
        saved({key: value for key, value in state.items() if not key.startswith("layer1.0.")}),
    )
    yield Case("names", "one more layer", saved({**state, "layer1.2.conv1.weight": state[WEIGHT]}))
    yield Case(
        "names",
        "one more layer, wrapped",
        saved(under("module.", {**state, "layer1.2.conv1.weight": state[WEIGHT]})),
    )
    yield Case("names", "one more branch", saved({**state, "attention.weight": torch.ones(3, 3)}))
    yield Case(
        "names",
        "half with a prefix",
        saved({**under("a.", dict(list(state.items())[:40])), **dict(list(state.items())[40:])}),
    )
    yield Case("names", "two networks", saved({**under("rgb.", state), **under("flow.", other)}))
    yield Case("names", "twice, compiled", saved({**state, **under("_orig_mod.", other)}))
    yield Case(
        "names",
        "two in one file",
        saved({"a": {"x": state[BIAS]}, "b": other, "c": away}),
        True,
        expected=other,
    )
    yield Case(
        "names", "layers in another order", saved(dict(zip(state, reversed(state.values()), strict=True)))
    )
    yield Case("names", "other network", saved(lambda: pl.load("scenes-vgg").module.state_dict()))
    for name in ("\n", "a\x1b[31m", "\0", "x" * 10**6, "🙂" * 1000, "..", "{file}", "%s", "\u202e"):
        yield Case("names", f"a tensor named {name[:6]!r}", saved({**state, name: torch.ones(1)}))
    yield Case(
        "names",
        "100,000 more",
        saved({**state, **{f"more.{index}": 0 for index in range(100_000)}, "extra": torch.ones(1)}),
    )
    yield Case(
        "names",
        "a class count of a thousand million",
        saved(lambda: _vast(state)),
        network="torchvision:squeezenet1_1",
    )


def _vast(state: State) -> State:
    zoo = pl.load("torchvision:squeezenet1_1").module.state_dict()
    return {
        **zoo,
        "classifier.1.weight": torch.zeros(1).expand(10**9, 512, 1, 1),
        "classifier.1.bias": torch.zeros(1).expand(10**9),
    }


def _of_containers(state: State) -> Iterator[Case]:
    def itself(inner: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"inner": inner}
        made["model"] = made["state_dict"] = made
        return made

    def tangled() -> dict[str, Any]:
        first: dict[str, Any] = {"w": torch.ones(1)}
        second: dict[str, Any] = {"model": first}
        first["model"] = second
        return first

    def listed() -> list[Any]:
        made: list[Any] = [3]
        made.append(made)
        return made

    def laughs(depth: int = 60) -> dict[str, Any]:
        made: Any = {"w": torch.ones(1)}
        for _ in range(depth):
            made = {"a": made, "b": made}
        return made

    def deep(depth: int) -> dict[str, Any]:
        made: Any = state
        for _ in range(depth):
            made = {"model": made}
        return made

    yield Case("containers made to harm", "a dict that holds itself", saved(lambda: itself(torch.ones(1))))
    yield Case("containers made to harm", "itself, and the weights", saved(lambda: itself(dict(state))))
    yield Case("containers made to harm", "two dicts that hold each other", saved(tangled))
    yield Case("containers made to harm", "a list that holds itself", saved(listed))
    yield Case("containers made to harm", "2**60 paths", saved(laughs))
    for depth in (5, 60, 300):
        yield Case("containers made to harm", f"{depth} dicts deep", saved(lambda depth=depth: deep(depth)))
    for value in (
        {},
        [],
        (),
        3,
        None,
        "text",
        {3: torch.ones(1)},
        {(1, 2): torch.ones(1)},
        {"a": None},
        torch.ones(3),
        [torch.ones(1)],
    ):
        yield Case("containers made to harm", f"only {str(value)[:30]}", saved(value))


# ---- hostile: pickles


class _Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def _of_pickles(state: State) -> Iterator[Case]:
    mark = "touch /tmp/pellucid-was-run"
    calls = {
        "os.system": _Calls(os.system, mark),
        "eval": _Calls(eval, "1"),
        "exec": _Calls(exec, "1"),
        "open": _Calls(open, "/dev/null"),
        "getattr": _Calls(getattr, "text", "upper"),
        "__import__": _Calls(__import__, "os"),
        "os.remove": _Calls(os.remove, "/nowhere"),
        "bytearray of 4 GB": _Calls(bytearray, 4 << 30),
        "torch.empty of 4 GB": _Calls(torch.empty, (1 << 30,)),
        "numpy.ones of 4 GB": _Calls(np.ones, (1 << 29,)),
    }
    for name, call in calls.items():
        yield Case("code", f"{name} beside weights", saved({"state_dict": state, "more": call}))
        yield Case(
            "code",
            f"{name}, old stream",
            saved({**state, "more": call}, _use_new_zipfile_serialization=False),
        )
        yield Case("code", f"{name}, bare", written(lambda call=call: pickle.dumps({"a": call}, protocol=2)))
    yield Case("code", "a whole module", saved(nn.Linear(2, 2)))
    yield Case("code", "a bare pickle of tensors", written(lambda: pickle.dumps(state)))
    raw = {
        "BYTEARRAY8 of 2**40": b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".",
        "BINBYTES8 of 2**40": b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b".",
        "BINUNICODE8 of 2**40": b"\x80\x04\x8d" + (1 << 40).to_bytes(8, "little") + b".",
        "a frame of 2**60": b"\x80\x04\x95" + (1 << 60).to_bytes(8, "little") + b"}.",
        "memo at 2**32": b"\x80\x02}r\xff\xff\xff\xff.",
        "unknown memo": b"\x80\x02h\x05.",
        "an extension": b"\x80\x02\x82\x01.",
        "nothing on the stack": b"\x80\x02.",
        "tuples 100,000 deep": b"\x80\x02)" + b"\x85" * 100_000 + b".",
        "a deep tuple as a key": b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.",
        "lists 1,000,000 deep": b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b".",
        "30,000,000 lists": b"\x80\x02(" + b"]" * (30 * 10**6) + b"l.",
        "marks only": b"\x80\x02" + b"(" * 10**6 + b".",
        "a number of 100,000 digits": b"I" + b"9" * 100_000 + b"\n.",
        "not UTF-8": b"\x80\x02X\x04\x00\x00\x00\xff\xfe\xfd\xfc.",
        "INST": b"(S'id'\nios\nsystem\n.",
        "quadratic dicts": _quadratic(),
    }
    for name, data in raw.items():
        yield Case("pickles", f"{name}, bare", written(data))
        yield Case("pickles", f"{name}, in an archive", zipped({"w/data.pkl": data, "w/version": b"3\n"}))


def _quadratic() -> bytes:
    """A list of 100,000 pairs, made into a dict 100,000 times."""
    pair = b"K\x01K\x02\x86"
    return (
        b"\x80\x02(" + pair * 100_000 + b"lq\x00(" + b"ccollections\nOrderedDict\nh\x00\x85R" * 20_000 + b"l."
    )
