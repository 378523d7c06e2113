"""Tables, plot and example maps of the study `shallow-cam`, from the files that ``studies/shallow_cam.py`` wrote.

    python studies/shallow_cam_report.py                        results/shallow-cam.md and .png, docs/images/shallow-cam.jpg
    python studies/shallow_cam_report.py --page out/shallow-cam     besides, a page of example maps side by side

The picture for the documentation shows scenes of the embedded world only. The page shows photographs where ``PELLUCID_ASSETS``
names their folder; it is never committed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shallow_cam_numbers import BASE, BLURRED, GOAL, GOAL_LAST, MAIN, PUBLISHED, Study, read
from shallow_cam_tables import faithfulness, intervention, localization, plain, shown, signed, table, tuning

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"


def document(studies: Sequence[Study], plot: str) -> str:
    """The whole of ``shallow-cam.md``; ``plot`` is the plot's file name beside it."""
    blocks = [
        "# Shallow-CAM against LayerCAM, stage by stage",
        *opening(studies),
        *overall(studies),
        "## Summary",
        summary(studies),
        f"![Margin over LayerCAM by network and stage]({plot})",
        *published(studies),
        "## Deletion and insertion, every method",
        "Above: mean composite. Below: margin over LayerCAM at the same stage. **Bold**: the best method of a stage. "
        "Controls stand at the end and are never bold.",
        *(block for study in studies for block in faithfulness(study)),
        *localization(studies),
        *intervention(studies),
        *tuning(studies),
        "## Metadata",
        "\n".join(metadata(study) for study in studies),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def opening(studies: Sequence[Study]) -> list[str]:
    """What was measured, how, and what was aimed at."""
    protocol = studies[0].found["protocol"]
    kernel, sigma = protocol["blur"]
    return [
        "`python studies/shallow_cam.py` measures; `python studies/shallow_cam_report.py` writes this page and its pictures.",
        f"Composite = insertion − deletion, times 100; higher is better. {protocol['steps']} steps, deletion to the mean "
        f"color, insertion from a blur (kernel {kernel}, σ {sigma:g}). The form of Shallow-CAM and the σ of the blurred "
        "LayerCAM were chosen on a tuning half of the images, and all else is measured on the other half. A margin is a "
        "mean paired difference, with its 95 % bootstrap interval in brackets.",
        f"Goal: over LayerCAM at least {signed(GOAL)} at every stage but the last two, and more than {signed(GOAL_LAST)} "
        "at those; above the blurred LayerCAM at every stage; localization no worse; the highest agreement with the true "
        "effects of parts.",
    ]


def overall(studies: Sequence[Study]) -> list[str]:
    """Wins and losses over all networks."""
    stages = [(study, layer) for study in studies for layer in study.layers]
    margins = [study.composite.margin(MAIN, layer) for study, layer in stages]
    wins, blurred = (
        [study.composite.above(MAIN, layer, over) for study, layer in stages] for over in (BASE, BLURRED)
    )
    best = sum(study.composite.best(layer) == [MAIN] for study, layer in stages)
    surpassed = sum(
        any(by.low > 0 for by in study.composite.rivals(layer, controls=False).values())
        for study, layer in stages
    )
    lines = [
        f"At {len(stages)} stages of {len(studies)} networks, Shallow-CAM is above LayerCAM at {sum(wins)} (with its "
        f"whole interval at {sum(found is not None and found.low > 0 for found in margins)}) and above the blurred "
        f"LayerCAM at {sum(blurred)}. It reaches the goal at "
        f"{sum(study.short_of(layer) is None for study, layer in stages)}. It is the best of all methods at {best}; at "
        f"{surpassed} another method is above it with its whole interval."
    ]
    for name, held in (("LayerCAM", wins), ("the blurred LayerCAM", blurred)):
        lost = [f"{study.name} `{at}`" for (study, at), won in zip(stages, held, strict=True) if not won]
        lines += [f"Not above {name}: {', '.join(lost)}."] if lost else []
    return lines


def summary(studies: Sequence[Study]) -> str:
    """Each stage of each network in one row."""
    rows = []
    for study in studies:
        board = study.composite
        for layer in study.layers:
            short, goal = study.short_of(layer), study.goal(layer)
            rows.append(
                [
                    f"{study.name} `{layer}`",
                    *(plain(board.mean(name, layer)) for name in (BASE, MAIN)),
                    shown(board.margin(MAIN, layer)),
                    shown(board.margin(MAIN, layer, BLURRED)),
                    f"{'>' if goal == GOAL_LAST else '≥'} {goal:.2f}",
                    "reached" if short is None else f"**missed by {short:.2f}**",
                ]
            )
    head = ("network, stage", "LayerCAM", "Shallow-CAM", "margin", "over blurred LayerCAM", "goal", "outcome")
    return table(head, rows)


def published(studies: Sequence[Study]) -> list[str]:
    """The published margins beside ours."""
    rows = [[f"published, {name}", *map(signed, between)] for name, between in PUBLISHED.items()]
    for study in studies:
        margins = [study.composite.margin(MAIN, layer) for layer in study.layers]
        means = [found.mean for found in margins if found is not None]
        if means:
            rows.append([f"ours, {study.title}", signed(min(means)), signed(max(means))])
    return [
        "## Published margins and ours",
        "Margin over LayerCAM, least and greatest of the layers (Cheng et al. 2025). Their protocol, networks and images "
        "are not ours, and only their abstract is public: the numbers stand side by side and cannot be subtracted.",
        table(("", "least", "greatest"), rows),
    ]


def metadata(study: Study) -> str:
    """What it takes to measure a network again."""
    protocol = study.found["protocol"]
    check = protocol.get("check") or {}
    facts = {
        "images": study.found["images"],
        "tuning images": study.found.get("tuning_images"),
        "curves in": protocol.get("precision"),
        **dict(_flat(study.found.get("metadata") or {})),
    }
    text = f"- {study.name}: " + ", ".join(
        f"{key} {value}" for key, value in facts.items() if value is not None
    )
    if check:
        text += (
            f"; largest difference of a composite (times 100) to the network's own precision on {check['images']} images: "
            f"{100 * check['largest_difference']:.2f}"
        )
    return f"{text}."


def _flat(facts: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield key, " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def main() -> None:
    """Write tables and pictures, and the page if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder that holds `shallow-cam/`")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "images" / "shallow-cam.jpg")
    parser.add_argument(
        "--no-picture", action="store_true", help="leave the picture of example maps as it is"
    )
    parser.add_argument(
        "--page", type=Path, metavar="DIR", help="write DIR/index.html, example maps side by side"
    )
    given = parser.parse_args()
    from shallow_cam_maps import page, picture
    from shallow_cam_plot import plot

    studies = read(given.results / "shallow-cam")
    (given.results / "shallow-cam.png").write_bytes(plot(studies))
    (given.results / "shallow-cam.md").write_text(document(studies, "shallow-cam.png"), encoding="utf-8")
    if not given.no_picture:
        picture().save(given.picture, quality=88, optimize=True)
    if given.page:
        given.page.mkdir(parents=True, exist_ok=True)
        (given.page / "index.html").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
