# ruff: noqa: D102 (a phrase is called what it says; what it tells is in `pellucid.explanation.brief`)
"""The short sentence in Chinese: the same things in the same order as `pellucid.speech.brief_english`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.speech import text
from pellucid.speech import wording as w
from pellucid.speech.speaking import Against, Left, Speaker

WARNINGS = {
    "untrained": "**网络的权重像是没有训练过**，下面解释的只是噪声。",
    "transformer": "**无法知道它看了哪里**：变换器在图块嵌入之后没有空间图。",
    "insensitive": "**它的热图不可信**：几乎不取决于学到的内容。",
    "worse": "**它的热图不可信**：中心的一团都比它更准。",
    "flat": "无论去掉什么，它的回答都差不多。",
}
_FIRST = ("untrained", "transformer")
_LAST = ("insensitive", "worse", "flat")


class BriefChinese(Speaker):
    """Says the short sentence in Chinese."""

    def brief(
        self,
        name: str,
        whole: Left,
        predicted: tuple[str, float] | None,
        rival: tuple[str, float] | None,
        against: Against | None,
        numeric: bool,
        unsure: bool,
        regions: Sequence[Mapping[str, Any]],
        without: Left | None,
        warning: str | None,
        least: Left | None,
    ) -> str:
        careful = bool(warning or unsure or against)
        parts = [WARNINGS[warning]] if warning in _FIRST else []
        parts.append(self.answer(name, whole, predicted, rival, against, numeric, unsure))
        if warning in _LAST:
            parts.append(WARNINGS[warning])
        if warning != "transformer":
            parts.append(self.looked(regions, whole, without, least, against, int(careful)))
        return "".join(parts)

    def answer(
        self,
        name: str,
        whole: Left,
        predicted: tuple[str, float] | None,
        rival: tuple[str, float] | None,
        against: Against | None,
        numeric: bool,
        unsure: bool,
    ) -> str:
        """Class and certainty."""
        if numeric:
            return (
                f"预测值{'' if name == 'value' else f'（{self.name(name)}）'}为 **{self.amount_of(whole)}**。"
            )
        if whole.probability is None:
            return f"**{self.name(name)}**：{self.amount_of(whole)}。"
        told = f"**{self.name(name)}**，{self.amount_of(whole)}"
        if against is not None:
            return f"{told}，而不是**{self.name(against.name)}**（{self.amount_of(against.whole)}）。"
        if predicted is not None:
            return f"{told}（它的回答是{self.name(predicted[0])}，{self.share(predicted[1])}）。"
        if rival is not None:
            return f"{told}{'，不确定' if unsure else ''}，{self.name(rival[0])}有 {self.share(rival[1])}。"
        return f"{told}{'，不确定' if unsure else ''}。"

    def looked(
        self,
        regions: Sequence[Mapping[str, Any]],
        whole: Left,
        without: Left | None,
        least: Left | None,
        against: Against | None,
        thrift: int,
    ) -> str:
        """The regions, and what is left without them."""
        if not regions:
            if least is None:
                return "画面中没有突出的区域。"
            return f"没有哪个区域单独起决定作用：遮住任何一个，至少仍剩 {self.amount_of(least)}。"
        told = f"它看的是{self.listed([self.seen(each, not thrift and not k, thrift) for k, each in enumerate(regions)])}"
        if without is None:
            return f"{told}。"
        which = {1: "去掉它", 2: "两处都去掉", 3: "三处都去掉"}[len(regions)]
        if whole.probability is not None and without.probability is not None:
            if without.probability >= w.ENOUGH * whole.probability:
                return f"{told}，但{which}后仍剩 {self.share(without.probability)}。"
            told = f"{told}；{which}后剩 **{self.share(without.probability)}**"
            if against is not None and against.without is not None:
                return f"{told}，{self.name(against.name)}则有 {self.amount_of(against.without)}。"
            return f"{told}。"
        return f"{told}；{which}后剩 {text.number(without.score)}。"

    def seen(self, region: Mapping[str, Any], others: bool, thrift: int = 0) -> str:
        """A region: its place and word, or its place alone; other readings in brackets."""
        place = self.places.get(region["place"], region["place"])
        if region["word"] is not None:
            named = text.mention(f"**{self.name(region['word'])}**", "region", region["number"])
            return f"{place}的{named}" if region["placed"] else named
        named = text.mention(f"**{place}**", "region", region["number"])
        if others and region["others"]:
            return f"{named}（也像{self.either([self.name(each) for each in region['others']])}）"
        return named

    def either(self, words: Sequence[str]) -> str:
        """ "a 或 b"."""
        return text.listed(words, "或", "、")

    def amount_of(self, left: Left) -> str:
        """A probability, or the score where there is none."""
        return text.number(left.score) if left.probability is None else self.share(left.probability)
