"""What the study `dissection` does not find as it was published, and what its numbers say of the reasons."""

from __future__ import annotations

from collections.abc import Mapping

from scipy.stats import spearmanr

from dissection_tables import Found, mean, percent, removed

SCENES = (
    0.115,
    0.155,
)  # of all pixels, the least and the most that one of six frequent scenes covers in 200 pictures


def reasons(parts: Mapping[str, Found]) -> list[str]:
    """A paragraph each."""
    return [
        rotation(parts["rotation"]),
        counting(parts["depth"]),
        categories(),
        fresh(parts["random"], parts["depth"]),
        pictures(parts["pictures"]),
    ]


def rotation(found: Found) -> str:
    """The share a rotation removes, and in how many directions the layer varies."""
    layers = [(network["network"], layer) for network in found["networks"] for layer in network["layers"]]
    lost = [mean(removed(layer, "held out unique")) or 0.0 for _, layer in layers]
    directions = [layer["dimensions"] for _, layer in layers]
    listed = ", ".join(
        f"{name} `{layer['layer']}` {layer['dimensions']:.0f} → {percent(share)}"
        for (name, layer), share in sorted(
            zip(layers, lost, strict=True), key=lambda pair: pair[0][1]["dimensions"]
        )
    )
    agreement = (
        f"rank correlation {spearmanr(directions, lost).statistic:.2f}"
        if len(set(directions)) > 1
        else "one layer"
    )
    return (
        "*Rotation* removes less than the published 80 %. What it removes goes with the directions in which the units of a layer "
        f"vary ({listed}; {agreement} over {len(layers)} layers). The last stages of the embedded networks vary in about as many "
        "directions as there are classes: whatever the axis, its extreme is one of a few kinds of object, so that a rotation "
        "takes no concept away. That is what the numbers suggest, no proof. Our sets have a twelfth of Broden's concepts, which "
        "also leaves less to lose."
    )


def counting(found: Found) -> str:
    """How many detectors are left on held-out pictures."""
    last = [(network["network"], network["layers"][-1]) for network in found["networks"]]
    listed = ", ".join(f"{name} {layer['held out']} of {layer['detectors']}" for name, layer in last)
    return (
        "*Counting*: on sets this small the published rule is generous. Of the detectors of the last "
        f"stages, as many hold on held-out pictures: {listed}. For networks on photographs, compare the held-out columns."
    )


def categories() -> str:
    """What cannot be detected."""
    return (
        "*Categories*: a mask of 0.5 % of the pixels has an IoU of at most 0.005 / share with a concept that covers that share "
        "of the pixels, so nothing that covers more than 12.5 % can be a unit's label. The eight scenes of the embedded world "
        "cover 12.5 % each on average: their bound is the threshold, and no unit detects one. The photographs have no color, "
        "material and scene labels: of the move away from color and texture they can show the texture alone."
    )


def fresh(found: Found, trained: Found) -> str:
    """First stages of fresh and trained networks."""
    learned = {network["network"]: network["layers"] for network in trained["networks"]}
    listed = ", ".join(
        f"{network['network']} {network['layers'][0]['held out']} / {learned[network['network']][0]['held out']}"
        for network in found["networks"]
        if not network["seed"]
    )
    return (
        "*Random weights*: held-out detectors of the first stages, fresh / trained: "
        f"{listed}. What first stages detect hardly needs training; what training makes shows at the last stages."
    )


def pictures(found: Found) -> str:
    """What is left of the labels of upright pictures."""
    angle = min(
        (turn["angle"] for turn in found["networks"][0]["layers"][-1]["angles"] if turn["angle"]),
        key=lambda a: abs(a - 45),
    )
    listed = ", ".join(
        f"{network['network']} {percent(turn['still labeled so'] / max(1, layer['angles'][0]['detectors']))}"
        for network in found["networks"]
        for layer in network["layers"][-1:]
        for turn in layer["angles"]
        if turn["angle"] == angle
    )
    return (
        f"*Pictures turned*: of the detectors of the last stage, as many keep their label at {angle:g}°: {listed}. The "
        "embedded networks were trained on upright scenes alone. Where many labels do not hold on held-out pictures even at 0° "
        "(ResNet-18, see Counting), part of what a turn changes is that."
    )
