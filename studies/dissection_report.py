"""Page and figure of the study `dissection`, from the files that ``studies/dissection.py`` wrote.

python studies/dissection_report.py        results/dissection.md and dissection.png
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dissection_tables as t
from dissection_reasons import reasons
from dissection_tables import Found

RESULTS = Path(__file__).parent / "results"
PARTS = ("depth", "random", "rotation", "pictures", "training", "anchor")


def read(folder: Path) -> dict[str, Found]:
    """The files of all parts. Raises FileNotFoundError where one is missing."""
    found: dict[str, Found] = {}
    for part in PARTS:
        file = folder / f"dissection-{part}.json"
        if not file.is_file():
            raise FileNotFoundError(
                f"Expected `{file.name}` in {folder}, got none; try `python studies/dissection.py {part}`."
            )
        found[part] = json.loads(file.read_text(encoding="utf-8"))
    return found


def document(parts: Mapping[str, Found], plot: str) -> str:
    """The whole of ``dissection.md``; ``plot`` is the figure's file name beside it."""
    blocks = [
        "# Network dissection: depth, networks, rotation, random weights, training, width",
        "`python studies/dissection.py` measures; `python studies/dissection_report.py` writes this page and its figure.",
        *reading(parts),
        "## Published findings and ours",
        findings(parts),
        "## What differs, and why",
        *reasons(parts),
        f"![Depth, categories, rotated units, turned pictures, training, width]({plot})",
        "## Networks, last stages",
        "Published: unique detectors of the last layers by the released rule, on Broden (63,305 pictures, 1,197 concepts). "
        "Our sets are others and far smaller, so the order of the networks can be compared, the counts cannot.",
        t.networks(parts["depth"]),
        "## Depth",
        "Per category: units whose label is of it / units whose held-out label is of it and holds.",
        t.depth(parts["depth"]),
        "## Units rotated",
        *rotated(parts["rotation"]),
        t.rotation(parts["rotation"]),
        "## Pictures turned with their labels",
        "Only the disc inside the central square is shown and labeled, at every angle, so that all angles show the same content "
        '("whole": the picture as it is). Thresholds are found anew at every angle. The methods page names the experiment; no '
        "number of it is at hand.",
        t.pictures(parts["pictures"]),
        "## Random weights",
        "Fresh weights / trained ones, on the same pictures. Batch normalization is as initialized.",
        t.random_weights(parts["random"], parts["depth"]),
        "## Over a training",
        budget(parts["training"]),
        "Per stage: detectors / units whose held-out label holds.",
        t.checkpoints(parts["training"]),
        "## Width",
        "The plain network with all widths scaled, after the same training as above; two seeds up to half the width, one beyond.",
        t.widths(parts["training"]),
        "## Where cells lie: the choice of anchor",
        *anchors(parts["anchor"]),
        t.anchors(parts["anchor"]),
        "## Metadata",
        metadata(parts),
    ]
    return "\n\n".join(blocks) + "\n"


def reading(parts: Mapping[str, Found]) -> list[str]:
    """What the columns mean."""
    draws = "the mean over draws in which every picture's masks meet another picture's labels"
    return [
        "*Detector*: IoU with the best concept above 0.04, the published rule. *By chance*: detectors to be expected if masks "
        f"had nothing to do with the pictures, {draws}. *Above chance*: units whose IoU is above 0.04 and above what 95 % of "
        "the layer's units reach in those draws. *Held out*: threshold and label chosen on one part of the pictures, IoU above "
        "0.04 on the other: what is left when the best of many concepts is not chosen on the pictures it is measured on. "
        "*Unique*: different concepts, by the released rule (per category, summed) or by the labels of detectors.",
        "Embedded networks see scenes of the concept world, on which no training has been (validation split). Pretrained ones "
        "see photographs of cars with parts, objects, clothes and textures; these sets have no color, material or scene labels.",
    ]


def findings(parts: Mapping[str, Found]) -> str:
    """One row for each published finding."""
    rows = [
        ["deeper layers are more interpretable", "share of detectors rises", *deeper(parts["depth"])],
        ["from color and texture to part, object, scene", "seen in all networks", *moving(parts["depth"])],
        ["order of the networks", "ResNet > VGG > GoogLeNet > AlexNet", *ordered(parts["depth"])],
        [
            "full rotation removes unique detectors",
            "80 % removed, equal accuracy",
            *turning(parts["rotation"]),
        ],
        [
            "random weights detect (nearly) nothing",
            "2 unique (AlexNet)",
            *fresh(parts["random"], parts["depth"]),
        ],
        ["detectors emerge with training", "yes", *emerging(parts["training"])],
        ["wider layers find more", "yes", *wider(parts["training"])],
    ]
    return t.table(["finding", "published", "ours", "seen"], rows)


def deeper(found: Found) -> list[str]:
    """First and last stage of every network, held out."""
    texts, rises = [], []
    for network in found["networks"]:
        first, last = (network["layers"][k]["held out"] / network["layers"][k]["units"] for k in (0, -1))
        texts.append(f"{network['network']} {t.percent(first)} → {t.percent(last)}")
        rises.append(last > first)
    return ["held-out share, first → last stage: " + ", ".join(texts), _verdict(sum(rises), len(rises))]


def moving(found: Found) -> list[str]:
    """The share of parts, objects and scenes among detectors that hold on held-out pictures."""
    texts, rises = [], []
    for network in found["networks"]:
        shares = [t.high(layer, "held out") for layer in network["layers"]]
        known = [value for value in shares if value is not None]
        if len(known) > 1:
            texts.append(f"{network['network']} {t.percent(known[0])} → {t.percent(known[-1])}")
            rises.append(known[-1] > known[0])
    return [
        "part, object, scene among held-out detectors: " + ", ".join(texts),
        _verdict(sum(rises), len(rises)),
    ]


def ordered(found: Found) -> list[str]:
    """Unique detectors of the last stages of networks that saw the same set."""
    sets: dict[str, list[Found]] = {}
    for network in found["networks"]:
        sets.setdefault(network["concepts"]["sha256"], []).append(network)
    texts, right = [], []
    for networks in sets.values():
        order = sorted(networks, key=lambda each: -each["layers"][-1]["held out unique"])
        texts.append(
            " > ".join(f"{each['network']} {each['layers'][-1]['held out unique']}" for each in order)
        )
        residual = ["resnet" in each["network"] for each in order]
        right.append(residual == sorted(residual, reverse=True))
    return ["unique, held out: " + "; ".join(texts), _verdict(sum(right), len(right))]


def turning(found: Found) -> list[str]:
    """What a full rotation removes at the last stages."""
    texts, lost = [], []
    for network in found["networks"]:
        last = network["layers"][-1]
        shares = [t.mean(t.removed(last, key)) or 0.0 for key in ("unique", "held out unique")]
        texts.append(f"{network['network']} {' / '.join(map(t.percent, shares))}")
        lost.append(shares[1])
    seen = _verdict(sum(share > 0.1 for share in lost), len(lost))
    verdict = seen if min(lost) >= 0.7 or seen == "no" else f"{seen}, less than published"
    return ["removed at the last stage, released / held out: " + ", ".join(texts), verdict]


def fresh(found: Found, trained: Found) -> list[str]:
    """Last stages with fresh weights, and what that is of the trained ones."""
    learned = {network["network"]: network["layers"][-1] for network in trained["networks"]}
    layers = [(network["network"], network["layers"][-1]) for network in found["networks"]]
    texts = [f"{name} {layer['unique']} / {layer['held out unique']}" for name, layer in layers]
    shares = [layer["held out unique"] / max(1, learned[name]["held out unique"]) for name, layer in layers]
    seen = "yes" if max(shares) <= 0.05 else "partly" if max(shares) <= 1 / 3 else "no"
    return [
        "unique of last stages, released / held out: " + ", ".join(texts),
        f"{seen}: {t.percent(min(shares))} to {t.percent(max(shares))} of the trained networks', held out (published 3 %)",
    ]


def emerging(found: Found) -> list[str]:
    """The first and the last checkpoint."""
    first, last = (found["checkpoints"][k] for k in (0, -1))
    counts = [point["layers"][-1]["held out"] for point in (first, last)]
    uniques = [point["layers"][-1]["held out unique"] for point in (first, last)]
    text = (
        f"last stage, step 0 → {last['step']}: held-out detectors {counts[0]} → {counts[1]}, unique {uniques[0]} → {uniques[1]}, "
        f"accuracy {t.percent(first['accuracy'])} → {t.percent(last['accuracy'])}"
    )
    return [text, "yes" if counts[1] > counts[0] and uniques[1] > uniques[0] else "no"]


def wider(found: Found) -> list[str]:
    """Unique held-out detectors by width, mean over seeds."""
    factors = sorted({entry["factor"] for entry in found["widths"]})
    values = [
        t.mean(
            [entry["layers"][-1]["held out unique"] for entry in found["widths"] if entry["factor"] == factor]
        )
        or 0
        for factor in factors
    ]
    text = ", ".join(f"× {factor:g}: {value:g}" for factor, value in zip(factors, values, strict=True))
    verdict = (
        "yes"
        if values == sorted(values) and values[-1] > values[0]
        else "partly"
        if values[-1] > values[0]
        else "no"
    )
    return ["unique of the last stage, held out: " + text, verdict]


def rotated(found: Found) -> list[str]:
    """How it is done, and that outputs stay."""
    texts = [
        f"{network['network']} {network['same']['largest change of an output']:.1g} of {network['same']['largest output']:g}, "
        f"the same class for {network['same']['same class']} of {network['same']['pictures']} pictures"
        for network in found["networks"]
    ]
    return [
        "`pellucid.dissection.rotation`: Q from SO(n), its powers by the real Schur form, Q and its inverse as two 1×1 "
        "convolutions behind the layer (the same as folding the inverse into what follows). In brackets behind a layer: its "
        "units, and the directions they vary in, (Σ λ)² / Σ λ² of their covariance. Mean over the seeds of Q, least "
        "and greatest in brackets. Largest change of an output when both layers are fully rotated: "
        + "; ".join(texts)
        + "."
    ]


def budget(found: Found) -> str:
    """What the small trainings cost."""
    given = found["budget"]
    return (
        f"The plain network trained from scratch on {given['training scenes']:,} scenes for {given['epochs']} epochs (batch "
        f"{given['batch']}, learning rate {given['learning rate']:g}, {given['precision']}); accuracy on "
        f"{given['test scenes']:,} test scenes, units on {given['scenes']} validation scenes. All trainings and their "
        f"dissections together took {found['metadata']['processor minutes']:g} processor minutes. The embedded networks had "
        "16,000 scenes for 4 epochs."
    )


def anchors(found: Found) -> list[str]:
    """Which of the three is best where."""
    wins = t.highest(found)
    texts = ", ".join(f"{name} at {count}" for name, count in wins.items())
    held = {
        run["anchor"]: sum(
            layer["held out"]
            for other in found["networks"]
            if other["anchor"] == run["anchor"]
            for layer in other["layers"]
        )
        for run in found["networks"]
    }
    apart = [
        f"{name} is above effective at {above} and below it at {below}"
        for name, (above, below) in t.apart(found).items()
    ]
    layers = sum(len(run["layers"]) for run in found["networks"] if run["anchor"] == "effective")
    return [
        "Detectors · held out · mean IoU · mean held-out IoU; **bold**: the highest mean held-out IoU of a layer. Of "
        f"{layers} layers it is highest with {texts} (equals count for each). Last columns: paired difference of the units' "
        "held-out IoU in thousandths, with its standard error over units (which see the same pictures: the true one is larger). "
        f"By more than two of these, {'; '.join(apart)}. Held-out detectors of all layers: "
        + ", ".join(f"{name} {count}" for name, count in held.items())
        + ". The default is effective."
    ]


def metadata(parts: Mapping[str, Found]) -> str:
    """What it takes to measure again."""
    lines = []
    for part, found in parts.items():
        facts = ", ".join(f"{key} {value}" for key, value in found["metadata"].items())
        lines.append(f"- `{part}`: {facts}.")
    for network in parts["depth"]["networks"]:
        concepts = network["concepts"]
        lines.append(
            f"- {network['network']}: weights {network['weights sha256']}; {concepts['images']} pictures of {concepts['name']}, "
            f"{concepts['concepts']} concepts, {concepts['sha256']}."
        )
    return "\n".join(lines)


def _verdict(count: int, total: int) -> str:
    return "yes" if count == total else "no" if not count else f"at {count} of {total}"


def main() -> None:
    """Write page and figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder with the files dissection-PART.json"
    )
    given: Any = parser.parse_args()
    from dissection_plot import plot

    parts = read(given.results)
    (given.results / "dissection.png").write_bytes(plot(parts))
    (given.results / "dissection.md").write_text(document(parts, "dissection.png"), encoding="utf-8")


if __name__ == "__main__":
    main()
