"""Slow, literal float64 versions of the pieces of activation maximization, written from their formulas alone (NumPy)."""

import numpy as np

KERNEL = np.array([1, 4, 6, 4, 1]) / 16


def _mirrored(position, length):
    """… c b | a b c …"""
    while not 0 <= position < length:
        position = -position if position < 0 else 2 * (length - 1) - position
    return position


def smooth(plane):
    h, w = plane.shape
    out = np.zeros((h, w))
    for y in range(h):
        for x in range(w):
            for i in range(5):
                for j in range(5):
                    at = plane[_mirrored(y + i - 2, h), _mirrored(x + j - 2, w)]
                    out[y, x] += KERNEL[i] * KERNEL[j] * at
    return out


def reduce(plane):
    return smooth(plane)[::2, ::2]


def expand(plane, size):
    spread, weight = np.zeros(size), np.zeros(size)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            spread[2 * y, 2 * x], weight[2 * y, 2 * x] = plane[y, x], 1
    return smooth(spread) / smooth(weight)


def split(plane, levels):
    bands = []
    for _ in range(levels - 1):
        coarser = reduce(plane)
        bands.append(plane - expand(coarser, plane.shape))
        plane = coarser
    return [*bands, plane]


def balanced(picture, levels, weights):
    """One picture [channel h w]: bands over their RMS over all channels, weighted, added up, over the RMS of the sum."""
    pyramids = [split(plane, levels) for plane in picture]
    total = np.zeros(picture.shape)
    for level in range(levels):
        size = np.sqrt(np.mean([pyramid[level] ** 2 for pyramid in pyramids]))
        for channel, pyramid in enumerate(pyramids):
            band = weights[level] * pyramid[level] / size
            for finer in range(level - 1, -1, -1):
                band = expand(band, pyramid[finer].shape)
            total[channel] += band
    return total / np.sqrt((total**2).mean())


def picture_of(coefficients, size):
    """irfft2 written as a sum over all frequencies of a real picture; coefficients [h half] complex."""
    h, w = size
    y, x = np.mgrid[:h, :w]
    out = np.zeros(size)
    for v in range(h):
        for u in range(w // 2 + 1):
            wave = np.exp(2j * np.pi * (v * y / h + u * x / w))
            # a column that has no mirror image counts once; of it only the even part is a real picture's
            once = u == 0 or (w % 2 == 0 and u == w // 2)
            out += (coefficients[v, u] * wave).real * (1 if once else 2)
    return out / np.sqrt(h * w)


def colored(values):
    """[3 h w] of uncorrelated coordinates to colors."""
    root = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    root = root / np.sqrt((root**2).sum(0)).max()
    return 1 / (1 + np.exp(-np.tensordot(root, values, 1)))


def gaussian(plane, sigma):
    reach = max(1, int(3 * sigma + 0.5))
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    taps /= taps.sum()
    h, w = plane.shape
    out = np.zeros((h, w))
    for y in range(h):
        for x in range(w):
            for i, a in enumerate(taps):
                for j, b in enumerate(taps):
                    out[y, x] += a * b * plane[_mirrored(y + i - reach, h), _mirrored(x + j - reach, w)]
    return out


def regularized(x, g, step, settings):
    """Yosinski's four regularizers on one picture [channel h w] around zero."""
    decay, blur, every, norm, contribution = settings
    x = x * (1 - decay)
    if every and blur and step % every == 0:
        x = np.stack([gaussian(plane, blur) for plane in x])
    if norm:
        size = np.sqrt((x**2).sum(0))
        x = np.where(size < np.percentile(size, norm), 0, x)
    if contribution:
        size = np.abs((x * g).sum(0))
        x = np.where(size < np.percentile(size, contribution), 0, x)
    return x
