"""Class scores on disk: ``<stem>.json`` says what they are and names the arrays of ``<stem>.safetensors``.

Scores belong to the weights they were measured on: the network's SHA-256 is in the file, and `load` refuses them for another
network. The arrays' own SHA-256 is there too, so that two files that do not belong together are noticed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from pellucid.network import Network
from pellucid.neurons.classes import ClassScores
from pellucid.storage import fingerprint, write_arrays, write_json
from pellucid.types import Geometry, Layer

SCHEMA = 1
KIND = "pellucid class scores"


class ScoresError(ValueError):
    """Class scores that cannot be used."""


def save(scores: ClassScores, folder: str | Path, stem: str = "classes") -> list[str]:
    """Write the scores and give the names of their files; equal scores give equal bytes."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    arrays = place / f"{stem}.safetensors"
    write_arrays(arrays, {"values": scores.values, "error": scores.error, "images": scores.images})
    content = {
        "kind": KIND,
        "schema": SCHEMA,
        "network": {"name": scores.network, "sha256": scores.sha256},
        "layer": asdict(scores.layer),
        "criterion": scores.criterion,
        "parameters": dict(scores.parameters),
        "others": scores.others,
        "temperature": scores.temperature,
        "classes": list(scores.classes),
        "sha256": hashlib.sha256(arrays.read_bytes()).hexdigest(),
    }
    write_json(place / f"{stem}.json", content)
    return [f"{stem}.json", arrays.name]


def load(path: str | Path, net: Network | None = None) -> ClassScores:
    """Read scores from their JSON file, or from the folder of a ``classes.json``.

    With ``net`` only scores measured on that very network are accepted. Raises FileNotFoundError where there is none,
    ScoresError (a ValueError) for another network's, a damaged file, or one of a newer pellucid.
    """
    from safetensors.torch import load as read_arrays

    file = Path(path)
    file = file / "classes.json" if file.is_dir() else file
    if not file.is_file():
        raise FileNotFoundError(
            f"Expected a file with class scores, got `{file}`, which is not there; try `pellucid neurons --by-class`."
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["kind"] != KIND:
            raise KeyError("kind")
    except (ValueError, KeyError, TypeError):
        raise ScoresError(
            f"Expected a file with class scores, got `{file}`, which is something else."
        ) from None
    if content["schema"] > SCHEMA:
        raise ScoresError(
            f"Expected class scores of schema {SCHEMA}, got {content['schema']} in `{file}`; try a newer pellucid."
        )
    _check_network(content["network"], net, file)
    raw = file.with_suffix(".safetensors")
    data = raw.read_bytes() if raw.is_file() else b""
    if hashlib.sha256(data).hexdigest() != content["sha256"]:
        raise ScoresError(
            f"Expected the arrays of `{file.name}` beside it, got other or damaged ones in `{raw.name}`."
        )
    arrays = read_arrays(data)
    place = content["layer"]
    geometry = Geometry(*(tuple(pair) for pair in place["geometry"].values()))
    layer = Layer(place["name"], place["kind"], tuple(place["shape"]), geometry, place["index"])
    return ClassScores(
        arrays["values"], arrays["error"], arrays["images"], tuple(content["classes"]), layer,
        content["criterion"], content["parameters"], content["others"],
        content["network"]["name"], content["network"]["sha256"], content["temperature"],
    )  # fmt: skip


def _check_network(known: dict[str, str], net: Network | None, file: Path) -> None:
    if net is not None and fingerprint(net.module) != known["sha256"]:
        raise ScoresError(
            f"Expected class scores of `{net.name}` with its present weights, got those of `{known['name']}` "
            f"(SHA-256 {known['sha256'][:12]}…) in `{file}`; try measuring them again."
        )
