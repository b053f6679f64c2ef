# make demo: the main job on the bundled data; make test: the tests. Both make .venv when it is missing or old.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.ready-bench

.PHONY: demo test check format bench docs clean
.DEFAULT_GOAL := demo

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once; two to four minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,quant,dev]'
	@touch $(READY)

$(BENCH_READY): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,quant,dev,bench]'
	@touch $(BENCH_READY)

demo: $(READY)
	@$(BIN)/komt run sample --out runs/sample

test: $(READY)
	@$(BIN)/python -m pytest -m "not slow and not gpu"

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python docs/generate.py --check

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(READY)
	@$(BIN)/python docs/generate.py

bench: $(BENCH_READY)
	@$(BIN)/python bench/train_korquad.py

clean:
	rm -rf $(VENV) runs output
