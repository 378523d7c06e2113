"""What the documents say is what the committed results say; the repository holds what it promises."""

import re
from pathlib import Path

import pytest

from pellucid.zoo import embedded

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTENTS = (ROOT / "docs/contents.md").read_text(encoding="utf-8")


def card(name):
    """Accuracies in percent at confounding 0 and 1, as the model card states them."""
    text = embedded.weights_of(name).with_suffix(".md").read_text(encoding="utf-8")
    return [float(value) for value in re.findall(r"confounding \d \| ([\d.]+) %", text)]


@pytest.mark.parametrize("name", ["scenes-resnet", "scenes-vgg"])
def test_the_documents_state_the_accuracy_of_the_cards(name):
    free, _ = card(name)
    assert free >= 97
    assert f"{free:.2f} % (`{name}`)" in CONTENTS
    alone, habitual = card(f"{name}-confounded")
    assert habitual > 97 > alone
    assert f"{alone:.2f} %" in CONTENTS


@pytest.mark.parametrize(
    "file", ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))]
)
def test_pictures_and_files_that_documents_point_to_exist(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert ((ROOT / file).parent / target).exists(), target
    for target in re.findall(r"`((?:benchmarks|studies)/[\w./-]+)`", text):
        assert (ROOT / target).exists(), target


def test_the_page_of_results_is_what_the_committed_results_say(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "studies"))
    import results_page

    assert results_page.PAGE.read_text(encoding="utf-8") == results_page.page()


def test_a_changed_result_would_be_seen(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "studies"))
    import results_page

    monkeypatch.setattr(results_page, "ONE_PASS", ("activation",))
    assert results_page.PAGE.read_text(encoding="utf-8") != results_page.page()


def test_code_in_the_readme_calls_what_exists():
    import pellucid

    called = set(re.findall(r"\bpl\.(\w+)\(", README))
    assert called
    assert called <= set(pellucid.__all__)


def test_every_embedded_network_ships_weights_and_a_card_and_is_small():
    for name in (*embedded.NAMES, *embedded.INTERPRETABLE, "scenes-irenet", "scenes-readout"):
        weights = embedded.weights_of(name)
        assert weights.stat().st_size < 3_000_000
        assert weights.with_suffix(".md").is_file()
