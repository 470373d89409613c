# make demo   install into .venv and open the debugger on demo_models/two_nets.py
# make test   install, then linters, types, import contracts and the test suite without its slow part
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The CPU build: with an open range pip fetches gigabytes of CUDA libraries.
TORCH ?= torch==2.13.0
# In a process of their own, where torch has the same kernels on every processor.
PICTURES := tests/snapshots
CODE := stepdbg tests demo_models benchmarks

.PHONY: demo install test check test-all test-long format benchmark clean

demo: $(STAMP)
	$(BIN)/stepdbg demo two_nets

install: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet "$(TORCH)"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet "$(TORCH)" -e ".[test,frameworks,dev]"
	touch $@

check: $(STAMP)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not slow"
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not slow" $(PICTURES)

test-all: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "slow and not long"
	$(BIN)/python -m pytest -n 2 -m "slow and not long" $(PICTURES)

test-long: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m long

format: $(STAMP)
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

benchmark: $(STAMP)
	for part in overhead graph parameters watching snapshots tensor_statistics; do $(BIN)/python benchmarks/$$part.py || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf build dist snapshot_report.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
