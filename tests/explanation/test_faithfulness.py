"""The test of a map: its curves against a slow twin, its verdict against the definition, its cost counted."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.commandline import call, network_file
from tests.commandline import picture as picture_file
from torch import nn

import pellucid as pl
from pellucid.commands.explain import Explain
from pellucid.commands.options import with_flags
from pellucid.evaluation.randomization import INSENSITIVE
from pellucid.explanation import clauses as say
from pellucid.explanation.faithfulness import (
    CURVES,
    DRAWS,
    PASSES,
    PROTOCOL,
    STEPS,
    Faithfulness,
    Sanity,
    verdict_of,
    verdicts_of,
)
from pellucid.explanation.settings import DEFAULT_METHOD, ExplainSettings
from pellucid.speech import wording as w
from pellucid.speech.english import UNREADABLE
from pellucid.speech.text import plain
from pellucid.world import draw, render

METHOD = "layercam"


class Small(nn.Module):
    """Two stages, a pooled linear head, lively enough for its answers to move."""

    def __init__(self, classes=4, channels=3, gain=60.0):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.two = nn.Sequential(nn.Conv2d(6, 12, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Linear(12, classes)
        self.gain = gain

    def forward(self, x):
        return self.gain * self.head(self.two(self.one(x)).mean((2, 3)))


def network(seed=0, head="auto", **options):
    torch.manual_seed(seed)
    module = Small(**options)
    return pl.load(module, input_shape=(options.get("channels", 3), 32, 32), head=head)


@pytest.fixture
def net():
    return network()


def photo(seed=0, mode="RGB"):
    """Two flat halves and some noise on one side, so that the places differ."""
    draw_ = np.random.default_rng(seed)
    values = np.full((36, 40, 3), 40, dtype=np.uint8)
    values[6:20, 8:22] = draw_.integers(120, 255, (14, 14, 3))
    return Image.fromarray(values).convert(mode)


def counting(module):
    """A list of how many rows every call of the module had; copies of the module report to the same list."""
    calls = []
    handle = module.register_forward_pre_hook(lambda _module, given: calls.append(len(given[0])))
    return calls, handle


# ---- the numbers


def slow_curves(net, x, saliency, target):
    """Both curves, pixel by pixel, in float64 where it matters: the order and the means."""
    height, width = saliency.shape
    order = sorted(range(height * width), key=lambda at: -float(saliency.flatten()[at]))  # stable
    blurred = PROTOCOL.blurred(x)

    def value(picture):
        with torch.no_grad():
            return float(net.probabilities(net(picture))[0, target])

    found = {"deletion": [], "insertion": []}
    for step in range(STEPS + 1):
        gone, come = x.clone(), blurred.clone()
        for at in order[: step * height * width // STEPS]:
            row, column = divmod(at, width)
            gone[0, :, row, column] = 0
            come[0, :, row, column] = x[0, :, row, column]
        found["deletion"].append(value(gone))
        found["insertion"].append(value(come))
    return found


def mean_of(curve):
    return sum((a + b) / 2 for a, b in pairwise(curve)) / (len(curve) - 1)


def test_curves_and_areas_equal_a_slow_twin(net):
    explained = pl.explain(net, photo(), method=METHOD, methods=[])
    found = explained.faithfulness
    x = net.preprocess(photo())[None]
    center = torch.tensor(
        [
            [math.exp(-(((r - 15.5) / 8) ** 2 + ((c - 15.5) / 8) ** 2) / 2) for c in range(32)]
            for r in range(32)
        ]
    )
    maps = {"map": explained.maps["two"][METHOD].upsample()[0], "center": center}
    assert found.share == tuple(step / STEPS for step in range(STEPS + 1))
    for name, saliency in maps.items():
        slow = slow_curves(net, x, saliency, explained.target["index"])
        for kind, curve in slow.items():
            assert found.curves[name][kind] == pytest.approx(curve, abs=1e-5), (name, kind)
            assert found.areas[name][kind] == pytest.approx(mean_of(curve), abs=1e-5)
        assert found.areas[name]["composite"] == pytest.approx(
            mean_of(slow["insertion"]) - mean_of(slow["deletion"]), abs=1e-5
        )
    assert found.curves["map"]["deletion"][0] == pytest.approx(explained.target["probability"], abs=1e-6)
    assert (found.method, found.layer) == (METHOD, "two")


def slow_verdict(drawn, unit):
    values = [v for of in drawn.values() for curve in of.values() for v in curve]
    swing = max(values) - min(values)
    if swing == 0 or swing < 0.05 * (1 if unit == "probability" else max(abs(v) for v in values)):
        return "flat"
    composite = {name: mean_of(of["insertion"]) - mean_of(of["deletion"]) for name, of in drawn.items()}
    size = 1 if unit == "probability" else max(abs(v) for v in values)
    lead = (composite["map"] - composite["center"]) / swing

    def apart(kind, step=1):
        ours, theirs = (drawn[name][kind][::step] for name in ("map", "center"))
        return mean_of(ours) - mean_of(theirs)

    noise = {kind: abs(apart(kind) - apart(kind, 2)) for kind in ("deletion", "insertion")}
    bars = {kind: max(0.05 * swing, 0.025 * size, noise[kind]) for kind in noise}
    gains = {"deletion": -apart("deletion"), "insertion": apart("insertion")}
    least = max(0.1, 0.05 * size / swing, sum(noise.values()) / swing)
    if any(abs(abs(gains[kind]) - bars[kind]) < 1e-9 for kind in bars) or abs(abs(lead) - least) < 1e-9:
        return None  # on a threshold rounding decides
    if abs(lead) < least:
        return "as good"
    if any(gains[kind] * lead < 0 and abs(gains[kind]) > bars[kind] for kind in bars):
        return "as good"
    return "better" if lead > 0 else "worse"


curve = st.lists(st.floats(-3, 3), min_size=9, max_size=9)
both = st.fixed_dictionaries({"deletion": curve, "insertion": curve})


@given(
    st.fixed_dictionaries({"map": both, "center": both}),
    st.sampled_from(["probability", "score"]),
    st.floats(0, 1),
)
def test_the_verdict_is_the_definitions(drawn, unit, size):
    drawn = {
        name: {kind: [size * v for v in values] for kind, values in of.items()} for name, of in drawn.items()
    }
    slow = slow_verdict(drawn, unit)
    assert slow is None or verdict_of(drawn, unit)[0] == slow


@pytest.mark.parametrize(
    ("lead", "verdict"),
    [(0.12, "better"), (0.08, "as good"), (0.0, "as good"), (-0.08, "as good"), (-0.12, "worse")],
)
def test_the_verdict_at_its_thresholds(lead, verdict):
    flat = {"deletion": [0.5] * 9, "insertion": [0.5] * 9}
    ends = {"deletion": [1.0, *[0.5] * 7, 0.0], "insertion": [0.0, *[0.5] * 7, 1.0]}  # the mean is one half
    step = lead * 8 / 7
    ours = {"deletion": ends["deletion"], "insertion": [0.0, *[0.5 + step] * 7, 1.0]}
    assert mean_of(ours["insertion"]) - mean_of(ours["deletion"]) == pytest.approx(lead)
    found, _, advantage = verdict_of({"map": ours, "center": ends}, "probability")
    assert (found, advantage) == (verdict, pytest.approx(lead))
    assert verdict_of({"map": flat, "center": flat}, "probability")[::2] == ("flat", None)
    assert w.BETTER == 0.1
    assert w.FAINT == 0.05


def test_a_verdict_needs_a_margin_beyond_its_noise():
    """A network that knows nothing: 56 against 57 % and 61 against 60 % on curves that hardly move."""
    ours = {"deletion": [0.62, *[0.56] * 7, 0.5], "insertion": [0.5, *[0.625] * 7, 0.62]}
    blob = {"deletion": [0.62, *[0.571] * 7, 0.5], "insertion": [0.5, *[0.615] * 7, 0.62]}
    verdict, areas, advantage = verdict_of({"map": ours, "center": blob}, "probability")
    assert areas["map"]["deletion"] < areas["center"]["deletion"]
    assert areas["map"]["insertion"] > areas["center"]["insertion"]
    assert advantage > w.BETTER
    assert verdict == "as good"
    assert verdicts_of({"map": ours, "center": blob}, "probability") == {
        "deletion": "as good",
        "insertion": "as good",
    }


def test_better_by_one_and_worse_by_the_other_is_not_better():
    ours = {"deletion": [1.0, *[0.6] * 7, 0.0], "insertion": [0.0, *[0.95] * 7, 1.0]}
    blob = {"deletion": [1.0, *[0.5] * 7, 0.0], "insertion": [0.0, *[0.5] * 7, 1.0]}
    drawn = {"map": ours, "center": blob}
    assert verdicts_of(drawn, "probability") == {"deletion": "worse", "insertion": "better"}
    assert verdict_of(drawn, "probability")[0] == "as good"


def test_little_of_a_probability_and_little_of_a_score():
    small = {"deletion": [0.04, *[0.0] * 8], "insertion": [*[0.0] * 8, 0.04]}
    worse = {"deletion": [*[0.04] * 8, 0.0], "insertion": [*[0.0] * 8, 0.04]}
    assert verdict_of({"map": small, "center": worse}, "probability")[0] == "flat"
    assert verdict_of({"map": small, "center": worse}, "score")[0] == "better"


# ---- what it costs


def test_passes_are_counted_and_within_the_budget(net):
    calls, handle = counting(net.module)
    without = pl.explain(net, photo(), method=METHOD, methods=[], faithfulness=False)
    base = sum(calls)
    assert without.faithfulness is None
    calls.clear()
    explained = pl.explain(net, photo(), method=METHOD, methods=[])
    handle.remove()
    found = explained.faithfulness
    assert sum(calls) - base == found.passes == CURVES + DRAWS == 34 <= PASSES
    assert explained.cost.forward - without.cost.forward == found.passes
    assert explained.cost.backward - without.cost.backward == DRAWS == found.sanity.draws


def test_a_method_of_many_passes_is_not_run_on_random_networks(net):
    found = pl.explain(net, photo(), method="smoothgrad", methods=[]).faithfulness
    assert found.sanity.similarity is found.sanity.insensitive is None
    assert "passes" in found.sanity.reason
    assert found.passes == CURVES == 31
    assert found.curves is not None
    assert found.layer == "input"


@pytest.mark.parametrize(
    "method", ["lrp", "gradcam", "eigencam", "gradient", "guided-backprop", "shallow-cam"]
)
def test_the_budget_holds_for_other_methods(net, method):
    first, found = (pl.explain(net, photo(), method=method, methods=[]).faithfulness for _ in range(2))
    assert CURVES < found.passes <= PASSES
    assert found.sanity.similarity is not None
    assert found.method == method
    assert first == found, "what a method remembers of a network changes nothing"


# ---- maps and networks of other kinds


def test_a_map_that_cannot_be_read_is_not_tested():
    module = Small()
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    explained = pl.explain(pl.load(module, input_shape=(3, 32, 32)), photo())
    found = explained.faithfulness
    assert (found.verdict, found.curves, found.passes) == ("unreadable", None, 0)
    assert found.reason == UNREADABLE["zero"]
    assert not [clause for clause in explained.clauses if clause.kind == "faithfulness"]
    json.dumps(explained.to_json(pictures=True), allow_nan=False)


def test_evidence_that_speaks_against_the_target_is_not_tested(net):
    with torch.no_grad():
        net.module.head.weight.copy_(-net.module.head.weight.abs())
    found = pl.explain(net, photo(), method="gradcam", methods=[]).faithfulness
    assert (found.verdict, found.reason) == ("unreadable", UNREADABLE["negative"])


@pytest.mark.parametrize("head", ["binary", "sigmoid", "probabilities", "grey"])
def test_other_heads_and_inputs(head):
    if head == "probabilities":
        torch.manual_seed(0)
        net = pl.load(nn.Sequential(Small(), nn.Softmax(1)), input_shape=(3, 32, 32))
    else:
        options = {
            "binary": {"classes": 1},
            "sigmoid": {"head": "sigmoid"},
            "grey": {"channels": 1},
        }
        net = network(**options[head])
    mode = "L" if head == "grey" else "RGB"
    for target in range(len(net.classes)):
        explained = pl.explain(net, photo(mode=mode), target=target, method=METHOD, methods=[])
        found = explained.faithfulness
        assert found.unit == "probability"
        if found.curves is None:
            assert found.verdict == "unreadable"
            continue
        low, high = found.extremes
        assert 0 <= low <= high <= 1
        assert found.curves["map"]["deletion"][0] == pytest.approx(explained.target["probability"], abs=1e-5)


def test_a_function_has_a_score_not_a_probability(net):
    explained = pl.explain(
        net, photo(), target=lambda output: output[:, 0] - 2 * output[:, 1], method=METHOD, methods=[]
    )
    found = explained.faithfulness
    assert found.unit == "score"
    assert found.curves["map"]["deletion"][0] == pytest.approx(explained.target["score"], rel=1e-4)
    (said, *_) = [clause for clause in explained.clauses if clause.kind == "faithfulness"]
    assert "score" in said.text
    assert "probability" not in said.text
    assert "%" not in said.text


def test_an_answer_that_never_moves_is_called_so():
    net = network(gain=0.001)
    explained = pl.explain(net, photo(), method=METHOD, methods=[])
    assert explained.faithfulness.verdict == "flat"
    assert explained.faithfulness.advantage is None
    assert "cannot tell whether the map is right" in explained.details


def test_a_network_whose_answers_break(net):
    class Broken(Small):
        def forward(self, x):
            out = super().forward(x)
            return out / (x.std((1, 2, 3), keepdim=True)[:, :, 0, 0] > 1e-6)  # no number for an empty picture

    torch.manual_seed(0)
    found = pl.explain(
        pl.load(Broken(), input_shape=(3, 32, 32), head="softmax"), photo(), method=METHOD, methods=[]
    ).faithfulness
    assert found.verdict == "unreadable"
    assert "not finite" in found.reason
    assert found.passes == CURVES + DRAWS


def test_a_map_that_no_learned_weight_changes_is_said_to_show_the_picture(net):
    explained = pl.explain(net, photo(), method="eigencam", methods=[], layers=["one"])
    found = explained.faithfulness
    assert found.sanity.similarity == pytest.approx(1, abs=1e-3)
    assert found.sanity.insensitive
    clause = [clause for clause in explained.clauses if clause.kind == "faithfulness"][-1]
    assert "shows the **picture** more than the decision" in clause.text
    assert (clause.layer, clause.method) == ("one", "eigencam")
    assert not Sanity(INSENSITIVE - 1e-6).insensitive
    assert Sanity(INSENSITIVE).insensitive


def test_a_network_that_cannot_be_copied_is_still_explained():
    class Unique(Small):
        def __deepcopy__(self, memory):
            raise TypeError("there is only one of me")

    torch.manual_seed(0)
    found = pl.explain(
        pl.load(Unique(), input_shape=(3, 32, 32)), photo(), method=METHOD, methods=[]
    ).faithfulness
    assert found.curves is not None
    assert found.sanity.similarity is None
    assert found.sanity.reason == "TypeError: there is only one of me"
    assert (found.passes, found.backward) == (CURVES, 0)


# ---- the sentence and the document


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("better", "better than a center blob"),
        ("as good", "only as good as a center blob"),
        ("worse", "do not rely on it here"),
    ],
)
def test_the_clause_says_the_verdict_with_its_numbers(verdict, words):
    areas = {
        "map": {"deletion": 0.21, "insertion": 0.74, "composite": 0.53},
        "center": {"deletion": 0.48, "insertion": 0.52, "composite": 0.04},
    }
    drawn = {name: dict.fromkeys(("deletion", "insertion"), (0.0, 1.0)) for name in areas}
    kinds = dict.fromkeys(("deletion", "insertion"), verdict)
    found = Faithfulness(
        "m", "a", "probability", verdict, None, (0, 1), drawn, areas, 0.5, Sanity(0.2), verdicts=kinds
    )
    (clause,) = say.faithful(found)
    assert words in plain(clause.text)
    assert "21 % on average (48 % in a center blob's)" in clause.text
    assert "bringing them back 74 % (52 %)" in clause.text
    assert [each.value for each in clause.numbers] == [0.21, 0.74, 0.48, 0.52]
    apart = replace(found, verdicts={"deletion": "worse", "insertion": "better"})
    (clause,) = say.faithful(apart)
    assert "removing, the map is worse than a center blob, bringing back better than a center blob" in plain(
        clause.text
    )
    failed = replace(found, sanity=Sanity(0.95))  # a map that ignores the network has no verdict left
    compared, insensitive = say.faithful(failed)
    assert "the map is" not in plain(compared.text)
    assert "shows the picture more than the decision" in plain(insensitive.text)
    assert say.faithful(None) == []


def test_the_document_holds_all_of_it(net):
    explained = pl.explain(net, photo(), method=METHOD, methods=[])
    document = json.loads(json.dumps(explained.to_json(), allow_nan=False))["faithfulness"]
    assert (document["method"], document["layer"], document["unit"]) == (METHOD, "two", "probability")
    for name in ("map", "center"):
        for kind in ("deletion", "insertion"):
            assert len(document["curves"][name][kind]) == len(document["share"]) == STEPS + 1
        assert set(document["areas"][name]) == {"deletion", "insertion", "composite"}
    assert set(document["sanity"]) == {"similarity", "insensitive", "reason", "draws", "threshold", "spread"}
    assert document["overridden"] == explained.faithfulness.sanity.insensitive
    assert set(document["verdicts"]) in ({"deletion", "insertion"}, set())
    assert document["verdict"] == explained.faithfulness.verdict
    assert pl.explain(net, photo(), methods=[], faithfulness=False).to_json()["faithfulness"] is None


# ---- several images, and nothing left behind


def test_every_image_of_a_batch_has_its_own(net):
    photos = [photo(0), photo(1).rotate(90)]
    several = pl.explain(net, photos, method=METHOD, methods=[])
    for one, alone in zip(several, photos, strict=True):
        other = pl.explain(net, alone, method=METHOD, methods=[]).faithfulness
        for name in ("map", "center"):
            assert one.faithfulness.curves[name]["deletion"] == pytest.approx(
                other.curves[name]["deletion"], abs=1e-5
            )
    assert several[0].faithfulness.curves != several[1].faithfulness.curves


def test_scenes_bring_their_own_masks():
    torch.manual_seed(0)
    net = pl.load(Small(10), input_shape=(3, 128, 128), preprocess=pl.Preprocess.scenes())
    scenes = [draw(3, split="test"), render(draw(4, split="test"))]
    several = pl.explain(net, scenes, methods=[], faithfulness=False)
    assert [one.faithfulness for one in several] == [None, None]
    assert pl.explain(net, scenes[0], methods=[]).faithfulness is not None
    mask = np.ones((128, 128), bool)
    for given_ in (scenes, scenes[1]):
        with pytest.raises(ValueError, match="no `mask` with scenes, which bring their own"):
            pl.explain(net, given_, methods=[], mask=mask)


def state(net):
    return (
        [module.training for module in net.module.modules()],
        [parameter.requires_grad for parameter in net.module.parameters()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in vars(m)) for m in net.module.modules()],
        [parameter.detach().clone().sum().item() for parameter in net.module.parameters()],
        [parameter.grad for parameter in net.module.parameters()],
        torch.get_rng_state().tolist(),
    )  # fmt: skip


@pytest.mark.parametrize("at", [4, 7, 10, 12])
def test_an_interruption_leaves_nothing(net, at):
    net.module.train()
    net.module.one[0].weight.requires_grad_(False)
    net.layers_at((32, 32))
    calls = 0

    def stop(_module, _given):
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt

    before = state(net)
    handle = net.module.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        pl.explain(net, [photo(), photo(1)], method=METHOD, methods=[])
    handle.remove()
    assert calls == at
    assert state(net) == before
    pl.explain(net, photo(), method=METHOD, methods=[])
    assert state(net) == before


def test_it_runs_where_gradients_are_switched_off(net):
    usual = pl.explain(net, photo(), method=METHOD, methods=[]).faithfulness
    with torch.inference_mode():
        found = pl.explain(net, photo(), method=METHOD, methods=[]).faithfulness
    assert found.curves == usual.curves
    assert found.sanity == usual.sanity


def test_the_seed_draws_the_random_network(net):
    found = [pl.explain(net, photo(), method=METHOD, methods=[], seed=s).faithfulness for s in (0, 1, 0)]
    assert found[0].sanity == found[2].sanity != found[1].sanity
    assert found[0].curves == found[1].curves


# ---- the command


def test_the_command_has_the_librarys_default_and_a_switch(tmp_path):
    assert with_flags(Explain, ExplainSettings)().method == DEFAULT_METHOD
    file, out = picture_file(tmp_path / "p.png"), tmp_path / "o"
    net = network_file(tmp_path)
    found = []
    for flags in ([], ["--no-faithfulness"]):
        assert call("explain", file, "--net", net, "--out", out, "--methods", DEFAULT_METHOD, *flags) == 0
        found.append(json.loads((out / "p.json").read_text(encoding="utf-8"))["faithfulness"])
        page = (out / "p.html").read_text(encoding="utf-8")
        assert ("How this map did in tests" in page) == (found[-1] is not None)
    assert found[0]["method"] == DEFAULT_METHOD
    assert found[1] is None
