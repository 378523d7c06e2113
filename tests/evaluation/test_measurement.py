"""Means, bootstrap intervals, paired differences, merging, JSON."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.core.registry import UnknownNameError
from pellucid.evaluation import Measurement, bootstrap, merge

NAN = float("nan")


def measured(values, parameters=None, metric="toy", **curves):
    values = torch.tensor(values, dtype=torch.float64)
    reasons = tuple("why" if value != value else None for value in values.tolist())
    quantities = {"area": values, "other": values**2}
    return Measurement(
        metric, quantities, reasons, {"area": "higher", "other": "lower"}, parameters or {"steps": 3}, curves
    )


class TestBootstrap:
    def test_as_the_normal_approximation(self):
        values = torch.randn(400, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3 + 1
        found = bootstrap(values, resamples=5000)
        reach = 1.96 * float(values.std()) / 20
        assert found.mean == pytest.approx(float(values.mean()), abs=1e-12)
        assert found.low == pytest.approx(found.mean - reach, abs=0.1 * reach)
        assert found.high == pytest.approx(found.mean + reach, abs=0.1 * reach)
        narrow = bootstrap(values, resamples=5000, confidence=0.5)
        assert (narrow.high - narrow.low) / (found.high - found.low) == pytest.approx(0.6745 / 1.96, rel=0.1)

    def test_coverage(self):
        draw = torch.Generator().manual_seed(2)
        hits = 0
        for _ in range(200):
            found = bootstrap(torch.rand(50, generator=draw), resamples=300)
            hits += found.low <= 0.5 <= found.high
        assert 180 <= hits <= 199  # 95 % of 200 are 190

    def test_two_values_have_three_means(self):
        """0 and 1: means 0, ½, 1 with chances ¼, ½, ¼."""
        assert bootstrap(torch.tensor([0.0, 1.0]), confidence=0.4).low == 0.5
        assert bootstrap(torch.tensor([0.0, 1.0]), confidence=0.6).low == 0.0

    def test_the_seed_decides_and_the_global_state_is_left(self):
        values = torch.rand(30)
        state = torch.get_rng_state()
        one, same, other = bootstrap(values), bootstrap(values), bootstrap(values, seed=1)
        assert one == same != other
        assert torch.equal(torch.get_rng_state(), state)

    def test_many_values_are_drawn_in_chunks(self):
        values = torch.arange(2**19 + 1) % 2
        found = bootstrap(values, resamples=5)
        assert found.low < found.mean < found.high
        assert found.high - found.low < 0.01

    def test_nan_is_left_out(self):
        found = bootstrap(torch.tensor([NAN, 2.0, NAN, 2.0]))
        assert (found.mean, found.low, found.high, found.count) == (2, 2, 2, 2)
        assert str(found) == "2.000 [2.000, 2.000]"
        empty = bootstrap(torch.tensor([NAN]))
        assert empty.count == 0
        assert math.isnan(empty.mean)

    @pytest.mark.parametrize("wrong", [{"confidence": 1.0}, {"confidence": 0.0}, {"resamples": 0}])
    def test_errors(self, wrong):
        with pytest.raises(ValueError, match="Expected `confidence` in"):
            bootstrap(torch.rand(3), **wrong)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.floats(-100, 100))
    def test_inside_the_values_and_moves_with_them(self, values, shift):
        values = torch.tensor(values, dtype=torch.float64)
        found, moved = bootstrap(values, resamples=50), bootstrap(values + shift, resamples=50)
        assert float(values.min()) - 1e-9 <= found.low <= found.high <= float(values.max()) + 1e-9
        assert moved.low == pytest.approx(found.low + shift, abs=1e-9)


class TestMeasurement:
    def test_mean_of_a_quantity(self):
        one = measured([1.0, NAN, 3.0])
        assert (one.main, len(one)) == ("area", 3)
        assert one.mean().mean == 2
        assert one.mean("other").mean == 5
        assert one.mean().count == 2
        for ask in (one.mean, lambda name: one.compare(one, name)):
            with pytest.raises(
                UnknownNameError, match="Expected a quantity of `toy`, got `aera`; did you mean `area`"
            ):
                ask("aera")

    def test_compare_is_paired(self):
        one, other = measured([1.0, 5.0, NAN, 2.0]), measured([0.5, 4.5, 1.0, NAN])
        found = one.compare(other)
        assert (found.mean, found.low, found.high, found.count) == (0.5, 0.5, 0.5, 2)
        assert other.compare(one).mean == -0.5
        assert one.compare(other, "other").mean == pytest.approx((0.75 + 4.75) / 2)

    def test_only_the_same_protocol_is_compared(self):
        one = measured([1.0], {"steps": 3, "share": (0.0, 1.0)})
        assert one.compare(measured([1.0], {"steps": 3, "share": [0.0, 1.0]})).mean == 0  # from JSON
        with pytest.raises(ValueError, match="by one protocol, got different steps; try the same parameters"):
            one.compare(measured([1.0], {"steps": 4, "share": (0.0, 1.0)}))
        with pytest.raises(ValueError, match="two measurements of one metric on the same images"):
            one.compare(measured([1.0, 2.0]))
        with pytest.raises(ValueError, match="two measurements of one metric"):
            one.compare(measured([1.0], metric="toys"))

    def test_merge(self):
        curve = torch.arange(6.0).reshape(3, 2)
        whole = measured([1.0, NAN, 3.0], drop=curve)
        parts = [measured([1.0], drop=curve[:1]), measured([NAN, 3.0], drop=curve[1:])]
        found = merge(parts)
        assert found.to_json() == whole.to_json()
        assert found.reasons == (None, "why", None)
        assert merge(parts[:1]).to_json() == parts[0].to_json()
        with pytest.raises(ValueError, match="at least one measurement"):
            merge([])
        with pytest.raises(ValueError, match="got different metric; try them apart"):
            merge([parts[0], measured([1.0], metric="other")])
        with pytest.raises(ValueError, match="got different steps, blur"):
            merge([parts[0], measured([1.0], {"steps": 2, "blur": 1})])

    def test_to_json(self):
        one = measured([1.0, NAN], {"blur": (11, 5.0), "of": None}, drop=torch.tensor([[1.0, NAN]] * 2))
        assert json.loads(json.dumps(one.to_json(), allow_nan=False)) == {
            "metric": "toy",
            "parameters": {"blur": [11, 5.0], "of": None},
            "better": {"area": "higher", "other": "lower"},
            "values": {"area": [1.0, None], "other": [1.0, None]},
            "reasons": [None, "why"],
            "curves": {"drop": [[1.0, None], [1.0, None]]},
        }
