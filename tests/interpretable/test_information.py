"""The loss against slow twins in float64, straight from the formulas, and that going down on it raises the information."""

import math

import pytest
import torch

from pellucid.interpretable import Masking, Templates, learning
from pellucid.zoo.interpretable.information import mutual_information
from pellucid.zoo.interpretable.templates import bank, positions, prior, tau

GRID = (3, 3)
BATCH, FILTERS = 5, 2


def maps(seed=0, batch=BATCH, filters=FILTERS, grid=GRID, scale=40.0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, filters, *grid, generator=draw, dtype=torch.float64)
    return (x.square() * scale).requires_grad_()


def literal_templates(grid, beta, norm):
    """All T_μ, then T⁻, as plain lists of lists."""
    height, width = grid
    n, found = max(grid), []
    for row in range(height):
        for column in range(width):
            cell = []
            for i in range(height):
                for j in range(width):
                    gap = abs(i - row) + abs(j - column) if norm == "l1" else math.hypot(i - row, j - column)
                    cell.append(tau(grid) * max(1 - beta * gap / n, -1))
            found.append(cell)
    return [*found, [-tau(grid)] * (height * width)]


def literal_priors(grid):
    cells = grid[0] * grid[1]
    return [prior(grid) / cells] * cells + [1 - prior(grid)]


def literal_information(x, grid, beta, norm):
    """MI(X; T) of one filter's maps by the double sum of the definition."""
    templates, priors = literal_templates(grid, beta, norm), literal_priors(grid)
    rows = [row.flatten().tolist() for row in x]
    raw = [[math.exp(sum(a * b for a, b in zip(row, t, strict=True))) for row in rows] for t in templates]
    likelihood = [[each / sum(of_t) for each in of_t] for of_t in raw]
    px = [sum(p * likelihood[t][k] for t, p in enumerate(priors)) for k in range(len(rows))]
    return sum(
        p * likelihood[t][k] * math.log(likelihood[t][k] / px[k])
        for t, p in enumerate(priors)
        for k in range(len(rows))
    )


def literal_gradient(x, own, grid, beta, norm, place):
    """∂Loss/∂x of every map of one filter: −p(T̂) p(x|T̂) (log(p(x|T̂)/p(x)) + 1) T̂, Z a mean over the maps, over the batch."""
    templates, priors = literal_templates(grid, beta, norm), literal_priors(grid)
    rows = [row.flatten().tolist() for row in x]
    fit = [[sum(a * b for a, b in zip(row, t, strict=True)) for t in templates] for row in rows]
    z = [sum(math.exp(each[t]) for each in fit) / len(rows) for t in range(len(templates))]
    found = []
    for k in range(len(rows)):
        t = place[k] if own[k] else len(templates) - 1
        px = sum(p * math.exp(fit[k][s]) / z[s] for s, p in enumerate(priors))
        likelihood = math.exp(fit[k][t]) / z[t]
        factor = -priors[t] * likelihood * (math.log(likelihood / px) + 1) / len(rows)
        found.append([factor * each for each in templates[t]])
    return torch.tensor(found, dtype=torch.float64).view(len(rows), *grid)


def taught(x, labels, templates, classes=1, epoch=1):
    masking = Masking(x.shape[1], tuple(x.shape[2:]), classes, templates, "layer").double().train()
    with learning(labels, epoch) as lesson:
        masking(x)
    return lesson, masking


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_mutual_information_is_the_definition(norm):
    x = maps().detach()
    found = mutual_information(x, bank(GRID, 4.0, norm, torch.float64))
    for index in range(FILTERS):
        wanted = literal_information(x[:, index], GRID, 4.0, norm)
        assert float(found[index]) == pytest.approx(wanted, rel=1e-10)
    assert float(found.min()) > 0


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("position", ["argmax", "centroid"])
def test_the_gradient_is_the_double_loop(norm, position):
    x = maps()
    labels = torch.tensor([1, 0, 1, 1, 0])
    templates = Templates(norm=norm, position=position, beta=3.0, weight=2.0)
    lesson, masking = taught(x, labels, templates, epoch=4)
    (found,) = torch.autograd.grad(lesson.loss(), x)
    strength = (
        2.0 * float(x.detach().amax((2, 3)).mean()) / 4
    )  # λ = weight · mean strongest activation / epoch
    row, column = positions(x.detach(), position)
    for index in range(FILTERS):
        place = (row * GRID[1] + column)[:, index].tolist()
        wanted = literal_gradient(x[:, index].detach(), labels.tolist(), GRID, 3.0, norm, place)
        torch.testing.assert_close(found[:, index], strength * wanted, rtol=1e-8, atol=1e-14)
    assert int(masking.steps) == 1


def test_temperature_divides_what_is_compared():
    x, labels = maps(), torch.tensor([1, 0, 1, 1, 0])
    lesson, _ = taught(x, labels, Templates(temperature=4.0))
    other = (x.detach() / 4).requires_grad_()
    reference, _ = taught(other, labels, Templates(weight=4.0))  # λ goes with the activation, here a fourth
    torch.testing.assert_close(lesson.loss(), reference.loss())


def test_going_down_on_the_loss_raises_the_information():
    """The sign: with the printed gradient the information would fall."""
    x = maps(3, batch=12)
    labels = torch.ones(12, dtype=torch.long)
    labels[6:] = 0
    table = bank(GRID, 4.0, "l2", torch.float64)
    before = mutual_information(x.detach(), table).sum()
    lesson, _ = taught(x, labels, Templates())
    (slope,) = torch.autograd.grad(lesson.loss(), x)
    step = 0.02 / float(slope.abs().max())
    down = mutual_information((x.detach() - step * slope).clamp_min(0), table).sum()
    up = mutual_information((x.detach() + step * slope).clamp_min(0), table).sum()
    assert float(down) > float(before) > float(up)


def test_running_estimates_move_by_a_tenth():
    first, second = maps(1).detach(), maps(2).detach()
    labels = torch.tensor([1, 0, 1, 1, 0])
    masking = Masking(FILTERS, GRID, 1, Templates(), "layer").double().train()
    table = bank(GRID, 4.0, "l2", torch.float64)

    def mean(x):
        return (x.flatten(2) @ table.T).exp().mean(0)

    for x in (first, second):
        with learning(labels):
            masking(x)
    torch.testing.assert_close(masking.log_z.exp(), 0.9 * mean(first) + 0.1 * mean(second))


def test_a_filter_is_of_the_class_that_excites_it_most():
    x = torch.zeros(4, 2, *GRID, dtype=torch.float64)
    x[0, 0, 1, 1] = x[1, 1, 2, 2] = 3.0
    x[2:, :, 0, 0] = 1.0
    labels = torch.tensor([2, 0, 1, 1])
    lesson, masking = taught(x.requires_grad_(), labels, Templates(), classes=4)
    assert masking.filter_classes().tolist() == [2, 0]
    assert masking.evidence[:, 3].tolist() == [-1, -1]  # a class not seen yet
    (slope,) = torch.autograd.grad(lesson.loss(), x)
    assert (
        float(slope[0, 0, 1, 1]) < 0 < float(slope[0, 1].min())
    )  # its own class: up at the peak; others: down
    with learning(labels):
        masking(2 * x.detach())
    torch.testing.assert_close(masking.evidence[0, 2], torch.tensor(0.9 * 3 + 0.1 * 6, dtype=torch.float64))


def literal_released(x, own, norm, sharpness, classes, epoch):
    """The released code's gradient, picture by picture and filter by filter, on axes from −1 to 1."""
    batch, filters, height, width = x.shape
    rows, columns = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    row, column = positions(x, "centroid")
    masks = torch.empty_like(x)
    for b in range(batch):
        for f in range(filters):
            for i in range(height):
                for j in range(width):
                    vertical = abs(float(rows[i] - rows[row[b, f]]))
                    horizontal = abs(float(columns[j] - columns[column[b, f]]))
                    gap = vertical + horizontal if norm == "l1" else math.hypot(vertical, horizontal)
                    masks[b, f, i, j] = max(1 - float(sharpness[f]) * gap, -1)
    mixed = masks.flip(0).flip(1)
    found = torch.zeros_like(x)
    here, absent = (0.5 * classes, 0.5 / (1 - 1 / classes)) if classes > 1 else (1.0, 1.0)
    for f in range(filters):
        z = 0.5 * math.log(
            sum(math.exp(2 * float((x[b, f] * mixed[b, f]).mean())) for b in range(batch)) / batch
        )
        none = 0.5 * math.log(sum(math.exp(-2 * float(x[b, f].mean())) for b in range(batch)) / batch)
        for sign, weight in ((1, here), (-1, absent)):
            among = [b for b in range(batch) if bool(own[b, f]) == (sign > 0)]
            raw = {}
            for b in among:
                s = float((x[b, f] * masks[b, f]).mean()) if sign > 0 else -float(x[b, f].mean())
                raw[b] = math.exp(2 * s) * (s - (z if sign > 0 else none) + 0.5)
            for b in among:
                strength = raw[b] / (sum(raw.values()) / len(raw))
                pull = -masks[b, f] if sign > 0 else torch.ones_like(masks[b, f])
                found[b, f] = pull * strength * weight * 1e-3 / epoch / batch
    return found


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("classes", [1, 3])
def test_the_released_gradient_is_that_of_their_code(norm, classes):
    x = maps(5, scale=4.0)
    labels = torch.tensor([1, 0, 1, 1, 0]) if classes == 1 else torch.tensor([1, 0, 2, 1, 0])
    templates = Templates(norm=norm, mode="released", position="centroid")
    lesson, masking = taught(x, labels, templates, classes, epoch=2)
    own = (
        (labels[:, None] > 0).expand(-1, FILTERS)
        if classes == 1
        else labels[:, None] == masking.filter_classes()
    )
    (found,) = torch.autograd.grad(lesson.loss(), x)
    wanted = literal_released(x.detach(), own, norm, [2.0] * FILTERS, classes, 2)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-10)


def test_sharpness_moves_towards_three_over_the_spread():
    wide = torch.zeros(2, 1, 7, 7, dtype=torch.float64)
    wide[:, :, 3, 1] = wide[:, :, 3, 5] = 1.0  # two cells from the centroid: 3/2 = 1.5, from 2.0
    _, masking = taught(
        wide, torch.tensor([1, 1]), Templates(mode="released", position="centroid", sharpness=2.0)
    )
    assert float(masking.sharpness) == pytest.approx(0.9 * 2.0 + 0.1 * 1.5)
    sharp = torch.zeros(2, 1, 7, 7, dtype=torch.float64)
    sharp[:, :, 3, 3] = 1.0  # all on one cell: at most 3
    _, masking = taught(
        sharp, torch.tensor([1, 0]), Templates(mode="released", position="centroid", sharpness=2.0)
    )
    assert float(masking.sharpness) == pytest.approx(0.9 * 2.0 + 0.1 * 3)
    empty = torch.zeros(2, 1, 7, 7, dtype=torch.float64)
    lesson, masking = taught(empty, torch.tensor([1, 0]), Templates(mode="released", position="centroid"))
    assert float(masking.sharpness) == 2.0
    assert bool(lesson.loss().isfinite())
