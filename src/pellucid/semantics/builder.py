"""`explain`: one image, one network, one page's worth of evidence and the sentence it allows.

One forward and one backward pass give every map that needs no more, and the neurons' scores; what removing neurons does is
measured by running the tail behind their layer. Methods that run the network many times (SmoothGrad, Integrated
Gradients …) are computed when asked for by name. Whether the map the sentence speaks of is faithful is tested last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pellucid.attribution import Method
from pellucid.capture import capture
from pellucid.data.images import InputImage
from pellucid.data.preprocess import to_batch
from pellucid.network import Network, TargetLike
from pellucid.neurons import unit_regions
from pellucid.neurons.criterion import Criterion
from pellucid.neurons.regions import box_of
from pellucid.registry import create, get, names
from pellucid.semantics import clauses as say
from pellucid.semantics.concepts import Names, TableLike, names_for
from pellucid.semantics.evidence import attainable, concentration, positive_evidence, removal
from pellucid.semantics.explanation import Box, Cost, Explanation, Neuron, Removal
from pellucid.semantics.faithfulness import Faithfulness, counted
from pellucid.semantics.faithfulness import faithfulness as test_map
from pellucid.semantics.pictures import Pictures, PicturesLike, pictures_for
from pellucid.status import judged
from pellucid.types import INPUT, Heatmap, Target, Trace, UnitScores

DEFAULT_METHOD = "shallow-cam"
REGION = 0.03  # share of the pixels shown as a neuron's region
EXTRA = ("guided-backprop",)  # needs a pass of its own and is worth it


def explain(
    net: Network,
    images: Any,
    *,
    target: TargetLike = None,
    method: str = DEFAULT_METHOD,
    methods: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    criterion: str | Criterion = "cgnis",
    neuron_layer: str | None = None,
    units: int = 5,
    mask: Any = None,
    normalized: bool | None = None,
    seed: int = 0,
    faithfulness: bool = True,
    table: TableLike | Names = None,
    pictures: PicturesLike | Pictures = None,
) -> Any:
    """Explain what ``net`` did with an image: an `Explanation`, or a list of them for a list, batch or folder.

    ``images``: path, PIL image, array, tensor (see `pellucid.attribute`), or a scene or rendering of the concept world, whose
    object mask is then known. ``target``: class index, name or function; None is the predicted class. ``method`` is the
    map the sentence speaks of; ``methods`` all that are computed (default: every method that one forward and backward
    pass allows). ``layers``: default, the end of every resolution stage. ``criterion`` and ``units``: how the important
    neurons of ``neuron_layer`` (default: the last of ``layers``) are found, and how many. ``mask``: bool array
    [height width] of the object in the original image. ``seed`` draws what is random: the neurons that are removed for
    comparison, and the network of the sanity check. ``faithfulness``: test the map of ``method``, at up to 40 further
    forward passes (`pellucid.semantics.faithfulness`). ``table``: what units answer to, from which the important neurons
    get the names of concepts: a `UnitTable`, ``{layer: UnitTable}`` or the folder of a dissection; None takes the tables
    that come with the embedded networks, ``{}`` leaves names away. ``pictures``: folder of ``pellucid visualize``, or several;
    what was painted for the important neurons is then shown beside them.

    Raises UnknownNameError for unknown methods, layers or classes, ImageError for unusable images, ValueError for the
    table or pictures of another network.
    """
    if units < 1:
        raise ValueError(f"Expected `units` to be at least 1, got {units}.")
    scenes = isinstance(images, (list, tuple)) and any(map(_is_scene, images))
    if mask is not None and (scenes or _is_scene(images)):
        raise ValueError(
            "Expected no `mask` with scenes, which bring their own, got one; try `rendering.image` for another mask."
        )
    if scenes:
        same: dict[str, Any] = {
            "method": method,
            "methods": methods,
            "layers": layers,
            "criterion": criterion,
            "neuron_layer": neuron_layer,
            "units": units,
            "normalized": normalized,
            "seed": seed,
            "faithfulness": faithfulness,
            "table": table,
            "pictures": pictures,
        }
        each = _one_each(target, len(images))
        return [explain(net, one, target=wanted, **same) for one, wanted in zip(images, each, strict=True)]
    picture, known, label = _known_object(images, mask)
    batch, shown = to_batch(picture, net.preprocess, normalized=normalized)
    chosen = list(dict.fromkeys([method, *(methods if methods is not None else default_methods())]))
    made = [create("attribution", each) for each in chosen]
    several = len(batch) > 1 or isinstance(images, (list, tuple))
    if several and known is not None:
        raise ValueError(f"Expected one image with a mask, got {len(batch)}; try one call for each.")
    rank = create("neurons", criterion)
    targets = _one_each(target, len(batch))
    place = neuron_layer or last_layer(net, layers)
    meanings, painted = names_for(net, table, place), pictures_for(net, pictures)
    found = [
        _explain_one(
            net,
            batch[i : i + 1],
            shown[i],
            targets[i],
            made,
            layers,
            rank,
            place,
            units,
            known,
            label,
            seed,
            faithfulness,
            meanings,
            painted,
        )
        for i in range(len(batch))
    ]
    return found if several else found[0]


def last_layer(net: Network, layers: Sequence[str] | None = None) -> str:
    """The layer whose neurons are looked at unless another is named: the last of ``layers``, the input aside."""
    stages = tuple(layers) if layers is not None else net.default_layers
    return [name for name in stages if name != INPUT][-1]


def default_methods() -> tuple[str, ...]:
    """Every attribution method that one forward and one backward pass allow, and guided backpropagation."""
    cheap = [name for name in names("attribution") if get("attribution", name).needs != "passes"]
    return (*cheap, *(name for name in EXTRA if name in names("attribution")))


def _one_each(target: TargetLike, count: int) -> list[Any]:
    if isinstance(target, (list, tuple, Tensor)):
        if len(target) != count:
            raise ValueError(f"Expected one target for each of {count} images, got {len(target)}.")
        return [int(one) if isinstance(one, Tensor) else one for one in target]
    return [target] * count


def _is_scene(image: Any) -> bool:
    """A scene or rendering of the concept world, told without importing it."""
    return type(image).__module__.startswith("pellucid.data.scenes")


def _known_object(images: Any, mask: Any) -> tuple[Any, Tensor | None, str | None]:
    """The picture, the object's mask in the picture, and its name, where they are known."""
    if _is_scene(images):
        from pellucid.data.scenes import render

        rendering = images if hasattr(images, "object_mask") else render(images)
        scene = rendering.scene_data
        picture = InputImage(Image.fromarray(rendering.image), "scene", (), (rendering.size, rendering.size))
        if scene.thing is None:
            return picture, None, None
        return picture, torch.from_numpy(rendering.object_mask()), scene.thing.name
    if mask is None:
        return images, None, None
    array = np.asarray(mask)
    if array.ndim != 2 or array.dtype.kind not in "bui" or not array.any():
        raise ValueError(
            f"Expected `mask` to be a bool array [height width] with pixels set, got {array.dtype} {array.shape}."
        )
    return images, torch.from_numpy(array != 0), "object"


def _explain_one(
    net: Network, images: Tensor, shown: InputImage, target: TargetLike, methods: Sequence[Method],
    layers: Sequence[str] | None, criterion: Criterion, place: str, units: int,
    known: Tensor | None, label: str | None, seed: int, test: bool, meanings: Names, pictures: Pictures,
) -> Explanation:  # fmt: skip
    stages = tuple(layers) if layers is not None else net.default_layers
    trace = capture(net, images, (INPUT, *stages, place), target)
    maps, extra, taken = _maps(trace, methods, stages)
    mask = _mask_at_input(known, net, shown, images)
    inside, boxes = _measure(maps, mask)
    top, about = _prediction(net, trace)
    scores = UnitScores(
        criterion(trace, place).detach(), trace.layers[place], criterion.name, trace.target.names
    )
    chosen, effect, tail_runs = _neurons(net, trace, scores, units, seed, meanings, pictures)
    main = maps.get(stages[-1], {}).get(methods[0].name) or next(
        m[methods[0].name] for m in maps.values() if methods[0].name in m
    )
    shares = [
        (inside[layer, main.method], attainable(found[main.method], mask))
        for layer, found in maps.items()
        if mask is not None and (layer, main.method) in inside
    ]
    tested = test_map(trace, main, methods[0], taken, seed) if test else None
    said = _sentence(top, about, main, tested, mask, label, shares, chosen, effect, scores, stages)
    ran, back = (0, 0) if tested is None else (tested.passes, tested.backward)
    return Explanation(
        network=_facts(net),
        image={"name": shown.name, "notes": [*shown.notes, *net.notes, *_notes(maps), *meanings.notes, *pictures.notes,
                         *pictures.missing(place, [neuron.unit for neuron in chosen])],
               "original_size": list(shown.original_size),
               "size": [int(images.shape[2]), int(images.shape[3])]},
        view=shown.image,
        prediction=top,
        target=about,
        clauses=said,
        maps=maps,
        default_method=methods[0].name,
        inside=inside,
        boxes=boxes,
        scores=scores,
        neurons=chosen,
        removal=effect,
        mask=mask,
        mask_name=label if mask is not None else None,
        cost=Cost(1 + extra + (2 if tail_runs else 0) + ran, 1 + extra + back, tail_runs),
        faithfulness=tested,
    )  # fmt: skip


def _maps(
    trace: Trace, methods: Sequence[Method], stages: Sequence[str]
) -> tuple[dict[str, dict[str, Heatmap]], int, int]:
    """All maps of the one image, by layer and method; how many methods ran the network on their own; and how many passes the
    first of them took."""
    maps: dict[str, dict[str, Heatmap]] = {INPUT: {}, **{name: {} for name in stages}}
    size = (int(trace.images.shape[2]), int(trace.images.shape[3]))
    taken = 0
    with torch.inference_mode(False), torch.no_grad(), counted(trace.network) as passes:
        for method in methods:
            homes = {"input": (INPUT,), "last": tuple(stages[-1:])}.get(method.home, tuple(stages))
            for layer in homes:
                try:
                    values = method(trace, layer).detach()
                except ValueError:  # CAM where the head has another form
                    if method is methods[0]:
                        raise
                    continue
                maps[layer][method.name] = judged(
                    values,
                    trace.layers[layer],
                    method.name,
                    size,
                    trace.target.names,
                    rectified=method.rectified,
                    notes=method.notes(trace),
                )
            taken = passes() if method is methods[0] else taken
    extra = sum(method.needs == "passes" for method in methods)
    return {layer: found for layer, found in maps.items() if found}, extra, taken


def _notes(maps: Mapping[str, Mapping[str, Heatmap]]) -> list[str]:
    """What the maps have to say of themselves, each with the methods it concerns."""
    found: dict[str, list[str]] = {}
    for layer in maps.values():
        for name, one in layer.items():
            for note in one.notes:
                found.setdefault(note, []).append(name)
    return [f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in found.items()]


def _mask_at_input(known: Tensor | None, net: Network, shown: InputImage, images: Tensor) -> Tensor | None:
    if known is None:
        return None
    width, height = shown.original_size
    if tuple(known.shape) != (height, width):
        raise ValueError(
            f"Expected a mask of the image's size {height}×{width}, got {known.shape[0]}×{known.shape[1]}."
        )
    view = net.preprocess.view_mask(known.numpy())
    return view if view.shape == images.shape[2:] else None


def _measure(
    maps: dict[str, dict[str, Heatmap]], mask: Tensor | None
) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], Box]]:
    inside: dict[tuple[str, str], float] = {}
    boxes: dict[tuple[str, str], Box] = {}
    for layer, found in maps.items():
        for name, one in found.items():
            evidence = positive_evidence(one)
            if evidence is None:
                continue
            box = box_of(evidence >= 0.5 * evidence.max())
            if box is not None:
                boxes[layer, name] = box
            if mask is not None:
                inside[layer, name] = float(evidence[mask].sum())
    return inside, boxes


def _prediction(net: Network, trace: Trace) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    probabilities = net.probabilities(trace.output)[0].cpu()
    outputs = trace.output[0].float().cpu()
    order = torch.sort(probabilities, descending=True, stable=True).indices[:5]
    top = tuple(
        {
            "class": net.classes[int(k)],
            "index": int(k),
            "probability": float(probabilities[k]),
            "output": float(outputs[min(int(k), len(outputs) - 1)]),
        }
        for k in order
    )
    target = trace.target
    index = _target_index(net, target)
    return top, {
        "name": target.names[0],
        "index": index,
        "probability": None if index is None else float(probabilities[index]),
        "score": float(trace.score[0]),
        "predicted": index == top[0]["index"],
    }


def _target_index(net: Network, target: Target) -> int | None:
    if target.indices is None:
        return None
    return int(target.indices[0]) if target.signs is None else int(target.signs[0] > 0)


def _neurons(
    net: Network, trace: Trace, scores: UnitScores, count: int, seed: int, meanings: Names, pictures: Pictures
) -> tuple[tuple[Neuron, ...], Removal | None, int]:
    values = scores.values[0].double().cpu()
    total = float(values.clamp(min=0).sum())
    top = [unit for unit in scores.top(count) if float(values[unit.index]) > 0]
    if not top or total <= 0:
        return (), None, 0
    layer = scores.layer.name
    effect: Removal | None = None
    alone: tuple[tuple[float | None, float | None], ...] = ((None, None),) * len(top)
    runs = 0
    if len(values) > 1:
        effect, alone, runs = removal(net, trace, layer, [unit.index for unit in top], seed)
    regions = unit_regions(trace, top, layer=layer, quantile=REGION)[0]
    found = tuple(
        Neuron(
            layer=layer,
            unit=unit.index,
            criterion=scores.criterion,
            score=float(values[unit.index]),
            share=float(values[unit.index]) / total,
            rank=rank,
            region=region.mask.cpu(),
            box=region.box,
            removed=without[0],
            removed_score=without[1],
            meaning=meanings.of(layer, unit.index),
            painted=pictures.of(layer, unit.index),
        )
        for rank, (unit, region, without) in enumerate(zip(top, regions, alone, strict=True), 1)
    )
    return found, effect, runs


def _sentence(
    top: tuple[dict[str, Any], ...], about: dict[str, Any], main: Heatmap, tested: Faithfulness | None,
    mask: Tensor | None, label: str | None, shares: list[tuple[float, float]], neurons: tuple[Neuron, ...],
    effect: Removal | None, scores: UnitScores, stages: Sequence[str],
) -> tuple[Any, ...]:  # fmt: skip
    evidence = positive_evidence(main)
    said = [say.prediction(top, about), say.doubt_of_prediction(top, about)]
    said.append(say.region(main, None if evidence is None else concentration(evidence), stages))
    said += say.faithful(tested)
    if mask is not None and shares and label is not None:
        said += say.on_object(label, about["name"], shares, float(mask.double().mean()), main.method)
    title = scores.criterion.upper() if scores.criterion == "cgnis" else scores.criterion
    first, *doubts = say.carried(neurons, effect, scores.values.shape[1], title, about, stages[-1])
    said += [first, say.answering(neurons), *doubts]
    return tuple(clause for clause in said if clause is not None)


def _facts(net: Network) -> dict[str, Any]:
    return {
        "name": net.name,
        "input_shape": list(net.input_shape),
        "parameters": sum(parameter.numel() for parameter in net.module.parameters()),
        "classes": len(net.classes),
        "preprocess": net.preprocess.to_json(),
        "head": net.head,
    }
