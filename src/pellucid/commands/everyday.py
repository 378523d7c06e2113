"""The beginning of every ``--help``: two examples and the options of every day."""

from __future__ import annotations

_NET = ("--net NAME", "network: embedded, torchvision:NAME, timm:NAME, hf:NAME, or a weights file")
_WEIGHTS = ("--weights FILE", "weights of a zoo network; DEFAULT downloads the zoo's own")
_CLASSES = ("--classes FILE", "class names: imagenet, or a file")
_TARGET = ("--target CLASS", "class in question; by default the predicted one")
_OUT = ("--out FOLDER", "where the results go")
_LAYERS = ("--layers LAYER ...", "where to look; pellucid models --layers NETWORK lists them")

EVERYDAY: dict[str, tuple[tuple[str, str], tuple[tuple[str, str], ...]]] = {
    "explain": (
        ("pellucid explain photo.jpg --net torchvision:resnet50 --weights DEFAULT", "pellucid explain photos/ --out result"),
        (_NET, _WEIGHTS, _CLASSES, _TARGET, ("--why-not CLASS", "say what speaks against another class"), _OUT),
    ),
    "attribute": (
        (
            "pellucid attribute photo.jpg --net torchvision:resnet18 --weights w.safetensors",
            "pellucid attribute photo.jpg --method gradcam --layers layer3 layer4",
        ),
        (_NET, _WEIGHTS, ("--method NAME", "pellucid methods lists them"), _LAYERS, _TARGET, _OUT),
    ),
    "neurons": (
        ("pellucid neurons photo.jpg --layer features.30", "pellucid neurons scenes:val/0-199 --by-class --others 1"),
        (_NET, _WEIGHTS, ("--layer LAYER", "whose units; by default the last stage"), _TARGET, _OUT),
    ),
    "dissect": (
        (
            "pellucid dissect --net scenes-resnet --concepts scenes:val/0-999 --out units",
            "pellucid dissect --net torchvision:resnet18 --weights w.safetensors --concepts broden:FOLDER --layers layer4",
        ),
        (_NET, _WEIGHTS, ("--concepts SET", "labeled pictures"), _LAYERS, _OUT),
    ),
    "parts": (
        (
            "pellucid parts --net scenes-vgg-interpretable --parts scenes:test/0-299",
            "pellucid parts --net scenes-vgg-interpretable --images photo.jpg",
        ),
        (_NET, _WEIGHTS, ("--parts SET", "pictures with marked parts"), _LAYERS, _OUT),
    ),
    "patterns": (
        (
            "pellucid patterns --layer features.23 --labels given --out patterns",
            "pellucid patterns photos/ --net torchvision:resnet18 --weights w.safetensors",
        ),
        (_NET, _WEIGHTS, ("--layer LAYER", "whose units; by default the last stage"), _OUT),
    ),
    "visualize": (
        (
            "pellucid visualize --net scenes-vgg --layer features.30 --out painted",
            "pellucid visualize --net torchvision:resnet18 --weights w.safetensors --units layer4:12",
        ),
        (_NET, _WEIGHTS, ("--units LAYER:UNITS", "as layer4:12 or layer4:0-15,40"), _OUT),
    ),
    "evaluate": (
        (
            "pellucid evaluate photos/ --net torchvision:resnet18 --weights w.safetensors",
            "pellucid evaluate --methods shallow-cam layercam --metric energy --baseline layercam",
        ),
        (_NET, _WEIGHTS, ("--methods NAME ...", "maps to compare"), ("--metric NAME", "how"), _LAYERS, _OUT),
    ),
    "models": (("pellucid models", "pellucid models --layers torchvision:resnet18"), ()),
    "methods": (("pellucid methods", "pellucid methods --kind attribution --json"), ()),
    "train classifier": (
        ("pellucid train classifier", "pellucid train classifier --network scenes-resnet --epochs 5 --out trained"),
        (("--network NAME", "architecture"), _OUT),
    ),
    "train interpretable": (
        (
            "pellucid train interpretable --backbone scenes-vgg --out trained",
            "pellucid train interpretable --backbone torchvision:resnet18 --weights w.safetensors --data animals:FOLDER",
        ),
        (("--backbone NAME", "network to start from"), ("--target CLASS", "one class against the background"), _OUT),
    ),
    "train irenet": (
        ("pellucid train irenet --epochs 5", "pellucid train irenet --data broden:FOLDER --name mine --out trained"),
        (("--data SET", "labeled pictures"), ("--name NAME", "what the files are called"), _OUT),
    ),
    "train decoder": (
        ("pellucid train decoder --net scenes-vgg", "pellucid train decoder --net scenes-vgg --layer features.23 --out trained"),
        (_NET, ("--layer LAYER", "whose maps; by default the last stage"), _OUT),
    ),
}  # fmt: skip


def opening(command: str) -> str:
    """What stands above a command's list of all options; empty for a command without."""
    if command not in EVERYDAY:
        return ""
    examples, options = EVERYDAY[command]
    lines = ["examples:", *(f"  {example}" for example in examples)]
    if options:
        width = max(len(flag) for flag, _ in options)
        lines += ["", "everyday options:", *(f"  {flag:<{width}}  {what}" for flag, what in options)]
    return "\n".join([*lines, "", "all options:"])
