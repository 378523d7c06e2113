"""The page of all measured results, ``docs/results.md``, from the committed results: ``python studies/results_page.py``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

import kit

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
TEMPLATE = Path(__file__).with_name("results_page.md.j2")
PHOTOGRAPHS = {"squeezenet1_0": "SqueezeNet 1.0", "resnet18": "ResNet-18", "resnet50": "ResNet-50"}
ONE_PASS = ("activation", "gradient", "gradient × activation", "relevance")
INTERPRETABLE = {
    "multi scenes-vgg": "VGG-style",
    "multi scenes-resnet": "ResNet-style",
    "multi scenes-resnet, 16×16": "ResNet-style, 16 × 16 cells",
}


def rows_of(text: str) -> dict[str, list[str]]:
    """First cell → cells of the rows of Markdown tables; the first table comes first."""
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows.setdefault(cells[0], cells)
    return rows


def section(file: str, title: str) -> str:
    """One section of a committed page."""
    return (ROOT / file).read_text(encoding="utf-8").split(f"## {title}")[1].split("\n## ")[0]


def margins() -> str:
    """Margin over LayerCAM at every stage of the pretrained networks."""
    found: dict[str, list[str]] = {}
    for line in section("studies/results/shallow-cam.md", "Summary").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        network = cells[0].split(" ")[0]
        if network in PHOTOGRAPHS:
            found.setdefault(network, []).append(cells[3])
    stages = max(map(len, found.values()))
    rows = [[PHOTOGRAPHS[name], *cells, *["–"] * (stages - len(cells))] for name, cells in found.items()]
    return kit.table(["", *(f"stage {k + 1}" for k in range(stages))], rows)


def detectors() -> str:
    """Detectors of first and last stages."""
    rows = []
    for network in kit.read(kit.RESULTS / "dissection-depth.json")["networks"]:
        first, last = network["layers"][0], network["layers"][-1]
        rows.append(
            [
                network["network"],
                f"{first['held out']} of {first['units']}",
                f"{last['held out']} of {last['units']}",
                last["detectors"],
                f"{last['by chance']:.0f}",
                last["held out unique"],
            ]
        )
    head = [
        "",
        "first stage",
        "last stage",
        "last stage, not held out",
        "by chance",
        "different concepts, held out",
    ]
    return kit.table(head, rows)


def dissection() -> dict[str, str]:
    """What dissecting costs."""
    measured = kit.read(ROOT / "benchmarks/speed/results/dissection.json")
    passes = [part["measured"] for name, part in measured.items() if name.startswith("passes")]

    def span(key: str) -> str:
        middle = [sorted(each[key])[1] for each in passes]
        return f"{min(middle):.2f} to {max(middle):.2f}"

    loops = [sorted(each["ratio"])[len(each["ratio"]) // 2] for each in measured["loop"]["measured"]]
    small, large = (each["peak_mb"] for each in measured["memory"]["measured"])
    return {
        "passes": span("processor_ratio"),
        "layout": span("processor_ratio_same_layout"),
        "tally": f"{min(loops):.0f} to {max(loops):.0f}",
        "small": f"{small:.0f}",
        "large": f"{large:.0f}",
    }


def painted() -> dict[str, Any]:
    """Rows of the study of visualization for `scenes-vgg`."""
    part = section("studies/results/visualization.md", "scenes-vgg")
    units = part.split("Units of")[1]
    row = next(line for line in units.splitlines() if line.startswith("| pyramid"))
    return {**rows_of(part), "certified": row.split("|")[2].strip()}


def deletion() -> str:
    """Selectivity of CGNIS beside the best criterion of one backward pass."""
    rows = []
    for file in sorted((kit.RESULTS / "neuron-deletion").glob("*.json")):
        found = kit.read(file)
        full = {title: row["full"] for title, row in found["rows"].items()}
        best = max(ONE_PASS, key=lambda title: full[title]["area"])
        low, high = full[best]["cgnis_lead_interval"]
        rows.append(
            [
                f"{found['network']} {found['layer']}",
                f"{full['cgnis']['area']:.2f}",
                f"{full[best]['area']:.2f} ({best})",
                f"{kit.signed(full[best]['cgnis_lead'], 2)} ({kit.signed(low, 2)} to {kit.signed(high, 2)})",
                f"{full['ablation']['area']:.2f}",
            ]
        )
    return kit.table(
        ["", "CGNIS", "best criterion of one backward pass", "lead, 95 %", "true ablation"], rows
    )


def sentences() -> dict[str, Any]:
    """What was found of sentences about scenes."""
    found = kit.read(kit.RESULTS / "sentences.json")
    names = ("scenes-vgg", "scenes-resnet")
    first = {name: found["parts"][f"{name}/independent"]["first is right"] for name in names}

    def said(key: str) -> str:
        return kit.percent(found["background"][key]["said"]["share"], 1)

    return {
        "scenes": f"{found['metadata']['scenes']:,}",
        "first": {
            name: f"{kit.percent(each['share'], 1)} ({100 * each['low']:.1f} to {100 * each['high']:.1f})"
            for name, each in first.items()
        },
        "honest": {name: said(f"{name}/independent") for name in names},
        "confounded": {name: said(f"{name}-confounded/habitual") for name in names},
    }


def filters() -> str:
    """Interpretable networks of ten classes of scenes."""
    groups = kit.read(kit.RESULTS / "interpretable-cnn.json")["groups"]

    def change(row: Any) -> str:
        low, high = row["interval"]
        mean, low, high = (kit.signed(100 * each, 0) for each in (row["mean"], low, high))
        return f"{mean} % ({low} to {high})"

    rows = []
    for key, words in INTERPRETABLE.items():
        before, after = groups[key]["ordinary"], groups[key]["paper-l2"]
        cells = [words]
        for measure in ("instability", "interpretability"):
            cells += [f"{before[measure]:.3f} → {after[measure]:.3f}", change(after["change"][measure])]
        rows.append([*cells, f"{100 * before['accuracy']:.1f} → {100 * after['accuracy']:.1f} %"])
    head = ["ten classes of scenes", "instability", "change", "interpretability", "change", "accuracy"]
    return kit.table(head, rows)


def irenet() -> list[str]:
    """Leads over ResNet-18 on car parts."""
    cars = section("studies/results/semantic-features.md", "Car parts")
    row = next(line for line in cars.split("IRENet less")[1].splitlines() if line.startswith("| resnet18 |"))
    return [cell.strip() for cell in row.strip("|").split("|")[1:]]


def speed() -> tuple[str, str]:
    """The table of costs, and pellucid's ratio at every stage with two threads."""
    last = rows_of(section("benchmarks/speed/cam.md", "resnet50, last stage"))
    every = rows_of(section("benchmarks/speed/cam.md", "resnet50, all stages"))
    names = ("**pellucid**", "torch-cam", "captum", "grad-cam")
    floor = "floor: one forward, one backward to the first stage asked, by hand"
    first = [last[name][3].split()[0] for name in (*names, floor)]
    chosen = (
        "**pellucid, 9 methods**",
        "torch-cam, as documented",
        None,
        "grad-cam, one pass per method",
        floor,
    )
    maps, peaks = [], []
    for name in chosen:
        row = every[name] if name else None
        number = row[3].split()[0] if row else "–"
        maps.append(f"{number} ({row[1]} maps)" if row and row[1] else number)
        peaks.append(f"{row[-1]} MB" if row else "–")
    rows = [
        ["Grad-CAM at the last stage, over a plain forward pass", *first],
        ["every map at every stage, over one forward and one backward pass", *maps],
        ["peak memory of the latter", *peaks],
    ]
    table = kit.table(["", "pellucid", "torch-cam", "captum", "grad-cam", "least possible"], rows)
    return table, every["**pellucid, 9 methods**"][5].split()[0]


def relevance() -> dict[str, str]:
    """Cost of relevance on VGG-16, by tool, in forward passes."""
    return {
        name: cells[1] for name, cells in rows_of(section("benchmarks/speed/relevance.md", "vgg16")).items()
    }


def page() -> str:
    """The whole page."""
    table, two_threads = speed()
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        margins=margins(), detectors=detectors(), dissection=dissection(), painted=painted(), deletion=deletion(),
        sentences=sentences(), filters=filters(), irenet=irenet(), speed=table, two_threads=two_threads,
        relevance=relevance(),
    )  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(json.dumps({"written": PAGE.name, "lines": page().count("\n")}))
