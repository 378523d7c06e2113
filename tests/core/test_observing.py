"""Activations in passing are those that `capture` keeps, and nothing behind the last one runs."""

import torch
from tests.networks import PlainNet, wrap

from pellucid.core.capture import capture, observe
from pellucid.core.layers import INPUT


def seen(net, batch, layers):
    found = {}
    observe(net, batch, layers, lambda name, value: found.setdefault(name, value.clone()))
    return found


def test_it_shows_what_capture_keeps():
    net = wrap(PlainNet())
    batch = torch.randn(2, *net.input_shape)
    names = [layer.name for layer in net.layers]
    kept = capture(net, batch, names, gradients=False).activations
    found = seen(net, batch, names)
    assert found.keys() == kept.keys()
    assert all(torch.equal(found[name], kept[name]) for name in names)


def test_the_input_alone_needs_no_pass():
    net = wrap(PlainNet())
    batch = torch.randn(2, *net.input_shape)
    runs = []
    net.module.register_forward_pre_hook(lambda *_: runs.append(1))
    assert torch.equal(seen(net, batch, [INPUT])[INPUT], batch)
    assert not runs


def test_what_stands_behind_the_last_layer_is_not_run_and_no_hook_stays():
    net = wrap(PlainNet())
    names = [layer.name for layer in net.layers]
    last = dict(net.module.named_modules())[names[-1]]
    runs = []
    handle = last.register_forward_hook(lambda *_: runs.append(1))
    seen(net, torch.randn(1, *net.input_shape), names[:1])
    handle.remove()
    assert not runs
    assert not any(module._forward_hooks for module in net.module.modules())
