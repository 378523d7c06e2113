"""Small networks with a rectified layer to hold, each with a habit that wrapping has to survive."""

from tests.networks import PlainNet, lively

from pellucid.interpretable import Interpretation, Templates, interpret

SIZE = (32, 32)
TOP = "features.19"  # the last in-place ReLU of PlainNet


def plain(classes=5, seed=0):
    return lively(PlainNet(classes=classes), seed)


def how(templates=None, *, layers=(TOP,), above=TOP, classes=5, size=SIZE):
    return Interpretation(tuple(layers), above, classes, size, templates)


def held(templates=None, *, seed=0, **options):
    """A lively interpretable `PlainNet`; the new convolution is lively too."""
    module = interpret(plain(options.get("classes", 5), seed), how(templates or Templates(), **options))
    return module.eval()
