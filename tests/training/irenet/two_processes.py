"""Run by torchrun from `test_training`: each process trains its share and keeps what it ended with."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.training.irenet.conftest import TINY

from pellucid.training.irenet.learning import RecognizerJob
from pellucid.training.irenet.preparing import prepare
from pellucid.training.loop import train

torch.set_num_threads(1)
folder = Path(sys.argv[1])
settings = replace(TINY, epochs=3)
job = RecognizerJob(settings, prepare(settings, progress=False))
record = train(job, folder / "irenet.checkpoint.pt", precision="float32", progress=False)
torch.save(
    {"state": job.module.state_dict(), "history": record.history, "best": record.best},
    folder / f"rank{os.environ['RANK']}.pt",
)
