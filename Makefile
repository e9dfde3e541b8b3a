# Everything is plain pip in one virtual environment; `make` alone lists the targets.
# A stamp file in the environment records what is installed, so a repeated `make` is quick.

PYTHON ?= python3
VENV ?= .venv
PACKAGE ?= .
PHOTO ?= examples/himeji-castle.jpg
WORKERS ?= 2
PHOTOS ?= examples/attribution.csv
RUN ?= run/demo
BENCHMARKS ?= cells regions gallery posterior locate decode decode_memory decode_growth training

BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
SOURCES := $(shell find src -type f -not -name '*.pyc' -not -path '*.egg-info/*')
CODE := src tests tools benchmarks

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo train-demo test fmt check bench golden docs
.DELETE_ON_ERROR:

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

setup: $(VENV)/.dev  ## make the environment with the [dev] extra, editable

demo: $(VENV)/.base  ## install geotoken without extras and locate a real photo
	$(BIN)/geotoken locate $(PHOTO)

# Eight photos show that it works, and make no model: for one, give a folder of a thousand as PHOTOS.
train-demo: $(VENV)/.dev  ## train every stage on PHOTOS, into the folder RUN, and locate a photo with the result
	$(BIN)/geotoken embed $(PHOTOS) --out $(RUN)/store
	$(BIN)/geotoken train align $(RUN)/store --out $(RUN)/align --config configs/demo/align.toml
	$(BIN)/geotoken train decoder $(RUN)/store --align $(RUN)/align --out $(RUN)/model --config configs/demo/decoder.toml
	$(BIN)/geotoken train reward $(RUN)/store --model $(RUN)/model --config configs/demo/reward.toml
	$(BIN)/geotoken locate $(PHOTO) --model $(RUN)/model --select reward

test: $(VENV)/.dev  ## run the tests
	$(BIN)/python -m pytest -n $(WORKERS)

fmt: $(VENV)/.dev  ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

check: $(VENV)/.dev  ## format, lint, types, layers, generated docs
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/make_cli_docs.py --check
	$(BIN)/python tools/make_results.py --check

bench: $(VENV)/.dev  ## measure speed on this machine and keep the figures
	set -e; for name in $(BENCHMARKS); do \
		echo "== $$name"; $(BIN)/python benchmarks/$$name.py --out benchmarks/results/$$name.json; done

golden: $(VENV)/.dev  ## rewrite the golden files; explain the difference in the commit
	$(BIN)/python tools/build_golden_cells.py tests/golden/cells.json

docs: $(VENV)/.dev  ## rewrite the generated pages of docs/
	$(BIN)/python tools/make_results.py
	$(BIN)/python tools/make_cli_docs.py

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "geotoken needs Python 3.11 to 3.13, this is " + sys.version.split()[0] + "; say: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# An editable installation is always up to date. `build` is removed because it keeps files that src lost.
$(VENV)/.base: $(VENV)/.made $(SOURCES) pyproject.toml
	test -e $(VENV)/.dev || { rm -rf build && $(BIN)/python -m pip install $(PACKAGE); }
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints-cpu.txt
	$(BIN)/python -m pip install -c constraints-cpu.txt -e '.[dev]'
	@touch $@
