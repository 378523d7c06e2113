"""Classifiers by the names that torchvision and timm give them."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.registry import UnknownNameError, suggest
from pellucid.data.preprocess import Preprocess
from pellucid.zoo.checkpoint import read_state
from pellucid.zoo.fitting import class_count, fit
from pellucid.zoo.imagenet import torchvision_names

Classes = Sequence[str] | Mapping[Any, Any] | str | Path | None


Loaded = tuple[nn.Module, Preprocess | None, Classes, tuple[str, ...]]


RANDOM = 'random weights: give `weights=` a file, or "DEFAULT" to download the zoo\'s own'


NOT_GIVEN = "preprocessing was not given"
ASSUMED = NOT_GIVEN + ": that of {}'s own weights assumed, which these may not have been trained with"


_declared: list[Any] = []  # keeps the schemas alive


def import_torchvision() -> ModuleType:
    """Import torchvision, also where its compiled operators do not match the installed torch.

    A torchvision wheel built for another variant of torch fails on import because its operators ``nms`` and
    ``qnms`` are not registered. No classifier needs them; declaring their schemas lets the import pass.
    Nothing is declared where the import works by itself.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        return importlib.import_module("torchvision")


def from_torchvision(name: str, weights: str | Path | None, options: dict[str, Any]) -> Loaded:
    """A torchvision classifier by its name, with what its weights ask for. Raises as `pellucid.load` does."""
    models = import_torchvision().models
    known = models.list_models(module=models)
    if name not in known:
        raise UnknownNameError(f"Expected a torchvision classifier, got `{name}`; {suggest(name, known)}")
    offered = models.get_model_weights(name)
    entry = next(iter(offered))
    notes: tuple[str, ...] = ()
    found: Classes = None
    if isinstance(weights, str) and weights in offered.__members__:
        entry = offered[weights]
        with downloading(name):
            module = models.get_model(name, weights=entry, **options)
        names = tuple(entry.meta["categories"])
        found = "imagenet" if names == torchvision_names() else names
    else:
        state = read_state(weights)[0] if weights is not None else None
        if name in ("googlenet", "inception_v3"):  # their auxiliary heads exist only for training
            heads = state is not None and any("aux" in key.lower() for key in state)
            options = {"aux_logits": heads, "init_weights": False, **options}
            if state is not None:  # the zoo's own weights, which these are taken for, want other means
                options = {"transform_input": True, **options}
                notes = (f"{name}: `transform_input=True` assumed, as with the zoo's own weights",)
        module, left = _build(
            lambda **given: models.get_model(name, weights=None, **given), state, weights, options
        )
        notes += left if state is not None else (RANDOM,)
        # a file that still has the zoo's name tells which of its recipes, and so which preprocessing
        same = next(
            (each for each in offered if weights and each.url.endswith(f"/{Path(weights).name}")), None
        )
        if weights is not None and same is None:
            notes += (ASSUMED.format("torchvision"),)
        entry = same or entry
    return module, Preprocess.from_torchvision(entry.transforms()), found, notes


def _from_timm(name: str, weights: str | Path | None, options: dict[str, Any]) -> Loaded:
    timm = _timm()
    if name.split(".")[0] not in timm.list_models():
        raise UnknownNameError(f"Expected a timm model, got `{name}`; {suggest(name, timm.list_models())}")
    base, _, tag = name.partition(".")
    tagged = timm.list_pretrained(f"{base}.*") if tag else []
    if tag and name not in tagged:
        raise UnknownNameError(
            f"Expected a timm model with its tag, got `{name}`; {suggest(name, tagged or [base])}"
        )
    notes: tuple[str, ...] = () if weights is not None else (RANDOM,)
    if weights == "DEFAULT":
        with downloading(name):
            module = timm.create_model(name, pretrained=True, **options)
    else:
        state = read_state(weights)[0] if weights is not None else None
        module, left = _build(lambda **given: timm.create_model(name, **given), state, weights, options)
        notes += left
    if weights is not None and weights != "DEFAULT":
        notes += (ASSUMED.format("timm"),)
    config = dict(timm.data.resolve_model_data_config(module))
    first = next((child for child in module.modules() if isinstance(child, nn.Conv2d)), None)
    asked = first.in_channels if first is not None else int(options.get("in_chans", 3))
    _, *size = config.get("input_size", (3, 224, 224))
    for name in (
        "mean",
        "std",
    ):  # as timm adapts the weights of its first convolution: from all channels to each
        values = tuple(config[name])
        if len(values) != asked:
            config[name] = (sum(values) / len(values),) * asked
    config["input_size"] = (asked, *size)
    return module, Preprocess.from_timm(config), None, notes


def zoo_names(zoo: str) -> tuple[str, ...]:
    """Every classifier of a zoo, ``"torchvision"`` or ``"timm"``, as `pellucid.load` takes it."""
    if zoo not in ("torchvision", "timm"):
        raise UnknownNameError(f"Expected a zoo, got `{zoo}`; {suggest(zoo, ('torchvision', 'timm'))}")
    models = import_torchvision().models
    if zoo == "torchvision":
        return tuple(f"torchvision:{name}" for name in models.list_models(module=models))
    return tuple(f"timm:{name}" for name in _timm().list_models())


def _timm() -> ModuleType:
    import_torchvision()  # first: timm imports it without the guard
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ImportError(
            "Expected the package timm for `timm:NAME`, got none; try `pip install pellucid[timm]`."
        ) from error


@contextmanager
def downloading(name: str) -> Iterator[None]:
    """Turns whatever keeps a download from coming into one line that names the network."""
    try:
        yield
    except OSError as error:
        raise ConnectionError(
            f"Expected to download the weights of `{name}`, got {type(error).__name__}: {error}; "
            "try `weights=` with a local file."
        ) from error


def _build(
    make: Callable[..., nn.Module],
    state: dict[str, Tensor] | None,
    weights: Any,
    options: dict[str, Any],
    outputs: str = "num_classes",
) -> tuple[nn.Module, tuple[str, ...]]:
    """Construct a zoo network with as many classes as the checkpoint has, and fit that; with notes on what was left out."""
    module = make(**options)
    if state is None:
        return module, ()
    usual = _outputs(module)
    count = class_count(module, state, usual)
    if count != usual and outputs not in options:
        module = make(**options, **{outputs: count})
    return module, fit(module, state, str(weights))


def _outputs(module: nn.Module) -> int:
    heads = [child for child in module.modules() if isinstance(child, (nn.Linear, nn.Conv2d))]
    last = heads[-1] if heads else None
    return last.out_features if isinstance(last, nn.Linear) else last.out_channels if last is not None else 0
