"""For all tests: `tests` importable however pytest is started, one seed, the threads that were asked for, the lanes.

Lanes: a test is *quick* unless its file is in `THOROUGH` or it is marked slow; `make quick` runs those, `make test` all but the
slow ones, `make slow` the slow ones.

Examples of hypothesis are the same in every run. ``HYPOTHESIS_PROFILE=random`` draws new ones, many
times more with ``HYPOTHESIS_PROFILE=search``; what fails there says how to repeat it.
"""

import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parents[1]))
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

# whole networks, processes, browsers, trainings and studies: seconds each, and most of the suite's time
THOROUGH = (
    "browser/", "conformance/", "golden/", "studies/", "benchmarks/", "training/", "test_cli", "relevance/test_goals",
    "core/test_precision", "zoo/test_loading", "zoo/test_efficientnet", "interpretable/test_together",
)  # fmt: skip

# a loaded machine is no fault of a test
shared = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
settings.register_profile("steady", derandomize=True, database=None, **shared)
settings.register_profile("random", **shared)
settings.register_profile("search", max_examples=1000, **shared)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_collection_modifyitems(items):
    root = Path(__file__).parent
    for item in items:
        if item.path.relative_to(root).as_posix().startswith(THOROUGH):
            item.add_marker("thorough")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
