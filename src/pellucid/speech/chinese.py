# ruff: noqa: D102 (a phrase is called what it says; what it tells is in `pellucid.explanation.clauses`)
"""Chinese: the same clauses as in `pellucid.speech.english`, of the same facts; and the words of the embedded world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pellucid.speech import wording as w
from pellucid.speech.english import English

# Classes and concepts of `pellucid.world.vocabulary`.
WORLD: Mapping[str, str] = {
    "airliner": "客机", "helicopter": "直升机", "sailboat": "帆船", "cargo ship": "货船", "car": "汽车", "truck": "卡车",
    "bicycle": "自行车", "bird": "鸟", "fish": "鱼", "house": "房屋", "sky": "天空", "open sea": "海面",
    "underwater": "水下", "road": "道路", "city": "城市", "forest": "森林", "desert": "沙漠", "snow": "雪地", "cloud": "云",
    "sun": "太阳", "water": "水", "tree": "树", "building": "楼房", "grass": "草地", "sand": "沙地", "air": "空气",
    "road surface": "路面", "snow cover": "积雪", "mountain": "山", "rock": "岩石", "plant": "植物", "post": "柱子",
    "wheel": "车轮", "window": "窗", "wing": "翼", "tail": "尾部", "hull": "船体", "door": "门", "fin": "鳍", "eye": "眼睛",
    "sail": "帆", "mast": "桅杆", "rotor": "旋翼", "cabin": "舱室", "roof": "顶部", "fuselage": "机身", "engine": "发动机",
    "skid": "滑橇", "flag": "旗", "container": "集装箱", "chimney": "烟囱", "lamp": "灯", "bumper": "保险杠",
    "frame": "车架", "saddle": "车座", "handlebar": "车把", "pedal": "脚踏", "body": "躯干", "head": "头部", "beak": "喙",
    "leg": "腿", "mouth": "嘴", "wall": "墙", "metal": "金属", "wood": "木材", "glass": "玻璃", "fabric": "织物",
    "feather": "羽毛", "stone": "石材", "solid": "纯色", "striped": "条纹", "dotted": "圆点", "checked": "方格",
    "zigzag": "锯齿纹", "grid": "网格", "black": "黑色", "blue": "蓝色", "brown": "棕色", "gray": "灰色", "green": "绿色",
    "orange": "橙色", "pink": "粉色", "purple": "紫色", "red": "红色", "white": "白色", "yellow": "黄色",
}  # fmt: skip

UNREADABLE = {
    "negative": "所有证据都不支持该类别",
    "constant": "热图处处相同，没有指向任何位置",
    "zero": "热图处处为零",
    "not finite": "热图中含有 NaN 或无穷大",
}
FAITHFUL = {
    "better": "该热图**优于中心光斑**",
    "as good": "该热图**只与中心光斑相当**，不能证明什么",
    "worse": "该热图**不如中心光斑**，此处请勿依赖它",
}
UNITS = {"probability": "概率", "score": "得分"}
PLACES = {
    "upper left": "左上部", "upper middle": "中上部", "upper right": "右上部", "left side": "左侧", "center": "中央",
    "right side": "右侧", "lower left": "左下部", "lower middle": "中下部", "lower right": "右下部",
}  # fmt: skip
# Criteria are named by their keys, as on the page.


class Chinese(English):
    """Says clauses in Chinese. ``names``: Chinese words for names; others stay as they are."""

    code, gap = "zh", ""

    def share(self, value: float) -> str:
        return w.percent(value).replace(" %", "%")

    def listed(self, words: Sequence[str]) -> str:
        return words[0] if len(words) == 1 else "、".join(words[:-1]) + "和" + words[-1]

    def prediction(self, first: str, probability: float) -> str:
        return f"分类结果为**{self.name(first)}**（{self.share(probability)}）。"

    def explained(self, first: str, probability: float, target: str, value: float, unit: str) -> str:
        return f"{self.prediction(first, probability)}此处解释的是**{self.name(target)}**（{self.amount(value, unit)}）。"

    def second(self, unsure: bool, name: str, probability: float) -> str:
        if unsure:
            return f"网络并不确定：{self.name(name)}的概率为{self.share(probability)}。"
        return f"其次是{self.name(name)}，概率为{self.share(probability)}。"

    def region(self, layer: str, deepest: bool, area: float, place: str) -> str:
        return f"{_at(layer, deepest)}，一半的证据落在图片{self.share(area)}的面积上，位于{PLACES[place]}。"

    def no_region(self, layer: str, deepest: bool, status: str) -> str:
        return f"无法指出区域：{_at(layer, deepest)}，{UNREADABLE.get(status, '没有正向证据')}。"

    def insensitive(self, correlation: float) -> str:
        alike = f"把网络的上半部分随机化后，热图几乎不变（秩相关系数{w.number(correlation)}）"
        return f"{alike}：它显示的更多是**图片**，而不是决策。"

    def flat(self, unit: str, low: float, high: float) -> str:
        return (
            f"无论移除哪些像素，{UNITS[unit]}都保持在{self.amount(low, unit)}与{self.amount(high, unit)}之间：无法据此判断热图"
            "是否正确。"
        )

    def compared(
        self, unit: str, ours: Mapping[str, float], theirs: Mapping[str, float], verdict: str
    ) -> str:
        deletion, insertion, other, others = (
            self.amount(area[kind], unit) for area in (ours, theirs) for kind in ("deletion", "insertion")
        )
        return (
            f"按热图的顺序移除像素，平均{UNITS[unit]}为{deletion}，按同样顺序恢复像素则为{insertion}（按中心光斑的顺序为{other}和"
            f"{others}）：{FAITHFUL[verdict]}。"
        )

    def on_object(self, name: str, inside: float, best: float, area: float) -> str:
        return (
            f"各阶段平均有{self.share(inside)}的证据落在**{self.name(name)}**上（在这样的网格上最多可达{self.share(best)}），"
            f"它占图片的{self.share(area)}。"
        )

    def little(self, name: str) -> str:
        return f"这个比例偏低：网络也依赖{self.name(name)}的**周围环境**。"

    def other_object(self, name: str, target: str) -> str:
        return f"那里的物体是{self.name(name)}，不是{self.name(target)}。"

    def no_neuron(self, criterion: str) -> str:
        return f"该层没有任何一个神经元的{criterion}得分为正。"

    def carried(
        self, layer: str, deepest: bool, units: Sequence[tuple[int, str | None]], share: float, criterion: str,
        total: int, effect: Mapping[str, float] | None, target: str, probable: bool,
    ) -> str:  # fmt: skip
        where = "在最深的阶段" if deepest else f"在{layer}"
        text = f"{where}，神经元{self.labeled(units)}占{total}个神经元{criterion}得分的{self.share(share)}"
        if effect is None:
            return text + "。"
        random = "随机移除一个" if len(units) == 1 else "随机移除同样多个"
        text += (
            f"；移除后{self.name(target)}的得分从{w.number(effect['score_before'])}变为**{w.number(effect['score_after'])}**"
            f"（{random}：{w.number(effect['score_random'])}）"
        )
        if not probable:
            return text + "。"
        after, others = self.share(effect["after"]), self.share(effect["random"])
        return f"{text}，概率从{self.share(effect['before'])}变为**{after}**（{others}）。"

    def labeled(self, units: Sequence[tuple[int, str | None]]) -> str:
        names = [None if concept is None else self.bracketed(concept) for _, concept in units]
        if len(units) > 1 and names[0] is not None and len(set(names)) == 1:
            return self.listed([f"**{unit}**" for unit, _ in units]) + f"（均为{names[0]}）"
        pairs = zip([f"**{unit}**" for unit, _ in units], names, strict=True)
        return self.listed([unit + (f"（{name}）" if name else "") for unit, name in pairs])

    def hardly(self) -> str:
        return "概率几乎不变：其他神经元弥补了它们。"

    def unnamed(self, one: bool, images: int | None, threshold: float) -> str:
        who = "它" if one else "它们"
        return f"没有已知的概念能说明{who}：在{_over(images)}上没有一个吻合得好（IoU均不超过{w.number(threshold)}）。"

    def bracketed(self, label: str) -> str:
        return self.name(label).replace("（", "［").replace("）", "］")

    def named(self, one: bool, images: int | None, low: float, high: float, others: Sequence[int]) -> str:
        ends = [f"{low:.2f}", f"{high:.2f}"]
        overlap = ends[0] if ends[0] == ends[1] else "至".join(ends)
        text = f"括号内是神经元在{_over(images)}上响应最强的概念（重叠度IoU：{overlap}），这并不证明本次决策用到了它。"
        if others:
            text += f"神经元{self.listed([str(unit) for unit in others])}没有已知的概念。"
        return text

    def parts(self, count: int, share: float | None) -> str:
        order = "" if count == 1 else "，影响最大的在前"
        if share is None:
            return f"支撑决策的部件{order}："
        number = ("", "一个", "两个", "三个")[count]
        return f"{self.share(share)}的证据落在{number}部件上{order}："

    def part(
        self, name: str, color: str | None, share: float | None, before: Any, after: Any, neurons: Any, first: bool,
        last: bool,
    ) -> str:  # fmt: skip
        tinted = f"{self.name(color)}的" if color else ""
        told = [] if share is None or (first and last) else [self.share(share)]
        told.append(f"填补后{self.change(before, after)}")
        if neurons:
            told.append(self.removed(**neurons))
        return f"{tinted}**{self.name(name)}**（{'；'.join(told)}）{'。' if last else '，'}"

    def removed(self, units: Sequence[int], layer: str, left: Any) -> str:
        who = f"移除{layer}的神经元{self.listed([str(unit) for unit in units])}后"
        if left.probability is None:
            return f"{who}为{w.number(left.score)}"
        return f"{who}分别为{w.number(left.score)}和{self.share(left.probability)}"

    def change(self, before: Any, after: Any) -> str:
        text = f"得分{_moves(before.score, after.score, w.number, True)}"
        if after.probability is None:
            return text
        return f"{text}，概率{_moves(before.probability, after.probability, self.share, False)}"

    def around(
        self, scene: str | None, color: str | None, share: float | None, before: Any, after: Any
    ) -> str:
        about = [f"**{self.name(scene)}**"] if scene else []
        about += [f"以{self.name(color)}为主"] if color else []
        what = f"周围环境{'（' + '，'.join(about) + '）' if about else ''}"
        held = "" if share is None else f"占{self.share(share)}；"
        return f"{what}{held}填补后{self.change(before, after)}。"

    def background(
        self, most: bool, scene: str | None, weight: float, thing: Any, surroundings: Any, before: Any
    ) -> str:
        named = f"（{self.name(scene)}）" if scene else ""
        said = "比物体本身更能决定结果" if most else "对结果有很大作用"
        return (
            f"**周围环境**{named}{said}：填补周围环境后{self.change(before, surroundings)}；"
            f"填补物体后{self.change(before, thing)}；前者占两者影响之和的{self.share(weight)}。"
        )

    def outside(self, share: float, best: float) -> str:
        return f"{self.share(share)}的证据落在**物体之外**；在这样的网格上至少会有{self.share(best)}。"

    def no_single(self, count: int, name: str, before: Any, after: Any) -> str:
        found = (
            f"找到的{count}个部件中{self.name(name)}影响最大，但"
            if count > 1
            else f"只找到{self.name(name)}，而"
        )
        return f"**没有哪一个部件能单独解释这一结果**：{found}填补后{self.change(before, after)}。"

    def none_found(self, known: int) -> str:
        return f"**无法说出任何部件**：识别器认识{known}种部件，在这张图片中一种也不能确定。"

    def absent(self, name: str, probability: float, units: Sequence[int], layer: str, one: bool) -> str:
        return (
            f"没有发现**{self.name(name)}**（概率{self.share(probability)}），尽管{layer}的神经元"
            f"{self.listed([str(unit) for unit in units])}在别的图片中对它有响应。"
        )

    def pattern(
        self,
        concepts: Sequence[str],
        units: Sequence[int],
        name: str,
        share: float,
        rest: float,
        held_out: bool,
        several: bool,
    ) -> str:
        together = "同时出现在" if several else "出现在"
        pictures = f"{self.share(share)}的{'预留' if held_out else ''}{self.name(name)}图片"
        return (
            f"**{self.pattern_name(concepts, units)}**{together}{pictures}和{self.share(rest)}的其他图片中。"
        )

    def pattern_name(self, concepts: Sequence[str], units: Sequence[int]) -> str:
        if not concepts:
            return f"神经元{self.listed([str(unit) for unit in units])}"
        return " + ".join([self.name(name) for name in concepts] + [f"神经元{unit}" for unit in units])

    def because(self, other: str, margin: float, parts: Sequence[tuple[str, float]]) -> str:
        behind = f"之所以不是{self.name(other)}（落后{w.number(margin)}）"
        return f"{behind}，是因为{self._drops(parts)}：括号内是填补后领先优势减少的量。"

    def although(self, target: str, other: str, margin: float, parts: Sequence[tuple[str, float]]) -> str:
        speaking = f"支持{self.name(target)}而不支持它的是{self._drops(parts)}"
        return f"{self.why_not(other, margin)}{speaking}：括号内是填补后差距减少的量。"

    def why_not(self, other: str, margin: float) -> str:
        return f"为什么不是{self.name(other)}？它{'落后' if margin >= 0 else '领先'}{w.number(abs(margin))}。"

    def for_other(self, other: str, parts: Sequence[tuple[str, float]]) -> str:
        return f"支持{self.name(other)}的是{self._drops(parts)}，计量方式相同。"

    def neurons_against(
        self, target: str, other: str, layer: str, units: Sequence[tuple[int, str | None, float]]
    ) -> str:
        return (
            f"在{layer}的神经元中，{self._neurons(units)}最支持{self.name(target)}而不支持{self.name(other)}：括号内是移除后差距"
            "减少的量。"
        )

    def neurons_for(self, other: str, layer: str, units: Sequence[tuple[int, str | None, float]]) -> str:
        return f"支持{self.name(other)}的是{layer}的{self._neurons(units)}。"

    def _drops(self, parts: Sequence[tuple[str, float]]) -> str:
        return self.listed([f"**{self.name(name)}**（{w.number(abs(drop))}）" for name, drop in parts])

    def _neurons(self, units: Sequence[tuple[int, str | None, float]]) -> str:
        told = [
            f"**{unit}**（{self.bracketed(concept) + '，' if concept else ''}{w.number(abs(drop))}）"
            for unit, concept, drop in units
        ]
        return f"神经元{self.listed(told)}"

    def would_change(self, other: str, what: str, names: Sequence[Any], margin: float) -> str:
        told = self.listed([f"**{self.name(each) if isinstance(each, str) else each}**" for each in names])
        deed = f"填补{told}" if what == "parts" else f"移除神经元{told}"
        return f"若{deed}，{self.name(other)}将以{w.number(margin)}领先。"

    def would_stay(self, target: str, other: str, what: str, count: int, margin: float) -> str:
        deed = f"填补全部{count}个部件" if what == "parts" else f"移除全部{count}个这样的神经元"
        return f"即使{deed}，{self.name(target)}仍领先{self.name(other)}{w.number(margin)}。"

    def unexplained(self, other: str) -> str:
        return f"无法说出是哪些部件把它与{self.name(other)}区分开：这张图片中没有已知的部件。"


def _moves(before: float, after: float, shown: Callable[[float], str], start: bool) -> str:
    if shown(before) == shown(after):
        return f"保持**{shown(after)}**"
    return f"{'从' + shown(before) if start else ''}{'降至' if after < before else '升至'}**{shown(after)}**"


def _over(images: int | None) -> str:
    return "许多图片" if images is None else f"{images:,}张图片"


def _at(layer: str, deepest: bool) -> str:
    return f"在最深的阶段（{layer}）" if deepest else f"在{layer}"
