"""Hostile files and pages: a share of the cases that `benchmarks/reliability` tries, none of which may get through."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "reliability"


@pytest.fixture(scope="module")
def benchmark():
    """benchmark("hostile_files") -> the script as a module."""
    sys.path.insert(0, str(FOLDER))

    def loaded(name):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    yield loaded
    sys.path.remove(str(FOLDER))


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_no_hostile_file_of_our_own_gets_through(benchmark):
    found = benchmark("hostile_files").measure(every=37)
    assert found["through"] == []
    assert found["cases"] >= 90
    assert min(sum(count.values()) for count in found["kinds"].values()) >= 2


def test_a_file_that_gets_through_is_counted(benchmark, monkeypatch, tmp_path):
    module = benchmark("hostile_files")
    kind = module.KINDS["scene"]
    healthy = kind.make(tmp_path / "healthy")
    expected = module.summed(kind.read(healthy)).replace(str(healthy.parent), "")

    def outcome(change):
        return module.outcome(module.Case("scene", "made up", change), tmp_path / "case", healthy, expected)[
            0
        ]

    assert outcome(lambda file: None) == "the same"
    assert outcome(lambda file: file.write_text("[1]")) == "refused"
    assert (
        outcome(lambda file: file.write_text(file.read_text().replace('"seed":', '"seed":1')))
        == "silently wrong"
    )
    monkeypatch.setattr(module, "SECONDS", 1)
    assert outcome(lambda file: (file.unlink(), module.os.mkfifo(file))) == "hang"
    assert outcome(lambda file: file.write_bytes(b"\xff")) == "traceback"


def test_the_committed_figures_are_of_enough_cases():
    for name, least, what in (("hostile_files", 150, "cases"), ("hostile_pages", 30, "pages")):
        found = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        assert found[what] >= least
        assert found["got_through"] == 0
        assert found["through"] == []


def test_no_name_does_anything_on_a_page(benchmark, tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    module = benchmark("hostile_pages")
    executable = module.shutil.which("chromium") or module.shutil.which("google-chrome")
    if executable is None:
        pytest.skip("needs Chromium on the path, such as Debian's package `chromium`")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=module.QUIET)
        found = module.measure(browser, rounds=1)
        bad = tmp_path / "bad.html"
        bad.write_text(
            "<title>x</title><script>window.owned = 1; console.log(1)</script><img src=http://evil.example/x>"
        )
        seen = module.opened(browser, bad)
        browser.close()
    assert found["through"] == []
    assert found["pages"] == len(module.PAGES)
    assert seen["owned"]
    assert any("console" in event for event in seen["events"])
    assert any("evil.example" in event for event in seen["events"])
