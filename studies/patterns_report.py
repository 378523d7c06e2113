"""The page of the study of patterns, from its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# By the first sixteen digits of a sheet's SHA-256.
LOOKED = {
    "b7883aa51e592328": "with all channels most objects can be told by their outline, though not by their colors. From a "
    "pattern alone the fuselage of an airliner, the mast and sail of a boat, the outline of a house and the wheels of some "
    "trucks can be recognized; the wheels of cars are blobs a stranger would not name, cargo ships are boxes, fish and birds "
    "vague. Random channels give shapes nearly as distinct for bicycles and cars.",
    "a93d6b84000990bd": "with all channels about half of the objects can be told. From a pattern alone the masts and the "
    "wheels of one bicycle can be recognized; the other pictures say nothing to a stranger, and show the grid of the "
    "up-convolutions.",
    "51765ef1af455537": "nothing can be recognized. The masked maps of this layer are active at one cell near the middle of "
    "the object, and the decoder, trained a quarter as long as that of scenes-vgg, paints a blob there.",
}


def percent(value: float | None) -> str:
    """0.0123 → "1.2 %"."""
    return "–" if value is None else f"{100 * value:.1f} %"


def spread(three: list[float]) -> str:
    """A difference of shares with its interval, in points."""
    mean, low, high = (100 * value for value in three)
    return f"{mean:+.0f} points ({low:+.0f} to {high:+.0f})"


def table(study: Mapping[str, Any]) -> str:
    """The whole page."""
    lines = [
        "# Patterns of channels, and what a decoder paints of them",
        "",
        "By `pellucid study patterns`; what the columns mean is in `studies/patterns.py`. Shares are those of scenes the "
        "patterns were not mined from.",
    ]
    for one in study["networks"]:
        lines += ["", f"## {one['network']}", ""]
        lines += mining(one)
        lines += ["", *classes(one), "", *decoder(one), "", *fed_back(one)]
        lines += ["", f"![]({sheet(one)})", "", *seen(one), *made(one)]
    return "\n".join(lines) + "\n"


def seen(one: Mapping[str, Any]) -> list[str]:
    """What can be recognized, where somebody has looked at this very sheet."""
    said = LOOKED.get(one.get("sheet", ""))
    return [] if said is None else [f"Looked at: {said}", ""]


def sheet(one: Mapping[str, Any]) -> str:
    """Name of the picture."""
    return f"patterns-{one['network']}.png"


def mining(one: Mapping[str, Any]) -> list[str]:
    """Per layer: how many patterns, how telling, and whether their concepts are there."""
    lines = [
        "| layer | patterns | first of a class: in the class | in the rest | concepts in scenes with the pattern | in all scenes "
        "| reach into its region | into that of another scene |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in one["mined"]:
        true = row["truth"]
        cells = [
            row["layer"],
            str(row["patterns"]),
            percent(row["share"]),
            percent(row["rest"]),
            percent(true.get("in scenes with the pattern")),
            percent(true.get("in all scenes")),
            percent(true.get("reaches into the region")),
            percent(true.get("into that of another scene")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"- {row['layer']}: {note}" for row in one["mined"] for note in row["notes"]]
    return lines


def classes(one: Mapping[str, Any]) -> list[str]:
    """Per class of the decoded layer: the first pattern in words, accepted and kept, with intervals."""
    row = next(row for row in one["mined"] if row["layer"] == one["decoder"]["layer"])
    lines = [
        f"The first pattern of every class at {row['layer']}:",
        "",
        "| class | channels | concepts | accepted | kept | in the class | in the rest |",
        "|---|---|---|---|---|---|---|",
    ]
    for found in row["classes"]:
        if not found["kept"]:
            lines.append(f"| {found['class']} | – | – | 0 | 0 | – | – |")
            continue
        shares = [
            f"{percent(found[share])} ({percent(found[ends][0])} to {percent(found[ends][1])})"
            for share, ends in (("share", "interval"), ("rest", "rest interval"))
        ]
        channels = "+".join(map(str, found["channels"]))
        words = ", ".join(found["concepts"]) or "–"
        lines.append(
            f"| {found['class']} | {channels} | {words} | {found['accepted']:,} | {found['kept']} | {' | '.join(shares)} |"
        )
    return lines


def decoder(one: Mapping[str, Any]) -> list[str]:
    """How far the decoder's pictures are, and from what else."""
    found = one["decoder"]
    errors = found["errors"]
    poor = (
        " **That is no better than the mean scene: it was trained too little, or its layer tells too little, for its pictures "
        "to say anything.**"
        if errors["decoder"] >= errors["mean"]
        else ""
    )
    return [
        f"Decoder of {found['layer']}, trained {found['minutes']:g} minutes on {found['pictures']:,} scenes. Mean squared error "
        f"of {errors['pictures']:,} held-out scenes: **{errors['decoder']:.4f}**; of the mean scene {errors['mean']:.4f}, of "
        f"the training scene with the nearest maps {errors['nearest_maps']:.4f}, with the nearest pixels "
        f"{errors['nearest_pixels']:.4f} (which no look-up could beat).{poor}",
    ]


def fed_back(one: Mapping[str, Any]) -> list[str]:
    """What the network makes of the decoded pictures."""
    found = one["feedback"]
    lines = [
        f"{found['patterns']} decoded patterns, fed back:",
        "",
        "| decoded from | of the pattern's channels | all of them | probability of its class |",
        "|---|---|---|---|",
    ]
    for name in ("pattern", "random", "all channels"):
        row = found[name]
        label = {
            "pattern": "the pattern's channels",
            "random": "as many random ones",
            "all channels": "all channels",
        }[name]
        lines.append(
            f"| {label} | {percent(row['channels'])} | {percent(row['present'])} | {percent(row['probability'])} |"
        )
    lines += [
        "",
        f"Pattern over random, paired: channels {spread(found['channels over random'])}, probability "
        f"{spread(found['probability over random'])}: {verdict(found)}.",
    ]
    return lines


def verdict(found: Mapping[str, Any]) -> str:
    """What the intervals allow to be said."""
    sure = {key: found[f"{key} over random"][1] > 0 for key in ("channels", "probability")}
    if all(sure.values()):
        return "the pictures bring back their channels and their class"
    if sure["channels"]:
        return "the pictures bring back their channels; of the class it cannot be told"
    if sure["probability"]:
        return "the pictures bring back their class; of the channels it cannot be told"
    return "it cannot be told that the pictures hold more than those of random channels"


def made(one: Mapping[str, Any]) -> list[str]:
    """What the part was made with."""
    facts = one["metadata"]
    options = ", ".join(f"{key} {value}" for key, value in facts["options"].items() if key != "networks")
    return [
        f"Made {facts['date']} with {options}; torch {facts['torch']}, {facts['machine']}, code {facts['code']}."
    ]
