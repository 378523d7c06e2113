"""Made-up results of the study `shallow-cam`, in the form in which its first script writes them."""

import random

NETWORKS = {
    "squeezenet1_0": (
        "SqueezeNet 1.0, pretrained",
        ["features.1", "features.5", "features.10", "features.12"],
    ),
    "resnet18": ("ResNet-18, pretrained", ["relu", "layer1", "layer2", "layer3", "layer4"]),
    "resnet50": ("ResNet-50, pretrained", ["relu", "layer1", "layer2", "layer3", "layer4"]),
    "scenes-vgg": (None, ["features.2", "features.9", "features.16", "features.23", "features.30"]),
    "scenes-resnet": (None, ["layer1", "layer2", "layer3", "layer4"]),
    "scenes-vgg-confounded": (
        None,
        ["features.2", "features.9", "features.16", "features.23", "features.30"],
    ),
    "scenes-resnet-confounded": (None, ["layer1", "layer2", "layer3", "layer4"]),
}
LIFT = {
    "shallow-cam": 0.14,
    "layercam-blurred": 0.06,
    "fg-cam": 0.05,
    "relevance-cam": -0.07,
    "gradcam": -0.1,
}


def results(name="resnet18", images=40, few=12, seed=0):
    """One network's file: margins that shrink with depth, the last stage lost, one undefined image."""
    title, layers = NETWORKS[name]
    rng = random.Random(f"{name}{seed}")
    base = {layer: [rng.uniform(0.2, 0.7) for _ in range(images)] for layer in layers}

    def areas(method, layer, count):
        lift = LIFT.get(method, -0.03) * (1 - (layers.index(layer) + 1.1) / len(layers))
        noisy = [
            value + lift + (rng.gauss(0, 0.1) if method != "layercam" else 0) for value in base[layer][:count]
        ]
        return {"deletion": [0.1] * count, "insertion": [value + 0.1 for value in noisy]}

    counts = dict.fromkeys(("shallow-cam", "layercam", "relevance-cam", "fg-cam", "layercam-blurred"), images)
    counts |= dict.fromkeys(("gradcam", "eigencam"), few)
    faithfulness = {
        method: {layer: areas(method, layer, count) for layer in layers} for method, count in counts.items()
    }
    for control in ("random", "center", "edges"):
        faithfulness[control] = {"*": areas(control, layers[0], images)}
    faithfulness["relevance-cam"][layers[0]]["insertion"][3] = None
    masks = {
        method: {
            layer: {key: [rng.random() for _ in range(10)] for key in ("pointing", "energy", "relative")}
            for layer in layers
        }
        for method in ("shallow-cam", "layercam", "gradcam")
    }
    truth = {
        method: {
            layer: {
                key: [rng.uniform(-1, 1) for _ in range(counts.get(method, images))]
                for key in ("rank", "gain")
            }
            for layer in (["*"] if method in ("random", "center", "edges") else layers)
        }
        for method in faithfulness
    }
    forms = ("shallow-cam", "plain power", "layercam", "layercam blurred, σ 8")
    return {
        "network": name,
        "title": title or name,
        "real": title is not None,
        "layers": layers,
        "images": images,
        "tuning_images": 8,
        "protocol": {
            "steps": 16, "blur": [51, 20.0], "precision": "bfloat16",
            "check": {"images": 4, "largest_difference": 0.01},
        },
        "blur_sigma": dict.fromkeys(layers, 8.0),
        "tuning": {form: {layer: [rng.uniform(0.2, 0.8) for _ in range(8)] for layer in layers} for form in forms},
        "faithfulness": faithfulness,
        "fewer": {"images": few, "methods": ["gradcam", "eigencam"]},
        "localization": {"objects": {"images": 10, **masks}},
        "intervention": {} if title else truth,
        "metadata": {"pellucid": "0.0", "torch": "0.0", "threads": 1},
    }  # fmt: skip
