"""The fixed words of an explanation's page in Chinese, by their English; and the names of its numbers, by patterns.

What has no entry stays in English. ``{0}`` and ``{1}`` stand for what is filled in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

LANG = {"en": "en", "zh": "zh-Hans"}  # as HTML names languages

PAGE = {
    "The maps need JavaScript, which this browser has switched off. Nothing is loaded from anywhere.": (
        "热图需要 JavaScript，而此浏览器已将其关闭。本页不从任何地方加载内容。"
    ),
    "What the network answered and why": "网络的回答及其理由",
    "Behind these words": "这些话背后的数字",
    "Point at an underlined part of the sentence, or tab to it. A click keeps it, Escape lets go.": (
        "指向句中带下划线的部分，或用 Tab 键移到那里；单击可固定，按 Esc 键取消。"
    ),
    "Where the network found its evidence": "网络在哪里找到证据",
    "The photograph with the map over it. Arrow keys move from cell to cell and read their values.": (
        "覆盖热图的图片。用方向键逐格移动并读取数值。"
    ),
    "Download JSON": "下载 JSON",
    "All images": "全部图片",
    "Explained here instead:": "此处解释的是：",
    "Stage": "阶段",
    "shallow": "浅",
    "deep": "深",
    "Method": "方法",
    "Opacity": "不透明度",
    "How the map is drawn": "热图的画法",
    "smooth": "平滑",
    "true cells": "真实网格",
    "explained": "所解释的类别",
    "Every stage, from shallow to deep": "从浅到深的每个阶段",
    "The neurons that carried it": "起作用的神经元",
    "Without the important neurons": "去掉重要神经元之后",
    "All numbers behind the sentence": "句子背后的全部数字",
    "The network's answers": "网络的回答",
    "box of the main evidence": "主要证据的框",
    "A click shows the stage in the large picture.": "单击可在大图中显示该阶段。",
    "Bright is where a neuron responded most strongly.": "亮处是神经元响应最强的地方。",
    "Point at a card to see it in the large picture.": "指向卡片可在大图中查看。",
    "It is what a neuron responds to most anywhere, not proof that this decision used it.": (
        "这是神经元在任何地方响应最强的概念，并不证明本次决策用到了它。"
    ),
    "Share of each map that lies on the object.": "每张热图落在物体上的份额。",
    "{0} answers": "{0} 的回答",
    "outline of {0}": "{0}的轮廓",
    "Evidence inside {0}": "{0}内的证据",
    "the object": "物体",
    "What was explained": "解释的对象",
    "Methods": "方法",
    "What this page cannot say": "本页不能说明的",
    "Network": "网络",
    "It saw": "输入图片",
    "Input": "输入",
    "Note": "注",
    "Cost": "开销",
    "Made with": "制作",
    "as it is": "原样",
    "overlap (IoU)": "重叠度（IoU）",
    "on held-out pictures": "在未参与选择的图片上",
    "share of the layer": "占该层的份额",
    "score without it": "移除后的得分",
    "No number stands behind this part.": "这部分没有数字。",
    "Can this map be trusted here?": "这张热图在此可信吗？",
    "Show the tested map": "显示被检验的热图",
    "How it was tested, and all numbers": "检验方法与全部数字",
    "The maps show where evidence was read, not why it counted as evidence, nor whether the answer is right.": (
        "热图显示证据在哪里被读取，不说明它为何算作证据，也不说明回答是否正确。"
    ),
    (
        "A cell of a deep stage sees a large part of the picture. It is drawn at the center of what it sees; hover to see "
        "how far that reaches."
    ): "深阶段的一个格子能看到图片的很大一部分；它画在所见范围的中心，指向它可看到范围有多大。",
    (
        "Colors run from zero to the strongest value of each map by itself. Two maps are not comparable by color; read the "
        "values."
    ): "颜色从零到每张热图自身的最大值；两张热图不能按颜色比较，请读数值。",
    "Neurons act together. What one costs when removed alone does not add up to what several cost together.": (
        "神经元共同起作用；单独移除一个的影响，相加并不等于一起移除几个的影响。"
    ),
    "A probability is the network's own confidence. It says nothing about how often such answers are right.": (
        "概率是网络自身的把握，并不说明这样的回答有多常是对的。"
    ),
    "neuron {0}": "神经元 {0}",
    "responds most to": "响应最强的概念：",
    "part": "部件",
    "object": "物体",
    "color": "颜色",
    "texture": "纹理",
    "material": "材质",
    "scene": "场景",
    "no known concept; closest is {0}": "没有已知概念；最接近{0}",
    "rank {0} by {1}": "按{1}排第{0}",
    "{0} forward and {1} backward passes": "{0} 次前向和 {1} 次反向传播",
    "of them {0} forward for parts": "其中 {0} 次前向用于部件",
    "{0} runs of the part behind the neurons": "神经元之后部分 {0} 次运行",
    "{0} of the recognizer": "识别器 {0} 次",
    "So far, yes.": "目前看来可信。",
    "Not shown.": "未得到证明。",
    "No.": "不可信。",
    "Cannot be told.": "无法判断。",
    "With care.": "谨慎看待。",
    "No map to test:": "没有可检验的热图：",
    "The pixels it marks matter more to the network than those under a blob in the center.": (
        "它标出的像素对网络的影响大于中心光斑下的像素。"
    ),
    "A blob in the center, which knows neither network nor picture, does as well.": (
        "一个既不了解网络也不了解图片的中心光斑同样好。"
    ),
    "A blob in the center, which knows neither network nor picture, does better.": (
        "一个既不了解网络也不了解图片的中心光斑更好。"
    ),
    "Whichever pixels are removed, the network's answer hardly moves.": "无论移除哪些像素，网络的回答几乎不变。",
    "Tested:": "检验的是：",
    "Shown now:": "当前显示：",
    ", not tested.": "，未检验。",
    "Not compared with a random network:": "未与随机网络比较：",
    "Hardly depends on the network.": "几乎不取决于网络。",
    "With its upper half random the map stays much the same: it shows the picture more than the decision.": (
        "网络上半部分随机化后热图几乎不变：它显示的更多是图片而非决策。"
    ),
    "Depends on what the network learned.": "取决于网络所学到的。",
    "With its upper half random the map changes.": "网络上半部分随机化后热图会改变。",
    "Rank correlation {0}; from {1} on it would count as the same.": "秩相关系数 {0}；达到 {1} 即视为相同。",
    "{0} when this neuron of {1} ({2}) is switched off:": "关闭 {1} 的这个神经元（{2}）时的{0}：",
    "{0} when these {3} neurons of {1} ({2}) are switched off together:": "同时关闭 {1} 的这 {3} 个神经元（{2}）时的{0}：",
    "without it": "移除后",
    "without them": "移除后",
    "without one picked at random": "随机移除一个",
    "without as many picked at random": "随机移除同样多个",
    "mean of {0} draws": "{0} 次平均",
    "probability without it": "移除后的概率",
    "not measured": "未测量",
    "{0}, {1} parameters, {2} classes, {3} output": "{0}，{1} 个参数，{2} 个类别，{3} 输出",
    "{0} × {1} pixels, made from a picture of {2} × {3}": "{0} × {1} 像素，由 {2} × {3} 的图片得到",
    "(channels, height, width)": "（通道、高、宽）",
    "A softmax over the classes: the probabilities sum to 100 % and rank the answers.": (
        "对各类别做 softmax：概率之和为 100%，用来给回答排序。"
    ),
    "One sigmoid per class: each probability stands alone, and they need not sum to 100 %.": (
        "每个类别一个 sigmoid：各概率相互独立，和不必为 100%。"
    ),
    "A sigmoid of a single output: the two answers share 100 %.": "单个输出的 sigmoid：两个回答合计 100%。",
    "The network itself gives probabilities; they are shown as they are.": "网络本身给出概率，按原样显示。",
    "Which parts are in the picture and which are missing: that takes a recognizer of parts, and none was given.": (
        "图片中有哪些部件、缺少哪些部件：这需要部件识别器，而此处没有。"
    ),
    "What its neurons respond to: that takes a dissection of this network (`pellucid dissect`), and none was given.": (
        "神经元响应什么：这需要对该网络做解剖（`pellucid dissect`），而此处没有。"
    ),
}  # fmt: skip

# Those that the page's script fills in.
SCRIPT = {
    "Constant": "恒定",
    "Every cell has the same value: the map points nowhere.": "每个格子的值都相同：热图没有指向任何位置。",
    "Negative": "负",
    "All evidence at this stage speaks against {0}; nothing here speaks for it.": "这一阶段的证据都不支持{0}。",
    "Zero": "零",
    "No cell of this stage moves {0} by this method.": "按此方法，这一阶段没有格子影响{0}。",
    "Not finite": "非有限",
    "The numbers overflowed or are undefined, so there is no map to read.": "数值溢出或未定义，没有可读的热图。",
    "Not computed": "未计算",
    "This method was not run at this stage.": "此方法没有在这一阶段运行。",
    "Unreadable": "无法读取",
    "The picture of this map could not be decoded.": "这张热图的图片无法解码。",
    "Neuron {0}": "神经元 {0}",
    "{0} of {1}": "{1} 的{0}",
    "{0} at {1}": "{1} 处的 {0}",
    "Bright is where it responded most strongly; the rest of the picture is dimmed.": (
        "亮处是它响应最强的地方，其余部分变暗。"
    ),
    "Bright is the region these words speak of; the rest of the picture is dimmed.": "亮处是这些话所说的区域，其余部分变暗。",
    "Point at the picture to read a cell and see how far it looks.": "指向图片可读取一个格子的值，并看到它的视野。",
    "{0}, each map by its own scale.": "{0}，每张热图用各自的刻度。",
    "object": "物体",
    "surroundings": "周围环境",
}  # fmt: skip

NUMBERS = (
    (r"probability of (.+)", "{0}的概率"),
    (r"score of (.+)", "{0}的得分"),
    (r"area with half of the evidence", "包含一半证据的面积"),
    (r"place", "位置"),
    (r"status", "状态"),
    (r"rank correlation with the map of a random upper half", "与上半部分随机的网络热图的秩相关"),
    (r"lowest (probability|score)", "最低{0}"),
    (r"highest (probability|score)", "最高{0}"),
    (r"mean (probability|score), pixels removed by this map", "按此热图移除像素的平均{0}"),
    (r"mean (probability|score), pixels brought back by this map", "按此热图恢复像素的平均{0}"),
    (r"mean (probability|score), pixels removed by a center blob", "按中心光斑移除像素的平均{0}"),
    (r"mean (probability|score), pixels brought back by a center blob", "按中心光斑恢复像素的平均{0}"),
    (r"evidence on these regions, mean of the stages", "这些部件上的证据（各阶段平均）"),
    (r"evidence on the surroundings, mean of the stages", "周围环境上的证据（各阶段平均）"),
    (r"evidence on the (.+), mean of .+", "{0}上的证据（各阶段平均）"),
    (r"evidence a perfect map could have there on these grids", "理想热图在这些网格上可达的份额"),
    (r"area of the surroundings", "周围环境的面积"),
    (r"area of the (.+)", "{0}的面积"),
    (r"part of the attainable share", "占可达份额的比例"),
    (r"object", "物体"),
    (r"explained", "所解释的类别"),
    (r"units with a positive score", "得分为正的神经元数"),
    (r"share of the (.+) score", "占{0}得分的份额"),
    (r"neurons in the layer", "该层神经元数"),
    (r"score before", "原得分"),
    (r"probability before", "原概率"),
    (r"score without them", "移除后的得分"),
    (r"probability without them", "移除后的概率"),
    (r"score without (?:one|as many) random, mean of (\d+) draws", "随机移除同样多个后的得分（{0}次平均）"),
    (r"probability without (?:one|as many) random", "随机移除同样多个后的概率"),
    (r"change of the probability", "概率的变化"),
    (r"IoU of neuron (\d+) of (\S+) with (.+)", "{1}的神经元{0}与{2}的IoU"),
    (r"IoU of neuron (\d+) with (.+)", "神经元{0}与{1}的IoU"),
    (r"pictures", "图片数"),
    (r"set of concepts", "概念集"),
    (r"IoU from which on a concept is named", "概念被命名所需的IoU"),
    (r"parts the recognizer knows", "识别器认识的部件数"),
    (r"largest probability, of (.+)", "最大概率，{0}"),
    (r"parts found", "找到的部件数"),
    (r"parts named", "说出的部件数"),
    (r"probability that (.+) is there", "有{0}的概率"),
    (r"probability from which on it is named", "被说出所需的概率"),
    (r"part of the surroundings that is (.+)", "周围环境中{0}的比例"),
    (r"part of the (.+) that is (.+)", "{0}中{1}的比例"),
    (r"score with the surroundings filled in", "填补周围环境后的得分"),
    (r"probability with the surroundings filled in", "填补周围环境后的概率"),
    (r"score with the object filled in", "填补物体后的得分"),
    (r"probability with the object filled in", "填补物体后的概率"),
    (r"score with the (.+) filled in, mean of (\d+) fills", "填补{0}后的得分（{1}种填补的平均）"),
    (r"probability with the (.+) filled in, mean of (\d+) fills", "填补{0}后的概率（{1}种填补的平均）"),
    (r"share of neuron (\d+) in the score of (\S+)", "神经元{0}占{1}得分的份额"),
    (r"score without the neurons of the (.+)", "移除{0}的神经元后的得分"),
    (r"probability without the neurons of the (.+)", "移除{0}的神经元后的概率"),
    (r"lead of the score over the mean of all outputs", "得分高出全部输出平均值的量"),
    (r"part of the lead that would have to go", "须减少的领先比例"),
    (r"weight of the surroundings", "周围环境所占的影响"),
    (r"evidence outside the object, mean of the stages", "物体之外的证据（各阶段平均）"),
    (r"evidence a perfect map would have outside on these grids", "理想热图在这些网格上落在物体之外的份额"),
    (r"probability below which it is called absent", "低于此概率即称为没有"),
    (r"difference of the score to that of (.+)", "与{0}的得分之差"),
    (r"of it gone with (.+) filled in, mean of (\d+) fills", "填补{0}后其中减少的量（{1}种填补的平均）"),
    (r"(.+) for (.+), by filling it in", "填补{0}时有利于{1}的量"),
    (r"parts known", "已知部件数"),
    (r"difference of the scores that neuron (\d+) makes", "神经元{0}造成的得分之差"),
    (r"(parts|neurons) (?:filled in|removed)", "去掉的{0}数"),
    (r"difference of the scores then", "此时的得分之差"),
)  # fmt: skip


_WORDS = {"probability": "概率", "score": "得分", "parts": "部件", "neurons": "神经元"}
_PATTERNS = tuple((re.compile(pattern), said) for pattern, said in NUMBERS)


def translator(language: str) -> Callable[..., str]:
    """A function that says a fixed text in a language, with its blanks filled in."""
    words = PAGE if language == "zh" else {}

    def say(text: str, *values: object) -> str:
        return filled(words.get(text, text), values) if values else words.get(text, text)

    return say


def filled(text: str, values: tuple[object, ...]) -> str:
    """The text with ``{0}``, ``{1}`` … replaced; braces within values stay as they are.

    >>> filled("{1} of {0}", ("a", "{0}"))
    '{0} of a'
    """
    return re.sub(r"\{(\d)\}", lambda found: str(values[int(found.group(1))]), text)


def number_label(label: str, language: str, names: Mapping[str, str]) -> str:
    """What a number measures, in a language.

    >>> number_label("area of the wing", "zh", {"wing": "翼"}), number_label("area of the wing", "en", {})
    ('翼的面积', 'area of the wing')
    """
    if language != "zh":
        return label
    for pattern, said in _PATTERNS:
        match = pattern.fullmatch(label)
        if match:
            return filled(said, tuple(names.get(one, _WORDS.get(one, one)) for one in match.groups()))
    return label
