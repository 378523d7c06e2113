"""A recognizer of almost no training, and settings small enough to train in a second."""

import pytest

from pellucid.training.irenet import RecognizerTraining, train_recognizer

TINY = RecognizerTraining(
    width=0.125,
    pictures=24,
    checked=16,
    positives=2,
    size=32,
    grid=4,
    depth=8,
    epochs=2,
    batch_size=8,
    precision="float32",
)


@pytest.fixture
def tiny():
    return TINY


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """(facts, folder) of the tiny training."""
    folder = tmp_path_factory.mktemp("recognizer")
    return train_recognizer(TINY, folder, progress=False), folder
