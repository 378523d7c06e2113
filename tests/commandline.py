"""What the tests of the command line share: calling it in this process, a network file, pictures."""

import functools
import re

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.networks import lively

from pellucid.cli import main
from pellucid.zoo.embedded import ScenesVGG


def call(*arguments):
    """Run a command in this process; its exit code, also where the reader of the flags exits by itself."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code or 0


@functools.cache
def weights(seed=0):
    return lively(ScenesVGG(), seed).state_dict()


def network_file(folder, name="net.safetensors", change=None):
    """A weights file as pellucid writes it, of random weights; ``change`` may alter the tensors."""
    state = {key: value.clone() for key, value in weights().items()}
    if change is not None:
        change(state)
    file = folder / name
    save_file(state, str(file), {"architecture": "scenes-vgg"})
    return file


def picture(file, size=(40, 30), seed=0):
    """A picture of noise in large blocks."""
    file.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size, Image.Resampling.BILINEAR).save(file)
    return file


def without_seconds(content):
    """Bytes of a page or document without how long it took, which no two runs share."""
    content = re.sub(rb'("seconds": ?)[0-9.e-]+', rb"\1", content)
    return re.sub(rb"(backward passes), [0-9.,]+ s<", rb"\1<", content)


def zero(state):
    for value in state.values():
        value.zero_()


def not_a_number(state):
    state["classifier.weight"][0, 0] = torch.nan
