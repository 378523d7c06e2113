"""Two processes: the same weights in both, and running estimates that are those of the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from pellucid.interpretable import Masking, Templates, learning


def test_two_processes(tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    common = {
        **os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(31_500 + os.getpid() % 2_000),
    }  # fmt: skip
    both = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)],
            stderr=subprocess.PIPE,
            text=True,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    for process in both:
        _, complaints = process.communicate(timeout=300)
        assert process.returncode == 0, complaints[-2000:]
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    own = ("running_mean", "running_var")  # batch normalization's: the first process's are kept
    shared = [key for key in first["state"] if not key.endswith(own)]
    assert all(torch.equal(first["state"][key], second["state"][key]) for key in shared)
    assert first["history"][-1]["task"] < first["history"][0]["task"]
    draw = torch.Generator().manual_seed(0)
    maps, labels = torch.rand(6, 4, 3, 3, generator=draw), torch.tensor([0, 1, 2, 0, 1, 2])
    for mode in ("paper", "released"):
        masking = Masking(4, (3, 3), 3, Templates(mode=mode, position="centroid"), "layer").train()
        with learning(labels):
            masking(maps)
        for key, value in masking.state_dict().items():
            torch.testing.assert_close(first["estimates"][mode][key], value)
            assert torch.equal(first["estimates"][mode][key], second["estimates"][mode][key])
