"""An explanation: what was measured of one image, and the clauses that can be said of it."""

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
from pellucid.explanation.facts import Box, Clause, Cost, Neuron, Region, Removal, listed
from pellucid.explanation.faithfulness import Faithfulness
from pellucid.explanation.settings import ExplainSettings
from pellucid.report import SCHEMA, write_report
from pellucid.speech.languages import LANGUAGES, said, speaker_of
from pellucid.speech.text import plain
from pellucid.visualization.painted import Painted


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a network did with one image and why.

    `text` is the sentence with its marks, ``str(explanation)`` the same without; `clauses` are its evidence.

    Attributes:
        network: name, input shape, parameters, classes, preprocessing and head.
        image: name, notes, original size and size.
        view: the picture the network saw.
        prediction: the five most probable classes: class, index, probability, output.
        target: what is explained: name, index, probability, score, and whether it is the prediction.
        brief: the short sentence.
        clauses: all that can be said, in order: the details behind it.
        maps: ``{layer: {method: map}}`` of this one image.
        default_method: of the map the sentence speaks of.
        inside: (layer, method) → share of positive evidence inside the mask.
        boxes: (layer, method) → box of the strongest half.
        scores: of all units of the layer whose units are looked at.
        neurons: the important ones.
        removal: what removing those that are cited does; None where none is.
        mask: of the object, bool [height width], where it is known.
        mask_name: what the object is.
        cost: what all of this took.
        settings: what was asked.
        faithfulness: of the map the sentence speaks of, where it was tested.
        names: of classes and concepts, in the explanation's language.
        regions: what clauses can point at, by name.
        surroundings: what they count beside the object (see `parts`), where parts are known.
        unsaid: what cannot be said, and what it would take.
    """

    network: Mapping[str, Any]
    image: Mapping[str, Any]
    view: Image.Image
    prediction: tuple[Mapping[str, Any], ...]
    target: Mapping[str, Any]
    brief: Clause
    clauses: tuple[Clause, ...]
    maps: Mapping[str, Mapping[str, Heatmap]]
    default_method: str
    inside: Mapping[tuple[str, str], float]
    boxes: Mapping[tuple[str, str], Box]
    scores: UnitScores
    neurons: tuple[Neuron, ...]
    removal: Removal | None
    mask: Tensor | None
    mask_name: str | None
    cost: Cost
    settings: ExplainSettings
    faithfulness: Faithfulness | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    regions: Mapping[str, Region] = field(default_factory=dict)
    surroundings: float | None = None
    unsaid: tuple[str, ...] = ()

    @property
    def language(self) -> str:
        """Language that was asked for."""
        return self.settings.language

    @property
    def text(self) -> str:
        """The short sentence in the explanation's language, with the marks of `pellucid.speech.text`."""
        return said(self.brief, speaker_of(self.language, self.names))

    @property
    def details(self) -> str:
        """Everything that can be said, in the explanation's language, without marks."""
        return plain(self.say(self.language))

    def say(self, language: str) -> str:
        """Everything that can be said, in a language.

        Args:
            language: ``"en"`` or ``"zh"``.

        Returns:
            The text, with the marks of `pellucid.speech.text`.

        Raises:
            UnknownNameError: for another language.
        """
        speaker = speaker_of(language, self.names)
        return speaker.gap.join(said(clause, speaker) for clause in self.clauses)

    def __str__(self) -> str:
        return plain(self.text)

    def to_json(self, *, pictures: bool = False) -> dict[str, Any]:
        """All numbers as plain data.

        Args:
            pictures: add image, maps and regions as base64 PNGs, for the report.

        Returns:
            A mapping of JSON types only.
        """
        methods = sorted({name for maps in self.maps.values() for name in maps})
        return {
            "schema": SCHEMA,
            "pellucid": __version__,
            "text": str(self),
            "created": None,  # left empty on purpose: same input, same bytes
            "network": dict(self.network),
            "image": {**self.image, **({"png": _jpeg(self.view)} if pictures else {})},
            "prediction": [dict(entry) for entry in self.prediction],
            "target": dict(self.target),
            "language": self.language,
            "names": {} if self.language == "en" else dict(self.names),
            "settings": self.settings.to_json(),
            "brief": self._clause(self.brief),
            "spots": [dict(region) for region in self.brief.facts["regions"]],
            "details": self.details,
            "clauses": [self._clause(clause) for clause in self.clauses],
            "regions": {name: _region(region, pictures) for name, region in self.regions.items()},
            "surroundings": self.surroundings,
            "unsaid": list(self.unsaid),
            "methods": [self._method(name) for name in methods],
            "stages": [self._stage(layer, maps, pictures) for layer, maps in self.maps.items()],
            "neurons": [_neuron(neuron, pictures) for neuron in self.neurons],
            "removal": None if self.removal is None else _removal(self.removal),
            "mask": None
            if self.mask is None
            else {"name": self.mask_name, **({"png": _png(self.mask.byte() * 255)} if pictures else {})},
            "cost": asdict(self.cost),
            "faithfulness": None if self.faithfulness is None else self.faithfulness.to_json(),
        }

    def save(self, path: str | Path) -> Path:
        """Write the report, the numbers or the arrays.

        Args:
            path: ending in ``.html`` (the report), ``.json`` (the numbers) or ``.safetensors`` (maps and scores).

        Returns:
            The file.

        Raises:
            ValueError: for another ending.
        """
        file = Path(path)
        if file.suffix not in (".html", ".json", ".safetensors"):
            raise ValueError(
                f"Expected a path ending in .html, .json or .safetensors, got `{path}`; try `report.html`."
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".html":
            return write_report([self.to_json(pictures=True)], file)
        if file.suffix == ".json":
            return write_json(file, self.to_json())
        return write_arrays(file, self.arrays())

    def arrays(self) -> dict[str, Tensor]:
        """Maps and scores as tensors.

        Returns:
            ``maps/LAYER/METHOD`` [h w] on the layers' own grids, and ``scores/LAYER/CRITERION`` [unit].
        """
        maps = {
            f"maps/{layer}/{method}": heatmap.values[0]
            for layer, by_method in self.maps.items()
            for method, heatmap in by_method.items()
        }
        return {**maps, f"scores/{self.scores.layer.name}/{self.scores.criterion}": self.scores.values[0]}

    def _clause(self, clause: Clause) -> dict[str, Any]:
        """A clause as JSON holds it: its texts, with marks, by language."""
        texts = {code: said(clause, speaker_of(code, self.names)) for code in LANGUAGES}
        return {
            "kind": clause.kind,
            "phrase": clause.phrase,
            "text": plain(texts[self.language]),
            "texts": texts,
            "numbers": [quantity.to_json() for quantity in clause.numbers],
            "layer": clause.layer,
            "method": clause.method,
            "units": [list(unit) for unit in clause.units],
            "box": listed(clause.box),
            "concepts": [dict(concept) for concept in clause.concepts],
            "part": clause.part,
        }

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
        stage = first.layer
        return {
            "layer": layer,
            "kind": stage.kind,
            "shape": list(stage.shape),
            "stride": list(stage.geometry.stride),
            "start": list(first.grid.start),
            "receptive_field": list(stage.geometry.size),
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
            "box": listed(self.boxes.get((layer, name))),
            **({"png": _png(scaled)} if pictures else {}),
        }


def _neuron(neuron: Neuron, pictures: bool) -> dict[str, Any]:
    picture = {"png": _png(neuron.region.byte() * 255)} if pictures else {}
    return {
        "layer": neuron.layer,
        "unit": neuron.unit,
        "criterion": neuron.criterion,
        "score": neuron.score,
        "share": neuron.share,
        "rank": neuron.rank,
        "cited": neuron.cited,
        "region": {"box": listed(neuron.box), **picture},
        "removed": {"alone": neuron.removed, "score": neuron.removed_score},
        "concept": None if neuron.meaning is None else neuron.meaning.to_json(),
        "painted": None if neuron.painted is None else _painted(neuron.painted, pictures),
    }


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
        "score_spread": removal.score_spread,
        "random_draws": removal.draws,
    }


def _region(region: Region, pictures: bool) -> dict[str, Any]:
    return {**region.to_json(), **({"png": _png(region.mask.byte() * 255)} if pictures else {})}


def _painted(painted: Painted, pictures: bool) -> dict[str, Any]:
    return {**painted.to_json(), **({"picture": _jpeg(painted.picture)} if pictures else {})}


def _png(values: Tensor) -> str:
    """A byte tensor [h w] as a base64 gray PNG."""
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
    """Read a saved explanation back as plain data.

    Raises:
        ValueError: for another schema.
    """
    document = cast(dict[str, Any], json.loads(text))
    if document.get("schema") != SCHEMA:
        raise ValueError(f"Expected an explanation of schema {SCHEMA}, got {document.get('schema')!r}.")
    return document
