"""Every rule against its literal twin, and what the rules promise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.relevance import twins

from pellucid.relevance import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus
from pellucid.relevance.affine import Convolution, Linear
from pellucid.relevance.rules import Problem, share

EXACT = 1e-15  # an ε that does not show
RULES = {
    "epsilon": (Epsilon(EXACT), twins.epsilon),
    "gamma": (Gamma(EXACT), twins.gamma),
    "alpha2-beta1": (AlphaBeta(EXACT), twins.alpha_beta),
    "z-plus": (ZPlus(EXACT), twins.z_plus),
    "z-box": (ZBox(EXACT), twins.z_box),
    "w-square": (WSquare(EXACT), twins.w_square),
    "flat": (Flat(EXACT), twins.flat),
}
MAPS = {
    "convolution": (Convolution((1, 1), (1, 1), (1, 1)), (3, 4, 5), (4, 3, 3, 3), 4),
    "strided": (Convolution((2, 1), (1, 0), (1, 2)), (2, 5, 6), (3, 2, 3, 2), 3),
    "grouped": (Convolution((1, 1), (1, 1), (1, 1), 2), (4, 3, 3), (6, 2, 3, 3), 6),
    "depthwise": (Convolution((1, 1), (1, 1), (1, 1), 4), (4, 3, 3), (4, 1, 3, 3), 4),
    "transposed": (Convolution((2, 2), (1, 1), (1, 1), 2, True, (1, 1)), (4, 3, 3), (4, 2, 3, 3), 4),
    "linear": (Linear(), (7,), (5, 7), 5),
    "positions": (Linear(), (3, 2, 6), (4, 6), 4),
}


def drawn(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problem(name, nonnegative, seed=0, images=2):
    linear, shape, weights, outputs = MAPS[name]
    x = drawn((images, *shape), seed)
    x = x.relu() if nonnegative else x
    weight, bias = drawn(weights, seed + 1), drawn((outputs,), seed + 2)
    low, high = torch.tensor(-5.0, dtype=x.dtype), torch.tensor(4.5, dtype=x.dtype)
    z = linear.forward(x, weight)
    z = z + linear.over_outputs(bias, z.ndim)
    return linear, Problem(x, weight, bias, lambda: z, nonnegative, (low, high)), drawn(z.shape, seed + 3)


@pytest.mark.parametrize("nonnegative", [True, False])
@pytest.mark.parametrize("where", MAPS)
@pytest.mark.parametrize("rule", RULES)
def test_equals_its_literal_twin(rule, where, nonnegative):
    rule, twin = RULES[rule]
    linear, given_, arriving = problem(where, nonnegative)
    found, kept = share(rule, linear, given_, arriving)
    for row in range(2):
        expected, of_bias = twins.by_hand(
            twin, linear, given_.x[row], given_.weight, given_.bias, arriving[row], *given_.bounds
        )
        torch.testing.assert_close(found[row], expected, rtol=1e-7, atol=1e-9)
        if kept is not None and not isinstance(rule, AlphaBeta):
            torch.testing.assert_close(kept[row], of_bias, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=20, deadline=None)
@given(where=st.sampled_from(sorted(MAPS)), nonnegative=st.booleans(), seed=st.integers(0, 1000))
def test_conserves_up_to_the_bias(rule, where, nonnegative, seed):
    linear, given_, arriving = problem(where, nonnegative, seed)
    found, kept = share(RULES[rule][0], linear, given_, arriving)
    total = found.sum() + (0 if kept is None else kept.sum())
    size = arriving.abs().sum() + found.abs().sum()
    assert abs(float(total - arriving.sum())) < 1e-9 * float(size)


def test_the_bias_takes_part_where_asked():
    linear, given_, arriving = problem("linear", True)
    for rule in (ZPlus(EXACT, bias=True), AlphaBeta(EXACT, bias=True), Gamma(EXACT)):
        found, kept = share(rule, linear, given_, arriving)
        assert kept.abs().sum() > 0
        torch.testing.assert_close(found.sum() + kept.sum(), arriving.sum())
    assert share(Epsilon(bias=False), linear, given_, arriving)[1] is None


def test_one_sign_missing_gives_all_to_the_other_and_none_at_all_to_the_bias():
    x, bias = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([10.0])
    given_ = Problem(x, torch.tensor([[-1.0, -1.0]]), bias, lambda: x, True, (x, x))
    for rule in (ZPlus(), AlphaBeta()):
        found, kept = share(rule, Linear(), given_, torch.tensor([[3.0], [5.0]]))
        torch.testing.assert_close(found, torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
        assert kept.tolist() == [[0.0], [5.0]]


def test_scale_of_a_transposed_convolution_runs_over_its_outputs():
    linear, shape, weights, outputs = MAPS["transposed"]
    x, weight, scale = drawn((2, *shape), 0), drawn(weights, 1), drawn((outputs,), 2)
    expected = linear.forward(x, weight) * linear.over_outputs(scale, 4)
    torch.testing.assert_close(linear.forward(x, linear.scaled(weight, scale)), expected)


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="`alpha` − `beta` = 1"):
        AlphaBeta(alpha=2, beta=0.5)
    with pytest.raises(ValueError, match="`gamma` to be 0 or more"):
        Gamma(gamma=-1)
