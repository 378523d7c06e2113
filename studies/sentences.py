"""Do sentences tell the truth: parts that are named, the part named first, every number, and the confounded networks.

On test scenes of the concept world, of which everything is known, `pellucid.explain` (the very function, from the picture alone)
is asked about each picture:

* are the parts it names there, and the parts it misses missing;
* is the part it names first the one whose true removal, painted again, costs the class most; beside it: the part with the most
  mass of each map of the default set at each stage, and drawing lots. No part named counts as a miss;
* does every number of a sentence equal what other code computes (hooks that zero channels, single forward passes, maps by
  `pellucid.attribute`), and is every figure of the text one of the numbers;
* is it said of networks trained where class and background go together, and not of honest ones, that the surroundings carry the
  decision. The confounded are shown habitual scenes, on which they are right; so are the honest, besides the scenes above.

Thresholds (`pellucid.speech.wording`) were chosen on validation scenes, whose rates stand beside (``--split val``).

Run: ``python studies/sentences.py [--scenes 1000] [--habitual 300] [--mapped 250] [--checked 40]``. Rows are kept per network in
``--work``, from where a run that was stopped goes on.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import kit
import pellucid as pl
from pellucid.evaluation.intervention import part_effects
from pellucid.evaluation.sentences import by_chance, judgeable, kept, right, right_by_mass
from pellucid.explanation.sight import recognizer_for
from pellucid.speech import wording as w
from pellucid.world import Rendering, SceneDataset
from sentences_checks import recomputed, strange_figures
from sentences_report import page, summary

RESULTS = Path(__file__).parent / "results"
HONEST = ("scenes-vgg", "scenes-resnet")


def row(net: pl.Network, rendering: Rendering, recognizer: Any, maps: bool, checked: bool) -> dict[str, Any]:
    """Everything that is asked of one picture. ``maps``: hold all default maps against the truth too; ``checked``: recompute."""
    explained = pl.explain(
        net, rendering.image, methods=None if maps else [], recognizer=recognizer, faithfulness=False
    )
    (effects,) = part_effects(net, [rendering], int(explained.target["index"]))
    clauses = explained.clauses
    named = [str(one.part) for one in clauses if one.phrase == "part"]
    absent = [str(one.facts["name"]) for one in clauses if one.phrase == "absent"]
    scene = rendering.scene_data
    visible = {name for name in scene.part_names() if bool(rendering.part_mask(name).any())}
    found: dict[str, Any] = {
        "class": scene.label,
        "answer": explained.target["name"],
        "named": named,
        "present": sum(name in visible for name in named),
        "absent": len(absent),
        "truly absent": sum(name not in visible for name in absent),
        "weight": explained.surroundings,
        "background": [bool(one.facts["most"]) for one in clauses if one.phrase == "background"],
        "strange": strange_figures(explained),
        "passes": explained.cost.parts,
    }
    if judgeable(effects):
        first = named[0] if named else None
        found |= {"right": right(effects, first), "kept": kept(effects, first), "chance": by_chance(effects)}
        if maps:
            found["maps"] = {
                f"{method} at {layer}": right_by_mass(effects, heatmap.upsample()[0])
                for layer, those in explained.maps.items()
                for method, heatmap in those.items()
            }
    if checked:
        found["recomputed"] = recomputed(net, rendering, explained)
    return found


def measured(
    name: str,
    data: SceneDataset,
    kind: str,
    count: int,
    mapped: int,
    checked: int,
    work: Path,
    recognizer: Any,
) -> list[dict[str, Any]]:
    """A row for each of the first scenes, kept in a file of ``work`` as they are made."""
    net = pl.load(name)
    seeing = recognizer_for(net, recognizer)
    file = work / f"{name}-{data.split}-{kind}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    done = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    with file.open("a", encoding="utf-8") as kept_rows:
        for index in range(len(done), count):
            made = row(net, data.rendering(index), seeing, index < mapped, index < checked)
            done.append(json.dumps(made))
            kept_rows.write(done[-1] + "\n")
            kept_rows.flush()
    return [json.loads(line) for line in done[:count]]


def main(arguments: list[str] | None = None) -> int:
    """Measure all networks; write JSON and the page made of it."""
    parser = kit.parser(__doc__)
    parser.add_argument("--scenes", type=int, default=1000, help="of the honest networks")
    parser.add_argument("--habitual", type=int, default=300, help="habitual scenes, of all networks")
    parser.add_argument("--mapped", type=int, default=250, help="of the scenes, with all maps beside")
    parser.add_argument(
        "--checked", type=int, default=40, help="of the scenes, with every number computed anew"
    )
    parser.add_argument("--split", default="test")
    parser.add_argument("--recognizer", default=None)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "pellucid-sentences")
    options = parser.parse_args(arguments)
    start = time.process_time()
    independent = SceneDataset(options.split, options.scenes)
    habitual = SceneDataset(options.split, options.habitual, confounding=1.0)
    rest = (options.work, options.recognizer)
    rows = {
        **{
            f"{name}/independent": measured(
                name, independent, "independent", options.scenes, options.mapped, options.checked, *rest
            )
            for name in HONEST
        },
        **{
            f"{name}/habitual": measured(
                name, habitual, "habitual", options.habitual, 0, options.checked // 4, *rest
            )
            for honest in HONEST
            for name in (honest, f"{honest}-confounded")
        },
    }
    found = summary(rows)
    found["metadata"] = kit.metadata() | {
        "split": options.split,
        "scenes": options.scenes,
        "habitual scenes": options.habitual,
        "scenes with maps": options.mapped,
        "thresholds": {
            "SINGLE": w.SINGLE,
            "CARRY": w.CARRY,
            "MOST": w.MOST,
            "NAMED": w.NAMED,
            "ABSENT": w.ABSENT,
        },
        "core seconds of this run": round(time.process_time() - start),
    }
    stem = "sentences" if options.split == "test" else f"sentences-{options.split}"
    before = kit.read(options.out / "sentences-val.json")
    kit.write(options.out, stem, found, page(found, before) if options.split == "test" else None)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
