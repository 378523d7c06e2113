"""The training loop on a regression small enough to be computed by hand; several processes under gloo."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch
from tests.bounds import rounding
from tests.processes import together
from torch import nn

from pellucid.training import loop
from pellucid.training.loop import Job, Record, order, share, shares, train


@dataclass(frozen=True)
class Settings:
    seed: int = 0
    rate: float = 0.005
    folder: Path = Path("somewhere")


class Regression(Job):
    """y = 3x, from 12 points, with dropout so that random draws matter."""

    def __init__(self, epochs=3, batch_size=4, seed=0, rate=0.005, dropout=0.3, stop=None):
        self.settings, self.seed, self.epochs = Settings(seed, rate), seed, epochs
        self.batch_size, self.stop = batch_size, stop
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(dropout), nn.Linear(4, 1))
        self.optimizer = torch.optim.SGD(self.module.parameters(), rate, 0.9)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.9)
        self.x = torch.arange(36.0).view(12, 3) / 36
        self.y = 3 * self.x.sum(1, keepdim=True)
        self.taken = []

    def steps(self):
        return -(-12 // self.batch_size)

    def batches(self, epoch):
        for chosen in shares(order(12, self.seed, epoch), self.batch_size):
            self.taken.append((epoch, chosen.tolist()))
            if self.stop == (epoch, len(self.taken)):
                raise KeyboardInterrupt
            yield self.x[chosen], self.y[chosen]

    def loss(self, forward, batch):
        error = (forward(batch[0]).float() - batch[1]).square().mean()
        return error, {"mean target": float(batch[1].mean())}

    def validate(self):
        assert not self.module.training
        assert not torch.is_grad_enabled()
        return {"error": float((self.module(self.x) - self.y).square().mean())}

    def blame(self, batch):
        return f" ({int((~self.module[2].weight.isfinite()).sum())} weights are not)"


def weights(job):
    return torch.cat([value.flatten() for value in job.module.state_dict().values()])


def test_one_step_is_that_of_the_optimizer(tmp_path):
    job, twin = Regression(1, 12, dropout=0.0), Regression(1, 12, dropout=0.0)
    record = train(job, tmp_path / "c.pt", precision="float32", progress=False)
    error, _ = twin.loss(twin.module, (twin.x, twin.y))
    error.backward()
    expected = torch.cat([(p - 0.005 * p.grad).flatten() for p in twin.module.parameters()])
    torch.testing.assert_close(torch.cat([p.flatten() for p in job.module.parameters()]), expected)
    near = rounding(torch.float32, terms=job.y.numel())
    assert record.history[0]["loss"] == pytest.approx(float(error.detach()), rel=10 * near)
    assert record.history[0]["mean target"] == pytest.approx(
        float(job.y.mean()), abs=near * float(job.y.abs().mean())
    )
    assert not job.module.training


def test_uneven_batches_count_by_their_samples(tmp_path):
    job = Regression(1, 5)
    record = train(job, tmp_path / "c.pt", progress=False)
    assert [len(chosen) for _, chosen in job.taken] == [5, 5, 2]
    assert record.history[0]["mean target"] == pytest.approx(float(job.y.mean()), rel=1e-6)


@pytest.mark.parametrize("stop", [(0, 2), (1, 4), (2, 9)])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, stop):
    straight = Regression()
    record = train(straight, tmp_path / "whole.pt", progress=False)
    with pytest.raises(KeyboardInterrupt):
        train(Regression(stop=stop), tmp_path / "parts.pt", progress=False)
    assert (tmp_path / "parts.pt").is_file() == (stop[0] > 0)
    again = Regression()
    resumed = train(again, tmp_path / "parts.pt", progress=False)
    assert torch.equal(weights(again), weights(straight))
    assert resumed.history == record.history
    assert min(epoch for epoch, _ in again.taken) == stop[0]


def test_another_seed_draws_otherwise(tmp_path):
    jobs = [Regression(seed=seed) for seed in (0, 1)]
    for job in jobs:
        job.module.load_state_dict(jobs[0].module.state_dict())
        train(job, tmp_path / f"{job.seed}.pt", progress=False)
    assert not torch.equal(weights(jobs[0]), weights(jobs[1]))


def test_the_callers_random_state_stays(tmp_path):
    before = torch.get_rng_state()
    train(Regression(), tmp_path / "c.pt", progress=False)
    assert torch.equal(before, torch.get_rng_state())


class Scripted(Regression):
    """Validation says what it is told, so that the best epoch is known."""

    monitor = "error"

    def __init__(self, errors, better="lower", patience=None):
        super().__init__(len(errors))
        self.errors, self.better, self.patience, self.kept = errors, better, patience, []

    def validate(self):
        self.kept.append(weights(self).clone())
        return {"error": self.errors[len(self.kept) - 1]}


@pytest.mark.parametrize(("better", "best"), [("lower", 2), ("higher", 3)])
def test_the_best_epoch_is_kept(tmp_path, better, best):
    job = Scripted([5.0, 1.0, 9.0, 9.0], better)
    record = train(job, tmp_path / "c.pt", progress=False)
    assert record.best == best
    assert torch.equal(weights(job), job.kept[best - 1])


def test_patience_stops_early_and_resuming_does_not_go_on(tmp_path):
    job = Scripted([5.0, 1.0, 2.0, 3.0, 0.0], patience=2)
    record = train(job, tmp_path / "c.pt", progress=False)
    assert (record.epoch, record.best) == (4, 2)
    again = Scripted([5.0, 1.0, 2.0, 3.0, 0.0], patience=2)
    assert train(again, tmp_path / "c.pt", progress=False).epoch == 4
    assert torch.equal(weights(again), job.kept[1])


def test_bad_checkpoints_are_refused_and_kept(tmp_path):
    file = tmp_path / "c.pt"
    train(Regression(1), file, progress=False)
    whole = file.read_bytes()
    with pytest.raises(ValueError, match=r"got others \(rate was 0.005\); repeat them"):
        train(Regression(1, rate=0.2), file, progress=False)
    assert file.read_bytes() == whole
    file.write_bytes(whole[:500])
    with pytest.raises(ValueError, match="cannot be read; remove it"):
        train(Regression(1), file, progress=False)
    with pytest.raises(ValueError, match='"bf16" or "float32", got \'half\''):
        train(Regression(1), tmp_path / "d.pt", precision="half", progress=False)


def test_a_loss_that_is_not_finite_names_epoch_step_and_culprit(tmp_path):
    job = Regression(3)
    job.y[order(12, 0, 1)[5]] = torch.nan  # seen in the second step of either epoch's order
    first = next(n for n, chosen in enumerate(shares(order(12, 0, 0), 4), 1) if job.y[chosen].isnan().any())
    with pytest.raises(FloatingPointError, match=rf"got nan in epoch 1, step {first} \(0 weights are not\)"):
        train(job, tmp_path / "c.pt", progress=False)
    assert weights(job).isfinite().all()


def test_what_is_monitored_must_be_measured(tmp_path):
    job = Regression(1)
    job.monitor = "accuracy"
    with pytest.raises(ValueError, match="monitored `accuracy`, got loss, mean target, error"):
        train(job, tmp_path / "c.pt", progress=False)


@pytest.mark.parametrize(("count", "world"), [(5, 2), (1, 3), (6, 3), (7, 4)])
def test_shares_are_as_long_as_each_other_and_lack_nothing(monkeypatch, count, world):
    parts = []
    for rank in range(world):
        monkeypatch.setattr(loop, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(loop, "world", lambda: world)
        parts.append(share(torch.arange(count)))
    assert len({len(part) for part in parts}) == 1
    assert set(torch.cat(parts).tolist()) == set(range(count))


def test_two_processes_reach_the_weights_of_one(tmp_path):
    """Without dropout the mean of the shares' gradients is the batch's gradient."""
    alone = Regression(dropout=0.0)
    record = train(alone, tmp_path / "alone.pt", precision="float32", progress=False)
    script = "from tests.training.test_loop import trained; import sys; trained(sys.argv[1])"
    together(["-W", "ignore", "-c", script, tmp_path])
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for each in found:
        torch.testing.assert_close(torch.tensor(each["weights"]), weights(alone))
        assert [row["loss"] for row in each["history"]] == pytest.approx(
            [row["loss"] for row in record.history], rel=1e-4
        )
    assert found[0]["taken"] != found[1]["taken"]
    first = [index for each in found for _, chosen in each["taken"][:3] for index in chosen]
    assert sorted(first) == list(range(12))
    assert (tmp_path / "c.pt").is_file()


def trained(folder):
    """What each of several processes runs."""
    job = Regression(dropout=0.0)
    record = train(job, Path(folder) / "c.pt", precision="float32", progress=False)
    content = {"weights": weights(job).tolist(), "history": record.history, "taken": job.taken}
    (Path(folder) / f"{os.environ['RANK']}.json").write_text(json.dumps(content))


def test_a_record_begins_empty():
    assert asdict(Record()) == {"epoch": 0, "seconds": 0.0, "history": [], "best": None}
