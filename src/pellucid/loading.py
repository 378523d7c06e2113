"""`load`: a network by embedded name, zoo name, checkpoint or live module, with fitting preprocessing and class names."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from pellucid import embedded
from pellucid.checkpoint import CheckpointError, class_count, fit, read_state
from pellucid.data.preprocess import Preprocess
from pellucid.network import Network
from pellucid.registry import UnknownNameError, suggest

Classes = Sequence[str] | str | Path | None
_declared: list[Any] = []  # keeps the schemas alive


def import_torchvision() -> ModuleType:
    """Import torchvision, also where its compiled operators do not match the installed torch.

    A torchvision wheel built for another variant of torch fails on import because its operators ``nms`` and ``qnms`` are
    not registered. No classifier needs them; declaring their schemas lets the import pass. Nothing is declared where the
    import works by itself.
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
        library = torch.library.Library("torchvision", "DEF")
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
    if isinstance(source, Network):
        return source
    notes: tuple[str, ...] = ()
    if isinstance(source, nn.Module):
        module, found_name, default = source, type(source).__name__, None
        if weights is not None:
            raise ValueError("Expected a live module to hold its weights already, got `weights=` too; load them into it first.")
        _refuse_unfinished(module)
    elif isinstance(source, (str, Path)):
        module, default, classes, notes = _by_name(str(source), weights, classes, architecture)
        found_name = str(source)
    else:
        raise TypeError(f"Expected a name, a file or an nn.Module, got {type(source).__name__}; try `pl.load('scenes-vgg')`.")
    if architecture and isinstance(source, nn.Module):
        raise TypeError(f"Expected no architecture options for a live module, got {', '.join(architecture)}.")
    if preprocess is None:
        preprocess = default or _assumed(module, input_shape)
        if default is None:
            notes += (
                "preprocessing was not given: "
                + ("ImageNet mean and standard deviation" if preprocess.channels == 3 else "values scaled to mean 0.5")
                + " assumed",
            )
    if device is not None or dtype is not None:
        module = module.to(device=device, dtype=dtype) if not isinstance(source, nn.Module) else _refuse_moving()
    return Network(
        module,
        preprocess,
        name=name or found_name,
        classes=read_classes(classes, source),
        input_shape=input_shape,
        head=head,
        output=output,
        notes=notes,
    )


def _refuse_moving() -> nn.Module:
    raise ValueError("Expected a live module to be where and what it should be, got `device=` or `dtype=`; move it with `.to()`.")


def _refuse_unfinished(module: nn.Module) -> None:
    for key, tensor in module.state_dict().items():
        if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
            raise ValueError(f"Expected a module with weights, got the uninitialized `{key}`; run it once on an image first.")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"Expected finite weights, got NaN or infinity in `{key}` of {type(module).__name__}; "
                "the training probably diverged, try an earlier checkpoint."
            )


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


def _by_name(
    source: str, weights: str | Path | None, classes: Classes, options: dict[str, Any]
) -> tuple[nn.Module, Preprocess | None, Classes, tuple[str, ...]]:
    zoo, _, name = source.partition(":")
    if name and zoo == "torchvision":
        return _from_torchvision(name, weights, classes, options)
    if name and zoo == "timm":
        return _from_timm(name, weights, classes, options)
    if source in embedded.NAMES:
        return _embedded(source, Path(weights) if weights else embedded.weights_of(source), options)
    if Path(source).suffix in (".safetensors", ".pt", ".pth", ".bin", ".ckpt") or Path(source).is_file():
        return _from_file(Path(source), options)
    known = [*embedded.NAMES, *(f"torchvision:{n}" for n in ("resnet18", "resnet50", "vgg16", "squeezenet1_0"))]
    raise UnknownNameError(
        f"Expected an embedded network ({', '.join(embedded.NAMES)}), `torchvision:NAME`, `timm:NAME` or a weights file, "
        f"got `{source}`; {suggest(source, known)}"
    )


def _embedded(name: str, file: Path, options: dict[str, Any]) -> tuple[nn.Module, Preprocess, Classes, tuple[str, ...]]:
    from pellucid.data.scenes import CLASSES

    module = embedded.architecture(name)(**options)
    state, _ = read_state(file)
    fit(module, state, file)
    return module.eval(), Preprocess.scenes(), tuple(CLASSES), ()


def _from_file(file: Path, options: dict[str, Any]) -> tuple[nn.Module, Preprocess | None, Classes, tuple[str, ...]]:
    _, metadata = read_state(file)
    arch = metadata.get("architecture") or metadata.get("arch", "")
    if arch in embedded.ARCHITECTURES:
        return _embedded(arch, file, options)
    if arch.startswith(("torchvision:", "timm:")):
        return _by_name(arch, file, None, options)
    example = f"torchvision:{arch}" if arch.isidentifier() else "torchvision:resnet18"
    raise CheckpointError(
        f"Expected weights that name their architecture, got `{file}`, which does not say it in a way known here; "
        f"try `pl.load('{example}', weights='{file.name}')`, or load them into your module and pass that."
    )


def _from_torchvision(
    name: str, weights: str | Path | None, classes: Classes, options: dict[str, Any]
) -> tuple[nn.Module, Preprocess, Classes, tuple[str, ...]]:
    models = import_torchvision().models
    known = models.list_models(module=models)
    if name not in known:
        raise UnknownNameError(f"Expected a torchvision classifier, got `{name}`; {suggest(name, known)}")
    offered = models.get_model_weights(name)
    first = next(iter(offered))
    notes: tuple[str, ...] = ()
    if weights == "DEFAULT":
        first = offered.DEFAULT
        module = models.get_model(name, weights=first, **options)
        classes = classes if classes is not None else tuple(first.meta["categories"])
    else:
        state = read_state(weights)[0] if weights is not None else None
        module = _build(lambda **given: models.get_model(name, weights=None, **given), name, state, options)
        if state is None:
            notes = ("random weights: give `weights=` a file, or \"DEFAULT\" to download the zoo's own",)
        else:
            fit(module, state, str(weights))
    preprocess = Preprocess.from_torchvision(first.transforms())
    if classes is None and _outputs(module) == 1000 and weights is not None:
        classes = "imagenet"
    return module.eval(), preprocess, classes, notes


def _build(make: Callable[..., nn.Module], name: str, state: dict[str, Tensor] | None, options: dict[str, Any]) -> nn.Module:
    """Construct a zoo network so that a checkpoint fits: number of classes, auxiliary heads."""
    if name in ("googlenet", "inception_v3"):  # their auxiliary heads exist only for training
        has_heads = state is not None and any(key.lower().startswith("aux") for key in state)
        options = {"aux_logits": has_heads, "init_weights": False, **options}
    if state is None or "num_classes" in options:
        return make(**options)
    module = make(**options)
    count = class_count(module, state)
    return module if count == 1000 else make(**options, num_classes=count)


def _outputs(module: nn.Module) -> int:
    heads = [child for child in module.modules() if isinstance(child, (nn.Linear, nn.Conv2d))]
    last = heads[-1] if heads else None
    return last.out_features if isinstance(last, nn.Linear) else last.out_channels if last is not None else 0


def _from_timm(
    name: str, weights: str | Path | None, classes: Classes, options: dict[str, Any]
) -> tuple[nn.Module, Preprocess, Classes, tuple[str, ...]]:
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise ImportError(f"Expected the package timm for `timm:{name}`; try `pip install pellucid[timm]`.") from error
    import_torchvision()
    if name.split(".")[0] not in timm.list_models():
        raise UnknownNameError(f"Expected a timm model, got `{name}`; {suggest(name, timm.list_models())}")
    state = read_state(weights)[0] if weights not in (None, "DEFAULT") else None  # type: ignore[arg-type]
    pretrained = weights == "DEFAULT"
    module = _build(lambda **given: timm.create_model(name, pretrained=pretrained, **given), name, state, options)
    notes: tuple[str, ...] = ()
    if state is not None:
        fit(module, state, str(weights))
    elif not pretrained:
        notes = ("random weights: give `weights=` a file, or \"DEFAULT\" to download the zoo's own",)
    config = timm.data.resolve_model_data_config(module)
    if classes is None and weights is not None and _outputs(module) == 1000:
        classes = "imagenet"
    return module.eval(), Preprocess.from_timm(config), classes, notes


def read_classes(classes: Classes, source: object = None) -> tuple[str, ...] | None:
    """Class names from a list, ``"imagenet"``, or a file: one name per line, a JSON list, or a JSON object by index."""
    if classes is None or not isinstance(classes, (str, Path)):
        return None if classes is None else tuple(map(str, classes))
    if classes == "imagenet":
        import_torchvision()
        return tuple(importlib.import_module("torchvision.models._meta")._IMAGENET_CATEGORIES)
    file = Path(classes)
    if not file.is_file():
        raise ValueError(f'Expected class names: a list, "imagenet" or a file, got `{classes}`, which is no file.')
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".json":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    listed = json.loads(text)
    if isinstance(listed, dict):
        listed = [listed[key] for key in sorted(listed, key=int)]
    return tuple(entry[-1] if isinstance(entry, list) else str(entry) for entry in listed)
