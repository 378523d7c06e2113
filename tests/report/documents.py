"""A realistic document made up for the tests: a drawn landscape, maps as blobs, neurons and clauses."""

import base64
import io

import numpy as np
from PIL import Image, ImageDraw

from pellucid.speech.text import name as escaped
from pellucid.speech.text import plain

AWKWARD = "</script><b>\"x\"&'<img src=x onerror=document.title='owned'>.jpg"


def quantity(key, value, kind, **about):
    """A number as a document holds it."""
    return {"key": key, "value": value, "kind": kind, "about": about, "spread": None, "label": key}


def png(values, mode="L"):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(values, dtype=np.uint8), mode).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def photograph(height, width):
    """A sky, a meadow, a house and a red balloon, as a JPEG data URI; and the balloon's mask."""
    rows, columns = np.mgrid[0:height, 0:width] / np.array([height, width])[:, None, None]
    sky = np.stack([120 + 90 * rows, 165 + 60 * rows, 225 + 20 * rows], -1)
    meadow = np.stack([70 + 50 * columns, 130 + 40 * (1 - rows), 60 + 20 * columns], -1)
    grain = np.random.default_rng(0).normal(0, 5, (height, width, 1))
    hills = rows > 0.68 + 0.05 * np.sin(7 * columns)
    picture = Image.fromarray(
        np.clip(np.where(hills[..., None], meadow, sky) + grain, 0, 255).astype(np.uint8)
    )
    draw = ImageDraw.Draw(picture)

    def scaled(*points):
        return [(x * width, y * height) for x, y in points]

    draw.polygon(scaled((0.08, 0.62), (0.2, 0.5), (0.32, 0.62)), fill=(130, 70, 50))
    draw.rectangle(scaled((0.11, 0.62), (0.29, 0.78)), fill=(225, 210, 180))
    draw.rectangle(scaled((0.17, 0.67), (0.22, 0.78)), fill=(90, 60, 50))
    draw.line(scaled((0.56, 0.5), (0.6, 0.6)), fill=(60, 50, 40), width=max(1, width // 150))
    draw.line(scaled((0.72, 0.5), (0.67, 0.6)), fill=(60, 50, 40), width=max(1, width // 150))
    draw.ellipse(scaled((0.46, 0.12), (0.82, 0.52)), fill=(205, 55, 50))
    draw.ellipse(scaled((0.57, 0.12), (0.71, 0.52)), fill=(240, 200, 90))
    draw.rectangle(scaled((0.59, 0.6), (0.68, 0.67)), fill=(140, 95, 50))
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).ellipse(scaled((0.46, 0.12), (0.82, 0.52)), fill=255)
    ImageDraw.Draw(mask).rectangle(scaled((0.59, 0.6), (0.68, 0.67)), fill=255)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", np.asarray(mask)


def blob(high, wide, row, column, spread, seed, roughness=0.15):
    """Grey levels of a blob around (row, column), both in fractions of the grid, with some unevenness."""
    y, x = (np.arange(high)[:, None] + 0.5) / high, (np.arange(wide)[None] + 0.5) / wide
    values = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * spread**2))
    values = np.clip(
        values * (1 + roughness * np.random.default_rng(seed).normal(size=(high, wide)) * 2), 0, None
    )
    return np.round(255 * values / values.max()).astype(np.uint8)


METHODS = [
    ("layercam", "LayerCAM", "jiang2021", True),
    ("gradcam", "Grad-CAM", "selvaraju2017", False),
    ("gradient", "Gradient", "simonyan2013", False),
]
# layer, kind, channels, cells divided by, start, receptive field
STAGES = [
    ("input", "input", 3, 1, 0.0, 1.0),
    ("relu1", "ReLU", 64, 2, 0.0, 7.0),
    ("layer1", "Bottleneck", 256, 4, 0.0, 43.0),
    ("layer2", "Bottleneck", 512, 8, 0.0, 99.0),
    ("layer3", "Bottleneck", 1024, 16, 0.0, 291.0),
    ("layer4", "Bottleneck", 2048, 32, 0.0, 483.0),
]


def stages(height, width, mask, statuses):
    made = []
    for place, (layer, kind, channels, stride, start, field) in enumerate(STAGES):
        high, wide = -(-height // stride), -(-width // stride)
        maps = {}
        for number, (method, *_rest) in enumerate(METHODS):
            if (method == "gradient") != (layer == "input"):
                continue
            levels = blob(
                high, wide, 0.33, 0.64, 0.1 + 0.03 * place, place + 10 * number, 0.35 - 0.05 * place
            )
            cells = np.asarray(Image.fromarray(mask).resize((wide, high), Image.Resampling.BOX)) / 255
            maps[method] = {
                "status": statuses.get((layer, method), "ok"),
                "min": 0.0,
                "max": round(0.7 / (place + 1) ** 2, 4),
                "png": png(levels),
                "inside": round(float((levels * cells).sum() / levels.sum()), 4),
                "box": [int(0.12 * height), int(0.44 * width), int(0.55 * height), int(0.86 * width)],
            }
        made.append(
            {
                "layer": layer,
                "kind": kind,
                "shape": [channels, high, wide],
                "stride": [float(stride)] * 2,
                "start": [start] * 2,
                "receptive_field": [field] * 2,
                "maps": maps,
            }
        )
    return made


def concept(unit, name, iou, held):
    """What a neuron answers to."""
    return {
        "unit": unit,
        "concept": name,
        "category": "object",
        "iou": iou,
        "interval": [iou - 0.01, iou + 0.01],
        "held_out": {"concept": held, "iou": iou / 2},
        "named": iou > 0.04,
        "threshold": 0.04,
        "images": 1000,
        "set": "made up",
        "quantile": 0.005,
    }


def neurons(height, width, name_of_layer="layer4"):
    made = []
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width])[:, None, None]
    spots = [(871, 0.3, 0.64, 0.16), (12, 0.62, 0.63, 0.09), (1603, 0.2, 0.55, 0.12), (404, 0.7, 0.2, 0.14)]
    for rank, (unit, row, column, radius) in enumerate(spots):
        wave = 0.02 * np.sin(9 * x + 5 * y + unit)
        region = np.where(np.hypot(y - row, x - column) + wave < radius, 255, 0)
        inside = np.argwhere(region)
        top, left = inside.min(0)
        bottom, right = inside.max(0) + 1
        made.append(
            {
                "layer": name_of_layer,
                "unit": unit,
                "criterion": "cgnis",
                "score": round(0.231 / (rank + 1), 4),
                "share": round(0.118 / (rank + 1), 4),
                "rank": rank + 1,
                "region": {"box": [int(top), int(left), int(bottom), int(right)], "png": png(region)},
                "removed": {"alone": [0.842, 0.887, 0.914, None][rank]},
                "concept": [
                    concept(unit, "balloon", 0.183, "basket"),
                    concept(unit, "sky", 0.012, "sky"),
                    None,
                    None,
                ][rank],
            }
        )
    return made


def mean(curve):
    """By trapezoids of equal width."""
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)


def faithfulness(verdict="better", unit="probability", similarity=0.31, **changes):
    """The test of LayerCAM at layer4; a verdict of "unreadable" has no curves."""
    drawn = {
        "map": {
            "deletion": [0.9312, 0.412, 0.118, 0.061, 0.03, 0.012, 0.008, 0.006, 0.005],
            "insertion": [0.021, 0.344, 0.702, 0.881, 0.912, 0.92, 0.9255, 0.93, 0.9312],
        },
        "center": {
            "deletion": [0.9312, 0.8844, 0.601, 0.33, 0.151, 0.06, 0.02, 0.009, 0.005],
            "insertion": [0.021, 0.052, 0.19, 0.43, 0.61, 0.77, 0.86, 0.91, 0.9312],
        },
    }
    if verdict == "worse":
        drawn = {"map": drawn["center"], "center": drawn["map"]}
    areas = {name: {kind: round(mean(curve), 4) for kind, curve in of.items()} for name, of in drawn.items()}
    for of in areas.values():
        of["composite"] = round(of["insertion"] - of["deletion"], 4)
    unreadable = verdict == "unreadable"
    insensitive = None if unreadable or similarity is None else similarity >= 0.9
    kinds = {} if verdict in ("flat", "unreadable") else {"deletion": verdict, "insertion": verdict}
    return {
        "method": "layercam",
        "layer": "layer4",
        "unit": unit,
        "verdict": verdict,
        "reason": "all evidence speaks against the target" if unreadable else None,
        "verdicts": kinds,
        "overridden": bool(insensitive),
        "share": [] if unreadable else [step / 8 for step in range(9)],
        "curves": None if unreadable else drawn,
        "areas": None if unreadable else areas,
        "advantage": None if unreadable else 0.42,
        "sanity": {
            "similarity": None if unreadable else similarity,
            "insensitive": insensitive,
            "spread": None,
            "reason": "there is no map to compare" if unreadable else None,
            "draws": 0 if unreadable else 3,
            "threshold": 0.9,
        },
        "passes": 0 if unreadable else 34,
        "backward": 0 if unreadable else 3,
        **changes,
    }


def document(name="balloon.jpg", target="balloon", size=(224, 224), statuses=None, masked=True):
    """One document as `Explanation.to_json(pictures=True)` gives it; ``statuses``: by (layer, method)."""
    height, width = size
    picture, mask = photograph(height, width)
    statuses = (
        {("relu1", "gradcam"): "negative", ("layer1", "gradcam"): "constant"}
        if statuses is None
        else statuses
    )
    made = stages(height, width, mask, statuses)
    units = neurons(height, width)
    pairs = [["layer4", unit["unit"]] for unit in units[:3]]
    clauses = [
        (
            "prediction",
            f"The network answers **{escaped(target)}** (93 %), far ahead of parachute (3 %).",
            [
                quantity("class.probability", 0.9312, "probability", name=target),
                quantity("class.probability", 0.0301, "probability", name="parachute"),
                quantity("lead.score", 3.43, "score"),
            ],
            None,
            None,
            [],
            None,
        ),
        (
            "region",
            "Its evidence lies in the **upper right** of the picture.",
            [quantity("map.area", 0.19, "share"), quantity("map.place", "upper right", "place")],
            "layer4",
            "layercam",
            [],
            made[-1]["maps"]["layercam"]["box"],
        ),
        (
            "object",
            "74 % of it on the balloon itself.",
            [
                quantity("object.evidence", 0.742, "share", name="balloon", stages=5),
                quantity("object.area", 0.121, "share", name="balloon"),
            ],
            "layer3",
            "layercam",
            [],
            None,
        ),
        (
            "units",
            "Neurons [871](unit:layer4:871), [**12**](unit:layer4:12) and [1603](unit:layer4:1603) of 2,048 carried most of it; "
            "without them the probability is 41 %.",
            [
                quantity("units.share", 0.216, "share", criterion="CGNIS"),
                quantity("before.probability", 0.9312, "probability"),
                quantity("removed.probability", 0.412, "probability"),
                quantity("units.layer", 2048.0, "count"),
            ],
            "layer4",
            None,
            pairs,
            None,
        ),
        (
            "doubt",
            "One of the maps of early stages speaks against it.",
            [quantity("map.status", "negative", "name")],
            "relu1",
            "gradcam",
            [],
            None,
        ),
    ]
    keys = ("kind", "text", "numbers", "layer", "method", "units", "box")
    told = [dict(zip(keys, clause, strict=True)) for clause in clauses]
    for clause in told:
        clause["texts"] = {"en": clause["text"], "zh": clause["text"]}
        clause["text"] = plain(clause["text"])
    shape = np.zeros((height, width), np.uint8)
    box = [height // 8, width // 2, height // 2, 5 * width // 6]
    shape[box[0] : box[2], box[1] : box[3]] = 255
    effect = {"score": 4.1, "probability": 0.12}
    spot = {
        "box": box, "area": 0.15, "words": ["basket"], "confidence": 0.91, "effect": effect, "number": 1, "png": png(shape),
    }  # fmt: skip
    english = (
        f"**{escaped(target)}**, 93 %. It looks at [**the basket**](region:1); without it, **12 %** is left."
    )
    chinese = f"**{escaped(target)}**，93%。它看的是[**篮子**](region:1)；去掉它后剩 **12%**。"
    brief = {
        "kind": "brief", "phrase": "brief", "text": plain(english), "texts": {"en": english, "zh": chinese}, "layer": None,
        "method": None, "units": [], "box": None, "concepts": [], "part": None,
        "numbers": [quantity("whole.probability", 0.9312, "probability")],
    }  # fmt: skip
    return {
        "schema": 3,
        "brief": brief,
        "details": " ".join(clause["text"] for clause in told),
        "spots": [
            {"number": 1, "word": "basket", "place": "upper right", "placed": True, "others": ["parachute"]}
        ],
        "regions": {"1": spot},
        "pellucid": "0.1.0",
        "text": brief["text"],
        "created": None,
        "network": {
            "name": "torchvision:resnet50",
            "input_shape": [3, height, width],
            "parameters": 25557032,
            "classes": 1000,
            "preprocess": {
                "resize": 232,
                "crop": [height, width],
                "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225],
            },
            "head": "softmax",
        },
        "image": {
            "name": name,
            "notes": ["first of 12 frames"],
            "original_size": [1280, 853],
            "size": [height, width],
            "png": picture,
        },
        "prediction": [
            {"class": label, "index": index, "probability": probability, "output": output}
            for label, index, probability, output in [
                (target, 417, 0.9312, 11.2),
                ("parachute", 701, 0.0301, 7.8),
                ("airship", 405, 0.0112, 6.8),
                ("kite", 21, 0.0040, 5.8),
                ("barn", 425, 0.0004, 3.4),
            ]
        ],
        "target": {"name": target, "index": 417, "probability": 0.9312, "predicted": True},
        "clauses": told,
        "methods": [
            dict(zip(("name", "title", "citation", "default"), method, strict=True)) for method in METHODS
        ],
        "stages": made,
        "neurons": units,
        "removal": {
            "layer": "layer4",
            "units": [871, 12, 1603],
            "probability_before": 0.9312,
            "probability_after": 0.412,
            "probability_random": 0.926,
            "random_draws": 5,
        },
        "mask": {"name": "balloon", "png": png(mask)} if masked else None,
        "cost": {"forward": 43, "backward": 4, "tail_runs": 14},
        "faithfulness": faithfulness(),
    }
