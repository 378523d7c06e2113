"""Bundles taken apart and put together otherwise: what a test, or somebody hostile, makes of them."""

import hashlib
import json
import re

from safetensors import safe_open
from safetensors.numpy import save

from pellucid.core.bundle import digest


def taken_apart(file):
    """Kind, version, facts and arrays of a bundle, as plain values."""
    with safe_open(file, "numpy") as opened:
        head = json.loads(opened.metadata()["bundle"])
        return head, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def facts_of(file):
    """The facts of a bundle, as plain values."""
    return taken_apart(file)[0]["facts"]


def rewrite(file, facts=None, arrays=None, put=None, fill=None, **head):
    """Write a bundle again, changed.

    ``facts``, ``arrays``: functions that change them; ``put``: values by the path of a field, ``...`` takes it away; ``fill``:
    values by the name of an array; ``head``: another kind or schema.
    """
    content, values = taken_apart(file)
    del content["sha256"]
    if facts is not None:
        facts(content["facts"])
    for path, value in (put or {}).items():
        put_at(content["facts"], path, value)
    for name, value in (fill or {}).items():
        values[name].fill(value)
    if arrays is not None:
        arrays(values)
    file.write_bytes(save(values, {"bundle": json.dumps({"sha256": digest(values)} | content | head)}))


def put_at(content, path, value):
    """Put a value at the path of a field, ``a.b[3].c``; ``...`` takes the field away."""
    *steps, last = [
        int(number) if number else name for name, number in re.findall(r"([^.\[\]]+(?!\]))|\[(\d+)\]", path)
    ]
    for step in steps:
        content = content[step]
    if value is ...:
        del content[last]
    else:
        content[last] = value


def as_pair(file, digest=True):
    """Replace a bundle by the two files that were written before version 2; the JSON file is returned."""
    head, arrays = taken_apart(file)
    content = save(arrays)
    sha256 = {"sha256": hashlib.sha256(content).hexdigest()} if digest else {}
    file.write_bytes(content)
    pair = file.with_suffix(".json")
    pair.write_text(
        json.dumps({"kind": head["kind"], "schema": 1, **head["facts"], **sha256}), encoding="utf-8"
    )
    return pair
