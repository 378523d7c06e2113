"""Bundles taken apart and put together otherwise: what a test, or somebody hostile, makes of them."""

import hashlib
import json

from safetensors import safe_open
from safetensors.numpy import save


def taken_apart(file):
    """Kind, version, facts and arrays of a bundle, as plain values."""
    with safe_open(file, "numpy") as opened:
        head = json.loads(opened.metadata()["bundle"])
        return head, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def rewrite(file, facts=None, arrays=None, **head):
    """Write a bundle again with other facts (a function that changes them), arrays, kind or version."""
    content, values = taken_apart(file)
    content |= head
    if facts is not None:
        facts(content["facts"])
    if arrays is not None:
        arrays(values)
    file.write_bytes(save(values, {"bundle": json.dumps(content)}))


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
