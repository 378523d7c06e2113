"""Is it true what is said of photographs? Names of regions, the region that matters most, units, on four real networks.

Photographs with pixel masks (MSRC) and photographs of known classes, in two halves by a hash of the file's name: the form and
the calibration of names come from the tuning half, everything reported is measured on the other one.

1. *Named right*: the share of labeled regions of objects whose name WordNet puts under the label, first name and among three,
   from the region's cells, against the answer for the whole picture, the region enlarged, its removal, and chance; and the
   words that are said after calibration.
2. *Most harmful first*: does the region with the most evidence per cell cost the class most when it is filled (three fills)?
3. *Sufficient and necessary*: the class's probability with nothing but the regions found by ourselves, and with them filled,
   against the same shape elsewhere.
4. *Units*: AUC and MAD of names from the network's own vocabulary beside published ones.
5. *Masking*: the fall of the class when the first units are removed, by each criterion.

    pellucid study words                          what is not there yet, then the page; needs PELLUCID_ASSETS
    pellucid study words --networks squeezenet    of one network
    pellucid study words --report                 the page from what is there
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

import kit
import words_measures as measures
import words_units
from pellucid.naming import vocabulary
from words_data import NETWORKS, labeled, network, photographs
from words_features import of_labeled, of_photograph
from words_report import page

METHODS = (
    "gradcam",
    "gradcam++",
    "xgradcam",
    "layercam",
    "eigencam",
    "relevance-cam",
    "lrp",
    "gradient-x-input",
)
CODE = [
    Path(__file__).with_name(f"words{part}.py") for part in ("", "_data", "_features", "_measures", "_units")
]


def records(net: Any, given: argparse.Namespace, assets: Path, which: str) -> list[dict[str, Any]]:
    """The features of a half's labeled photographs, kept after every picture."""
    found = []
    for picture in labeled(assets, which)[: given.tuning if which == "tuning" else given.pictures]:
        record = of_labeled(net, picture, given.work / net.name / "msrc")
        if record is not None:
            found.append({**record, "name": picture.name})
    return found


def of_network(name: str, given: argparse.Namespace, assets: Path) -> dict[str, Any]:
    """Everything of one network that does not need the calibration."""
    net = network(name, assets)
    halves = {which: records(net, given, assets, which) for which in ("tuning", "reporting")}
    rows = {which: measures.named(net, found) for which, found in halves.items()}
    images = {
        picture.name: picture.read(net)[0] for picture in labeled(assets, "reporting")[: given.pictures]
    }
    harm = measures.harmful(net, halves["reporting"], images)
    chosen = [record for record in halves["reporting"] if len(record["labels"]) > 1][: given.maps]
    mapped = []
    for record in chosen:
        compute = lambda record=record: measures.maps(net, [record], images, METHODS)[0]  # noqa: E731
        mapped.append(kit.step(given.work / name / "maps", record["name"], compute))
    shown = [
        kit.step(
            given.work / name / "photographs",
            Path(file).stem,
            lambda file=file, target=target: (
                kit.plain(of_photograph(net, file, target)) | {"name": Path(file).name}
            ),
        )
        for _, target, file in list(photographs(assets, "reporting"))[: given.photographs]
    ]
    return {
        "candidates": {which: measures.candidates(found) for which, found in rows.items()},
        "rows": rows,
        "chance": measures.chance(rows["reporting"]),
        "harmful": harm,
        "maps": mapped,
        "photographs": shown,
        "looked at": measures.words_of(vocabulary(net), rows["reporting"], 40),
    }


def summary(found: Mapping[str, Any], calibration: Any) -> dict[str, Any]:
    """Means and intervals of one network."""
    rows, said = found["rows"]["reporting"], measures.spoken(found["candidates"]["reporting"], calibration)
    plain_said = [entry for entry in said if entry is not None]
    right = [photo for photo in found["photographs"] if photo["right"] and photo["regions"]]
    units: dict[str, list[list[float]]] = {}
    for photo in right:
        for criterion, values in photo["units"].items():
            units.setdefault(criterion, []).append(values)

    def mean(values: Sequence[Any]) -> list[float]:
        return kit.mean_interval([float(value) for value in values], 4)

    agree = {
        name: mean([row["agree"][name] for row in found["harmful"]]) for name in found["harmful"][0]["agree"]
    }
    ranks = found["harmful"][0]["rank"]
    return {
        "regions": len(rows),
        "named": {
            source: {
                "first": mean([row["right"][source][0] for row in rows]),
                "three": mean([row["right"][source][1] for row in rows]),
            }
            for source in measures.SOURCES
        },
        "chance": list(found["chance"]),
        "by label": {
            label: [
                sum(row["right"]["cells"][0] for row in rows if row["label"] == label),
                sum(row["label"] == label for row in rows),
            ]
            for label in sorted({row["label"] for row in rows})
        },
        "said": {
            "coverage": mean([entry is not None for entry in said]),
            "right": mean([entry[1] for entry in plain_said]),
            "classes": sum(entry[2] for entry in plain_said) / len(plain_said),
            "confidence": sum(entry[0] for entry in plain_said) / len(plain_said),
        },
        "harmful": {
            "pictures": len(found["harmful"]),
            "agree": agree,
            "rank": {
                name: mean(
                    [
                        row["rank"][name]
                        for row in found["harmful"]
                        if row["rank"].get(name, float("nan")) == row["rank"].get(name)
                    ]
                )
                for name in ranks
            },
            "chance": sum(row["chance"] for row in found["harmful"]) / len(found["harmful"]),
            "one fill": {
                fill: mean([row["fills"][fill] for row in found["harmful"]])
                for fill in found["harmful"][0]["fills"]
            },
            "maps": {name: mean([row["agree"][name] for row in found["maps"]]) for name in METHODS}
            if found["maps"]
            else {},
            "of the same pictures": mean(
                [row["agree"]["evidence per cell"] for row in found["harmful"][: len(found["maps"])]]
            )
            if found["maps"]
            else None,
        },
        "worth": {
            "pictures": len(right),
            "area": mean([photo["area"] for photo in right]),
            "kept": mean([photo["kept"] for photo in right]),
            "kept elsewhere": mean(
                [sum(photo["kept elsewhere"]) / len(photo["kept elsewhere"]) for photo in right]
            ),
            "filled": mean([photo["filled"] for photo in right]),
            "filled elsewhere": mean(
                [sum(photo["filled elsewhere"]) / len(photo["filled elsewhere"]) for photo in right]
            ),
            "sufficient": mean([photo["kept"] > max(photo["kept elsewhere"]) for photo in right]),
            "necessary": mean([photo["filled"] < min(photo["filled elsewhere"]) for photo in right]),
        },
        "masking": {
            criterion: {
                "score": mean([value[0] for value in values]),
                "probability": mean([value[1] for value in values]),
            }
            for criterion, values in units.items()
        },
        "looked at": found["looked at"],
    }


def main() -> None:
    """Measure what is missing, and write the results and their page."""
    parser = kit.parser(__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--tuning", type=int, default=250, help="labeled photographs of the tuning half")
    parser.add_argument("--pictures", type=int, default=120, help="labeled photographs of the reporting half")
    parser.add_argument("--photographs", type=int, default=24, help="photographs of known classes")
    parser.add_argument("--maps", type=int, default=12, help="pictures on which other maps are compared")
    parser.add_argument("--work", type=Path, default=Path("words-work"), help="where unfinished work is kept")
    parser.add_argument("--report", action="store_true", help="only the page")
    given = parser.parse_args()
    stored = kit.read(given.out / "words.json")
    if not given.report:
        assets = kit.assets()
        if assets is None:
            raise SystemExit(
                "Expected photographs and weights in PELLUCID_ASSETS, got none; set it to their folder."
            )
        torch.set_num_threads(1)
        found = {name: of_network(name, given, assets) for name in given.networks}
        calibration = measures.fitted({name: each["candidates"]["tuning"] for name, each in found.items()})
        stored = {
            "metadata": kit.metadata(CODE, given, leave=("report", "work")),
            "calibration": vars(calibration),
            "networks": {name: summary(each, calibration) for name, each in found.items()},
            "units": kit.step(given.work, "units", lambda: kit.plain(words_units.measured(assets))),
        }
        kit.write(given.out, "words", kit.plain(stored))
    kit.write(given.out, "words", None, page(stored))


if __name__ == "__main__":
    main()
