"""Run by torchrun, or as it would, from `test_together`: each process trains its share and keeps what it ended with."""

import os
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.interpretable.test_training import run, small

from pellucid.interpretable import Masking, Templates, learning
from pellucid.training.loop import processes

torch.set_num_threads(1)
folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
with processes():
    draw = torch.Generator().manual_seed(0)
    maps, labels = torch.rand(6, 4, 3, 3, generator=draw), torch.tensor([0, 1, 2, 0, 1, 2])
    estimates = {}
    for mode in ("paper", "released"):
        masking = Masking(4, (3, 3), 3, Templates(mode=mode, position="centroid"), "layer").train()
        with learning(labels[rank::2]):
            masking(maps[rank::2])
        estimates[mode] = masking.state_dict()
    assert not isinstance(masking, DistributedDataParallel)
job = small(ordinary=False, epochs=3)
record = run(job, folder / "c.pt")
found = {"state": job.module.state_dict(), "history": record.history, "estimates": estimates}
torch.save(found, folder / f"rank{rank}.pt")
