"""Rules written out literally over the matrix of an affine map, in float64, one output at a time."""

import torch


def matrix_of(linear, x, weight):
    """[input, output] matrix of a map that is linear in x, for one image, by trying every unit vector."""
    basis = torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape)
    return torch.stack([linear.forward(unit[None], weight)[0].flatten() for unit in basis])


def shared_by(contributions, relevance):
    """Relevance of inputs (and bias) for one output, in proportion to contributions."""
    total = contributions.sum()
    return contributions / total * relevance if total != 0 else torch.zeros_like(contributions)


def epsilon(x, w, b, relevance, low, high):
    return shared_by(torch.cat([x * w, b[None]]), relevance)


def gamma(x, w, b, relevance, low, high, factor=0.25):
    c = torch.cat([x * w, b[None]])
    own = c.clamp(min=0) if c.sum() >= 0 else c.clamp(max=0)
    return shared_by(c + factor * own, relevance)


def alpha_beta(x, w, b, relevance, low, high, alpha=2.0, beta=1.0):
    c = x * w
    positive, negative = c.clamp(min=0), c.clamp(max=0)
    if not negative.any():
        alpha, beta = 1.0, 0.0
    elif not positive.any():
        alpha, beta = 0.0, -1.0
    return torch.cat(
        [alpha * shared_by(positive, relevance) - beta * shared_by(negative, relevance), torch.zeros(1)]
    )


def z_plus(x, w, b, relevance, low, high):
    return alpha_beta(x, w, b, relevance, low, high, 1.0, 0.0)


def z_box(x, w, b, relevance, low, high):
    c = x * w - low * w.clamp(min=0) - high * w.clamp(max=0)
    return torch.cat([shared_by(c, relevance), torch.zeros(1)])


def w_square(x, w, b, relevance, low, high):
    return torch.cat([shared_by(w**2, relevance), torch.zeros(1)])


def flat(x, w, b, relevance, low, high, connected=None):
    return torch.cat([shared_by(connected, relevance), torch.zeros(1)])


def by_hand(rule, linear, x, weight, bias, arriving, low, high):
    """Relevance of one image's input, and of the bias at every output."""
    matrix = matrix_of(linear, x, weight)
    connected = matrix_of(linear, x, torch.ones_like(weight))
    offsets = linear.over_outputs(bias, arriving.ndim + 1).expand(1, *arriving.shape).flatten()
    low, high = (bound.expand(x.shape).flatten() for bound in (low, high))
    total, kept = torch.zeros(x.numel(), dtype=x.dtype), torch.zeros_like(offsets)
    for k, relevance in enumerate(arriving.flatten()):
        more = {"connected": connected[:, k]} if rule is flat else {}
        found = rule(x.flatten(), matrix[:, k], offsets[k], relevance, low, high, **more)
        total += found[:-1]
        kept[k] = found[-1]
    return total.view_as(x), kept.view_as(arriving)
