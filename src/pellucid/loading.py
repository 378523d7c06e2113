"""`load`: a network by embedded name, zoo name, checkpoint or live module, with fitting preprocessing and
class names."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pellucid import embedded
from pellucid.checkpoint import SUFFIXES, CheckpointError, class_count, fit, not_finite, read_state
from pellucid.data.preprocess import Preprocess
from pellucid.network import Network
from pellucid.registry import UnknownNameError, suggest

Classes = Sequence[str] | str | Path | None
Loaded = tuple[nn.Module, Preprocess | None, Classes, tuple[str, ...]]
RANDOM = 'random weights: give `weights=` a file, or "DEFAULT" to download the zoo\'s own'
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


def load_network(
    source: Any,
    *,
    weights: str | Path | None = None,
    classes: Classes = None,
    preprocess: Preprocess | None = None,
    input_shape: tuple[int, int, int] | None = None,
    head: str = "auto",
    output: str | int | Callable[[Any], Tensor] | None = None,
    name: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **architecture: Any,
) -> Network:
    """See `pellucid.load`; ``architecture`` goes to the zoo's constructor (for example ``num_classes=7``)."""
    notes: tuple[str, ...] = ()
    default: Preprocess | None = None
    if isinstance(source, nn.Module):
        given = dict(architecture, weights=weights, device=device, dtype=dtype)
        _check_live(source, [option for option, value in given.items() if value is not None])
        module = source
    elif isinstance(source, (str, Path)):
        # parameters made in inference mode could never be differentiated through
        with torch.inference_mode(False):
            module, default, classes, notes = _by_name(str(source), weights, classes, architecture)
            module = module.to(device=device, dtype=dtype)
    else:
        got = type(source).__name__
        raise TypeError(f"Expected a name, a file or an nn.Module, got {got}; try `pl.load('scenes-vgg')`.")
    if preprocess is None:
        preprocess = _at_size(default, input_shape) if default else _assumed(module, input_shape)
        if default is None:
            guess = "ImageNet mean and standard deviation" if preprocess.channels == 3 else "mean 0.5"
            notes += (f"preprocessing was not given: {guess} assumed",)
    return Network(
        module,
        preprocess,
        name=name or (type(source).__name__ if isinstance(source, nn.Module) else str(source)),
        classes=read_classes(classes),
        input_shape=input_shape,
        head=head,
        output=output,
        notes=notes,
    )


def _check_live(module: nn.Module, options: list[str]) -> None:
    if options:
        raise TypeError(
            "Expected a live module to be as it should be (weights, device, dtype), "
            f"got {', '.join(f'`{option}`' for option in options)} too; change the module first."
        )
    for key, tensor in module.state_dict().items():
        if isinstance(tensor, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer):
            raise ValueError(
                f"Expected a module with weights, got the uninitialized `{key}`; run it once on an image "
                "first."
            )
        if tensor.is_inference():
            raise ValueError(
                f"Expected weights that gradients can pass, got `{key}`, made inside "
                "`torch.inference_mode()`; "
                "make the module outside of it."
            )
    bad = not_finite(module.state_dict())
    if bad:
        raise ValueError(
            f"Expected finite weights, got NaN or infinity in {bad} of {type(module).__name__}; "
            "the training probably diverged, try an earlier checkpoint."
        )


def _at_size(preprocess: Preprocess, input_shape: tuple[int, int, int] | None) -> Preprocess:
    """The zoo's preprocessing for another input size, with the same share of the picture cut off."""
    if input_shape is None or preprocess.size in (None, input_shape[1:]):
        return preprocess
    assert preprocess.size is not None
    ratio = (preprocess.resize or min(preprocess.size)) / min(preprocess.size)
    return replace(preprocess, resize=round(ratio * min(input_shape[1:])), crop=input_shape[1:])


def _assumed(module: nn.Module, input_shape: tuple[int, int, int] | None) -> Preprocess:
    """Preprocessing for a module nothing is known of: its first convolution tells the channels."""
    first = next((child for child in module.modules() if isinstance(child, nn.Conv2d)), None)
    channels, height, width = input_shape or (first.in_channels if first is not None else 3, 224, 224)
    if channels == 3:
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    elif channels == 1:
        mean, std = (0.5,), (0.25,)  # type: ignore[assignment]
    else:
        raise ValueError(
            f"Expected a network for color or gray images, got one that reads {channels} channels; "
            "try `preprocess=` with your own callable settings."
        )
    return Preprocess(resize=min(height, width), crop=(height, width), mean=mean, std=std, channels=channels)


def _by_name(source: str, weights: str | Path | None, classes: Classes, options: dict[str, Any]) -> Loaded:
    zoo, _, name = source.partition(":")
    if name and zoo in ("torchvision", "timm"):
        build = _from_torchvision if zoo == "torchvision" else _from_timm
        module, preprocess, found, notes = build(name, weights, options)
        if classes is None and found is None and weights is not None and _outputs(module) == 1000:
            found = "imagenet"
        return module.eval(), preprocess, found if classes is None else classes, notes
    if source in embedded.NAMES:
        return _embedded(source, Path(weights) if weights else embedded.weights_of(source), classes, options)
    if source in embedded.INTERPRETABLE:
        return _from_file(Path(weights) if weights else embedded.weights_of(source), classes, options)
    if Path(source).suffix in SUFFIXES or Path(source).is_file():
        if weights is not None:
            raise TypeError(
                f"Expected `weights` with the name of a network, got both `{source}` and `{weights}`."
            )
        return _from_file(Path(source), classes, options)
    zoo_name = f"torchvision:{source}"
    listed = zoo_names("torchvision")
    known = (*embedded.NAMES, *embedded.INTERPRETABLE)
    hint = f"try `{zoo_name}`." if zoo_name in listed else suggest(source, [*known, *listed])
    raise UnknownNameError(
        f"Expected an embedded network ({', '.join(known)}), `torchvision:NAME`, `timm:NAME` or a "
        f"weights file, got `{source}`; {hint}"
    )


def _embedded(name: str, file: Path, classes: Classes, options: dict[str, Any]) -> Loaded:
    from pellucid.data.scenes import CLASSES

    module = embedded.architecture(name)(**options)
    fit(module, read_state(file)[0], file)
    return module.eval(), Preprocess.scenes(), tuple(CLASSES) if classes is None else classes, ()


def _from_file(file: Path, classes: Classes, options: dict[str, Any]) -> Loaded:
    metadata = read_state(file)[1]
    if "interpretation" in metadata:
        return _interpretable(file, metadata, classes, options)
    arch = metadata.get("architecture") or metadata.get("arch", "")
    if arch in embedded.ARCHITECTURES:
        return _embedded(arch, file, classes, options)
    if arch.startswith(("torchvision:", "timm:")):
        return _by_name(arch, file, classes, options)
    example = f"torchvision:{arch}" if arch.isidentifier() else "torchvision:resnet18"
    raise CheckpointError(
        f"Expected weights that name their architecture, got `{file}`, which does not say it in a way "
        "known here; "
        f"try `pl.load('{example}', weights='{file.name}')`, or load them into your module and pass that."
    )


def _interpretable(file: Path, metadata: dict[str, str], classes: Classes, options: dict[str, Any]) -> Loaded:
    """A network with masked layers, or its ordinary twin: the file says how it was made."""
    from pellucid.interpretable.saved import read_network

    if options:
        raise TypeError(
            f"Expected an interpretable network as its file says, got {', '.join(options)} too; leave them out."
        )
    module, preprocess, named = read_network(file, metadata)
    return module, preprocess, named if classes is None else classes, ()


def _from_torchvision(name: str, weights: str | Path | None, options: dict[str, Any]) -> Loaded:
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
        with _downloading(name):
            module = models.get_model(name, weights=entry, **options)
        found = tuple(entry.meta["categories"])
    else:
        state = read_state(weights)[0] if weights is not None else None
        if name in ("googlenet", "inception_v3"):  # their auxiliary heads exist only for training
            heads = state is not None and any("aux" in key.lower() for key in state)
            options = {"aux_logits": heads, "init_weights": False, **options}
            if state is not None:  # the zoo's own weights, which these are taken for, want other means
                options = {"transform_input": True, **options}
                notes = (f"{name}: `transform_input=True` assumed, as with the zoo's own weights",)
        module = _build(
            lambda **given: models.get_model(name, weights=None, **given), state, weights, options
        )
        notes += () if state is not None else (RANDOM,)
        # a file that still has the zoo's name tells which of its recipes, and so which preprocessing
        entry = next(
            (each for each in offered if weights and each.url.endswith(f"/{Path(weights).name}")), entry
        )
    return module, Preprocess.from_torchvision(entry.transforms()), found, notes


def _from_timm(name: str, weights: str | Path | None, options: dict[str, Any]) -> Loaded:
    timm = _timm()
    if name.split(".")[0] not in timm.list_models():
        raise UnknownNameError(f"Expected a timm model, got `{name}`; {suggest(name, timm.list_models())}")
    if weights == "DEFAULT":
        with _downloading(name):
            module = timm.create_model(name, pretrained=True, **options)
    else:
        state = read_state(weights)[0] if weights is not None else None
        module = _build(lambda **given: timm.create_model(name, **given), state, weights, options)
    preprocess = Preprocess.from_timm(timm.data.resolve_model_data_config(module))
    return module, preprocess, None, () if weights is not None else (RANDOM,)


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
def _downloading(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConnectionError(
            f"Expected to download the weights of `{name}`, got {type(error).__name__}: {error}; "
            "try `weights=` with a local file."
        ) from error


def _build(
    make: Callable[..., nn.Module], state: dict[str, Tensor] | None, weights: Any, options: dict[str, Any]
) -> nn.Module:
    """Construct a zoo network with as many classes as the checkpoint has, and fit that."""
    module = make(**options)
    if state is None:
        return module
    usual = _outputs(module)
    count = class_count(module, state, usual)
    if count != usual and "num_classes" not in options:
        module = make(**options, num_classes=count)
    fit(module, state, str(weights))
    return module


def _outputs(module: nn.Module) -> int:
    heads = [child for child in module.modules() if isinstance(child, (nn.Linear, nn.Conv2d))]
    last = heads[-1] if heads else None
    return last.out_features if isinstance(last, nn.Linear) else last.out_channels if last is not None else 0


def read_classes(classes: Classes) -> tuple[str, ...] | None:
    """Class names from a list, ``"imagenet"``, or a file: one name per line, a JSON list, or a JSON object
    by index."""
    if classes is None or not isinstance(classes, (str, Path)):
        return None if classes is None else tuple(map(str, classes))
    if classes == "imagenet":
        import_torchvision()
        return tuple(importlib.import_module("torchvision.models._meta")._IMAGENET_CATEGORIES)
    file = Path(classes)
    if not file.is_file():
        raise ValueError(
            f'Expected class names, a list, "imagenet" or a file, got `{classes}`, which is no file.'
        )
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected class names in UTF-8 text, got `{file}`, which is not ({error.reason}); save it as UTF-8."
        ) from None
    if file.suffix != ".json":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    try:
        listed = json.loads(text)
        if isinstance(listed, dict):
            listed = [listed[key] for key in sorted(listed, key=int)]
    except ValueError as error:
        raise ValueError(
            f"Expected class names in `{file}`, a list or an object by index, got something else ({error})."
        ) from error
    return tuple(str(entry[-1]) if isinstance(entry, list) else str(entry) for entry in listed)
