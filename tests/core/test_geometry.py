"""Receptive fields against probing, and upsampling against a literal twin."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from pellucid.core.fields import Field, FieldTracer, field_of, made_by, seed
from pellucid.core.geometry import Geometry, interpolation, upsample
from pellucid.core.layers import Layer
from pellucid.core.results import Heatmap

SIDE = 33


def traced(module, side=SIDE):
    with torch.no_grad(), FieldTracer():
        out = module(seed(torch.zeros(1, 1, side, side)))
    return out, field_of(out)


def reached(module, side=SIDE):
    """For either axis, which input rows (columns) change every output row (column): NaN is put there and
    spreads."""
    probe = torch.zeros(2 * side, 1, side, side)
    for line in range(side):
        probe[line, :, line, :] = math.nan
        probe[side + line, :, :, line] = math.nan
    with torch.no_grad():
        spread = module(probe).isnan().any(1)
    return spread[:side].any(2).T, spread[side:].any(1).T  # [cell, input line]


def extremes(lines):
    found = lines.nonzero().flatten().tolist()
    return (found[0], found[-1]) if found else None


def check(module, side=SIDE, exact=True):
    """Start and size against probing: equal where the field lies inside the input, else containing."""
    module = module.eval()
    _, field = traced(module, side)
    inside = 0
    for axis, lines in enumerate(reached(module, side)):
        half = (field.geometry.size[axis] - 1) / 2
        for cell in range(lines.shape[0]):
            center = field.geometry.start[axis] + cell * field.geometry.stride[axis]
            low, high = center - half, center + half
            found = extremes(lines[cell])
            if found is None:
                continue
            if exact and low >= 0 and high <= side - 1:
                assert found == (low, high), (axis, cell, field)
                inside += 1
            else:
                slack = 1e-6 if exact else max(field.geometry.stride[axis], 1)
                assert found[0] >= low - slack, (axis, cell, field)
                assert found[1] <= high + slack, (axis, cell, field)
    return inside


kernels = st.tuples(st.integers(1, 4), st.integers(1, 4))
small = st.tuples(st.integers(1, 3), st.integers(1, 3))


class Slice(nn.Module):
    def __init__(self, first, step):
        super().__init__()
        self.first, self.step = first, step

    def forward(self, x):
        return x[:, :, self.first :, :: self.step]


@st.composite
def layers(draw):
    kind = draw(st.sampled_from(["conv", "conv", "max", "avg", "pad", "same", "slice", "branches"]))
    kernel, stride, dilation = draw(kernels), draw(small), draw(small)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    if kind == "conv":
        return nn.Conv2d(1, 1, kernel, stride, padding, dilation)
    if kind == "max":
        return nn.MaxPool2d(kernel, stride, padding, draw(small), ceil_mode=draw(st.booleans()))
    if kind == "avg":
        return nn.AvgPool2d(kernel, stride, padding)
    if kind == "pad":
        return nn.ZeroPad2d(tuple(draw(st.integers(0, 2)) for _ in range(4)))
    if kind == "same":
        return nn.Conv2d(1, 1, kernel, padding="same", dilation=dilation)
    if kind == "slice":
        return Slice(0, draw(st.integers(1, 3)))  # what is cropped off could come back as padding
    odd = (2 * draw(st.integers(0, 2)) + 1, 2 * draw(st.integers(0, 2)) + 1)
    return Branches(odd, draw(st.integers(0, 1)))


class Branches(nn.Module):
    """A residual sum of the identity, a convolution, and one that looks to one side only."""

    def __init__(self, kernel, shift):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
        self.side, self.shift = nn.Conv2d(1, 1, (1 + shift, 1)), shift

    def forward(self, x):
        return x + self.conv(x) + self.side(F.pad(x, (0, 0, self.shift, 0)))


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
@settings(max_examples=60, deadline=None)
@given(st.lists(layers(), min_size=1, max_size=4))
def test_fields_of_random_networks_equal_what_probing_finds(stack):
    module = nn.Sequential(*stack)
    try:
        module(torch.zeros(1, 1, SIDE, SIDE))
    except RuntimeError:  # the kernel no longer fits, or this padding is not allowed
        return
    check(module)


@pytest.mark.parametrize(
    "module",
    [
        nn.AdaptiveAvgPool2d(11),
        nn.AdaptiveMaxPool2d((3, 33)),
        nn.Sequential(
            nn.Conv2d(1, 1, 3, 2, 1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1), nn.Conv2d(1, 1, 3)
        ),
        nn.Sequential(nn.Conv2d(1, 1, 3, padding=2, dilation=2), nn.LPPool2d(1, 2, 2)),
        nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"),
        nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), Slice(2, 2), nn.Conv2d(1, 1, 3)),
    ],
    ids=["adaptive", "adaptive max", "stem", "dilated", "reflect", "slices"],
)
def test_fields_of_named_layers_are_exact(module):
    assert check(module) > 0


@pytest.mark.parametrize(
    "module",
    [
        nn.AdaptiveAvgPool2d(7),
        nn.ConvTranspose2d(1, 1, 4, 2, 1),
        nn.ConvTranspose2d(1, 1, 3, 2, 1, output_padding=1, dilation=2),
        nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        nn.Sequential(nn.Conv2d(1, 1, 3, 2), nn.ConvTranspose2d(1, 1, 2, 2)),
    ],
    ids=["adaptive 7", "transposed", "transposed dilated", "nearest", "bilinear", "corners", "down and up"],
)
def test_fields_of_cells_that_differ_hold_what_probing_finds(module):
    check(module, exact=False)
    _, field = traced(module)
    rows = reached(module)[0]
    widest = max(high - low + 1 for low, high in filter(None, map(extremes, rows)))
    # the size is that of the widest cell; bilinear weights of zero hide one tap from probing, never show more
    assert widest <= field.geometry.size[0] <= widest + field.geometry.stride[0] + 1


def test_transposed_convolution_has_finer_stride_and_the_grid_back():
    _, field = traced(nn.Sequential(nn.Conv2d(1, 1, 2, 2), nn.ConvTranspose2d(1, 1, 2, 2)))
    assert field.geometry.stride == (1.0, 1.0)
    assert field.geometry.start == (0.0, 0.0)
    assert field.geometry.size == (2.0, 2.0)


def test_hand_computed_stem_of_resnet():
    _, field = traced(
        nn.Sequential(nn.Conv2d(1, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, padding=1))
    )
    assert field == Field(Geometry((4.0, 4.0), (0.0, 0.0), (19.0, 19.0)), (2, 3))


def _shuffled(x):
    x = x.repeat(1, 4, 1, 1)
    return x.view(1, 2, 2, SIDE, SIDE).transpose(1, 2).reshape(1, 4, SIDE, SIDE)


def _last(x):
    return F.layer_norm(F.linear(x.permute(0, 2, 3, 1), torch.ones(6, 1)), (6,)).permute(0, 3, 1, 2)


def _gated(x):
    return x * torch.sigmoid(F.adaptive_avg_pool2d(x, 1))


@pytest.mark.parametrize(
    "function",
    [_shuffled, _last, _gated,
     lambda x: torch.cat([x, x], 1)[:, 1:],
     lambda x: x.repeat(1, 3, 1, 1)[:, [2, 0]],
     lambda x: torch.cat(x.repeat(1, 4, 1, 1).chunk(2, 1), 1), lambda x: torch.stack([x, x]).sum(0),
     lambda x: torch.cat([x[:, 0][:, None], torch.unsqueeze(x[:, 0], 1)], 1), lambda x: x[None, ..., :][0],
     lambda x: x.relu_()],
)  # fmt: skip
def test_plain_functions_keep_the_grid(function):
    _, field = traced(nn.Sequential(nn.Identity()) if function is None else function)
    assert field == Field(Geometry(), (2, 3))


@pytest.mark.parametrize(
    "function",
    [lambda x: x.flatten(1), lambda x: x.mean((2, 3)), lambda x: x.flatten(2), lambda x: x.transpose(2, 3),
     lambda x: x @ torch.ones(SIDE, SIDE), lambda x: x[0, 0, 0], lambda x: x[:, :, [3, 1, 2]],
     lambda x: x[x >= 0], lambda x: x[:, :, 0]],
)  # fmt: skip
def test_functions_that_lose_the_grid_say_so(function):
    assert traced(function)[1] is None


def test_tracing_leaves_nothing_on_the_tensors_of_the_user():
    module = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1)).eval()
    with torch.no_grad(), FieldTracer():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.contiguous()  # returns the very same tensor
        module(seed(torch.zeros(1, 1, 9, 9)))
    assert all(not vars(tensor) for tensor in (*module.parameters(), *module.buffers()))
    assert all(field_of(tensor) is None for tensor in module.parameters())


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: F.softmax(x.flatten(1), 1).view(1, -1), "softmax"),
        (lambda x: torch.sigmoid(x.mean((2, 3))).squeeze(), "sigmoid"),
        (lambda x: torch.sigmoid(x).mean((2, 3)), "mean"),
        (lambda x: x.mean((2, 3)).float(), "mean"),
    ],
)
def test_made_by_looks_through_reshapes(function, name):
    assert made_by(traced(function)[0]) == name


def literal(values, geometry, input_size, size):
    """Bilinear upsampling pixel by pixel, in words: how far between which two centers does a pixel lie."""
    b, h, w = values.shape
    out = torch.zeros(b, *size, dtype=torch.float64)
    for y in range(size[0]):
        for x in range(size[1]):
            places = []
            for axis, (pixel, cells) in enumerate(((y, h), (x, w))):
                at = (pixel + 0.5) * input_size[axis] / size[axis] - 0.5
                cell = min(max((at - geometry.start[axis]) / geometry.stride[axis], 0), cells - 1)
                low = math.floor(cell)
                places.append((low, min(low + 1, cells - 1), cell - low))
            (top, bottom, down), (left, right, along) = places
            upper = values[:, top, left] * (1 - along) + values[:, top, right] * along
            lower = values[:, bottom, left] * (1 - along) + values[:, bottom, right] * along
            out[:, y, x] = upper * (1 - down) + lower * down
    return out


geometries = st.builds(
    Geometry,
    stride=st.tuples(st.floats(0.5, 9), st.floats(0.5, 9)),
    start=st.tuples(st.floats(-5, 9), st.floats(-5, 9)),
)
sizes = st.tuples(st.integers(1, 14), st.integers(1, 14))


@settings(max_examples=40, deadline=None)
@given(geometries, sizes, sizes, st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_upsample_equals_its_literal_twin(geometry, input_size, size, grid):
    values = torch.randn(2, *grid, dtype=torch.float64)
    torch.testing.assert_close(
        upsample(values, geometry, input_size, size),
        literal(values, geometry, input_size, size),
        rtol=0,
        atol=1e-9,
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.floats(-20, 40), st.floats(0.3, 40), st.integers(1, 64), st.integers(1, 64))
def test_interpolation_rows_are_convex(cells, start, stride, extent, pixels):
    weights = interpolation(cells, start, stride, extent, pixels)
    torch.testing.assert_close(weights.sum(1), torch.ones(pixels, dtype=torch.float64))
    assert bool((weights >= 0).all())
    assert bool(((weights > 0).sum(1) <= 2).all())


@settings(max_examples=30, deadline=None)
@given(geometries, st.floats(-3, 3), st.floats(-3, 3))
def test_linear_functions_are_reproduced_between_the_centers(geometry, slope, rise):
    rows = geometry.start[0] + torch.arange(4, dtype=torch.float64) * geometry.stride[0]
    columns = geometry.start[1] + torch.arange(5, dtype=torch.float64) * geometry.stride[1]
    shown = upsample((slope * rows[:, None] + rise * columns)[None], geometry, (40, 40), (40, 40))[0]
    line = torch.arange(40, dtype=torch.float64)
    expected = slope * line.clamp(rows[0], rows[-1])[:, None] + rise * line.clamp(columns[0], columns[-1])
    torch.testing.assert_close(shown, expected, rtol=0, atol=1e-9)


def test_upsample_keeps_precision_and_place():
    values = torch.rand(1, 3, 3, dtype=torch.float32)
    whole = Geometry((4.0, 4.0), (1.5, 1.5), (4.0, 4.0))
    assert upsample(values, whole, (12, 12), (24, 24)).dtype == torch.float32
    # cells that tile the input: the same as the usual half-pixel bilinear resize
    usual = F.interpolate(values[None], (12, 12), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(upsample(values, whole, (12, 12), (12, 12)), usual)


def test_region_is_the_clipped_field():
    geometry = Geometry((4.0, 8.0), (0.0, 3.5), (7.0, 16.0))
    assert geometry.center(2, 1) == (8.0, 11.5)
    assert geometry.region(2, 1, (32, 32)) == (5, 4, 12, 20)
    assert geometry.region(0, 0, (32, 32)) == (0, 0, 4, 12)
    assert geometry.region(99, 99, (32, 32)) == (32, 32, 32, 32)


class TestEffectiveCenters:
    """The grid balanced about the middle of the picture, where padding leaves it hanging."""

    @pytest.mark.parametrize(
        ("stride", "start", "cells", "extent", "expected"),
        [
            (32.0, 0.0, 7, 224, 15.5),  # ResNet, last stage: hangs by half a stride
            (16.0, 7.5, 14, 224, 7.5),  # VGG: balanced already
            (16.0, 17.0, 13, 224, 17.0),  # SqueezeNet: balanced within a tenth of its stride
            (4.0, 40.0, 8, 224, 40.0),  # a network that crops: left alone
            (1.0, 0.0, 32, 32, 0.0),
        ],
    )
    def test_known_networks(self, stride, start, cells, extent, expected):
        geometry = Geometry((stride, stride), (start, start), (9.0, 9.0))
        found = geometry.effective((cells, cells), (extent, extent))
        assert found == Geometry((stride, stride), (expected, expected), (9.0, 9.0))

    @given(
        stride=st.sampled_from([2.0, 4.0, 8.0, 16.0]),
        lean=st.floats(-1, 1),
        cells=st.tuples(st.integers(1, 9), st.integers(1, 9)),
        extent=st.tuples(st.integers(10, 99), st.integers(10, 99)),
    )
    def test_balance_is_within_a_tenth_of_a_stride_and_stays(self, stride, lean, cells, extent):
        balanced = [(extent[a] - 1) / 2 - (cells[a] - 1) / 2 * stride for a in (0, 1)]
        start = (balanced[0] + lean * stride, balanced[1] - lean * stride)
        found = Geometry((stride, stride), start).effective(cells, extent)
        for axis in (0, 1):
            assert abs(found.start[axis] - balanced[axis]) <= 0.1 * stride * (1 + 1e-9)
        again = found.effective(cells, extent)
        assert again.start == pytest.approx(found.start)

    def test_a_heatmap_offers_both_anchors_and_mirrors_on_a_hanging_grid(self):
        layer = Layer("layer4", "Sequential", (1, 3, 3), Geometry((8.0, 8.0), (0.0, 0.0), (9.0, 9.0)))
        values = torch.rand(2, 3, 3, dtype=torch.float64)
        heatmap = Heatmap(values, layer, "layercam", (24, 24), ("ok", "ok"))
        mirrored = Heatmap(values.flip(2), layer, "layercam", (24, 24), ("ok", "ok"))
        assert torch.allclose(heatmap.upsample().flip(2), mirrored.upsample())
        assert not torch.allclose(
            heatmap.upsample(anchor="nominal").flip(2), mirrored.upsample(anchor="nominal")
        )
        assert heatmap.upsample(anchor="nominal")[0, 8, 16] == values[0, 1, 2]
        with pytest.raises(
            ValueError, match=r'Expected `anchor` to be "effective" or "nominal", got \'center\''
        ):
            heatmap.upsample(anchor="center")
