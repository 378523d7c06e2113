"""Every number of a sentence, computed anew by other code; and every figure of its text, looked up among its numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import pellucid as pl
from pellucid.data.filling import fill, without
from pellucid.explanation import Explanation
from pellucid.explanation.facts import Clause
from pellucid.speech.text import measured, number, percent, plain
from pellucid.world import Rendering


def strange_figures(explained: Explanation) -> int:
    """Figures in the sentence that are neither a number of their clause as it is written, nor a neuron, nor in a layer's name."""
    return sum(len(_strange(clause)) for clause in explained.clauses)


def _strange(clause: Clause) -> list[str]:
    shown = {str(unit) for _, unit in clause.units}
    for quantity in clause.numbers:
        value = quantity.value
        if isinstance(value, float):
            sizes = (value, abs(value))
            shown |= {
                form(size) for size in sizes for form in (percent, number, "{:.2f}".format, "{:,.0f}".format)
            }
            shown.add(measured(value, quantity.spread))
    shown = {each.replace(" %", "%") for each in shown}
    text = plain(clause.text).replace(" %", "%")
    for layer in {clause.layer or "", *(layer for layer, _ in clause.units)} - {""}:
        text = text.replace(layer, "")
    words = re.sub(r"[;()]", " ", text).split()
    bare = [word.rstrip(".:,?") for word in words]
    return [word for word in bare if any(character.isdigit() for character in word) and word not in shown]


def recomputed(net: pl.Network, rendering: Rendering, explained: Explanation) -> tuple[int, float]:
    """How many numbers were computed anew, and how far the farthest of them is off (scores as shares of the score)."""
    anew = Anew(net, rendering, explained)
    count, apart = 0, 0.0
    for clause in explained.clauses:
        expected = anew.numbers(clause)
        for label, value in expected.items():
            said = clause.value(label)
            assert isinstance(said, float), (label, said)
            scale = max(1.0, abs(anew.whole[0])) if label.endswith(".score") else 1.0
            count, apart = count + 1, max(apart, abs(said - value) / scale)
    return count, apart


class Anew:
    """Computes the numbers of one explanation of one picture: whole forward passes, one by one, with hooks."""

    def __init__(self, net: pl.Network, rendering: Rendering, explained: Explanation) -> None:
        self.net, self.explained, self.picture = net, explained, rendering.image
        self.index = int(explained.target["index"])
        self.images = net.preprocess(rendering.image)[None]
        self.whole = self.effect([self.images])
        regions = {
            name: region.mask
            for name, region in explained.regions.items()
            if name not in ("object", "surroundings") and not name.isdigit()  # those of the short sentence
        }
        thing = explained.regions.get("object")
        self.regions, self.thing = regions, None if thing is None else thing.mask
        layers = [layer for layer, maps in explained.maps.items() if explained.default_method in maps]
        found = pl.attribute(net, rendering.image, explained.default_method, layers=layers)
        maps = [found[layer].upsample()[0].double().clamp(min=0) for layer in layers]
        self.evidence = torch.stack([one / one.sum() for one in maps if one.sum() > 0]).mean(0)

    def effect(
        self, pictures: Sequence[Tensor], removed: Sequence[tuple[str, int]] = ()
    ) -> tuple[float, float]:
        """Mean score and probability over pictures, with units of a layer at zero."""

        def zero(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            output = output.clone()
            output[:, [unit for _, unit in removed]] = 0
            return output

        handle = self.net.module.get_submodule(removed[0][0]).register_forward_hook(zero) if removed else None
        try:
            with torch.no_grad():
                outputs = torch.cat([self.net.module(picture) for picture in pictures])
        finally:
            if handle is not None:
                handle.remove()
        return float(outputs[:, self.index].double().mean()), float(
            outputs.softmax(1)[:, self.index].double().mean()
        )

    def numbers(self, clause: Clause) -> dict[str, float]:
        """The numbers of a clause that are measurements of this picture."""
        expected: dict[str, float] = {}
        known = {"before.score": self.whole[0], "before.probability": self.whole[1]}
        known |= {"class.probability": self.whole[1]} if clause.phrase == "prediction" else {}
        if clause.part in self.regions:
            known |= self._part(clause.part)
        if clause.phrase in ("around", "background") and self.thing is not None:
            known |= self._sides(self.thing)
        if clause.phrase == "parts":
            named = [str(one.part) for one in self.explained.clauses if one.phrase == "part"]
            known["parts.evidence"] = sum(self._mass(self.regions[name]) for name in named)
        if clause.units and clause.phrase in ("part", "carried"):
            what = "removed" if clause.phrase == "carried" else "unitless"
            score, probability = self.effect([self.images], clause.units)
            known |= {f"{what}.score": score, f"{what}.probability": probability}
        for key in {quantity.key for quantity in clause.numbers} & known.keys():
            expected[key] = known[key]
        return expected

    def _part(self, name: str) -> dict[str, float]:
        regions, place = torch.stack(list(self.regions.values())), list(self.regions).index(name)
        assert self.thing is not None
        pictures = without(self.images, regions, self.thing)[2 * place : 2 * place + 2].split(1)
        score, probability = (
            (2 * pixels + cells) / 3
            for pixels, cells in zip(self.effect(pictures), self._in_features(regions[place]), strict=True)
        )
        return {
            "filled.score": score,
            "filled.probability": probability,
            "part.area": float(self.regions[name].double().mean()),
            "part.evidence": self._mass(self.regions[name]),
        }

    def _in_features(self, region: Tensor) -> tuple[float, float]:
        """Score and probability with a region filled in in the activations of the second stage."""

        def filled(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            wide = F.max_pool2d(region[None, None].float(), 3, 1, 1)
            return fill(output, F.adaptive_max_pool2d(wide, output.shape[2:])[:, 0] > 0)

        handle = self.net.module.get_submodule(self.net.default_layers[1]).register_forward_hook(filled)
        try:
            return self.effect([self.images])
        finally:
            handle.remove()

    def _sides(self, thing: Tensor) -> dict[str, float]:
        (inside, left), (outside, rest) = (
            self.effect([fill(self.images, side[None])]) for side in (thing, ~thing)
        )
        around, within = (max(0.0, self.whole[0] - score) for score in (outside, inside))
        return {
            "around.score": outside,
            "around.probability": rest,
            "thing.score": inside,
            "thing.probability": left,
            "around.weight": around / (around + within) if around + within else 0.0,
            "around.evidence": self._mass(~thing),
            "around.area": float((~thing).double().mean()),
        }

    def _mass(self, region: Tensor) -> float:
        return float(self.evidence[region].sum())
