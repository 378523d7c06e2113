"""Measures of multi-label recognizers against scikit-learn, thresholds against trying them all."""

import numpy as np
import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from pellucid.training.irenet.metrics import (
    average_precision,
    best_thresholds,
    by_label,
    calibration_error,
    even_threshold,
    quality,
)


def case(seed, pictures=60, labels=5, levels=12):
    """Truth with a positive in every label, and probabilities with many ties."""
    dice = np.random.default_rng(seed)
    truth = (dice.random((pictures, labels)) < dice.uniform(0.1, 0.7, labels)).astype(np.int8)
    truth[0] = 1
    found = dice.integers(0, levels, truth.shape) / levels * 0.7 + 0.3 * truth * dice.random(
        truth.shape
    ).round(1)
    return truth, found


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10_000), st.floats(0.05, 0.9))
def test_measures_are_scikit_learns(seed, threshold):
    truth, found = case(seed)
    got = quality(torch.tensor(truth), torch.tensor(found), threshold).plain()
    said = (found >= threshold).astype(int)
    for kind in ("micro", "macro"):
        p, r, f, _ = oracle.precision_recall_fscore_support(truth, said, average=kind, zero_division=0)
        assert [got[f"{kind}_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx([p, r, f])
    assert got["accuracy"] == pytest.approx(1 - oracle.hamming_loss(truth, said))
    assert got["jaccard"] == pytest.approx(
        oracle.jaccard_score(truth, said, average="samples", zero_division=0)
    )
    assert got["map"] == pytest.approx(oracle.average_precision_score(truth, found, average="macro"))
    single = oracle.precision_recall_fscore_support(truth, said, average=None, zero_division=0)
    own = by_label(torch.tensor(truth), torch.tensor(said))
    for name, expected in zip(("precision", "recall", "f1"), single, strict=False):
        np.testing.assert_allclose(own[name], expected)


def test_calibration_by_hand():
    truth = torch.tensor([[1, 0], [1, 0], [0, 1]])
    found = torch.tensor([[0.9, 0.1], [0.8, 0.15], [0.9, 0.4]])
    # two bins: below one half three answers, one true, 0.65 said; above three answers, two true, 2.6 said
    assert calibration_error(truth, found, bins=2) == pytest.approx((abs(1 - 0.65) + abs(2 - 2.6)) / 6)
    assert calibration_error(torch.ones(3, 1), torch.ones(3, 1)) == 0


def test_doubtful_entries_count_nowhere():
    truth, found = (torch.tensor(each) for each in case(3))
    doubtful = torch.cat([truth, torch.full((7, 5), -1, dtype=truth.dtype)])
    more = torch.cat([found, torch.rand(7, 5, dtype=found.dtype)])
    sure, other = quality(truth, found, 0.4).plain(), quality(doubtful, more, 0.4).plain()
    sure.pop("jaccard"), other.pop("jaccard")  # a mean over pictures, which are more now
    assert sure == pytest.approx(other)
    torch.testing.assert_close(best_thresholds(truth, found), best_thresholds(doubtful, more))
    assert even_threshold(truth, found) == even_threshold(doubtful, more)


@settings(deadline=None, max_examples=10, phases=[Phase.explicit, Phase.generate])
@example(152, None)  # all of a label's probabilities are best said
@given(st.integers(0, 10_000), st.sampled_from([None, 0.6, 0.9, 1.0]))
def test_no_other_threshold_is_better(seed, goal):
    truth, found = case(seed, pictures=30, labels=3)
    chosen = best_thresholds(torch.tensor(truth), torch.tensor(found), precision=goal).numpy()
    for label in range(3):
        t, p = truth[:, label], found[:, label]

        def worth(threshold, t=t, p=p):
            said = p >= threshold
            precision = oracle.precision_score(t, said, zero_division=0)
            if goal is None:
                return oracle.f1_score(t, said, zero_division=0)
            return oracle.recall_score(t, said) if precision >= goal else -1

        best = max(worth(value) for value in np.unique(p))
        got = worth(chosen[label])
        assert got == pytest.approx(best) if best >= 0 else not (p[t == 0] >= chosen[label]).any()


def test_a_label_nobody_shows_is_never_said():
    truth, found = torch.tensor([[1, 0], [0, 0]]), torch.tensor([[0.9, 0.9], [0.1, 0.99]])
    assert best_thresholds(truth, found).tolist() == pytest.approx([0.5, 1.0])
    assert average_precision(truth, found).tolist() == [1, 0]
    assert quality(truth, found, best_thresholds(truth, found)).macro_recall == 1


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10_000))
def test_as_much_is_said_as_is_true(seed):
    dice = torch.Generator().manual_seed(seed)
    truth = (torch.rand(40, 4, generator=dice) < 0.3).long()
    truth[0, 0] = 1
    found = torch.rand(40, 4, generator=dice)
    got = quality(truth, found, even_threshold(truth, found))
    assert got.micro_precision == pytest.approx(got.micro_recall)


def test_what_cannot_be_measured():
    nothing, found = torch.zeros(3, 2, dtype=torch.int8), torch.rand(3, 2)
    for measure in (lambda: quality(nothing, found, 0.5), lambda: even_threshold(nothing, found)):
        with pytest.raises(ValueError, match="Expected at least one positive label, got none"):
            measure()
    with pytest.raises(ValueError, match=r"of one shape, got \(3, 2\) and \(3, 3\)"):
        quality(nothing, torch.rand(3, 3), 0.5)
