"""The fixed words of pages in Chinese, by their English; ``{0}``, ``{1}`` … stand for what is filled in.

A test reads the templates, the script and the code of the pages and holds that nothing is missing here, and nothing left over.
"""

from __future__ import annotations

from collections.abc import Mapping

TEMPLATES: Mapping[str, str] = {
    "The maps need JavaScript, which this browser has switched off. Nothing is loaded from anywhere.": (
        "热图需要 JavaScript，而此浏览器已将其关闭。本页不从任何地方加载内容。"
    ),
    "What the network answered and why": "网络的回答及其理由",
    "Region {0}, cut out and enlarged": "区域 {0}，裁出并放大",
    "also speaks for {0}": "也支持{0}",
    "the word is right with {0}": "该词正确的概率为 {0}",
    "covered, {0} is left": "遮住后剩 {0}",
    "Can the map be trusted here?": "这里的热图可信吗？",
    "How it was tested": "如何检验",
    "Everything behind it: all that was measured, maps of every stage, neurons, tests": (
        "背后的一切：全部测量、每个阶段的热图、神经元、检验"
    ),
    "The map, and how it is drawn": "热图及其画法",
    "Answer": "回答",
    "Certainty": "确定程度",
    "True class": "真实类别",
    "It looks at": "它看的是",
    "Left without it": "遮住后剩",
    "Its map": "它的热图",
    "All that can be said": "能说的全部",
    "map over the picture": "在图片上显示热图",
    "outlines of the regions": "区域轮廓",
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
    "Cannot be told.": "无法判断。",
    "No map to test:": "没有可检验的热图：",
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
    "Plain numbers, as the network gives them: none is a probability.": "网络直接给出的数值：都不是概率。",
    "A sigmoid of a single output: the two answers share 100 %.": "单个输出的 sigmoid：两个回答合计 100%。",
    "The network itself gives probabilities; they are shown as they are.": "网络本身给出概率，按原样显示。",
    "Which parts are in the picture and which are missing: that takes a recognizer of parts, and none was given.": (
        "图片中有哪些部件、缺少哪些部件：这需要部件识别器，而此处没有。"
    ),
    "What its neurons respond to: that takes a dissection of this network (`pellucid dissect`), and none was given.": (
        "神经元响应什么：这需要对该网络做解剖（`pellucid dissect`），而此处没有。"
    ),
    # in the words of the sentence's numbers
    "probability": "概率",
    "score": "得分",
    "share": "份额",
    "count": "数量",
    "iou": "IoU",
    "correlation": "相关系数",
    "name": "名称",
    "place": "位置",
    "ok": "正常",
    "constant": "恒定",
    "negative": "负",
    "zero": "零",
    "not finite": "非有限",
    "held-out pictures": "预留图片",
    "mined pictures": "挖掘所用的图片",
    # the test of the map
    "How this map did in tests": "这张热图的检验结果",
    "Removing pixels: {0}. Bringing them back: {1}.": "移除像素：{0}。恢复像素：{1}。",
    "Both tests: {0}.": "两项检验：{0}。",
    "better than a center blob": "优于中心光斑",
    "only as good as a center blob": "只与中心光斑相当",
    "worse than a center blob": "不如中心光斑",
    (
        "In both tests the pixels it marks matter more to the network than those under a blob in the center, which knows neither "
        "network nor picture. That is needed, and no proof."
    ): "在两项检验中，它标出的像素对网络的影响都大于中心光斑下的像素，而光斑既不了解网络也不了解图片。这是必要条件，但不是证明。",
    "A blob in the center, which knows neither network nor picture, does better in at least one test: do not rely on it here.": (
        "一个既不了解网络也不了解图片的中心光斑至少在一项检验中更好：此处请勿依赖它。"
    ),
    "A blob in the center, which knows neither network nor picture, does as well in at least one test: that shows nothing.": (
        "一个既不了解网络也不了解图片的中心光斑至少在一项检验中同样好：这不能证明什么。"
    ),
    "Do not trust it.": "不可信。",
    "It hardly depends on what the network learned, however it compares with a blob in the center.": (
        "无论与中心光斑相比如何，它几乎不取决于网络所学到的。"
    ),
    "all evidence speaks against the target": "所有证据都不支持该类别",
    "the map is the same everywhere and points nowhere": "热图处处相同，没有指向任何位置",
    "the map is zero everywhere": "热图处处为零",
    "the map holds NaN or infinity": "热图中含有 NaN 或无穷大",
    "the map orders nothing": "热图没有给出任何顺序",
    "with pixels removed or blurred the network's output is not finite": "移除或模糊像素后，网络的输出不是有限值",
    "there is no map to compare": "没有可比较的热图",
    "the method takes many passes of the network for one map": "该方法做一张热图需要网络运行很多次",
    "no map of a random network has contrast": "随机网络的热图都没有对比度",
    "Removing pixels, strongest first": "移除像素，最强的在前",
    "Bringing pixels back, strongest first": "恢复像素，最强的在前",
    "{0} of {1}: lower is better": "{1}的{0}：越低越好",
    "{0} of {1}: higher is better": "{1}的{0}：越高越好",
    "of the pixels removed": "被移除的像素",
    "of the pixels brought back": "被恢复的像素",
    "Probability": "概率",
    "Score": "得分",
    "this map": "此热图",
    "center blob": "中心光斑",
    "{0}. {1} of {2} in {3} steps from none to all {4}: this map: {5}; a center blob: {6}.": (
        "{0}。从没有到全部{4}，分{3}步时{2}的{1}：此热图：{5}；中心光斑：{6}。"
    ),
    (
        "Pixels are ordered by the map. In {0} steps they are set to the mean color, or come back into a blurred picture, and "
        "the network is asked each time. The blob in the center knows neither network nor picture: a map that does no better "
        "has shown nothing. Doing better is needed, not proof."
    ): (
        "像素按热图排序。分{0}步把它们设为平均颜色，或让它们回到模糊的图片中，每一步都询问网络。中心光斑既不了解网络也不了解图片："
        "不比它好的热图什么也没有证明。更好是必要条件，但不是证明。"
    ),
    "{0} at every step": "每一步的{0}",
    "{0}, pixels removed": "{0}，移除像素",
    "brought back": "恢复",
    "pixels": "像素",
    "mean": "平均",
    # neurons
    "{0} as the network saw it": "网络所见的 {0}",
    "Where neuron {0} of {1} responded most strongly": "{1} 的神经元 {0} 响应最强的地方",
    "Picture painted for neuron {0} of {1}; {2}": "为 {1} 的神经元 {0} 绘制的图片；{2}",
    (
        "Below it, where there is one, a picture painted to excite the neuron ({0}), whatever image is explained. The number "
        "compares its mean response with that to the best real picture it was compared with."
    ): "下方（如果有）是为激发该神经元而绘制的图片（{0}），与所解释的图片无关。数字把它的平均响应与最好的真实图片相比。",
    "what it wants to see: {0} the best real picture": "它想看到的：最好的真实图片的 {0}",
    "what it wants to see; not compared with real pictures": "它想看到的；未与真实图片比较",
    "painted, but only {0} the best real picture": "已绘制，但只有最好的真实图片的 {0}",
    "painted, but real pictures excite it and this one does not": "已绘制，但真实图片能激发它，而这张不能",
    "painted, but {0}: this is not what it wants to see": "已绘制，但{0}：这不是它想看到的",
    "never active": "从未激活",
    "The name is the concept that overlaps best with a neuron's strongest responses, over {0} pictures.": (
        "名称是与神经元最强响应重叠最好的概念，统计自 {0} 张图片。"
    ),
    "The name is the concept that overlaps best with a neuron's strongest responses.": "名称是与神经元最强响应重叠最好的概念。",
    "They are the highest {0} of its responses.": "最强响应指其响应中最高的 {0}。",
    "The pictures are those of {0}.": "图片来自 {0}。",
    (
        "Overlap (IoU) is the area both cover, divided by the area either covers: 1 is perfect, above {0} the concept is named."
    ): "重叠度（IoU）是两者共同覆盖的面积除以任一方覆盖的面积：1 为完全一致，高于 {0} 时才命名。",
    "The range beside it is its 95 % interval.": "旁边的范围是 95% 区间。",
    "Held-out pictures had no part in choosing it.": "预留图片没有参与选择。",
    "{0} to {1}": "{0} 至 {1}",
    "weak: it does not hold on held-out pictures": "弱：在预留图片上不成立",
    "strong: it holds on held-out pictures": "强：在预留图片上成立",
    "removing it does not lower the score: it is no evidence": "移除它得分不下降：它不是证据",
    "Evidence inside the object, per stage and method": "物体内的证据，按阶段和方法",
    # what was explained
    "default": "默认",
    "no paper given": "未给出论文",
    "resize": "缩放",
    "crop": "裁剪",
    "crop mode": "裁剪方式",
    "mean of colors": "颜色均值",
    "std": "颜色标准差",
    "interpolation": "插值",
    "channels": "通道数",
    "antialias": "抗锯齿",
    "yes": "是",
    "no": "否",
    "center": "居中",
    "squash": "压缩",
    "nearest": "最近邻",
    "bilinear": "双线性",
    "bicubic": "双三次",
    "lanczos": "Lanczos",
    "box": "方框",
    "hamming": "Hamming",
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "binary": "二元",
    "probabilities": "概率",
    # the index
    "{0} images explained": "解释了 {0} 张图片",
    "one image explained": "解释了一张图片",
    "{0}, {1} not": "{0}，{1} 张未能解释",
    "Not explained": "未能解释",
    "Unfinished: the run was stopped with one image still to come. The same command goes on from here.": (
        "未完成：运行在还剩一张图片时停止。同一命令可从此处继续。"
    ),
    "Unfinished: the run was stopped with {0} images still to come. The same command goes on from here.": (
        "未完成：运行在还剩 {0} 张图片时停止。同一命令可从此处继续。"
    ),
    "Image": "图片",
    "Reason": "原因",
}  # fmt: skip

# Those that the page's script fills in.
SCRIPT: Mapping[str, str] = {
    "Region {0}": "区域 {0}",
    "What the network saw": "网络所看到的",
    "Constant": "恒定",
    "Every cell has the same value: the map points nowhere.": "每个格子的值都相同：热图没有指向任何位置。",
    "Negative": "负",
    "All evidence at this stage speaks against {0}; nothing here speaks for it.": "这一阶段的证据都不支持{0}。",
    "Zero": "零",
    "No cell of this stage moves {0} by this method.": "按此方法，这一阶段没有格子影响{0}。",
    "Not finite": "非有限",
    "The numbers overflowed or are undefined, so there is no map to read.": "数值溢出或未定义，没有可读的热图。",
    "Not made at this stage": "该阶段没有",
    "This method was not run at this stage.": "此方法没有在这一阶段运行。",
    "Unreadable": "无法读取",
    "The picture of this map could not be decoded.": "这张热图的图片无法解码。",
    "Neuron {0}": "神经元 {0}",
    "{0} at {1}": "{1} 处的 {0}",
    "Bright is where it responded most strongly; the rest of the picture is dimmed.": (
        "亮处是它响应最强的地方，其余部分变暗。"
    ),
    "Bright is the region these words speak of; the rest of the picture is dimmed.": "亮处是这些话所说的区域，其余部分变暗。",
    "Point at the picture to read a cell and see how far it looks.": "指向图片可读取一个格子的值，并看到它的视野。",
    "{0}, each map by its own scale.": "{0}，每张热图用各自的刻度。",
    "This map cannot be read.": "无法读取这张热图。",
    "{0} of {1}": "{1} 的{0}",
    "{0}, stage {1} of {2}": "{0}，第 {1} 阶段，共 {2} 阶段",
    "one every {0} × {1} pixels": "每 {0} × {1} 像素一个",
    "one per pixel": "每像素一个",
    "one every {0} pixels": "每 {0} 像素一个",
    "each is a pixel itself": "每个就是一个像素",
    "each can see the whole picture": "每个都能看到整张图片",
    "each sees {0} × {1} pixels, {2} % of the picture": "每个看到 {0} × {1} 像素，占图片的 {2}%",
    "each sees {0} × {1} pixels, under 1 % of the picture": "每个看到 {0} × {1} 像素，不到图片的 1%",
    "{0} × {1} cells, {2}; {3}.": "{0} × {1} 个格子，{2}；{3}。",
    "{0} ({1} % of the highest)": "{0}（最高值的 {1}%）",
    "rows {0}–{1}, columns {2}–{3}": "第 {0}–{1} 行，第 {2}–{3} 列",
    "Row {0}, column {1}: {2}. Sees the dashed box: {3}.": "第 {0} 行，第 {1} 列：{2}。视野为虚线框：{3}。",
    " The object covers {0} % of the picture: a map that knew nothing would have about that share.": (
        " 物体占图片的 {0}%：一张一无所知的热图大约也有这个份额。"
    ),
    "object": "物体",
    "surroundings": "周围环境",
}  # fmt: skip

PAGE: Mapping[str, str] = {**TEMPLATES, **SCRIPT}
