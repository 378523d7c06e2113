"""Languages are complete: every phrase, every label, every fixed word of the pages; nothing is missing and nothing left over."""

import ast
import inspect
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest
from jinja2 import Environment, nodes
from tests.report import documents

import pellucid
from pellucid.core.registry import UnknownNameError
from pellucid.data.transform import CropMode, Interpolation
from pellucid.explanation import faithfulness as tested
from pellucid.explanation.facts import Clause, Quantity
from pellucid.report import faithfulness, render_index, render_page
from pellucid.report.build import _HEADS
from pellucid.speech import labels
from pellucid.speech.chinese import FAITHFUL, KINDS, UNREADABLE, Chinese
from pellucid.speech.english import FAITHFUL as FAITHFUL_ENGLISH
from pellucid.speech.english import UNREADABLE as UNREADABLE_ENGLISH
from pellucid.speech.english import English
from pellucid.speech.languages import LANGUAGES, said, speaker_of
from pellucid.speech.pages_chinese import PAGE, SCRIPT, TEMPLATES
from pellucid.speech.speaking import Speaker

ROOT = Path(pellucid.__file__).parent
PAGES = ("page.html.j2", "parts.html.j2", "index.html.j2", "base.html.j2")
BLANK = re.compile(r"\{\w+\}")


def phrases(cls):
    return {
        name: value
        for name, value in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
        and (cls is Speaker or name not in vars(Speaker) or value is not vars(Speaker)[name])
    }


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "en"])
def test_every_phrase_is_said_in_every_language_of_the_same_facts(code):
    spoken = LANGUAGES[code]
    for name, phrase in phrases(English).items():
        assert name in phrases(spoken) or name == "pattern_name", f"{code} does not say {name}"
        assert inspect.signature(getattr(spoken, name)) == inspect.signature(phrase), name
    assert set(phrases(spoken)) <= set(phrases(English)) | set(phrases(Speaker))


def test_every_clause_has_a_phrase_that_takes_its_facts():
    known = phrases(English)
    for file in (ROOT / "explanation").glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("clause", "Clause"):
                phrase = call.args[1]
                if isinstance(phrase, ast.Constant):
                    assert phrase.value in known, f"{file.name}:{call.lineno} {phrase.value}"


def keys_in_use():
    """Keys of quantities in the code, as patterns: blanks of an f-string match anything."""
    for file in (ROOT / "explanation").glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = getattr(getattr(call, "func", None), "id", "")
            if not isinstance(call, ast.Call) or name not in ("Quantity", "left") or not call.args:
                continue
            key = call.args[0]
            if isinstance(key, ast.Constant):
                yield from (
                    [re.escape(key.value)]
                    if name == "Quantity"
                    else [re.escape(f"{key.value}.{what}") for what in ("score", "probability")]
                )
            elif isinstance(key, ast.JoinedStr) and file.name != "facts.py":
                yield "".join(
                    re.escape(part.value) if isinstance(part, ast.Constant) else r"\w+" for part in key.values
                )


def test_every_number_has_a_label_in_every_language_and_no_label_is_left_over():
    used = list(keys_in_use())
    assert used
    for pattern in used:
        assert any(re.fullmatch(pattern, key) for key in labels.ENGLISH), pattern
    for key in labels.ENGLISH:
        assert any(re.fullmatch(pattern, key) for pattern in used), f"{key} labels nothing"
    for code, spoken in LANGUAGES.items():
        assert set(spoken.labels) == set(labels.ENGLISH), code
        for key, label in spoken.labels.items():
            assert set(BLANK.findall(label)) == set(BLANK.findall(labels.ENGLISH[key])), key


def said_by_templates():
    """Fixed words of the templates, and what is handed over as a literal."""
    for name in PAGES:
        source = (ROOT / "report" / "templates" / name).read_text(encoding="utf-8")
        for call in Environment(autoescape=True).parse(source).find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name == "t":
                first = call.args[0]
                options = [first.expr1, first.expr2] if isinstance(first, nodes.CondExpr) else [first]
                yield from (option.value for option in options if isinstance(option, nodes.Const))


def said_by_the_script():
    source = (ROOT / "report" / "static" / "report.js").read_text(encoding="utf-8")
    return set(re.findall(r'\bT\("((?:[^"\\]|\\.)*)"', source))


def said_by_code():
    """Words that the code hands to pages: constants, categories, reasons, and what speakers say of pictures and values."""
    spoken = {*_HEADS.values(), *UNREADABLE_ENGLISH.values(), *faithfulness.SAYS.values(), *faithfulness.FLAT}
    spoken |= {word for words in faithfulness.KINDS.values() for word in words} | {*faithfulness.OVERRIDDEN}
    spoken |= {
        getattr(faithfulness, name)
        for name in ("ANSWER", "ALIKE", "BETTER", "WORSE", "AS_GOOD", "NO_MAP", "SPOKEN")
    }
    spoken |= {
        getattr(tested, name) for name in ("NO_ORDER", "NOT_FINITE", "NO_MAP", "MANY_PASSES", "NO_CONTRAST")
    }
    for file in ("report/faithfulness.py", "speech/speaking.py", "explanation/one_image.py"):
        for call in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            name = getattr(getattr(call, "func", None), "attr", "")
            if (
                isinstance(call, ast.Call)
                and name in ("fixed", "append")
                and isinstance(call.args[0], ast.Constant)
            ):
                spoken.add(call.args[0].value)
    categories = {"part", "object", "color", "texture", "material", "scene"}
    kinds = {"probability", "share", "score", "count", "iou", "correlation", "name", "place"}
    statuses = {"ok", "constant", "negative", "zero", "not finite", "never active"}
    heads = {"softmax", "sigmoid", "binary", "probabilities"}
    settings = {name.replace("_", " ") for name in pellucid.Preprocess.imagenet().to_json()} - {"mean"}
    settings |= {*get_args(Interpolation), *get_args(CropMode), "yes", "no"}
    return spoken | categories | kinds | statuses | heads | settings | {
        "Probability", "Score", "held-out pictures", "mined pictures",
    }  # fmt: skip


def test_the_catalogue_of_the_pages_is_complete_and_nothing_in_it_is_left_over():
    templates, script, code = set(said_by_templates()), said_by_the_script(), said_by_code()
    assert len(templates) > 60
    assert not (templates | script | code) - set(PAGE), (templates | script | code) - set(PAGE)
    assert not set(TEMPLATES) - templates - code, set(TEMPLATES) - templates - code
    names = {"object", "surroundings"}  # of regions
    assert set(SCRIPT) == script | names
    for words, chinese in PAGE.items():
        assert set(BLANK.findall(words)) == set(BLANK.findall(chinese)), words


@pytest.mark.parametrize("name", PAGES)
def test_no_english_stands_in_a_template(name):
    """Letters outside of tags and of what is filled in, and in labels for those who listen."""
    source = (ROOT / "report" / "templates" / name).read_text(encoding="utf-8")
    bare = "".join(
        data.data if isinstance(data, nodes.TemplateData) else "\0"
        for output in Environment(autoescape=True).parse(source).find_all(nodes.Output)
        for data in output.nodes
    )
    left = re.findall(r'(?:aria-label|alt|title)="[^"\0]*[A-Za-z][^"]*"', bare)
    assert not left
    text = re.sub(r"<[^>]*>", " ", bare)
    assert not set(re.findall(r"[A-Za-z]{3,}", text)) - {"pellucid", "nbsp"}


class Visible(HTMLParser):
    """The words a reader of a page meets, without what is marked as another language."""

    def __init__(self, html):
        super().__init__()
        self.stack, self.words = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in ("meta", "link", "img", "input", "br", "rect", "path", "circle", "polyline", "polygon"):
            self.stack.append(tag in ("script", "style") or given.get("lang") == "en")
        if not any(self.stack):
            self.words += [given[name] for name in ("aria-label", "alt", "title") if given.get(name)]

    def handle_endtag(self, tag):
        if self.stack and tag not in (
            "meta",
            "link",
            "img",
            "input",
            "br",
            "rect",
            "path",
            "circle",
            "polyline",
            "polygon",
        ):
            self.stack.pop()

    def handle_data(self, data):
        if not any(self.stack):
            self.words.append(data)


def test_a_chinese_page_holds_no_english_but_names():
    made = documents.document()
    made |= {
        "language": "zh",
        "names": {
            "balloon": "气球",
            "parachute": "降落伞",
            "airship": "飞艇",
            "kite": "风筝",
            "barn": "谷仓",
        },
    }
    made["names"] |= {"sky": "天空", "basket": "吊篮"}
    for clause in made["clauses"]:
        clause["texts"]["zh"] = clause["text"] = "这句话。"
    made["text"] = "这句话。"
    for html in (render_page(made), render_index([("a.html", made)])):
        page = Visible(html)
        words = set(re.findall(r"[A-Za-z][A-Za-z-]+", " ".join(page.words)))
        names = {
            "pellucid",
            "JSON",
            "balloon",
            "jpg",
            "layer",
            "relu",
            "input",
            "torchvision",
            "resnet",
            "IoU",
            "cgnis",
            "CGNIS",
        }
        names |= {
            "LayerCAM",
            "Grad-CAM",
            "Gradient",
            "softmax",
            "sigmoid",
            "Esc",
            "Tab",
            "JavaScript",
            "made",
            "up",
        }
        assert not words - names, words - names


def test_small_tables_of_both_languages_agree():
    assert set(FAITHFUL) == set(FAITHFUL_ENGLISH)
    assert set(UNREADABLE) == set(UNREADABLE_ENGLISH)
    assert set(KINDS) == {"probability", "score"}


def test_another_language_is_refused_with_those_there_are():
    with pytest.raises(UnknownNameError, match="Expected a language, got `fr`; try one of `en`, `zh`"):
        speaker_of("fr")


def test_names_are_said_in_the_language_and_english_needs_none():
    assert speaker_of("zh", {"wing": "翼"}).name("wing") == "翼"
    assert speaker_of("en", {"wing": "翼"}).name("wing") == "wing"
    assert isinstance(speaker_of("zh"), Chinese)


def test_a_number_that_is_to_be_said_ends_the_text():
    area = Quantity("map.area", 0.125, "share")
    mute = Clause("prediction", "prediction", {"first": "cat", "probability": 0.5}, (area,))
    loud = replace(mute, numbers=(replace(area, said=True),))
    for code, ending in (("en", " Area with half of the evidence: 12.5 %."), ("zh", "：12.5%。")):
        speaker = speaker_of(code)
        assert said(loud, speaker).endswith(ending)
        assert said(loud, speaker).startswith(said(mute, speaker))
        assert said(mute, speaker).count("12.5") == 0
