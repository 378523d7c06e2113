"""Filters that mean one part: interpretable networks against their ordinary twins, on scenes and on photographs of animals.

Source works: Zhang, Wu, Zhu, CVPR 2018 (arXiv:1710.00935); Pang, master's thesis, Xidian University, 2021. On the embedded world
single- and multi-class networks of two kinds are trained with the L2 and the L1 template, with the printed loss and with that of
the released code, and as ordinary twins of the same budget; on photographs AlexNet's five convolutions, for single categories
and for several. Reported: location instability and part interpretability of the topmost layer, and accuracy.

Run: ``pellucid study interpretable-cnn [--work FOLDER]``. Every run has a file of its own in the working folder; a stopped study
goes on. The photographs are found through the environment variable PELLUCID_ASSETS and left out where it is not set.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from interpretable_cnn_animals import animals
from interpretable_cnn_figure import figure
from interpretable_cnn_report import collected, page
from interpretable_cnn_runs import Plan, Study, finer_scenes, more_scenes, scenes
from pellucid.core.storage import write_json, write_text

RESULTS = Path(__file__).parent / "results"
SMALL = Plan(
    seeds=2, targets=("bicycle", "bird"), images=96, epochs=1, single_images=64, single_epochs=1, test_images=40, scenes=30,
    single_scenes=12, fine_seeds=0, categories=2,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is left of the study and write JSON, page and figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, default=Path("out/interpretable-cnn"), help="where runs are kept"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    parser.add_argument("--small", action="store_true", help="a few pictures: does it run?")
    parser.add_argument(
        "--more", action="store_true", help="more classes, masks alone, and the printed constants"
    )
    parser.add_argument("--no-photographs", action="store_true", help="scenes only")
    parser.add_argument(
        "--report", action="store_true", help="only write the page of the runs that are there"
    )
    options = parser.parse_args(arguments)
    study = Study(SMALL if options.small else Plan(), options.work)
    assets = os.environ.get("PELLUCID_ASSETS")
    photographs = bool(assets) and not options.no_photographs
    if options.report:
        study.load()
    else:
        scenes(study, "paper")
        if photographs:
            animals(study, Path(assets or ""), ("ordinary", "paper-l2"))
        scenes(study, "released")
        if photographs:
            animals(study, Path(assets or ""), ("paper-l1",))
        finer_scenes(study)
        if options.more:
            more_scenes(study)
    options.out.mkdir(parents=True, exist_ok=True)
    found = collected(study)
    write_json(options.out / "interpretable-cnn.json", found)
    write_text(options.out / "interpretable-cnn.md", page(found))
    if not options.report:
        figure(study, options.out / "interpretable-cnn.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
