"""A real browser over pages from disk. Every page must stay silent and ask only for itself."""

import importlib.util
import shutil
from pathlib import Path

import pytest

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def documents():
    """The module that makes up documents."""
    path = Path(__file__).parents[1] / "report" / "documents.py"
    spec = importlib.util.spec_from_file_location("report_documents", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("needs Chromium on the path, such as Debian's package `chromium`")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=QUIET)
        yield running
        running.close()


def unfold(page):
    """Open what is one click away, and lay the map over the picture without the outlines of the regions."""
    page.evaluate("document.getElementById('more').open = true")
    page.locator("#show-map").check()
    if page.locator("#show-spots").count():
        page.locator("#show-spots").uncheck()


@pytest.fixture
def open_file(browser):
    """open_file(path, width=1280, ...) -> page; no page may complain or ask for anything else."""
    contexts, complaints = [], []

    def opened(path, width=1280, height=800, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def watch(request):
            if not request.url.startswith(("data:", "blob:", Path(path).as_uri())):
                complaints.append(f"asked for {request.url}")

        page.on("request", watch)
        page.goto(Path(path).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def open_report(open_file, tmp_path):
    """open_report(document, ...) -> the page of a document, ready for use; with ``unfolded`` all of it, and its map, in sight."""
    from pellucid.report import write_report

    def opened(document, unfolded=True, **options):
        page = open_file(write_report([document], tmp_path / "report.html"), **options)
        page.wait_for_selector("html[data-ready]", state="attached")
        if unfolded:
            unfold(page)
        return page

    return opened
