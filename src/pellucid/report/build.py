"""Builds the pages: templates, style and script become one file; names and data cannot break out of it.

Everything is filled in with autoescaping on. The document travels as JSON inside a script element that the
browser never runs, with ``<``, ``>`` and ``&`` written as escapes, so that no name can end the element. A
content security policy in the page forbids every request, and every script but our own (known by its hash).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from pellucid.core.bibliography import PAPERS
from pellucid.core.overlay import blended
from pellucid.core.storage import write_text
from pellucid.report import faithfulness, words
from pellucid.speech import text
from pellucid.speech.languages import speaker_of
from pellucid.speech.pages_chinese import SCRIPT
from pellucid.speech.speaking import Speaker

Document = Mapping[str, Any]
SCHEMA = (
    3  # of documents: numbers are quantities, texts are marked, a short sentence speaks of numbered regions
)
_HERE = Path(__file__).parent
_HEADS = {
    "softmax": "A softmax over the classes: the probabilities sum to 100 % and rank the answers.",
    "sigmoid": "One sigmoid per class: each probability stands alone, and they need not sum to 100 %.",
    "binary": "A sigmoid of a single output: the two answers share 100 %.",
    "probabilities": "The network itself gives probabilities; they are shown as they are.",
    "regression": "Plain numbers, as the network gives them: none is a probability.",
}


def write_report(
    documents: Sequence[Document], path: str | Path, skipped: Sequence[tuple[str, str]] = ()
) -> Path:
    """Write one page for one document, or one page per document beside an index; returns the file to open.

    ``documents`` are what `Explanation.to_json(pictures=True)` gives; ``skipped`` holds (image name, reason)
    of images that could not be explained, which the index lists. ``path`` is the file to write when it ends
    in ``.html``, else a directory that gets an ``index.html``. Files appear complete or not at all. Raises
    ValueError when there is nothing to write, or a document has another schema or no map.
    """
    if not documents and not skipped:
        raise ValueError("Expected at least one document or skipped image, got none; try `explain`.")
    for document in documents:
        _check(document)
    path = Path(path)
    main = path if path.suffix.lower() in (".html", ".htm") else path / "index.html"
    main.parent.mkdir(parents=True, exist_ok=True)
    if len(documents) == 1 and not skipped:
        return write_text(main, render_page(documents[0]))
    names = _file_names([document["image"]["name"] for document in documents], taken=main.stem)
    for document, name in zip(documents, names, strict=True):
        write_text(main.parent / name, render_page(document, index=main.name))
    return write_text(main, render_index(list(zip(names, documents, strict=True)), skipped))


def render_page(document: Document, index: str | None = None) -> str:
    """The page of one document as HTML; ``index`` is the file name of the index it belongs to, if any."""
    voice = words.speaker(document)
    methods = [
        {**method, "label": words.short_title(method), "citation": _citation(method["citation"])}
        for method in document["methods"]
    ]
    titles = {method["name"]: method["label"] for method in methods}
    strings = {line: voice.page[line] for line in SCRIPT if line in voice.page}
    return render(
        "page.html.j2",
        scripts=("maps.js", "report.js"),
        voice=voice,
        document=document,
        data=script_json(document),
        brief=words.brief(document),
        spots=words.spots(document),
        sentence=words.sentence(document),
        numbers=[words.numbers(clause, voice) for clause in document["clauses"]],
        methods=methods,
        inside=_inside(document),
        trust=faithfulness.section(document, titles, voice),
        meaning=next(filter(None, (neuron.get("concept") for neuron in document["neurons"])), None),
        painted=sorted(
            {neuron["painted"]["method"] for neuron in document["neurons"] if neuron.get("painted")}
        ),
        head=_HEADS.get(document["network"]["head"], ""),
        spoken=script_json({"strings": strings, "names": document.get("names", {})}),
        download=f"{_slug(document['image']['name'])}.json",
        index=index,
    )


def index_card(document: Document) -> dict[str, Any]:
    """What the index page shows of a document."""
    voice = words.speaker(document)
    trust = faithfulness.section(document, {}, voice)
    left = document["brief"]["numbers"]
    without = next((each for each in left if each["key"] in ("regions.probability", "regions.score")), None)
    return {
        "image": {"name": document["image"]["name"], "label": document["image"].get("label")},
        "prediction": [dict(document["prediction"][0])],
        "text": document["text"],
        "spots": [spot.title for spot in words.spots(document)],
        "left": None if without is None else {"value": without["value"], "kind": without["kind"]},
        "trust": None if trust is None else {"good": trust["good"], "answer": trust["answer"]},
        "language": document.get("language", "en"),
        "names": document.get("names", {}),
        "thumbnail": _thumbnail(document),
    }


def render_index(
    entries: Sequence[tuple[str, Document]], skipped: Sequence[tuple[str, str]] = (), missing: int = 0
) -> str:
    """The index page as HTML.

    Args:
        entries: (file name of the page, its document or its `index_card`).
        skipped: (name, reason) of what could not be explained.
        missing: How many pictures were still to come when the run was stopped.
    """
    cards = [
        {"href": href, **(document if "thumbnail" in document else index_card(document))}
        for href, document in entries
    ]
    voice = words.speaker(entries[0][1] if entries else {})
    return render(
        "index.html.j2",
        scripts=("index.js",) if cards else (),
        voice=voice,
        cards=cards,
        labeled=any(card["image"].get("label") for card in cards),
        tested=any(card.get("trust") for card in cards),
        skipped=list(skipped),
        missing=missing,
    )


def _check(document: Document) -> None:
    if document.get("schema") != SCHEMA:
        raise ValueError(
            f"Expected documents of schema {SCHEMA}, got {document.get('schema')!r}; "
            "try `Explanation.to_json(pictures=True)` of this version."
        )
    stages, methods = document["stages"], document["methods"]
    if not stages or not methods:
        raise ValueError(
            f"Expected at least one stage and one method for {document['image']['name']!r}, "
            f"got {len(stages)} stages and {len(methods)} methods; try explaining with a method."
        )


def render(
    template: str,
    scripts: Sequence[str],
    styles: Sequence[str] = ("report.css",),
    voice: Speaker | None = None,
    **values: Any,
) -> str:
    """A page from a template, whose policy allows only these ``scripts`` and ``styles`` and pictures within the page.

    ``voice`` says its fixed words (``t`` in templates) and names (``word``); English by default.
    """
    spoken = voice or speaker_of("en")
    style, program = ("".join(map(_static, names)) for names in (styles, scripts))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(program)}; "
        "base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template(template)
    return page.render(
        lang=spoken.html,
        t=spoken.fixed,
        word=lambda name: spoken.names.get(name, name),
        caption=spoken.caption,
        style=Markup(style),
        program=Markup(program),
        policy=policy,
        **values,
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=words.percent, number=text.number, plain=text.plain, local=local, answered=words.answered
    )
    environment.globals.update(
        outcome=words.outcome, bar_width=text.bar_width, count=text.count, iou=text.iou
    )
    return environment


def local(address: str) -> str:
    """The name of a file beside the page as a link to it, which can name nothing else: no scheme, no other host.

    >>> local("cat #1.html"), local("javascript:alert(1)"), local("//example.org/x")
    ('cat %231.html', 'javascript%3Aalert(1)', './example.org/x')
    """
    quoted = re.sub(r"[%#?:\\\x00-\x1f]", lambda found: f"%{ord(found[0]):02X}", address)
    return f"./{quoted.lstrip('/')}" if quoted.startswith("//") else quoted


@cache
def _static(name: str) -> str:
    return (_HERE / "static" / name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    """The source expression that allows exactly this inline text; none where there is no text."""
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'" if source else "'none'"


def script_json(document: Document) -> Markup:
    """JSON that may stand within a script element, whatever its texts hold."""
    written = json.dumps(_finite(document), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return Markup(written)


def _finite(value: Any) -> Any:
    """The same data with numbers JSON does not know (NaN, infinities) as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value


def _citation(citation: str | None) -> str | None:
    """A method's work in full, from its key in the bibliography; a text that is no key is taken as it is."""
    return PAPERS.get(citation, citation) if citation is not None else None


def _inside(document: Document) -> dict[str, Any] | None:
    """Share of evidence inside the known object: rows of stages, columns of methods; None when not known."""
    titles = {method["name"]: words.short_title(method) for method in document["methods"]}
    names = [name for name in titles if any(_share(stage, name) is not None for stage in document["stages"])]
    if not names:
        return None
    rows = [(stage["layer"], [_share(stage, name) for name in names]) for stage in document["stages"]]
    rows = [(layer, shares) for layer, shares in rows if any(share is not None for share in shares)]
    return {"titles": [titles[name] for name in names], "rows": rows}


def _share(stage: Mapping[str, Any], method: str) -> float | None:
    share: float | None = stage["maps"].get(method, {}).get("inside")
    return share


def _thumbnail(document: Document, side: int = 240) -> str:
    """A small JPEG of what the network saw with the map of the sentence's method over it, as a data URI."""
    with Image.open(io.BytesIO(base64.b64decode(document["image"]["png"].rpartition(",")[2]))) as picture:
        small = picture.convert("RGB")
    small.thumbnail((side, side))
    method = next((each["name"] for each in document["methods"] if each["default"]), None)
    maps = [stage["maps"][method] for stage in document["stages"] if method in stage["maps"]]
    readable = [each for each in maps if each["status"] == "ok" and "png" in each]
    if readable:
        with Image.open(io.BytesIO(base64.b64decode(readable[-1]["png"]))) as values:
            shares = np.asarray(values.convert("L").resize(small.size, Image.Resampling.BICUBIC)) / 255
        small = Image.fromarray(
            blended(np.asarray(small, dtype=np.float64), shares, 0.6).round().astype(np.uint8)
        )
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _slug(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", Path(ascii_name).stem.lower()).strip("-")[:60].strip("-") or "image"


def _file_names(names: Sequence[str], taken: str) -> list[str]:
    """One safe file name per image, all different on file systems that ignore case."""
    used = {taken.lower()}
    files: list[str] = []
    for name in names:
        slug = candidate = _slug(name)
        count = 1
        while candidate in used:
            count += 1
            candidate = f"{slug}-{count}"
        used.add(candidate)
        files.append(f"{candidate}.html")
    return files
