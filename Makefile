# Common commands. Everything is installed in .venv, nothing outside this folder.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Without cached bytecode each process compiles every module again; some container images turn the cache off.
unexport PYTHONDONTWRITEBYTECODE

# The interpreter of .venv: the first of these that is Python 3.11 or 3.12. Override: make run PYTHON=/path/to/python3.12
PYTHON ?= $(shell for name in python3.12 python3.11 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && { echo $$name; break; }; done)

.PHONY: help env run doctor test test-slow lint docs ui lock versus

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

env: $(VENV)/installed  ## create the environment in .venv from requirements.lock

# PIP_USE_PEP517: pip before 23.1 would build some packages with setup.py, whose build requirements it does not install.
$(VENV)/installed: requirements.lock
	@test -n "$(PYTHON)" || { echo "error: needs Python 3.11 or 3.12 (make $(MAKECMDGOALS) PYTHON=/path/to/python3.12)"; exit 1; }
	@echo "installing into $(VENV) with $(PYTHON); about 4 GB, a few minutes"
	@$(PYTHON) -m venv $(VENV)
	@PIP_USE_PEP517=1 $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

run: env  ## run the whole pipeline on the default data set; prints the report's path
	@python -m commands.doctor --quiet
	@dvc repro
	@echo "report: $(CURDIR)/results/report/index.html"

doctor: env  ## check what would fail in a run; estimate its time, memory and disk space
	@python -m commands.doctor

# If a worker crashes, the run fails: pytest-xdist 3.8 hangs when it restarts one with --dist loadgroup.
PYTEST := pytest -n auto --dist loadgroup --max-worker-restart=0

test: env  ## run the tests on all cores
	@$(PYTEST)

test-slow: env  ## run the slow tests: networks of every size, sweeps, servers, clusters
	@$(PYTEST) -m slow

lint: env  ## run ruff and import-linter
	@ruff check . && ruff format --check . && lint-imports

docs: env  ## build the pages of docs/ as a site in .cache/site, and check their links
	@NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict && echo "$(CURDIR)/.cache/site/index.html"

ui: env  ## show the runs of this folder in MLflow, at http://127.0.0.1:5000
	@python -m commands.ui

versus: env .venv-versus/installed  ## measure against networks of other libraries; needs 6 GB more, for PyTorch
	@python -m benchmarks.versus.run

.venv-versus/installed: benchmarks/versus/requirements.lock
	@echo "installing into .venv-versus; about 6 GB, as PyTorch comes with its libraries for GPUs"
	@$(PYTHON) -m venv .venv-versus
	@PIP_USE_PEP517=1 .venv-versus/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Packages whose versions affect results: DVC runs stages again when one of these changes.
NUMERIC := ai-edge-litert|av|cleanlab|numpy|opencv-python-headless|openvino|pandas|scikit-learn|tensorflow|tf-keras|tf-models-official

lock: env  ## update requirements.lock, numeric.lock and the lock of `make versus`; needs uv
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --group dev pyproject.toml -o requirements.lock
	@sed -nE 's/^(($(NUMERIC))==[^\\]*[^ \\]).*/\1/p' requirements.lock > numeric.lock
	@cd benchmarks/versus && uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements.txt -o requirements.lock
