"""The search for rules against enumeration of all sets, and the interval of a share against what defines it."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.units.patterns.rules import Counter, Rule, frequent, merged, search, telling
from pellucid.units.patterns.settings import Mining
from pellucid.units.patterns.shares import Shares, wilson
from pellucid.units.patterns.transactions import at_cells, members, winning


def rows(seed, images, cells, units, density):
    return np.random.default_rng(seed).random((images, cells, units)) < density


def count(part, channels):
    """Literally: images in which one cell has every channel."""
    return sum(any(all(cell[k] for k in channels) for cell in image) for image in part)


def literal(own, rest, options):
    """Every set of the allowed lengths, by its support and confidence, without those a superset of the same count implies."""
    ahead = [own.any(1).mean(0)[k] - rest.any(1).mean(0)[k] for k in range(own.shape[2])]
    present = [k for k in range(own.shape[2]) if own[:, :, k].any()]
    items = sorted(sorted(present, key=lambda k: (-ahead[k], k))[: options.items])
    found = {}
    for length in range(options.shortest, options.longest + 1):
        for channels in itertools.combinations(items, length):
            mine, others = count(own, channels), count(rest, channels)
            enough = mine >= 1 and mine >= options.support * len(own) - 1e-9
            if enough and mine / (mine + others) >= options.confidence:
                found[channels] = (mine, others)
    return {
        channels: counts
        for channels, counts in found.items()
        if not any(set(channels) < set(more) and found[more][0] == counts[0] for more in found)
    }


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    cells=st.integers(1, 3),
    units=st.integers(3, 7),
    density=st.floats(0.2, 0.9),
    support=st.floats(0.05, 1),
    confidence=st.floats(0.1, 1),
    shortest=st.integers(1, 3),
    items=st.integers(4, 8),
)
def test_search_is_enumeration(seed, cells, units, density, support, confidence, shortest, items):
    own, rest = rows(seed, 9, cells, units, density), rows(seed + 1, 13, cells, units, density / 2)
    options = Mining(
        support=support, confidence=confidence, shortest=shortest, longest=4, items=items, keep=50, overlap=1
    )
    found = search(own, rest, options)
    assert {rule.channels: (rule.own, rule.rest) for rule in found.accepted} == literal(own, rest, options)


def test_the_kept_are_the_most_telling_unlike_ones():
    own, rest = rows(3, 40, 1, 8, 0.7), rows(4, 60, 1, 8, 0.4)
    options = Mining(support=0.2, confidence=0.3, shortest=2, longest=4, items=8, keep=3, overlap=0.4)
    found = search(own, rest, options)
    ahead = [rule.own / 40 - rule.rest / 60 for rule in found.accepted]
    assert ahead == sorted(ahead, reverse=True)
    assert found.kept[0] == found.accepted[0]
    assert 1 < len(found.kept) <= 3
    for one, other in itertools.combinations(found.kept, 2):
        mine, theirs = set(one.channels), set(other.channels)
        assert len(mine & theirs) <= 0.4 * len(mine | theirs)
    left = [rule for rule in found.accepted[: found.accepted.index(found.kept[-1])] if rule not in found.kept]
    for rule in left:  # each is too like one before it
        mine = set(rule.channels)
        assert any(len(mine & set(one.channels)) > 0.4 * len(mine | set(one.channels)) for one in found.kept)


def test_a_set_with_just_enough_support_is_found():
    own = np.zeros((10, 1, 4), bool)
    own[:3, 0, :3] = True
    found = frequent(own, (0, 1, 2, 3), 0.3, 3, 3)
    assert found == {(0, 1, 2): 3}
    assert frequent(own, (0, 1, 2, 3), 0.31, 3, 3) == {}


def test_an_image_counts_once_however_many_of_its_cells_have_a_set():
    own = np.zeros((4, 3, 3), bool)
    own[0] = True
    assert Counter(own)((0, 1, 2)) == 1
    assert frequent(own, (0, 1, 2), 0.25, 3, 3) == {(0, 1, 2): 1}
    assert frequent(own, (0, 1, 2), 0.3, 3, 3) == {}


def test_channels_of_different_cells_are_not_together():
    own = np.zeros((2, 2, 2), bool)
    own[:, 0, 0] = own[:, 1, 1] = True
    assert Counter(own)((0, 1)) == 0
    assert Counter(own)((0,)) == 2


def test_only_equal_support_merges():
    one, two, three = Rule((1, 2), 5, 1), Rule((1, 2, 3), 5, 0), Rule((2, 3), 6, 0)
    assert merged([one, two, three]) == [two, three]


def test_what_was_nearest_is_told():
    own, rest = np.zeros((10, 1, 5), bool), np.zeros((10, 1, 5), bool)
    own[:2, 0, :3] = True
    found = search(own, rest, Mining(support=0.5, items=6))
    assert found.accepted == ()
    assert found.largest_support == 0.2
    rest[:, 0, :3] = True
    found = search(own, rest, Mining(support=0.1, items=6))
    assert found.accepted == ()
    assert found.largest_support == 0.2
    assert found.largest_confidence == pytest.approx(2 / 12)


def test_the_most_telling_channels_are_searched():
    own, rest = np.zeros((4, 1, 4), bool), np.zeros((4, 1, 4), bool)
    own[:, 0, [0, 1, 3]] = True
    rest[:, 0, 0] = rest[:2, 0, 3] = True
    assert telling(own, rest, 1) == (1,)
    assert telling(own, rest, 2) == (1, 3)
    assert telling(own, rest, 9) == (0, 1, 3)  # channel 2 is in no transaction


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_ends_of_the_interval_are_just_not_refused(found, more):
    """Wilson's ends are the shares p whose normal test of the observed share is exactly at 1.96 deviations."""
    total = found + more
    low, high = wilson(found, total)
    assert 0 <= low <= (found / total if total else 0.5) <= high <= 1
    if total == 0:
        return
    share = found / total
    for end, open_ in ((low, found > 0), (high, more > 0)):
        if open_:
            deviation = math.sqrt(end * (1 - end) / total)
            assert abs(share - end) / deviation == pytest.approx(1.959964, rel=1e-5)
        else:
            assert end == share


def test_shares_of_nothing_are_not_numbers():
    none = Shares(0, 0, 0, 0)
    assert math.isnan(none.share)
    assert math.isnan(none.confidence)
    assert Shares(3, 4, 1, 10).confidence == 0.75


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9))
def test_transactions_are_literal(seed, top):
    values = torch.randint(-2, 5, (3, 2, 8), generator=torch.Generator().manual_seed(seed)).float()
    found = members(values, top)
    for image in range(3):
        for cell in range(2):
            row = values[image, cell].tolist()
            best = sorted(range(8), key=lambda k: (-row[k], k))[:top]
            assert found[image, cell].nonzero().flatten().tolist() == sorted(k for k in best if row[k] > 0)


def test_winning_cells_are_those_with_the_largest_relative_sum():
    maps = torch.randn(2, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor([1.0, 10.0, 0.5])
    found = winning(maps, scale, 3)
    values = at_cells(maps, found)
    for image in range(2):
        sums = {
            r * 4 + c: sum(max(0.0, float(maps[image, k, r, c])) / float(scale[k]) for k in range(3))
            for r in range(2)
            for c in range(4)
        }
        best = sorted(sums, key=lambda cell: (-sums[cell], cell))[:3]
        assert found[image].tolist() == best
        for place, cell in enumerate(best):
            assert torch.equal(values[image, place], maps[image, :, cell // 4, cell % 4])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top": 0}, "`top` to be at least 1"),
        ({"where": "corner"}, '"image" or "cell"'),
        ({"support": 0}, "`support` in"),
        ({"confidence": 1.5}, "`confidence` in"),
        ({"held_out": 1}, "`held_out` in"),
        ({"overlap": -1}, "`overlap` in"),
        ({"shortest": 5, "longest": 4}, "`longest` of at least 5"),
        ({"items": 3}, "`items` of at least `longest`, 6"),
        ({"items": 60}, "at most 1,000,000 itemsets, got up to 56,049,057"),
    ],
)
def test_bad_settings(options, words):
    with pytest.raises(ValueError, match="Expected") as error:
        Mining(**options)
    assert words in str(error.value)
