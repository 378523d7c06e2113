"""Hooks at the n-th call of a module, for one thread."""

import contextlib
import threading

import pytest
import torch
from torch import nn

from pellucid.core.hooks import Enough, Intercept, at_calls, replaced
from pellucid.core.layers import Call


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.same = nn.Identity()

    def forward(self, x):
        return self.same(self.same(x) + 1) + 1


def call(number, module="same"):
    return Call(module, number, None, 1, None, False, 0)


def test_the_call_that_is_asked_for():
    module, seen = Twice(), []

    def act(keys, args, output):
        seen.append((keys, float(args[0]), float(output)))
        return output * 10 if "second" in keys else None

    x = torch.zeros(())
    with at_calls(module, {"second": call(1), "first": call(0), "again": call(1), "input": None}, act):
        assert float(module(x)) == 11
    assert seen == [(["first"], 0.0, 0.0), (["second", "again"], 1.0, 1.0)]
    assert float(module(x)) == 2
    assert not module.same._forward_hooks


def test_a_pass_can_be_ended():
    module = Twice()

    def stop(*_):
        raise Enough

    with contextlib.suppress(Enough), at_calls(module, {0: call(0)}, stop):
        module(torch.zeros(()))
        pytest.fail("it went on")
    assert not module.same._forward_hooks


def test_other_threads_do_not_count():
    module, seen = Twice(), []
    with at_calls(module, {0: call(0), 1: call(1)}, lambda keys, *_: seen.append(keys)):
        other = threading.Thread(target=module, args=(torch.zeros(()),))
        other.start()
        other.join()
        assert seen == []
        module(torch.zeros(()))
    assert seen == [[0], [1]]


def test_a_forward_method_is_put_back():
    child = nn.Identity()
    with replaced(child, lambda x: x + 1):
        assert child(1) == 2
    assert "forward" not in vars(child)
    own = child.forward = lambda x: x + 5
    with pytest.raises(KeyError), replaced(child, lambda x: x + 1):
        raise KeyError
    assert vars(child)["forward"] is own


def test_operations_are_handed_over_in_one_form():
    class Noting(Intercept):
        def __init__(self):
            super().__init__()
            self.seen = []

        def call(self, func, name, args, kwargs):
            self.seen.append((name, len(args), sorted(kwargs)))
            return func(*args, **kwargs)

    x = torch.zeros(1, 1, 3, 3)
    with Noting() as mode, torch.no_grad():
        nn.functional.conv2d(input=x, weight=x)
        x.add_(1)
        torch.Tensor.relu(x)
    assert mode.seen == [("conv2d", 1, ["weight"]), ("add_", 2, []), ("relu", 1, [])]
