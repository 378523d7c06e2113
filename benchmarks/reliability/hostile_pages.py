"""Hostile names on our pages, opened in a real browser.

    python benchmarks/reliability/hostile_pages.py [--rounds 5] [--out hostile_pages.json]

Classes, files, concepts, categories, layers, networks and notes are called what may do harm on a page: scripts, attributes,
closed elements, addresses, marks of our own prose and of templates, bidirectional and control characters. Every kind of page is
made of them by the functions that make it, opened in headless Chromium (Debian's ``chromium``; ``pip install playwright``),
scrolled, clicked and hovered. Counted: scripts that ran, dialogs, messages on the console, requests for anything but the page,
leaving the page, elements with handlers, links that run scripts, and elements that the names have made. None may be.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import pellucid as pl
from pellucid._version import __version__
from pellucid.core.provenance import processor, versions
from pellucid.core.storage import write_json
from pellucid.data.concepts.base import Concept
from pellucid.data.parts.source import PartKey
from pellucid.dissection.counts import Counts
from pellucid.dissection.table import Examples, UnitTable
from pellucid.interpretable.parts.filters import FilterHere
from pellucid.interpretable.parts.table import Examples as PartExamples
from pellucid.interpretable.parts.table import PartTable
from pellucid.report import write_report
from pellucid.report.dissection import write_dissection
from pellucid.report.dissection_compare import write_comparison
from pellucid.report.interpretable import write_image_page, write_interpretable

PAYLOADS = (
    "<script>window.owned=1;alert(1)</script>",
    '"><img src=x onerror="window.owned=1">',
    "' onmouseover='window.owned=1' x='",
    "</script><script>window.owned=1</script>",
    "javascript:window.owned=1",
    "[look](javascript:window.owned=1)",
    '[**9**](unit:layer:9"onclick="window.owned=1)',
    "[**9**](unit:../../../etc:9)",
    "{{7*7}}{% for x in ().__class__.__mro__ %}{{x}}{% endfor %}",
    "${window.owned=1}`+window.owned=1+`",
    "\u202egnp.ti\u202c \u2066isolated",
    "<!--<script>window.owned=1//-->",
    "</style><style>@import url(http://evil.example/x.css);*{display:none}</style>",
    "<base href=http://evil.example/><link rel=stylesheet href=http://evil.example/y.css>",
    "&lt;script&gt;window.owned=1&#x3c;/script&#x3e;",
    "line\u2028window.owned=1\u2029end",
    "<svg/onload=window.owned=1><animate onbegin=window.owned=1 attributeName=x>",
    '<meta http-equiv=refresh content="0;url=http://evil.example/">',
    "\x07\x1b[31mred\x1b[0m \ufffe\u200b",
    "**bold** _x_ <b>b</b> `code` \\u003cscript\\u003ewindow.owned=1",
    "<iframe srcdoc='<script>top.owned=1</script>'></iframe>",
    "</title></textarea></noscript><img src=http://evil.example/z.png>",
    "constructor",
    "__proto__",
    "x" * 3000 + "<i>",
)
ELEMENTS = (
    "script, iframe, object, embed, base, meta, link, style, form, img, svg, animate, b, i, textarea, title"
)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]

_LONG = 60_000  # milliseconds; a bound for a busy machine, not a pace

Names = Iterator[str]


def names_from(place: int) -> Names:
    """All payloads without end, beginning with the one at a place."""
    return cycle([*PAYLOADS[place % len(PAYLOADS) :], *PAYLOADS[: place % len(PAYLOADS)]])


def harmless() -> Names:
    """Names that do no harm, for the elements that a page has of itself."""
    return (f"name {number}" for number in count())


# ---- the pages


def picture(seed: int = 0) -> Image.Image:
    """Noise, 32 × 32."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def network(names: Names) -> pl.Network:
    """Eight channels, four classes of the next names."""
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()]
    module = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    classes = [
        f"{name}{place}" for place, name in enumerate(islice(names, 4))
    ]  # different even where a name repeats
    return pl.load(module, input_shape=(3, 32, 32), classes=classes, name=next(names)[:200])


def document(names: Names, language: str = "en") -> dict[str, Any]:
    """An explanation of noise, with concepts and notes of the next names."""
    net = network(names)
    layer = net.default_layers[-1]
    found = pl.explain(
        net, picture(), units=3, faithfulness=False, methods=["gradcam"], language=language,
        table={layer: unit_table(layer, names, net.layer(layer).shape[0])},
    )  # fmt: skip
    made = found.to_json(pictures=True)
    made["image"]["name"] = next(names)
    made["image"]["notes"] = [*made["image"]["notes"], *islice(names, 3)]
    return made


def unit_table(layer: str, names: Names, units: int = 8) -> UnitTable:
    """Units that answer to concepts of the next names, with examples."""
    rng = np.random.default_rng(0)
    concepts = tuple(
        Concept(k + 1, f"{next(names)}{k}", f"{name}", (next(names),))
        for k, name in enumerate(islice(cycle(list(islice(names, 3))), 9))
    )
    truth = rng.integers(50, 90, len(concepts))
    categories = len(dict.fromkeys(concept.category for concept in concepts))
    counts = Counts(
        rng.integers(20, 50, (units, len(concepts))), rng.integers(50, 90, (units, categories)), truth
    )
    examples = Examples(
        rng.integers(0, 4, (units, 2)), rng.random((units, 2), np.float32), rng.random((units, 2, 8, 8)) < 0.3
    )
    name = next(names)
    facts = {
        "network": {"name": name},
        "concepts": {"name": next(names), name: next(names)},
        "settings": {"quantile": 0.005, next(names): next(names)},
        "images": 4,
    }
    return UnitTable(layer, concepts, counts, rng.random(units, np.float32), examples=examples, facts=facts)


def part_table(layer: str, names: Names) -> PartTable:
    """Filters that lie on parts of the next names."""
    rng = np.random.default_rng(0)
    classes = [f"{name}{place}" for place, name in enumerate(islice(names, 2))]
    keys = tuple(PartKey(classes[k % 2], f"{next(names)}{k}") for k in range(4))
    images = PartExamples(
        rng.integers(0, 4, (8, 2)),
        rng.integers(0, 8, (8, 2, 2)),
        rng.random((8, 2)),
        dict(enumerate(islice(names, 4))),
    )
    facts = {
        "network": {"name": next(names)}, "parts": {"name": next(names)}, "settings": {"seed": 0, "iou": 0.2, "quantile": 0.005},
        "images": 17, "input_size": [32, 32], "start": [0.5, 0.5], "stride": [4.0, 4.0], "cells": [8, 8],
    }  # fmt: skip
    return PartTable(
        layer, keys, np.array([9, 8]), np.full(4, 5), np.full(4, 5), rng.random(8, np.float32), rng.random((8, 2)),
        {"valid": rng.random((8, 4))}, rng.random((8, 4)), rng.integers(1, 9, (8, 4)), examples=images, facts=facts,
    )  # fmt: skip


def _explanation(language: str) -> Callable[[Names, Path], Path]:
    return lambda names, folder: write_report([document(names, language)], folder / "page.html")


def _explanations(names: Names, folder: Path) -> Path:
    return write_report([document(names) for _ in range(2)], folder, [(next(names), next(names))])


def _layer(names: Names, folder: Path) -> Path:
    layer = next(names)
    write_dissection({layer: unit_table(layer, names)}, picture, folder, title=next(names))
    return next(path for path in sorted(folder.glob("*.html")) if path.name != "index.html")


def _layers(names: Names, folder: Path) -> Path:
    layers = [f"{name}{place}" for place, name in enumerate(islice(names, 2))]
    return write_dissection(
        {layer: unit_table(layer, names) for layer in layers}, picture, folder, title=next(names)
    )


def _comparison(names: Names, folder: Path) -> Path:
    named = {f"{name}{place}": unit_table("layer", names) for place, name in enumerate(islice(names, 2))}
    return write_comparison(named, folder, title=next(names), pages=dict.fromkeys(named, next(names)))


def _parts(names: Names, folder: Path) -> Path:
    layer = next(names)
    return write_interpretable(
        {layer: part_table(layer, names)}, picture, folder, images=[(next(names), next(names))]
    )


def _parts_index(names: Names, folder: Path) -> Path:
    layers = [f"{name}{place}" for place, name in enumerate(islice(names, 2))]
    tables = {layer: part_table(layer, names) for layer in layers}
    return write_interpretable(tables, picture, folder, images=[(next(names), next(names))])


def _part_image(names: Names, folder: Path) -> Path:
    layer, rng = next(names), np.random.default_rng(0)
    folder.mkdir(parents=True)
    table = part_table(layer, names)
    found = [
        FilterHere(
            k, table.keys[k], 0.5, 0.1, 2.0, 1.5, (1, 2), (4.0, 8.0), None, rng.random((8, 8), np.float32)
        )
        for k in range(4)
    ]
    return write_image_page(
        picture(), next(names), {layer: found}, {layer: table}, folder / "image.html", index=next(names)
    )


PAGES: dict[str, Callable[[Names, Path], Path]] = {
    "explanation": _explanation("en"),
    "explanation, Chinese": _explanation("zh"),
    "index of explanations": _explanations,
    "units of a layer": _layer,
    "index of layers": _layers,
    "comparison": _comparison,
    "parts of a layer": _parts,
    "index of parts": _parts_index,
    "parts in a picture": _part_image,
}


# ---- the browser


def opened(browser: Any, file: Path) -> dict[str, Any]:
    """What happens on a page that is opened, scrolled, clicked and hovered."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(_LONG)
    events: list[str] = []
    page.on("console", lambda message: events.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: events.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (events.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    own = file.as_uri()

    def asked(request: Any) -> None:
        if not request.url.startswith(("data:", "blob:", own)):
            events.append(f"request: {request.url}")

    page.on("request", asked)
    page.on("popup", lambda popup: events.append(f"popup: {popup.url}"))
    page.goto(own)
    page.wait_for_load_state("load")
    _used(page)
    left = [] if page.url.split("#")[0] == own else [f"left for {page.url}"]
    seen = page.evaluate(
        """elements => ({
            owned: window.owned !== undefined || Object.prototype.owned !== undefined,
            handlers: [...document.querySelectorAll("*")]
                .filter(e => [...e.attributes].some(a => /^on/i.test(a.name))).length,
            links: [...document.querySelectorAll("[href], [src], [action], [formaction]")]
                .filter(e => ["href", "src", "action", "formaction"]
                    .some(n => /^\\s*(javascript|vbscript|https?):/i.test(e.getAttribute(n) || ""))).length,
            elements: elements.split(", ").map(name => [name, document.querySelectorAll(name).length]),
        })""",
        ELEMENTS,
    )
    context.close()
    return {**seen, "events": [*events, *left], "elements": dict(seen["elements"])}


def _used(page: Any) -> None:
    """Scroll, open, click and hover what there is."""
    page.mouse.wheel(0, 4000)
    page.evaluate("() => document.querySelectorAll('details').forEach(each => each.open = true)")
    for kind, most in (
        ("button", 12),
        ("[role=tab]", 6),
        ("summary", 6),
        ("label", 6),
        ("canvas", 3),
        ("[tabindex]", 12),
    ):
        for element in page.query_selector_all(kind)[:most]:
            if element.is_visible():
                element.hover(force=True, timeout=_LONG, no_wait_after=True)
                element.click(force=True, timeout=_LONG, no_wait_after=True)
    for field in page.query_selector_all("input[type=search], input[type=text]")[:2]:
        if field.is_visible():
            field.fill("<script>window.owned=1</script>")
    for selection in page.query_selector_all("select")[:3]:
        count = selection.evaluate("each => each.options.length")
        if count > 1 and selection.is_visible():
            selection.select_option(index=count - 1, timeout=_LONG)
    page.wait_for_function("() => document.readyState === 'complete'")


def measure(browser: Any, rounds: int = 5) -> dict[str, Any]:
    """All pages with all names: what happened, and what of it should not have."""
    pages: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for kind, make in PAGES.items():
            plain = opened(browser, make(harmless(), Path(scratch) / "plain" / str(len(pages))))
            for number in range(rounds):
                place = Path(scratch) / str(len(pages))
                seen = opened(browser, make(names_from(number * len(PAYLOADS) // rounds), place))
                faults = [*seen["events"], *(["a script ran"] if seen["owned"] else [])]
                more = {what: seen[what] - plain[what] for what in ("handlers", "links")}
                faults += [f"{count} more {what}" for what, count in more.items() if count > 0]
                faults += _made(plain["elements"], seen["elements"])
                pages.append(
                    {
                        "page": kind,
                        "names": number,
                        "faults": [fault.replace(scratch, "…") for fault in faults],
                    }
                )
    bad = [page for page in pages if page["faults"]]
    return {
        "pages": len(pages),
        "got_through": len(bad),
        "by_page": dict(Counter(page["page"] for page in pages)),
        "through": bad,
        "payloads": len(PAYLOADS),
        "browser": browser.version,
        "pellucid": __version__,
        **versions("playwright", "jinja2"),
        "machine": processor(),
    }


def _made(plain: Mapping[str, int], seen: Mapping[str, int]) -> list[str]:
    """Elements that only names can have made: a page of harmless names has none, or as many."""
    never = (
        "script",
        "iframe",
        "object",
        "embed",
        "base",
        "meta",
        "link",
        "style",
        "form",
        "animate",
        "textarea",
        "title",
    )
    return [f"{seen[name] - plain[name]} more <{name}>" for name in never if seen[name] > plain[name]]


def main() -> int:
    """Measure, write and print; 1 where something got through."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="pages of each kind, with other names each")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("hostile_pages.json"))
    options = parser.parse_args()
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        raise FileNotFoundError("Expected Chromium on the path, got none; try `apt-get install chromium`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=QUIET)
        found = measure(browser, rounds=options.rounds)
        browser.close()
    write_json(options.out, found)
    for page in found["through"]:
        print(f"GOT THROUGH  {page['page']} {page['names']}: {page['faults'][:5]}")
    print(f"{found['pages']} pages, {found['got_through']} got through")
    return int(found["got_through"] > 0)


if __name__ == "__main__":
    sys.exit(main())
