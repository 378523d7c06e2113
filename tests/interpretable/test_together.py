"""Two processes: the same weights in both, and running estimates that are those of the whole batch."""

from pathlib import Path

import torch
from tests.processes import together

from pellucid.interpretable import Masking, Templates, learning


def test_two_processes(tmp_path):
    together([Path(__file__).with_name("two_processes.py"), tmp_path])
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
