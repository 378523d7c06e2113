"""The cases of `hostile_checkpoints` whose files are damaged: archives, headers, shards, and what is no file of weights."""

from __future__ import annotations

import json
import os
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoint_making import (
    WEIGHT,
    Case,
    State,
    saved,
    written,
    zipped,
)
from safetensors.torch import save

# ---- hostile: archives


def of_archives(state: State) -> Iterator[Case]:
    def changed(
        change: Callable[[dict[str, bytes]], Any], compression: int = zipfile.ZIP_STORED
    ) -> Callable[[Path], Path]:
        def make(folder: Path) -> Path:
            torch.save(state, folder / "v.pt")
            with zipfile.ZipFile(folder / "v.pt") as archive:
                records = {name: archive.read(name) for name in archive.namelist()}
            change(records)
            return zipped(records, compression)(folder)

        return make

    yield Case("archives", "written anew", changed(lambda records: None), True)
    yield Case("archives", "compressed", changed(lambda records: None, zipfile.ZIP_DEFLATED))
    yield Case("archives", "a data.pkl of 1.5 GB in 1.5 MB", _bomb)
    for name, change in {
        "a storage away": lambda records: records.pop("v/data/5"),
        "a storage cut": lambda records: records.update({"v/data/5": records["v/data/5"][:-4]}),
        "a storage too long": lambda records: records.update({"v/data/5": records["v/data/5"] + bytes(4)}),
        "storages exchanged": lambda records: records.update({"v/data/5": records["v/data/0"]}),
        "an empty storage": lambda records: records.update({"v/data/0": b""}),
        "no data.pkl": lambda records: records.pop("v/data.pkl"),
        "big-endian": lambda records: records.update({"v/byteorder": b"big"}),
        "a script": lambda records: records.update({"v/constants.pkl": b"3", "v/code/x.py": b"1"}),
        "data.pkl cut": lambda records: records.update({"v/data.pkl": records["v/data.pkl"][:-30]}),
        "two data.pkl": lambda records: records.update({"z/data.pkl": b"\x80\x02}."}),
        "names that lead out": lambda records: records.update({"../../out": b"x", "/etc/out": b"x"}),
        "50,000 records": lambda records: records.update({f"v/more/{index}": b"" for index in range(50_000)}),
    }.items():
        yield Case("archives", name, changed(change))

    def bytes_changed(change: Callable[[bytearray], Any]) -> Callable[[Path], Path]:
        def make(folder: Path) -> Path:
            torch.save(state, folder / "w.pt")
            data = bytearray((folder / "w.pt").read_bytes())
            change(data)
            (folder / "w.pt").write_bytes(data)
            return folder / "w.pt"

        return make

    def in_directory(offset: int, value: bytes) -> Callable[[bytearray], Any]:
        def change(data: bytearray) -> None:
            at = data.rfind(b"PK\x01\x02") + offset
            data[at : at + len(value)] = value

        return change

    def at_end(offset: int, value: bytes) -> Callable[[bytearray], Any]:
        def change(data: bytearray) -> None:
            at = data.rfind(b"PK\x05\x06") + offset
            data[at : at + len(value)] = value

        return change

    for name, spot, value in (
        ("signature", 0, b"\0"), ("encrypted", 8, b"\1\0"), ("method", 10, b"\x63\0"), ("checksum", 16, b"\1\2\3\4"),
        ("size", 24, b"\xff\xff\xff\x7f"), ("place", 42, b"\xff\xff\xff\x7f"), ("place at 0", 42, bytes(4)),
        ("name length", 28, b"\xff\xff"),
    ):  # fmt: skip
        yield Case("archives", f"directory: another {name}", bytes_changed(in_directory(spot, value)))
    for name, spot, value in (
        ("length", 12, b"\xff\xff\xff\x7f"),
        ("offset", 16, b"\xff\xff\xff\x7f"),
        ("count", 8, b"\xff\xff\xff\xff"),
    ):
        yield Case("archives", f"end: another {name}", bytes_changed(at_end(spot, value)))
    yield Case("archives", "bytes behind the end", bytes_changed(lambda data: data.extend(b"x" * 70_000)))
    yield Case("archives", "bytes before the start", bytes_changed(lambda data: data.insert(0, 65)))


def _bomb(folder: Path) -> Path:
    with (
        zipfile.ZipFile(folder / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("w/data.pkl", "w", force_zip64=True) as record,
    ):
        record.write(b"\x80\x02cos\nsystem\n(")
        for _ in range(1500):
            record.write(bytes(10**6))
    return folder / "w.pt"


# ---- hostile: safetensors and shards


def of_safetensors(state: State) -> Iterator[Case]:
    whole = save(state)
    length = int.from_bytes(whole[:8], "little")
    header: dict[str, Any] = json.loads(whole[8 : 8 + length])

    def with_header(changed: Any, size: int | None = None) -> bytes:
        text = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
        return (len(text) if size is None else size).to_bytes(8, "little") + text + whole[8 + length :]

    def entry(**changes: Any) -> bytes:
        return with_header({**header, WEIGHT: {**header[WEIGHT], **changes}})

    yield Case("safetensors", "healthy", written(whole, "w.safetensors"), True)
    yield Case("safetensors", "healthy, under another suffix", written(whole, "w.pt"), True)
    begin, end = header[WEIGHT]["data_offsets"]
    text = json.dumps(header).encode()
    for name, data in {
        "offsets beyond the file": lambda: entry(data_offsets=[begin, 1 << 60]),
        "negative offsets": lambda: entry(data_offsets=[-8, end]),
        "offsets exchanged": lambda: entry(data_offsets=[end, begin]),
        "offsets of another": lambda: entry(data_offsets=header["layer1.0.conv2.weight"]["data_offsets"]),
        "a vast shape": lambda: entry(shape=[1 << 40, 1 << 40]),
        "a negative shape": lambda: entry(shape=[-1, 16, 3, 3]),
        "half of the type": lambda: entry(dtype="F16"),
        "whole numbers": lambda: entry(dtype="I32"),
        "an unknown type": lambda: entry(dtype="F12"),
        "no type": lambda: with_header({**header, WEIGHT: {"shape": [1], "data_offsets": [begin, end]}}),
        "text for numbers": lambda: entry(shape="text"),
        "metadata of numbers": lambda: with_header({**header, "__metadata__": {"a": 3}}),
        "a header that is a list": lambda: with_header([header]),
        "a header of nothing": lambda: with_header({}),
        "no JSON": lambda: with_header(b"{" + b"x" * 200),
        "not UTF-8": lambda: with_header(text.replace(b"stem", b"\xff\xfe\xfd\xfc", 1)),
        "100,000 deep": lambda: with_header(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "a name twice": lambda: with_header(
            text[:-1] + b", " + json.dumps({WEIGHT: header[WEIGHT]}).encode()[1:]
        ),
        "a header of 2**60": lambda: with_header(header, 1 << 60),
        "a header longer than it is": lambda: with_header(header, length + 4000),
        "a header of no length": lambda: with_header(header, 0),
        "a header of 40 MB": lambda: with_header(b"{" + b" " * (40 << 20) + text[1:]),
        "bytes behind": lambda: whole + bytes(64),
        "an architecture that is none": lambda: save(state, {"architecture": "\n\x1b[31m"}),
        "an interpretation that is none": lambda: save(state, {"interpretation": "{", "architecture": "x"}),
    }.items():
        yield Case("safetensors", name, written(data, "w.safetensors"))


def of_shards(state: State) -> Iterator[Case]:
    def make(change: Callable[[dict[str, str]], Any], healthy: bool = False) -> Callable[[Path], Path]:
        def write(folder: Path) -> Path:
            keys = list(state)
            parts = {"a.safetensors": keys[:30], "b.safetensors": keys[30:]}
            for name, held in parts.items():
                (folder / name).write_bytes(save({key: state[key] for key in held}))
            index = {key: name for name, held in parts.items() for key in held}
            made = change(index)
            content = made if isinstance(made, str) else json.dumps({"metadata": {}, "weight_map": index})
            (folder / "model.safetensors.index.json").write_text(content)
            return folder / "model.safetensors.index.json"

        return write

    yield Case("shards", "healthy", make(lambda index: None), True)
    for name, change in {
        "a shard that leads out": lambda index: index.update({WEIGHT: "../../etc/passwd"}),
        "an absolute shard": lambda index: index.update({WEIGHT: "/etc/passwd"}),
        "a shard away": lambda index: index.update({WEIGHT: "c.safetensors"}),
        "a name in the wrong shard": lambda index: index.update({next(iter(index)): "b.safetensors"}),
        "the index itself": lambda index: index.update({WEIGHT: "model.safetensors.index.json"}),
        "a name away": lambda index: index.pop(WEIGHT) and None,
        "numbers for names": lambda index: json.dumps({"weight_map": {WEIGHT: 3}}),
        "no map": lambda index: "{}",
        "an empty map": lambda index: json.dumps({"weight_map": {}}),
        "a list": lambda index: "[]",
        "no JSON": lambda index: "weights",
        "100,000 deep": lambda index: "[" * 100_000 + "]" * 100_000,
    }.items():
        yield Case("shards", name, make(change))


# ---- hostile: files


def of_files(state: State, draw: random.Random) -> Iterator[Case]:
    formats: dict[str, Callable[[Path], Path]] = {
        "archive": saved(state),
        "stream": saved(state, _use_new_zipfile_serialization=False),
        "safetensors": written(lambda: save(state), "w.safetensors"),
    }

    def damaged(make: Callable[[Path], Path], change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
        def write(folder: Path) -> Path:
            file = make(folder)
            file.write_bytes(change(file.read_bytes()))
            return file

        return write

    for name, make in formats.items():
        for share in (0.0, 0.001, 0.05, 0.3, 0.6, 0.9, 0.999):
            yield Case(
                "cut",
                f"{name} at {share:.1%}",
                damaged(make, lambda data, share=share: data[: int(len(data) * share)]),
            )
        yield Case(
            "cut",
            f"{name}, the middle zero",
            damaged(make, _hollow) if name == "archive" else make,
            name != "archive",
        )
        for count in range(16 if name == "archive" else 8):
            spot, bit = draw.random(), draw.randrange(8)
            # numbers of a stream and of safetensors have no checksum: there only what describes them can be noticed
            reach = 1.0 if name == "archive" else 0.0
            yield Case("flipped bits", f"{name} {count}", damaged(make, _flip(spot, bit, reach)))
    for name, replaced in {
        "a folder": lambda file: file.mkdir(),
        "a pipe": os.mkfifo,
        "a device without end": lambda file: file.symlink_to("/dev/zero"),
        "a link to itself": lambda file: file.symlink_to(file),
        "a link to nothing": lambda file: file.symlink_to("/nowhere/at/all"),
        "nothing": lambda file: None,
        "20 GB of nothing": lambda file: file.touch() or os.truncate(file, 20 << 30),
        "noise": lambda file: file.write_bytes(random.Random(1).randbytes(5000)),
        "text": lambda file: file.write_text("weights\n" * 100),
        "a web page": lambda file: file.write_text("<!DOCTYPE html><html>" + " " * 999),
        "a pointer of Git LFS": lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "gzip": lambda file: file.write_bytes(b"\x1f\x8b\x08" + bytes(500)),
        "HDF5": lambda file: file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500)),
        "a NumPy array": lambda file: np.save(file.with_suffix(".npy"), np.ones(4)) or file.with_suffix(".npy").rename(file),
        "NumPy arrays": lambda file: np.savez(file.with_suffix(".npz"), a=np.ones(4)) or file.with_suffix(".npz").rename(file),
        "an old tar archive": lambda file: file.write_bytes(bytes(257) + b"ustar" + bytes(2000)),
        "a zip of text": lambda file: zipped({"readme.txt": b"x"})(file.parent),
    }.items():  # fmt: skip
        for suffix in (".pt", ".safetensors"):
            if suffix == ".pt" or name in ("a folder", "a pipe", "20 GB of nothing", "noise"):
                yield Case("files", f"{name}, {suffix}", _replaced(replaced, suffix))


def _replaced(make: Callable[[Path], Any], suffix: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        make(folder / f"w{suffix}")
        return folder / f"w{suffix}"

    return write


def _hollow(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes(64) + data[at + 64 :]


def _flip(spot: float, bit: int, reach: float) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        if reach == 1.0:
            last = len(data)
        elif data[8:9] == b"{":
            last = 8 + struct.unpack("<Q", data[:8])[0]
        else:
            last = data.find(b"stem.0.weight") + 4000
        at = int(spot * last)
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]

    return change
