"""Passes are counted at the network, whoever makes them, and nothing is left behind."""

import copy

import pytest
import torch
from torch import nn

import pellucid as pl
from pellucid.core.counting import Passes, counting


class Small(nn.Module):
    """A stage with a shortcut that is written into, and a head."""

    def __init__(self, in_place=False):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(4, 2)
        self.in_place = in_place

    def forward(self, x):
        a = self.one(x)
        b = self.two(a)
        if self.in_place:
            a += b  # into what the first stage returned
        else:
            a = a + b
        return self.head(a.mean((2, 3)))


def network(**options):
    torch.manual_seed(0)
    return pl.load(Small(**options), input_shape=(3, 8, 8))


X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_forward_and_backward_passes_are_images():
    net = network()
    with counting(net) as cost:
        pl.capture(net, X, ["one", "two"])
    assert cost == Passes(forward=2, backward=2)
    with counting(net) as cost:
        pl.capture(net, X, ["one"], gradients=False)
        net(X[:1])
    assert cost == Passes(forward=3)


def test_a_graph_walked_twice_counts_twice():
    net = network()
    with counting(net) as cost:
        x = X.clone().requires_grad_()
        out = net.module(x)
        for unit in range(2):
            torch.autograd.grad(out[:, unit].sum(), x, retain_graph=True)
    assert cost == Passes(forward=2, backward=4)


def test_tails_are_counted_apart_with_their_gradients():
    net = network()
    tail = pl.Tail(net, X, "two")
    with counting(net) as cost, torch.no_grad():
        tail(tail.activation.repeat(3, 1, 1, 1))
    assert cost == Passes(tail=6)
    with counting(net) as cost:
        activation = tail.activation.clone().requires_grad_()
        torch.autograd.grad(tail(activation).sum(), activation)
    assert cost == Passes(tail=4)


def test_what_arithmetic_would_have_missed_is_counted():
    calls = []
    costs = {}
    for in_place in (False, True):
        net = network(in_place=in_place)
        handle = net.module.register_forward_pre_hook(lambda _module, given: calls.append(len(given[0])))
        calls.clear()
        with counting(net) as cost:
            pl.Tail(net, X[:1], "two")
        handle.remove()
        assert cost.forward + cost.tail == sum(calls)
        costs[in_place] = cost.forward + cost.tail
    assert costs[True] > costs[False]  # a stored output that is written into has to be checked again


def test_a_network_that_cannot_be_cut_is_counted_as_run_again():
    class Odd(Small):
        calls = 0

        def forward(self, x):
            Odd.calls += 1
            return super().forward(x) * Odd.calls

    torch.manual_seed(0)
    net = pl.load(Odd(), input_shape=(3, 8, 8))
    tail = pl.Tail(net, X[:1], "two")
    assert not tail.cut
    with counting(net) as cost, torch.no_grad():
        tail(tail.activation)
    assert cost == Passes(forward=1)


def test_copies_count_while_the_counting_lasts_and_nested_countings_both():
    net = network()
    with counting(net) as outer:
        net(X)
        with counting(net) as inner:
            twin = copy.deepcopy(net.module)
            twin(X)
    twin(X)
    net(X)
    assert (outer, inner) == (Passes(forward=4), Passes(forward=2))
    assert not net.module._forward_hooks
    assert not net.module._forward_pre_hooks


def test_an_error_inside_leaves_nothing_behind():
    net = network()
    with pytest.raises(ZeroDivisionError), counting(net):
        raise ZeroDivisionError
    assert not net.module._forward_hooks
    assert not net.module._forward_pre_hooks
