"""Made-up tables of dissected layers with pictures for them (counts that could have been counted, drawn from a seed), and a
reader of the pages made of them."""

import json
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from pellucid.data.concepts.base import Concept
from pellucid.dissection.counts import Counts
from pellucid.dissection.table import Examples, HeldOut, UnitTable

NAMES = {
    "scene": "street beach forest kitchen field",
    "object": "sky sea sand dog cat car bicycle tree person boat lamp house",
    "part": "wheel head leg window door wing tail",
    "material": "wood metal glass brick",
    "texture": "striped dotted woven checkered zigzagged",
    "color": "red green blue yellow black white gray",
}
AWKWARD = '<script>alert("x")</script>&amp;{{ 7*7 }}'
FACTS = {
    "network": {"name": "scenes-resnet", "sha256": "3f" * 32},
    "concepts": {
        "name": "scenes:val/0-999",
        "images": 1000,
        "concepts": 40,
        "view": "network",
        "sha256": "ab" * 32,
    },
    "settings": {"quantile": 0.005, "anchor": "receptive field", "threshold": 0.04, "seed": 0},
}


def concepts():
    pairs = [(category, name) for category, names in NAMES.items() for name in names.split()]
    return tuple(Concept(number, name, category) for number, (category, name) in enumerate(pairs, 1))


def drawn(random, units, known, likely, strength):
    """Counts of ``units``: each overlaps its ``likely`` concept by ``strength`` and every other a little."""
    place = {name: k for k, name in enumerate(dict.fromkeys(concept.category for concept in known))}
    category = np.array([place[concept.category] for concept in known])
    truth = random.integers(20_000, 60_000, len(known))
    activation = random.integers(15_000, 40_000, (units, len(place)))
    share = random.uniform(0, 0.04, (units, len(known)))
    share[np.arange(units), likely] = np.clip(strength, 0, 0.9)
    limit = np.minimum(activation[:, category], truth)
    return Counts((share * limit).astype(np.int64), activation, truth)


def blob(random, side):
    """A round region at a random place."""
    y, x = np.mgrid[:side, :side]
    cy, cx, radius = (
        random.uniform(0.2, 0.8) * side,
        random.uniform(0.2, 0.8) * side,
        random.uniform(0.08, 0.3) * side,
    )
    return (y - cy) ** 2 + (x - cx) ** 2 < radius**2


def table(
    layer="layer3", units=64, seed=0, images=60, ranks=5, side=64, strength=0.5, known=None, facts=None
):
    """A full table; its last two units are never active, and the unit before them meets no concept at all."""
    random = np.random.default_rng(seed)
    known = concepts() if known is None else known
    likely = random.integers(0, len(known), units) % random.integers(1, len(known) + 1, units)
    level = random.beta(1.3, 4, units) * strength * 2
    counts, fit, held = (drawn(random, units, known, likely, level * scale) for scale in (1, 1.05, 0.85))
    chance = tuple(drawn(random, units, known, likely, 0.03 * random.uniform(0, 4, units)) for _ in range(5))
    made = UnitTable(layer, known, counts)
    for each in (counts, fit, held, *chance):
        each.intersection[-3:], each.activation[-2:] = 0, 0
        each.check(made.category_of)
    ranking = np.argsort(-made.iou, axis=1, kind="stable")[:, :4]
    score = np.take_along_axis(made.iou, ranking, 1)
    pictures = np.stack([random.choice(images, ranks, replace=False) for _ in range(units)])
    maxima = -np.sort(-random.gamma(3, 2, (units, ranks)), axis=1).astype(np.float32)
    masks = np.array([[blob(random, side) for _ in range(ranks)] for _ in range(units)])
    pictures[-2:], maxima[-2:], masks[-2:] = -1, -np.inf, False
    return UnitTable(
        layer,
        known,
        counts,
        thresholds=random.uniform(1, 3, units).astype(np.float32),
        held_out=HeldOut(random.uniform(1, 3, units).astype(np.float32), fit, held, (700, 300)),
        chance=chance,
        ranking=ranking,
        interval=np.stack(
            [score * random.uniform(0.7, 0.95, score.shape), score * random.uniform(1.05, 1.3, score.shape)],
            2,
        ),
        examples=Examples(pictures, maxima, masks),
        facts=FACTS if facts is None else facts,
    )


def picture(index):
    """A plain picture, different for every index."""
    random = np.random.default_rng(index)
    small = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((128, 128), Image.Resampling.BICUBIC)


def tiny(**changes):
    """Four units, three concepts in two categories, counts written out. IoUs of the labels: 0.5, 0.25, 0.04, nothing."""
    known = (Concept(1, "sky", "object"), Concept(2, "sea", "object"), Concept(7, "red", "color"))
    counts = Counts(
        np.array([[50, 10, 0], [0, 40, 30], [4, 0, 0], [0, 0, 0]]),
        np.array([[50, 10], [100, 70], [4, 50], [0, 0]]),
        np.array([100, 100, 100]),
    )
    return UnitTable("layer", known, counts, **changes)


class Page(HTMLParser):
    """Elements with their attributes, texts of scripts and styles, and the visible text."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.elements, self.raw, self.text, self.inside = [], [], "", None
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.words = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("td", "th", "dt", "dd", "li", "p", "div"):
            self.text += " "
        if tag in ("script", "style"):
            self.inside = (tag, dict(attributes))

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.raw.append((*self.inside, data))
        else:
            self.text += data

    def data(self):
        (text,) = [raw for _tag, attributes, raw in self.raw if attributes.get("type") == "application/json"]
        return json.loads(text)
