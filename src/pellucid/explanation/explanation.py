"""An explanation: a sentence made of clauses, each tied to the numbers, maps and neurons it speaks of."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor

from pellucid._version import __version__
from pellucid.core.bibliography import PAPERS
from pellucid.core.registry import get
from pellucid.core.results import Heatmap, UnitScores
from pellucid.core.storage import write_arrays, write_json
from pellucid.explanation.concepts import Meaning
from pellucid.explanation.faithfulness import Faithfulness
from pellucid.explanation.pictures import Painted
from pellucid.speech.languages import LANGUAGES, said, speaker_of
from pellucid.units.regions import box_of

SCHEMA = 1
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Clause:
    """One thing that is said, and what it rests on.

    ``text`` may mark words as ``**bold**``. ``numbers`` holds every number of the text, by what it measures. ``box`` is (top,
    left, bottom, right) on the network's input, end excluded. ``concepts``: what neurons answer to, as `Meaning.to_json` says it.
    ``part``: the region it speaks of, by name in `Explanation.regions`. ``phrase`` and ``facts`` are what the text is made from
    in any language (`pellucid.speech.languages`).
    """

    kind: str
    text: str
    numbers: Mapping[str, float | str] = field(default_factory=dict)
    layer: str | None = None
    method: str | None = None
    units: tuple[tuple[str, int], ...] = ()
    box: Box | None = None
    concepts: tuple[Mapping[str, Any], ...] = ()
    part: str | None = None
    phrase: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Plain data; ``texts``: what it says, by language."""
        return {
            "kind": self.kind,
            "text": self.text,
            "texts": dict(texts),
            "numbers": dict(self.numbers),
            "layer": self.layer,
            "method": self.method,
            "units": [list(unit) for unit in self.units],
            "box": _listed(self.box),
            "concepts": [dict(concept) for concept in self.concepts],
            "part": self.part,
        }


def clause(
    kind: str, phrase: str, facts: Mapping[str, Any], numbers: Mapping[str, float | str], **rest: Any
) -> Clause:
    """A clause that says a phrase of its facts, in English until the explanation is spoken in another language."""
    text = getattr(speaker_of("en", {}), phrase)(**facts)
    return Clause(kind, text, numbers, phrase=phrase, facts=facts, **rest)


@dataclass(frozen=True, eq=False)
class Neuron:
    """An important unit in one image: its score, the share of its layer's positive total, and where it was active.

    ``region`` is a bool mask [height width] at input size; ``removed`` and ``removed_score`` are the target's probability and
    score with the unit set to zero. ``meaning``: what the unit answers to over many pictures, None without a table.
    ``painted``: what it wants to see, None where no picture was painted.
    """

    layer: str
    unit: int
    criterion: str
    score: float
    share: float
    rank: int
    region: Tensor
    box: Box | None
    removed: float | None
    removed_score: float | None
    meaning: Meaning | None = None
    painted: Painted | None = None

    @property
    def concept(self) -> str | None:
        """Name of the concept the unit detects; None without a table, or where its IoU is not above 0.04."""
        return self.meaning.concept if self.meaning is not None and self.meaning.named else None

    @property
    def iou(self) -> float | None:
        """IoU of the unit with its best concept, named or not; None without a table."""
        return None if self.meaning is None else self.meaning.iou

    @property
    def held_out(self) -> float | None:
        """IoU on pictures that had no part in choosing the concept; None without them."""
        return None if self.meaning is None or self.meaning.held_out is None else self.meaning.held_out[1]


@dataclass(frozen=True)
class Removal:
    """What happens to the target when the important units are set to zero together, and random ones of equal number.

    ``before``, ``after`` and ``random`` are probabilities (the score itself where the target is a function); the scores
    beside them do not saturate.
    """

    layer: str
    units: tuple[int, ...]
    before: float
    after: float
    random: float
    score_before: float
    score_after: float
    score_random: float
    draws: int


@dataclass(frozen=True)
class Cost:
    """What the explanation took: passes of the network, and runs of its tail (rows).

    ``parts``: how many of the forward passes were for parts and contrast, at most 40; ``recognizer``: pictures a recognizer
    looked at, which is another network.
    """

    forward: int
    backward: int
    tail_runs: int
    parts: int = 0
    recognizer: int = 0


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a network did with one image and why. ``.text`` is the sentence, ``.clauses`` its evidence."""

    network: Mapping[str, Any]
    image: Mapping[str, Any]
    view: Image.Image
    prediction: tuple[Mapping[str, Any], ...]
    target: Mapping[str, Any]
    clauses: tuple[Clause, ...]
    maps: Mapping[str, Mapping[str, Heatmap]]  # {layer: {method: map of this one image}}
    default_method: str
    inside: Mapping[tuple[str, str], float]  # (layer, method) -> share of positive evidence inside the mask
    boxes: Mapping[tuple[str, str], Box]
    scores: UnitScores
    neurons: tuple[Neuron, ...]
    removal: Removal | None
    mask: Tensor | None
    mask_name: str | None
    cost: Cost
    faithfulness: Faithfulness | None = None  # of the map the sentence speaks of
    language: str = "en"
    names: Mapping[str, str] = field(default_factory=dict)  # of the embedded world, in Chinese
    regions: Mapping[str, Tensor] = field(
        default_factory=dict
    )  # by name: bool [height width] of what clauses speak of
    surroundings: float | None = (
        None  # what they count beside the object (see `parts`), where parts are known
    )
    unsaid: tuple[str, ...] = ()  # what cannot be said, and what it would take

    @property
    def text(self) -> str:
        """The sentence, derived from the clauses, in the explanation's language."""
        return self.say(self.language)

    def say(self, language: str) -> str:
        """The sentence in a language, ``"en"`` or ``"zh"``. Raises UnknownNameError for another."""
        speaker = speaker_of(language, self.names)
        return speaker.gap.join(said(clause, speaker) for clause in self.clauses)

    def __str__(self) -> str:
        return self.text.replace("**", "")

    def to_json(self, *, pictures: bool = False) -> dict[str, Any]:
        """All numbers as plain data; with ``pictures`` also the image, maps and regions as base64 PNGs for the report."""
        methods = sorted({name for maps in self.maps.values() for name in maps})
        return {
            "schema": SCHEMA,
            "pellucid": __version__,
            "text": self.text,
            "created": None,  # left empty on purpose: same input, same bytes
            "network": dict(self.network),
            "image": {**self.image, **({"png": _jpeg(self.view)} if pictures else {})},
            "prediction": [dict(entry) for entry in self.prediction],
            "target": dict(self.target),
            "language": self.language,
            "names": {} if self.language == "en" else dict(self.names),
            "clauses": [self._clause(clause) for clause in self.clauses],
            "regions": {name: self._region(region, pictures) for name, region in self.regions.items()},
            "surroundings": self.surroundings,
            "unsaid": list(self.unsaid),
            "methods": [self._method(name) for name in methods],
            "stages": [self._stage(layer, maps, pictures) for layer, maps in self.maps.items()],
            "neurons": [self._neuron(neuron, pictures) for neuron in self.neurons],
            "removal": None if self.removal is None else self._removal(self.removal),
            "mask": None
            if self.mask is None
            else {"name": self.mask_name, **({"png": _png(self.mask.byte() * 255)} if pictures else {})},
            "cost": asdict(self.cost),
            "faithfulness": self._faithfulness(),
        }

    def save(self, path: str | Path) -> Path:
        """Write ``.html`` (the report), ``.json`` (the numbers) or ``.safetensors`` (maps and scores as arrays)."""
        file = Path(path)
        if file.suffix not in (".html", ".json", ".safetensors"):
            raise ValueError(
                f"Expected a path ending in .html, .json or .safetensors, got `{path}`; try `report.html`."
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".html":
            from pellucid.report import write_report

            return write_report([self.to_json(pictures=True)], file)
        if file.suffix == ".json":
            return write_json(file, self.to_json())
        return write_arrays(file, self.arrays())

    def arrays(self) -> dict[str, Tensor]:
        """Maps on the layers' own grids, ``maps/LAYER/METHOD`` [h w], and all units' scores, ``scores/LAYER/CRITERION``."""
        maps = {
            f"maps/{layer}/{method}": heatmap.values[0]
            for layer, found in self.maps.items()
            for method, heatmap in found.items()
        }
        return {**maps, f"scores/{self.scores.layer.name}/{self.scores.criterion}": self.scores.values[0]}

    def _clause(self, clause: Clause) -> dict[str, Any]:
        return clause.to_json({code: said(clause, speaker_of(code, self.names)) for code in LANGUAGES})

    @staticmethod
    def _region(region: Tensor, pictures: bool) -> dict[str, Any]:
        shown = {"png": _png(region.byte() * 255)} if pictures else {}
        return {"box": _listed(box_of(region)), "area": float(region.double().mean()), **shown}

    def _method(self, name: str) -> dict[str, Any]:
        cls = get("attribution", name)
        title = (cls.__doc__ or name).strip().splitlines()[0].rstrip(".")
        return {
            "name": name,
            "title": title,
            "citation": PAPERS.get(cls.paper) if cls.paper else None,
            "default": name == self.default_method,
        }

    def _stage(self, layer: str, maps: Mapping[str, Heatmap], pictures: bool) -> dict[str, Any]:
        first = next(iter(maps.values()))
        place = first.layer
        return {
            "layer": layer,
            "kind": place.kind,
            "shape": list(place.shape),
            "stride": list(place.geometry.stride),
            "start": list(first.grid.start),
            "receptive_field": list(place.geometry.size),
            "maps": {name: self._map(layer, name, heatmap, pictures) for name, heatmap in maps.items()},
        }

    def _map(self, layer: str, name: str, heatmap: Heatmap, pictures: bool) -> dict[str, Any]:
        values = torch.nan_to_num(heatmap.values[0].detach().cpu().double(), posinf=0, neginf=0)
        scaled = (replace(heatmap, values=values[None]).normalized().values[0] * 255).round().byte()
        return {
            "status": heatmap.status[0],
            "min": float(values.min()),
            "max": float(values.max()),
            "full": float(values.abs().quantile(0.99))
            or None,  # from here on the page's colors are at their strongest
            "inside": self.inside.get((layer, name)),
            "box": _listed(self.boxes.get((layer, name))),
            **({"png": _png(scaled)} if pictures else {}),
        }

    def _faithfulness(self) -> dict[str, Any] | None:
        if self.faithfulness is None:
            return None
        said = [clause.text for clause in self.clauses if clause.kind == "faithfulness"]
        return self.faithfulness.to_json(" ".join(said).replace("**", ""))

    def _neuron(self, neuron: Neuron, pictures: bool) -> dict[str, Any]:
        picture = {"png": _png(neuron.region.byte() * 255)} if pictures else {}
        return {
            "layer": neuron.layer,
            "unit": neuron.unit,
            "criterion": neuron.criterion,
            "score": neuron.score,
            "share": neuron.share,
            "rank": neuron.rank,
            "region": {"box": _listed(neuron.box), **picture},
            "removed": {"alone": neuron.removed, "score": neuron.removed_score},
            "concept": None if neuron.meaning is None else neuron.meaning.to_json(),
            "painted": None if neuron.painted is None else _painted(neuron.painted, pictures),
        }

    @staticmethod
    def _removal(removal: Removal) -> dict[str, Any]:
        return {
            "layer": removal.layer,
            "units": list(removal.units),
            "probability_before": removal.before,
            "probability_after": removal.after,
            "probability_random": removal.random,
            "score_before": removal.score_before,
            "score_after": removal.score_after,
            "score_random": removal.score_random,
            "random_draws": removal.draws,
        }


def _listed(box: Box | None) -> list[int] | None:
    return None if box is None else list(box)


def _painted(painted: Painted, pictures: bool) -> dict[str, Any]:
    return {**painted.to_json(), **({"picture": _jpeg(painted.picture)} if pictures else {})}


def _png(values: Tensor) -> str:
    """A byte tensor [h w] as a base64 grey PNG."""
    stream = io.BytesIO()
    Image.fromarray(values.cpu().numpy()).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def _jpeg(image: Image.Image) -> str:
    """A picture as a data URI: PNG where small, else a fine JPEG."""
    kind = "png" if max(image.size) <= 160 else "jpeg"
    stream = io.BytesIO()
    options: dict[str, Any] = {"optimize": True} if kind == "png" else {"quality": 92, "subsampling": 0}
    image.convert("RGB").save(stream, kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def from_json(text: str) -> dict[str, Any]:
    """Read a saved explanation back as plain data; raises ValueError for another schema."""
    document = cast(dict[str, Any], json.loads(text))
    if document.get("schema") != SCHEMA:
        raise ValueError(f"Expected an explanation of schema {SCHEMA}, got {document.get('schema')!r}.")
    return document
