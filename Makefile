# Two commands do all on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
WORKERS ?= 2
SUITE := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(WORKERS) --durations=20

.PHONY: demo test quick slow lowest lint environment benchmark clean

# an embedded scene by an embedded network, and a photograph (scikit-image's cat, CC0) by a network that comes as a package
demo: $(VENV)/.ready
	$(BIN)/pellucid explain --out out/demo/scene
	$(BIN)/pellucid explain $(BIN)/../lib/python3.*/site-packages/skimage/data/chelsea.png --net efficientnet-lite0 --out out/demo/photograph

test: lint
	$(SUITE) -m "not slow" $(PYTEST)

# the tests of single parts, within two minutes
quick: $(VENV)/.ready-dev
	$(SUITE) -m "not slow and not thorough" $(PYTEST)

# minutes each; some need PELLUCID_ASSETS
slow: $(VENV)/.ready-dev
	$(SUITE) -m slow $(PYTEST)

# the core with exactly the lowest versions that pyproject.toml claims
lowest: $(VENV)-lowest/.ready
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(VENV)-lowest/bin/python -m pytest -m "not slow and not thorough" tests/core tests/units tests/zoo $(PYTEST)

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check src tests benchmarks studies
	$(BIN)/ruff format --check src tests benchmarks studies
	$(BIN)/mypy

benchmark: $(VENV)/.ready-dev
	$(BIN)/python benchmarks/speed/cam.py
	$(BIN)/python benchmarks/speed/scenes.py

environment: $(VENV)/.ready-dev

# torch comes first and torchvision without its own idea of torch, so that the pinned build stays
$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --no-deps torchvision
	$(PIP) --editable '.[photo]'
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(PIP) --editable '.[dev]'
	touch $@

$(VENV)-lowest/.ready: pyproject.toml tools/lowest.py
	test -x $(VENV)-lowest/bin/python || $(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python tools/lowest.py > $(VENV)-lowest/requirements.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(VENV)-lowest/requirements.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest out build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
