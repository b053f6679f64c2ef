# make demo: the main job on the bundled data; make test: the tests. Both make .venv when it is missing or old.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
BENCH_READY := $(VENV)/.ready-bench

.PHONY: demo test check format bench docs clean
.DEFAULT_GOAL := demo

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once; two to four minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,quant,export,serve,web]'
	@touch $(READY)

$(DEV_READY): $(READY)
	@echo "installing what the checks and tests need (once; a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,quant,export,serve,web,dev]'
	@touch $(DEV_READY)

$(BENCH_READY): $(DEV_READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,quant,export,serve,web,dev,bench]'
	@touch $(BENCH_READY)

demo: $(READY)
	@$(BIN)/komt run sample --out runs/sample

test: $(DEV_READY)
	@$(BIN)/python -m pytest -m "not slow and not gpu"

check: $(DEV_READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python docs/generate.py --check

format: $(DEV_READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(DEV_READY)
	@$(BIN)/python docs/generate.py

bench: $(BENCH_READY)
	@$(BIN)/python bench/train_korquad.py

clean:
	rm -rf $(VENV) runs output
