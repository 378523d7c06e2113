"""Part interpretability and location instability as the paper says them, cell by cell and pixel by pixel, in float64."""

import math


def measured(maps, kinds, masks, landmarks, keys, geometry, size, *, quantile, iou, most, region):
    """``maps`` [picture filter h w]; ``masks`` and ``landmarks`` per picture: name → mask [h w] of the input, (x, y) in pixel
    indices; ``geometry``: start and stride (vertical, horizontal) and field. Returns thresholds, P and D as nested lists."""
    pictures, filters = len(maps), len(maps[0])
    thresholds, shares, spreads = [], [], []
    for f in range(filters):
        every = sorted((float(v) for p in range(pictures) for row in maps[p][f] for v in row), reverse=True)
        threshold = every[math.floor(quantile * len(every) + 1e-12)]
        thresholds.append(threshold)
        regions = [pixels_of(maps[p][f], threshold, geometry, size, region) for p in range(pictures)]
        row_p, row_d = [], []
        for kind, part in keys:
            mine = [p for p in range(pictures) if kinds[p] == kind]
            with_mask = [p for p in mine if masks[p].get(part) is not None and masks[p][part].any()]
            hits = sum(overlap(regions[p], masks[p][part]) > iou for p in with_mask)
            row_p.append(hits / len(with_mask) if len(with_mask) >= 2 else math.nan)
            found = []
            for p in mine:
                values = [float(v) for row in maps[p][f] for v in row]
                if landmarks[p].get(part) is None or min(values) == max(values):
                    continue
                cell = values.index(max(values))
                row, column = divmod(cell, len(maps[p][f][0]))
                y = geometry["start"][0] + row * geometry["stride"][0]
                x = geometry["start"][1] + column * geometry["stride"][1]
                far = math.hypot(x - landmarks[p][part][0], y - landmarks[p][part][1])
                found.append((-max(values), p, far / math.hypot(*size)))
            far = [d for _, _, d in sorted(found)[:most]]
            mean = sum(far) / len(far) if far else 0
            row_d.append(
                math.sqrt(sum((d - mean) ** 2 for d in far) / (len(far) - 1)) if len(far) > 1 else math.nan
            )
        shares.append(row_p)
        spreads.append(row_d)
    return thresholds, shares, spreads


def pixels_of(cells, threshold, geometry, size, region):
    """The pixels (row, column) of the input that a filter's valid cells stand for."""
    found = set()
    if max(float(value) for row in cells for value in row) <= threshold:
        return found  # interpolation goes no higher than the cells
    valid = [(r, c) for r, row in enumerate(cells) for c, value in enumerate(row) if float(value) > threshold]
    for y in range(size[0]):
        for x in range(size[1]):
            if region == "upsampled":
                if at(cells, y, x, geometry) > threshold:
                    found.add((y, x))
                continue
            sides = geometry["stride"] if region == "cells" else geometry["size"]
            if region == "effective-field":
                sides = [max(0.3 * side, step) for side, step in zip(sides, geometry["stride"], strict=True)]
            for row, column in valid:
                down = y - (geometry["start"][0] + row * geometry["stride"][0])
                across = x - (geometry["start"][1] + column * geometry["stride"][1])
                if -sides[0] / 2 <= down < sides[0] / 2 and -sides[1] / 2 <= across < sides[1] / 2:
                    found.add((y, x))
    return found


def at(cells, y, x, geometry):
    """Bilinear interpolation between the four cells around a pixel; the border value beyond them."""
    place = []
    for position, count, start, stride in zip(
        (y, x), (len(cells), len(cells[0])), geometry["start"], geometry["stride"], strict=True
    ):
        at_cell = min(max((position - start) / stride, 0), count - 1)
        low = min(int(at_cell), max(count - 2, 0))
        place.append((low, min(low + 1, count - 1), at_cell - low))
    (top, bottom, v), (left, right, h) = place
    above = float(cells[top][left]) * (1 - h) + float(cells[top][right]) * h
    below = float(cells[bottom][left]) * (1 - h) + float(cells[bottom][right]) * h
    return above * (1 - v) + below * v


def overlap(found, mask):
    """Intersection over union of pixels and a mask."""
    part = {(int(y), int(x)) for y, x in zip(*mask.nonzero(), strict=True)}
    return len(found & part) / len(found | part) if found | part else 0.0
