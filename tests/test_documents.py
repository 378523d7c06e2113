"""What the README says is what the committed results say; the repository holds what it promises."""

import json
import re
from pathlib import Path

import pytest

from pellucid.zoo import embedded

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def card(name):
    """Accuracies in percent at confounding 0 and 1, as the model card states them."""
    text = embedded.weights_of(name).with_suffix(".md").read_text(encoding="utf-8")
    return [float(value) for value in re.findall(r"confounding \d \| ([\d.]+) %", text)]


@pytest.mark.parametrize("name", ["scenes-resnet", "scenes-vgg"])
def test_the_readme_states_the_accuracy_of_the_cards(name):
    free, _ = card(name)
    assert free >= 97
    assert f"{free:.2f} % (`{name}`)" in README
    alone, habitual = card(f"{name}-confounded")
    assert habitual > 97 > alone
    assert f"{alone:.2f} %" in README


def test_the_readme_states_the_speed_that_was_measured():
    measured = json.loads((ROOT / "benchmarks/speed/cam.json").read_text(encoding="utf-8"))
    text = (ROOT / "benchmarks/speed/cam.md").read_text(encoding="utf-8")
    assert measured["networks"]
    rows = [
        line
        for line in text.split("## resnet50, last stage")[1].split("## ")[0].splitlines()
        if line.startswith("|")
    ]
    for contender in ("**pellucid**", "torch-cam", "captum", "grad-cam"):
        (row,) = [line for line in rows if line.split("|")[1].strip() == contender]
        assert row.split("|")[4].split()[0] in README, contender
    rows = [
        line
        for line in text.split("## resnet50, all stages")[1].split("## ")[0].splitlines()
        if line.startswith("|")
    ]
    for contender in ("**pellucid, 9 methods**", "torch-cam, as documented", "grad-cam, one pass per method"):
        (row,) = [line for line in rows if line.split("|")[1].strip() == contender]
        ratio, maps, peak = (
            row.split("|")[4].split()[0],
            row.split("|")[2].strip(),
            row.split("|")[-2].strip(),
        )
        assert f"{ratio} ({maps} maps)" in README
        assert f"{peak} MB" in README


def test_pictures_and_files_the_readme_points_to_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README) + re.findall(
        r"`((?:benchmarks|studies)/[\w./-]+)`", README
    ):
        assert (ROOT / target).exists(), target


def test_every_embedded_network_ships_weights_and_a_card_and_is_small():
    for name in (*embedded.NAMES, *embedded.INTERPRETABLE, "scenes-irenet", "scenes-readout"):
        weights = embedded.weights_of(name)
        assert weights.stat().st_size < 3_000_000
        assert weights.with_suffix(".md").is_file()


def test_the_readme_states_the_margins_of_the_study():
    study = (ROOT / "studies/results/shallow-cam.md").read_text(encoding="utf-8")
    stated = re.findall(r"[+−]\d+\.\d\d \[[+−]\d+\.\d\d, [+−]\d+\.\d\d\]", README)
    assert len(stated) >= 14
    assert all(margin in study for margin in stated)


def test_the_readme_states_the_cost_of_relevance_that_was_measured():
    text = (ROOT / "benchmarks/speed/relevance.md").read_text(encoding="utf-8")
    vgg = text.split("## vgg16")[1].split("## ")[0]
    cost = {
        row.split("|")[1].strip(): row.split("|")[2].strip()
        for row in vgg.splitlines()
        if row.startswith("|")
    }
    said = f"{cost['pellucid, layers']} forward passes on VGG-16 (zennit {cost['zennit']}, captum {cost['captum']})"
    assert said in README


def test_the_readme_states_what_the_dissection_study_found():
    study = json.loads((ROOT / "studies/results/dissection-depth.json").read_text(encoding="utf-8"))
    assert len(study["networks"]) == 6
    for network in study["networks"]:
        first, last = network["layers"][0], network["layers"][-1]
        row = (
            f"| {network['network']} | {first['held out']} of {first['units']} | {last['held out']} of {last['units']} | "
            f"{last['detectors']} | {last['by chance']:.0f} | {last['held out unique']} |"
        )
        assert row in README


def test_the_readme_states_the_cost_of_dissection_that_was_measured():
    measured = json.loads((ROOT / "benchmarks/speed/results/dissection.json").read_text(encoding="utf-8"))
    text = " ".join(README.split())

    def span(values):
        return f"{min(values):.2f} to {max(values):.2f}"

    passes = [part["measured"] for name, part in measured.items() if name.startswith("passes")]
    assert len(passes) == 2
    ratio = span([sorted(one["processor_ratio"])[1] for one in passes])
    same = span([sorted(one["processor_ratio_same_layout"])[1] for one in passes])
    assert f"costs {ratio} of plain forward passes" in text
    assert f"({same} in the same memory layout)" in text
    loops = [sorted(one["ratio"])[len(one["ratio"]) // 2] for one in measured["loop"]["measured"]]
    assert f"the tally alone is {min(loops):.0f} to {max(loops):.0f} times faster" in text
    assert not any(one["pixels_counted_differently"] for one in measured["loop"]["measured"])
    small, large = (one["peak_mb"] for one in measured["memory"]["measured"])
    assert f"peak memory is {small:.0f} MB with 500 scenes and {large:.0f} MB with 5,000" in text


def test_the_readme_states_what_the_study_of_visualization_found():
    text = (ROOT / "studies/results/visualization.md").read_text(encoding="utf-8")
    part = text.split("## scenes-vgg")[1].split("## ")[0]
    rows = {}
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows.setdefault(cells[0], cells)  # the first table comes first
    said = " ".join(README.split())
    transfer = {name: rows[name][3] for name in ("pyramid", "Lucent", "maco")}
    assert (
        f"a probability of {transfer['pyramid']} (Lucent's pictures: {transfer['Lucent']}, MaCo's: {transfer['maco']})"
        in said
    )
    assert f"(distance of spectra {rows['pyramid'][6]}, MaCo's {rows['maco'][6]})" in said
    units = part.split("Units of")[1]
    certified = (
        next(line for line in units.splitlines() if line.startswith("| pyramid")).split("|")[2].strip()
    )
    assert f"{certified} units reach more than on any of 200 real pictures" in said


ONE_PASS = ("activation", "gradient", "gradient × activation", "relevance")


def study(name):
    return json.loads((ROOT / "studies/results" / name).read_text(encoding="utf-8"))


def test_the_readme_states_what_the_deletion_study_found():
    files = sorted((ROOT / "studies/results/neuron-deletion").glob("*.json"))
    assert len(files) >= 9
    for file in files:
        found = json.loads(file.read_text(encoding="utf-8"))
        rows = {title: row["full"] for title, row in found["rows"].items()}
        best = max(ONE_PASS, key=lambda title: rows[title]["area"])
        low, high = rows[best]["cgnis_lead_interval"]
        assert (
            f"| {found['network']} {found['layer']} | {rows['cgnis']['area']:.2f} | {rows[best]['area']:.2f} ({best}) | "
            f"{rows[best]['cgnis_lead']:+.2f} ({low:+.2f} to {high:+.2f}) | {rows['ablation']['area']:.2f} |"
        ) in README


def test_the_readme_states_what_the_study_of_sentences_found():
    found, said = study("sentences.json"), " ".join(README.split())
    assert f"On {found['metadata']['scenes']:,} scenes for each honest network" in said
    for network in ("scenes-vgg", "scenes-resnet"):
        first = found["parts"][f"{network}/independent"]["first is right"]
        assert f"{100 * first['share']:.1f} % ({100 * first['low']:.1f} to {100 * first['high']:.1f})" in said
        for kind in ("independent", "confounded/habitual"):
            name = f"{network}/{kind}" if kind == "independent" else f"{network}-{kind}"
            assert f"{100 * found['background'][name]['said']['share']:.1f} %" in said


def test_the_readme_states_what_the_study_of_interpretable_networks_found():
    groups = study("interpretable-cnn.json")["groups"]
    for name, words in (
        ("multi scenes-vgg", "VGG-style"),
        ("multi scenes-resnet", "ResNet-style"),
        ("multi scenes-resnet, 16×16", "ResNet-style, 16 × 16 cells"),
    ):
        before, after = groups[name]["ordinary"], groups[name]["paper-l2"]
        for measure in ("instability", "interpretability"):
            (row,) = [line for line in README.splitlines() if line.startswith(f"| {words} |")]
            assert f"{before[measure]:.3f} → {after[measure]:.3f}" in row
            assert f"{100 * after['change'][measure]['mean']:+.0f} %" in row


def test_the_readme_states_what_the_study_of_semantic_features_found():
    text = (ROOT / "studies/results/semantic-features.md").read_text(encoding="utf-8")
    cars = text.split("## Car parts")[1].split("## ")[0]
    row = next(line for line in cars.split("IRENet less")[1].splitlines() if line.startswith("| resnet18 |"))
    leads = [cell.strip() for cell in row.strip("|").split("|")[1:]]
    said = " ".join(README.split())
    for measure, lead in zip(("F1", "accuracy", None, "precision", "recall"), leads, strict=True):
        assert measure is None or f"{measure} {lead}" in said
