# ruff: noqa: D102 (a phrase is called what it says; what it tells is in `pellucid.explanation.clauses`)
"""Chinese: the same clauses as in `pellucid.speech.english`, of the same facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pellucid.speech import text
from pellucid.speech.brief_chinese import BriefChinese
from pellucid.speech.english import English, Named, Speaking
from pellucid.speech.labels import CHINESE
from pellucid.speech.pages_chinese import PAGE
from pellucid.speech.speaking import Left, Quantity

UNREADABLE = {
    "negative": "所有证据都不支持该类别",
    "constant": "热图处处相同，没有指向任何位置",
    "zero": "热图处处为零",
    "not finite": "热图中含有 NaN 或无穷大",
}
FAITHFUL = {
    "better": "**优于中心光斑**",
    "as good": "**只与中心光斑相当**",
    "worse": "**不如中心光斑**",
}
ADVICE = {"as good": "，不能证明什么", "worse": "，此处请勿依赖它"}
KINDS = {"probability": "概率", "score": "得分"}
# Criteria are named by their keys, as on the page.


class Chinese(BriefChinese, English):
    """Says clauses in Chinese. Names without a Chinese word stay as they are."""

    code, html, gap = "zh", "zh-Hans", ""
    labels = CHINESE
    page = PAGE
    places: Mapping[str, str] = {
        "upper left": "左上部", "upper middle": "中上部", "upper right": "右上部", "left side": "左侧", "center": "中央",
        "right side": "右侧", "lower left": "左下部", "lower middle": "中下部", "lower right": "右下部",
    }  # fmt: skip

    def share(self, value: float, digits: int = 0) -> str:
        return text.percent(value, digits).replace(" %", "%")

    def listed(self, words: Sequence[str]) -> str:
        return text.listed(words, "和", "、")

    def bracketed(self, label: str) -> str:
        return self.name(label).replace("（", "［").replace("）", "］")

    def number(self, quantity: Quantity) -> str:
        return f"{text.name(self.label(quantity))}：{text.name(self.value(quantity))}。"

    def prediction(self, first: str, probability: float) -> str:
        return f"分类结果为**{self.name(first)}**（{self.share(probability)}）。"

    def explained(self, first: str, probability: float, target: str, value: float, kind: str) -> str:
        return f"{self.prediction(first, probability)}此处解释的是**{self.name(target)}**（{self.amount(value, kind)}）。"

    def predicted(self, values: Sequence[tuple[str, float]], target: tuple[str, float] | None) -> str:
        (first, value), *others = values
        what = "" if first == "value" else f"{self.name(first)}的"
        told = f"{what}预测值为**{self.amount(value, 'score')}**"
        told += (
            "".join(f"，{self.name(name)}为{self.amount(number, 'score')}" for name, number in others) + "。"
        )
        if target is None:
            return told
        return f"{told}此处解释的是**{self.name(target[0])}**（{self.amount(target[1], 'score')}）。"

    def second(self, unsure: bool, name: str, probability: float) -> str:
        if unsure:
            return f"网络并不确定：{self.name(name)}的概率为{self.share(probability)}。"
        return f"其次是{self.name(name)}，概率为{self.share(probability)}。"

    def synonym(self, name: str, probability: float, together: float) -> str:
        return f"{self.name(name)}是同一事物的另一个名称，概率为{self.share(probability)}：合计{self.share(together)}。"

    def region(self, layer: str, deepest: bool, area: float, places: Sequence[str]) -> str:
        where = f"位于{self.listed([self.places[place] for place in places])}" if places else "分散各处"
        return f"{_at(layer, deepest)}，一半的证据落在图片{self.share(area)}的面积上，{where}。"

    def no_region(self, layer: str, deepest: bool, status: str) -> str:
        return f"无法指出区域：{_at(layer, deepest)}，{UNREADABLE.get(status, '没有正向证据')}。"

    def insensitive(self, correlation: float, spread: float | None) -> str:
        alike = f"把网络的上半部分随机化后，热图几乎不变（秩相关系数{text.measured(correlation, spread)}）"
        return f"{alike}：它显示的更多是**图片**，而不是决策。"

    def flat(self, kind: str, low: float, high: float) -> str:
        return (
            f"无论移除哪些像素，{KINDS[kind]}都保持在{self.amount(low, kind)}与{self.amount(high, kind)}之间：无法据此判断热图"
            "是否正确。"
        )

    def compared(
        self, kind: str, ours: Mapping[str, float], theirs: Mapping[str, float], verdicts: Mapping[str, str]
    ) -> str:
        deletion, insertion, other, others = (
            self.amount(area[each], kind) for area in (ours, theirs) for each in ("deletion", "insertion")
        )
        numbers = (
            f"按热图的顺序移除像素，平均{KINDS[kind]}为{deletion}（按中心光斑的顺序为{other}），按同样顺序恢复像素则为{insertion}"
            f"（{others}）"
        )
        if not verdicts:
            return f"{numbers}。"
        first, then = verdicts["deletion"], verdicts["insertion"]
        if first == then:
            return f"{numbers}：两项检验中该热图都{FAITHFUL[first]}{ADVICE.get(first, '')}。"
        return f"{numbers}：移除时该热图{FAITHFUL[first]}，恢复时{FAITHFUL[then]}。"

    def on_object(self, name: str, inside: float, best: float, area: float) -> str:
        return (
            f"各阶段平均有{self.share(inside)}的证据落在**{self.name(name)}**上（在这样的网格上最多可达{self.share(best)}），"
            f"它占图片的{self.share(area)}。"
        )

    def little(self, name: str) -> str:
        return f"这个比例偏低：网络也依赖{self.name(name)}的**周围环境**。"

    def other_object(self, name: str, target: str) -> str:
        return f"那里的物体是{self.name(name)}，不是{self.name(target)}。"

    def no_unit(self, criterion: str) -> str:
        return f"该层没有任何一个神经元的{criterion}得分为正。"

    def none_cited(self, layer: str, deepest: bool, criterion: str, count: int) -> str:
        where = "在最深的阶段" if deepest else f"在{self.name(layer)}"
        return (
            f"{where}，不能说{criterion}得分最高的{count}个神经元支撑了结果：移除其中任何一个，得分都不下降。"
        )

    def carried(
        self, layer: str, deepest: bool, units: Sequence[Named], share: float,
        criterion: str, total: int, effect: Mapping[str, Any] | None, target: str, probable: bool,
    ) -> str:  # fmt: skip
        where = "在最深的阶段" if deepest else f"在{self.name(layer)}"
        told = f"{where}，神经元{self.labeled(layer, units)}占{total:,}个神经元{criterion}得分的{self.share(share)}"
        if effect is None:
            return told + "。"
        random = "随机移除一个" if len(units) == 1 else "随机移除同样多个"
        others = text.measured(effect["score_random"], effect["score_spread"])
        told += (
            f"；移除后{self.name(target)}的得分从{text.number(effect['score_before'])}变为"
            f"**{text.number(effect['score_after'])}**（{random}：{others}）"
        )
        if not probable:
            return told + "。"
        after, at_random = self.share(effect["after"]), self.share(effect["random"])
        return f"{told}，概率从{self.share(effect['before'])}变为**{after}**（{at_random}）。"

    def labeled(self, layer: str, units: Sequence[Named]) -> str:
        names = [self.called(concept, strength) for _, concept, strength in units]
        numbers = [self.unit(layer, unit, stressed=True) for unit, _, _ in units]
        if len(units) > 1 and names[0] and len(set(names)) == 1:
            return f"{self.listed(numbers)}（均为{names[0]}）"
        pairs = zip(numbers, names, strict=True)
        return self.listed([number + (f"（{name}）" if name else "") for number, name in pairs])

    def called(self, concept: str | None, strength: str | None) -> str:
        if concept is None:
            return ""
        return f"{'可能是' if strength == 'weak' else ''}{self.bracketed(concept)}"

    def saturated(self, fall: float) -> str:
        return f"得分下降了{self.share(fall)}；概率几乎不变，因为它已**饱和**。"

    def made_up(self, together: float, alone: float) -> str:
        return (
            f"概率几乎不变：其他神经元弥补了它们，一起移除时得分只下降{text.number(together)}，而逐个移除合计下降"
            f"{text.number(alone)}。"
        )

    def hardly(self) -> str:
        return "结果几乎不取决于这些神经元。"

    def unnamed(self, one: bool, images: int | None, threshold: float) -> str:
        who = "它" if one else "它们"
        return f"没有已知的概念能说明{who}：在{_over(images)}上没有一个吻合得好（IoU均不超过{text.number(threshold)}）。"

    def named(
        self,
        one: bool,
        images: int | None,
        low: float,
        high: float,
        layer: str,
        others: Sequence[int],
        weak: bool,
    ) -> str:
        ends = [f"{low:.2f}", f"{high:.2f}"]
        overlap = ends[0] if ends[0] == ends[1] else "至".join(ends)
        told = f"括号内是神经元在{_over(images)}上响应最强的概念（重叠度IoU：{overlap}），这并不证明本次决策用到了它。"
        if weak:
            told += "“可能是”：在预留图片上该名称不成立。"
        if others:
            told += f"{self._units(layer, others)}没有已知的概念。"
        return told

    def parts(self, count: int, share: float | None) -> str:
        order = "" if count == 1 else "，影响最大的在前"
        if share is None:
            return f"支撑决策的部件{order}："
        number = ("", "一个", "两个", "三个")[count]
        return f"{self.share(share)}的证据落在{number}部件上{order}："

    def part(
        self, name: str, color: str | None, share: float | None, before: Left, after: Left, probable: bool,
        units: Mapping[str, Any] | None, first: bool, last: bool,
    ) -> str:  # fmt: skip
        tinted = f"{self.name(color)}的" if color else ""
        told = [] if share is None or (first and last) else [self.share(share)]
        told.append(f"填补后{self.change(before, after, probable)}")
        if units:
            told.append(self.removed(**units, probable=probable))
        return f"{tinted}{self.part_name(name)}（{'；'.join(told)}）{'。' if last else '，'}"

    def removed(self, units: Sequence[int], layer: str, left: Left, probable: bool) -> str:
        who = f"移除{self.name(layer)}的{self._units(layer, units)}后"
        if left.probability is None or not probable:
            return f"{who}为{text.number(left.score)}"
        return f"{who}分别为{text.number(left.score)}和{self.share(left.probability)}"

    def change(self, before: Left, after: Left, probable: bool = True) -> str:
        told = f"得分{_moves(before.score, after.score, text.number, True)}"
        if after.probability is None or before.probability is None or not probable:
            return told
        return f"{told}，概率{_moves(before.probability, after.probability, self.share, False)}"

    def around(
        self, scene: str | None, color: str | None, share: float | None, before: Left, after: Left
    ) -> str:
        about = [f"**{self.name(scene)}**"] if scene else []
        about += [f"以{self.name(color)}为主"] if color else []
        what = f"周围环境{'（' + '，'.join(about) + '）' if about else ''}"
        held = "" if share is None else f"占{self.share(share)}；"
        return f"{what}{held}填补后{self.change(before, after)}。"

    def background(
        self, most: bool, scene: str | None, weight: float, thing: Left, surroundings: Left, before: Left
    ) -> str:
        named = f"（{self.name(scene)}）" if scene else ""
        said = "比物体本身更能决定结果" if most else "对结果有很大作用"
        return (
            f"**周围环境**{named}{said}：填补周围环境后{self.change(before, surroundings)}；"
            f"填补物体后{self.change(before, thing)}；前者占两者影响之和的{self.share(weight)}。"
        )

    def outside(self, share: float, best: float) -> str:
        return f"{self.share(share)}的证据落在**物体之外**；在这样的网格上至少会有{self.share(best)}。"

    def no_single(self, count: int, name: str, lowers: bool, before: Left, after: Left) -> str:
        lead = "**没有哪一个部件能单独解释这一结果**"
        if not lowers:
            which = f"找到的{count}个部件中任何一个" if count > 1 else "唯一找到的部件"
            return f"{lead}：填补{which}，得分都不下降。"
        found = (
            f"找到的{count}个部件中{self.part_name(name)}影响最大，但"
            if count > 1
            else f"只找到{self.part_name(name)}，而"
        )
        return f"{lead}：{found}填补后{self.change(before, after)}。"

    def none_found(self, known: int) -> str:
        return f"**无法说出任何部件**：识别器认识{known}种部件，在这张图片中一种也不能确定。"

    def absent(self, name: str, probability: float, units: Sequence[int], layer: str) -> str:
        return (
            f"没有发现**{self.name(name)}**（概率{self.share(probability)}），尽管{self.name(layer)}的"
            f"{self._units(layer, units)}在别的图片中对它有响应。"
        )

    def pattern(
        self, concepts: Sequence[str], units: Sequence[int], layer: str, name: str, share: float, rest: float,
        held_out: bool, several: bool,
    ) -> str:  # fmt: skip
        together = "同时出现在" if several else "出现在"
        pictures = f"{self.share(share)}的{'预留' if held_out else ''}{self.name(name)}图片"
        return f"**{self.pattern_name(concepts, units, layer)}**{together}{pictures}和{self.share(rest)}的其他图片中。"

    def because(self, other: str, margin: float, parts: Sequence[tuple[str, float]]) -> str:
        behind = f"之所以不是{self.name(other)}（落后{text.number(margin)}）"
        return f"{behind}，是因为{self._drops(parts)}：括号内是填补后领先优势减少的量。"

    def although(self, target: str, other: str, margin: float, parts: Sequence[tuple[str, float]]) -> str:
        speaking = f"支持{self.name(target)}而不支持它的是{self._drops(parts)}"
        return f"{self.why_not(other, margin)}{speaking}：括号内是填补后差距减少的量。"

    def why_not(self, other: str, margin: float) -> str:
        return (
            f"为什么不是{self.name(other)}？它{'落后' if margin >= 0 else '领先'}{text.number(abs(margin))}。"
        )

    def for_other(self, other: str, parts: Sequence[tuple[str, float]]) -> str:
        return f"支持{self.name(other)}的是{self._drops(parts)}，计量方式相同。"

    def units_against(self, target: str, other: str, layer: str, units: Sequence[Speaking]) -> str:
        return (
            f"在{self.name(layer)}的神经元中，{self._speaking(layer, units)}最支持{self.name(target)}而不支持"
            f"{self.name(other)}：括号内是移除后差距减少的量。"
        )

    def units_for(self, other: str, layer: str, units: Sequence[Speaking]) -> str:
        return f"支持{self.name(other)}的是{self.name(layer)}的{self._speaking(layer, units)}。"

    def parts_turn(self, other: str, names: Sequence[str], margin: float) -> str:
        told = self.listed([self.part_name(name) for name in names])
        return f"若填补{told}，{self.name(other)}将以{text.number(margin)}领先。"

    def units_turn(self, other: str, layer: str, units: Sequence[int], margin: float) -> str:
        return f"若移除{self._units(layer, units, stressed=True)}，{self.name(other)}将以{text.number(margin)}领先。"

    def parts_stay(self, target: str, other: str, count: int, margin: float) -> str:
        return f"即使填补全部{count}个部件，{self._ahead(target, other, margin)}"

    def units_stay(self, target: str, other: str, count: int, margin: float) -> str:
        return f"即使移除全部{count}个这样的神经元，{self._ahead(target, other, margin)}"

    def unexplained(self, other: str) -> str:
        return f"无法说出是哪些部件把它与{self.name(other)}区分开：这张图片中没有已知的部件。"

    def _ahead(self, target: str, other: str, margin: float) -> str:
        return f"{self.name(target)}仍领先{self.name(other)}{text.number(margin)}。"

    def _drops(self, parts: Sequence[tuple[str, float]]) -> str:
        return self.listed([f"{self.part_name(name)}（{text.number(abs(drop))}）" for name, drop in parts])

    def _units(self, layer: str, units: Sequence[int], stressed: bool = False) -> str:
        return f"神经元{self.listed([self.unit(layer, unit, stressed) for unit in units])}"

    def _speaking(self, layer: str, units: Sequence[Speaking]) -> str:
        told = []
        for unit, concept, strength, drop in units:
            about = [each for each in (self.called(concept, strength), text.number(abs(drop))) if each]
            told.append(f"{self.unit(layer, unit, stressed=True)}（{'，'.join(about)}）")
        return f"神经元{self.listed(told)}"


def _moves(before: float, after: float, shown: Callable[[float], str], start: bool) -> str:
    if shown(before) == shown(after):
        return f"保持**{shown(after)}**"
    return f"{'从' + shown(before) if start else ''}{'降至' if after < before else '升至'}**{shown(after)}**"


def _over(images: int | None) -> str:
    return "许多图片" if images is None else f"{images:,}张图片"


def _at(layer: str, deepest: bool) -> str:
    return f"在最深的阶段（{text.name(layer)}）" if deepest else f"在{text.name(layer)}"
