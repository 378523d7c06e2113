"""How good a multi-label recognizer is, and the thresholds it decides by.

With t, p [picture label] truth and decision, TP = Σ t p, FP, FN, TN likewise:

    precision = TP / (TP + FP)    recall = TP / (TP + FN)    F1 = 2 TP / (2 TP + FP + FN)    accuracy = (TP + TN) / all

"micro" sums over pictures and labels first, "macro" takes the mean of every label's value (0 where it is undefined, as
scikit-learn's ``zero_division=0``). "jaccard" is the accuracy of Godbole and Sarawagi 2004: the mean over pictures of
|truth ∩ said| / |truth ∪ said| (0 where both are empty); it does not count the many labels that are rightly not said. Labels
without a positive picture are left out of macro and of mAP, for they have no recall. Entries of −1 in the truth are doubtful
and counted nowhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Truth = Int[Tensor, "picture label"]
Probabilities = Float[Tensor, "picture label"]


@dataclass(frozen=True)
class Quality:
    """Shares in [0, 1]; the higher the better, but for ``ece``."""

    micro_f1: float
    micro_precision: float
    micro_recall: float
    accuracy: float
    jaccard: float
    macro_f1: float
    macro_precision: float
    macro_recall: float
    map: float
    ece: float

    def plain(self) -> dict[str, float]:
        """As JSON holds it."""
        return asdict(self)


def counts(truth: Tensor, decided: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """True and false positives, false and true negatives of every label, each [label] in float64."""
    yes, no = truth == 1, truth == 0
    said = decided.bool()
    found = ((yes & said), (no & said), (yes & ~said), (no & ~said))
    tp, fp, fn, tn = (part.sum(0, dtype=torch.float64) for part in found)
    return tp, fp, fn, tn


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / below.clamp(min=1), torch.zeros_like(above))


def by_label(truth: Truth, decided: Tensor) -> dict[str, Tensor]:
    """``f1``, ``precision`` and ``recall``, each [label]; 0 where undefined."""
    tp, fp, fn, _ = counts(truth, decided)
    return {
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
    }


def quality(truth: Truth, probabilities: Probabilities, thresholds: Tensor | float) -> Quality:
    """All measures of a recognizer that says yes where a probability reaches its threshold.

    Raises ValueError where shapes differ, or nothing is positive.
    """
    _check(truth, probabilities)
    decided = probabilities >= thresholds
    tp, fp, fn, tn = (part.sum() for part in counts(truth, decided))
    single = by_label(truth, decided)
    held = (truth == 1).any(0)
    if not bool(held.any()):
        raise ValueError("Expected at least one positive label, got none; try other pictures or labels.")
    return Quality(
        micro_f1=float(_ratio(2 * tp, 2 * tp + fp + fn)),
        micro_precision=float(_ratio(tp, tp + fp)),
        micro_recall=float(_ratio(tp, tp + fn)),
        accuracy=float((tp + tn) / (tp + fp + fn + tn)),
        jaccard=_jaccard(truth, decided),
        macro_f1=float(single["f1"][held].mean()),
        macro_precision=float(single["precision"][held].mean()),
        macro_recall=float(single["recall"][held].mean()),
        map=float(average_precision(truth, probabilities)[held].mean()),
        ece=calibration_error(truth, probabilities),
    )


def _jaccard(truth: Tensor, decided: Tensor) -> float:
    yes, said = truth == 1, decided & (truth >= 0)
    return float(_ratio((yes & said).sum(1).double(), (yes | said).sum(1).double()).mean())


def average_precision(truth: Truth, probabilities: Probabilities) -> Float[Tensor, " label"]:
    """Σ (recall_n − recall_{n−1}) precision_n over the distinct probabilities, for every label; 0 without positives."""
    found = torch.zeros(truth.shape[1], dtype=torch.float64)
    for label in range(truth.shape[1]):
        sure = truth[:, label] >= 0
        values, order = probabilities[sure, label].sort(descending=True)
        hits = (truth[sure, label][order] == 1).double()
        if not len(hits) or not bool(hits.any()):
            continue
        last = torch.ones(
            len(values), dtype=torch.bool
        )  # of several equal probabilities only the last is a cut
        last[:-1] = values[1:] != values[:-1]
        tp = hits.cumsum(0)[last]
        said = torch.arange(1, len(hits) + 1, dtype=torch.float64)[last]
        steps = torch.diff(tp, prepend=torch.zeros(1, dtype=torch.float64))
        found[label] = (steps * tp / said).sum() / hits.sum()
    return found


def calibration_error(truth: Truth, probabilities: Probabilities, bins: int = 15) -> float:
    """Expected calibration error over all decisions: Σ_b n_b / n |mean truth − mean probability|, equal bins of [0, 1]."""
    sure = truth >= 0
    p, t = probabilities[sure].double(), (truth[sure] == 1).double()
    if not len(p):
        return 0.0
    place = (p * bins).long().clamp(0, bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, t - p)
    return float(gap.abs().sum() / len(p))


def best_thresholds(
    truth: Truth, probabilities: Probabilities, *, precision: float | None = None
) -> Float[Tensor, " label"]:
    """For every label the threshold of the best F1; with ``precision`` of the best recall at no less than that.

    A threshold lies halfway between two probabilities that occur. Labels without a positive picture get 1 (never said);
    where the precision cannot be reached, the threshold is above every negative.
    """
    _check(truth, probabilities)
    found = torch.ones(truth.shape[1], dtype=torch.float64)
    for label in range(truth.shape[1]):
        sure = truth[:, label] >= 0
        values, order = probabilities[sure, label].double().sort(descending=True)
        hits = (truth[sure, label][order] == 1).double()
        if not len(hits) or not bool(hits.any()):
            continue
        below = torch.cat([values[1:], values[-1:] * 0])
        cut = values != below  # equal probabilities cannot be told apart
        cut[-1] = True
        tp, said = hits.cumsum(0), torch.arange(1, len(hits) + 1, dtype=torch.float64)
        score = 2 * tp / (said + hits.sum())
        if precision is not None:
            score = torch.where(tp / said >= precision, tp, torch.full_like(tp, -1))
        score = torch.where(cut, score, torch.full_like(score, -2))
        best = int(score.argmax())
        if precision is not None and score[best] < 0:  # not to be reached: above every negative
            found[label] = (1 + values[0]) / 2
        else:
            found[label] = (values[best] + below[best]) / 2
    return found


def even_threshold(truth: Truth, probabilities: Probabilities) -> float:
    """The one threshold for all labels at which as much is said as is true, so that micro precision equals micro recall.

    Raises ValueError where nothing is positive."""
    _check(truth, probabilities)
    positives = int((truth == 1).sum())
    if not positives:
        raise ValueError("Expected at least one positive label, got none; try other pictures or labels.")
    values = probabilities[truth >= 0].double().sort(descending=True).values
    below = values[positives] if positives < len(values) else torch.zeros(())
    return float((values[positives - 1] + below) / 2)


def _check(truth: Tensor, probabilities: Tensor) -> None:
    if truth.shape != probabilities.shape or truth.ndim != 2:
        raise ValueError(
            f"Expected truth and probabilities [picture label] of one shape, got {tuple(truth.shape)} and "
            f"{tuple(probabilities.shape)}."
        )
