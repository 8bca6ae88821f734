# make run     set up, train P-Net on a bundled data set, show the result (ARGS="model=snet reg=l2" for another run)
# make test    set up, run the tests (make test-slow: those on real data and the long ones)
# make check   lint, types, the order of the layers
# make docs    the documentation, docs/_build/html/index.html (make docs-links: addresses elsewhere, too)
# make ui      MLflow in the browser, over results/
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 5000
ARGS ?=

.PHONY: setup run test test-slow check docs docs-links ui bench clean
.DEFAULT_GOAL := run

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

run: setup
	$(BIN)/psilon-run $(ARGS)

# Python keeps what it compiles, even where the environment says not to: each worker, and many a test, imports it all
test: setup
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest -n auto -m 'not slow' $(ARGS)

test-slow: setup
	$(BIN)/pytest -m slow $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for folder in tests tests/[a-z]*/; do $(BIN)/mypy --follow-imports=silent $$folder/*.py || exit 1; done
	$(BIN)/lint-imports

SPHINX := $(BIN)/sphinx-build -W -n --keep-going

.venv/ready-docs: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@

docs: .venv/ready-docs
	OMP_NUM_THREADS=1 MLFLOW_DISABLE_TELEMETRY=true $(SPHINX) -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

docs-links: .venv/ready-docs
	$(SPHINX) -b linkcheck -D nb_execution_mode=off docs docs/_build/links

ui: setup
	@echo "http://127.0.0.1:$(PORT)/#/experiments/1/runs?workflowType=machine_learning  (Ctrl-C ends it)"
	mkdir -p results && MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/results/mlflow.db \
	  --host 127.0.0.1 --port $(PORT) --workers 1

bench: setup
	$(BIN)/python scripts/bench.py $(ARGS)

clean:
	rm -rf .venv .nox build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
