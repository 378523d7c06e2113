"""Image classifiers of ``transformers``: a folder as ``save_pretrained`` writes it, or a name on the hub.

The architecture is built from ``config.json`` (no code of the folder is run), the weights are read as all others are, the
preprocessing is that of the image processor (where an odd number of pixels is cut off, the crop may lie one pixel beside it), and
the class names are those of ``id2label``.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import msgspec
import torch
from torch import nn

from pellucid.core.documents import DocumentError, read_json
from pellucid.core.registry import UnknownNameError
from pellucid.data.preprocess import Preprocess
from pellucid.zoo.checkpoint import CheckpointError, read_state
from pellucid.zoo.fitting import fit
from pellucid.zoo.imagenet import torchvision_names
from pellucid.zoo.zoos import Classes, Loaded, downloading, import_torchvision

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_FILTERS = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}  # Pillow's numbers
_MOST = 16 << 30  # bytes of the weights that a configuration may ask for

Side = Annotated[int, msgspec.Meta(ge=1, le=1 << 14)]
Channel = Annotated[list[float], msgspec.Meta(min_length=1, max_length=64)]


class _Size(msgspec.Struct):
    height: Side | None = None
    width: Side | None = None
    shortest_edge: Side | None = None


class _Processor(msgspec.Struct):
    """What ``preprocessor_config.json`` says of pixels; the rest of it is left aside."""

    image_processor_type: str = ""
    feature_extractor_type: str = ""
    do_resize: bool | None = True
    size: _Size | Side | list[Side] | None = None
    resample: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = 2
    crop_pct: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    do_center_crop: bool | None = None
    crop_size: _Size | Side | list[Side] | None = None
    do_rescale: bool | None = True
    rescale_factor: float | None = 1 / 255
    do_normalize: bool | None = True
    image_mean: Channel | float | None = None
    image_std: Channel | float | None = None


def is_folder(path: Path) -> bool:
    """Whether a folder looks like one of ``save_pretrained``."""
    return path.is_dir() and (path / CONFIG).is_file()


def load_pretrained(name: str, weights: str | Path | None, options: Mapping[str, Any]) -> Loaded:
    """A classifier from a folder or from the hub.

    Args:
        name: a folder with ``config.json``, or a name on the hub such as ``"microsoft/resnet-50"``.
        weights: of a hub's name, ``"DEFAULT"`` to download what is not in the cache; a file of other weights.
        options: none is known.

    Raises:
        UnknownNameError: no folder and no name of the hub's form.
        CheckpointError: a configuration or weights that cannot be used.
        ImportError: transformers is not installed.
        ConnectionError: the hub cannot be reached, or its files are not in the cache.
    """
    if options:
        raise TypeError(
            f"Expected a network as its configuration says, got {', '.join(options)} too; leave them out."
        )
    transformers = _transformers()
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _from_hub(name, download=weights == "DEFAULT")
    module, classes = _build(transformers, folder)
    file = Path(weights) if weights not in (None, "DEFAULT") else _weights_of(folder)
    module, notes = _filled(module, file)
    return module.eval(), _preprocessing(folder), classes, notes


def _filled(module: nn.Module, file: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The module with its weights. Names of older versions of the library are left to the library, its account to be complete."""
    state, _ = read_state(file)
    try:
        return module, fit(module, state, file)
    except CheckpointError as error:
        if "missing" not in str(error) or "unexpected" not in str(error):
            raise
        renamed: Any = type(module)
        try:
            with _quiet():
                made, account = renamed.from_pretrained(
                    None, config=module.config, state_dict=dict(state), output_loading_info=True
                )
        except Exception:  # the library's own words would be about its names
            raise error from None
        if any(
            account.get(key) for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
        ):
            raise
        return made, fit(made, made.state_dict(), file)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars and reports, which are put back."""
    logging = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _transformers() -> ModuleType:
    import_torchvision()  # first: transformers imports it without the guard
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            "Expected the package transformers for `hf:NAME` and its folders, got none; try `pip install pellucid[hf]`."
        ) from error


def _from_hub(name: str, *, download: bool) -> Path:
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise UnknownNameError(
            f"Expected a folder with {CONFIG} or a name such as `hf:microsoft/resnet-50`, got `{name}`, which is neither."
        )
    from huggingface_hub import snapshot_download

    patterns = [CONFIG, PROCESSOR, "model*.safetensors", "model.safetensors.index.json"]
    with downloading(name) if download else _cached(name):
        folder = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not download))
        if download and not any((folder / file).exists() for file in _WEIGHTS):
            folder = Path(snapshot_download(name, allow_patterns=[*patterns, "pytorch_model*.bin*"]))
    return folder


@contextlib.contextmanager
def _cached(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"Expected a folder `{name}`, or `{name}` among what was downloaded from the hub before, got neither; "
            'try `weights="DEFAULT"` (`--weights DEFAULT`) to download it.'
        ) from error


def _weights_of(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).exists():
            return folder / name
    raise CheckpointError(
        f"Expected weights in `{folder}` ({', '.join(_WEIGHTS[:3])}), got none; try `save_pretrained` again."
    )


def _build(transformers: ModuleType, folder: Path) -> tuple[nn.Module, Classes]:
    """The architecture with random weights, and its class names."""
    file = folder / CONFIG
    facts = _read(file, dict[str, Any], "a configuration of transformers")
    try:
        config = transformers.AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        maker = transformers.AutoModelForImageClassification
        with torch.device("meta"):  # nothing is allocated before its size is known
            sizes = sum(
                value.numel() * 4 for value in maker.from_config(config, trust_remote_code=False).parameters()
            )
        if sizes > _MOST:
            raise ValueError(f"its weights would take {sizes:,} bytes")
        module: nn.Module = maker.from_config(config, trust_remote_code=False)
    except Exception as error:  # whatever a configuration makes of the library
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(
            f"Expected an image classifier of transformers, got `{file}`, which makes none ({reason}); "
            "try a folder that `save_pretrained` of an image classifier wrote."
        ) from None
    return module, _class_names(facts.get("id2label"))


def _read(file: Path, schema: type[Any], what: str) -> Any:
    try:
        return read_json(file, schema, what, "to save or download it again")
    except (DocumentError, FileNotFoundError) as error:
        raise CheckpointError(str(error)) from None


def _class_names(labels: Any) -> Classes:
    """Names by index; None for the ones the library makes up, plain ones for ImageNet's thousand."""
    if not isinstance(labels, Mapping):
        return None
    if all(str(label) == f"LABEL_{index}" for index, label in labels.items()):
        return None
    first = {str(label).split(",")[0].strip().casefold() for label in labels.values()}
    usual = {name.casefold() for name in torchvision_names()}
    if len(labels) == len(torchvision_names()) and len(first & usual) > 0.9 * len(usual):
        return "imagenet"
    return {int(index): str(label) for index, label in labels.items()}


def _preprocessing(folder: Path) -> Preprocess | None:
    file = folder / PROCESSOR
    if not file.exists():
        return None
    said: _Processor = _read(file, _Processor, "the settings of an image processor")
    try:
        return as_preprocess(said)
    except ValueError as error:
        raise CheckpointError(
            f"Expected an image processor that resizes, crops and normalizes, got another in `{file}` ({error}); "
            "try `preprocess=`."
        ) from None


def as_preprocess(said: _Processor) -> Preprocess:
    """The processor's settings as ours. Raises ValueError for what ours cannot say."""
    mean, std = _each(said.image_mean, 0.5), _each(said.image_std, 0.5)
    if not said.do_normalize:
        mean, std = (0.0,) * len(mean), (1.0,) * len(std)
    scale = 255 * (said.rescale_factor or 1 / 255) if said.do_rescale is not False else 255.0
    # (x · scale - mean) / std, with x in [0, 1]
    mean, std = tuple(value / scale for value in mean), tuple(value / scale for value in std)
    kind = said.image_processor_type or said.feature_extractor_type
    resize, squash = _resized(said, kind.startswith("ConvNext"))
    crop = _pair(said.crop_size) if said.do_center_crop else None
    if kind.startswith("ConvNext") and said.do_resize is not False:
        side = _shortest(said.size) or 384
        small = side < 384
        resize, squash, crop = (
            (int(side / (said.crop_pct or 224 / 256)) if small else side),
            not small,
            (side, side),
        )
    if squash and crop is not None and resize is not None and crop != (resize, resize):
        raise ValueError("it squashes to one size and crops another")
    return Preprocess(
        resize,
        crop,
        mean,
        std,
        channels=len(mean),
        interpolation=_FILTERS[said.resample if said.resample is not None else 2],  # type: ignore[arg-type]
        crop_mode="squash" if squash else "center",
    )


def _each(values: list[float] | float | None, usual: float) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, list) else (usual if values is None else values,) * 3


def _shortest(size: _Size | int | list[int] | None) -> int | None:
    return size.shortest_edge if isinstance(size, _Size) else size if isinstance(size, int) else None


def _pair(size: _Size | int | list[int] | None) -> tuple[int, int] | None:
    if isinstance(size, _Size):
        size = [size.height, size.width] if size.height and size.width else size.shortest_edge
    if isinstance(size, list):
        return (size[0], size[-1]) if len(size) in (1, 2) else None
    return None if size is None else (size, size)


def _resized(said: _Processor, convnext: bool) -> tuple[int | None, bool]:
    """Side after resizing, and whether both sides become it."""
    if said.do_resize is False or said.size is None or convnext:
        return None, False
    shortest = _shortest(said.size) if isinstance(said.size, _Size) or said.do_center_crop else None
    if shortest is not None:
        return shortest, False
    pair = _pair(said.size)
    if pair is None or pair[0] != pair[1]:
        raise ValueError("it resizes to a size that is not square")
    return pair[0], True
