# Every target does its own set-up in .venv; it needs Python 3.10-3.14, pip and make.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
RUN ?= demo
WORKERS ?= 4
N ?= 30
SEED ?= 0
PACKAGE = -c constraints.txt -e '.[demo,lab,dev]'
UV = $(BIN)/uv pip install --quiet --python $(BIN)/python $(PACKAGE)# ten times as fast as pip
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PACKAGE)# where only pip's own settings lead to an index
PARALLEL = -n $(WORKERS)
unexport PYTHONDONTWRITEBYTECODE# set in some images: every process would compile its libraries anew
QUICK := not slow and not cluster and not browser and not bench

.PHONY: demo test test-cluster test-browser test-all test-sglang test-sglang-arguments test-newest-openai lab lint bench chaos lock help
help:                     ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/ /'

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.10 to 3.14 found: install one, or give make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv && $(UV) || $(PIP)
	@touch $@

demo: $(VENV)/installed   ## the math track on an embedded model: outputs/demo
	$(BIN)/sdg run start math --profile demo --run $(RUN) --to 07

test: $(VENV)/installed   ## what is quick and needs no cluster and no browser, in parallel: 5 minutes on 2 cores
	$(BIN)/python -m pytest $(PARALLEL) -m "$(QUICK)"

test-cluster: $(VENV)/installed  ## what needs Slurm: starts a private one; needs root, slurm-wlm and munge
	$(BIN)/python -m pytest -m cluster

test-browser: $(VENV)/installed  ## pages in a real browser, with pictures in screenshots/; needs chromium
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	$(BIN)/python -m pytest -m browser tests/browser

test-all: $(VENV)/installed  ## all but the browser's, and the slow ones, as CI runs them: 25 minutes on 2 cores
	$(BIN)/python -m pytest $(PARALLEL) -m "not bench and not browser"

test-newest-openai: $(VENV)/installed  ## the client's tests with the newest openai 3, beside the pinned one
	grep -v '^openai==' constraints.txt > $(VENV)/without-openai.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/newest-openai \
		-c $(VENV)/without-openai.txt 'openai>=3,<4'
	PYTHONPATH=$(VENV)/newest-openai $(BIN)/python -m pytest $(PARALLEL) tests/test_completions.py tests/test_serving.py

test-sglang: $(VENV)/installed   ## the real SGLang on a CPU, in a separate environment (2.7 GB): many minutes
	$(BIN)/python tests/sglang/environment.py .venv-sglang
	SDG_TEST_SGLANG=.venv-sglang $(BIN)/python -m pytest tests/sglang

test-sglang-arguments: $(VENV)/installed   ## SGLang's own parser on every command line that we build: two minutes
	$(BIN)/python tests/sglang/environment.py .venv-sglang --arguments-only
	SDG_TEST_SGLANG=.venv-sglang $(BIN)/python -m pytest tests/sglang/test_arguments.py

lab: $(VENV)/installed    ## the notebooks in JupyterLab
	$(BIN)/sdg lab

lint: $(VENV)/installed   ## style, layout and types; notebooks without outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/nbstripout --verify $$(git ls-files 'notebooks/**.ipynb')

bench: $(VENV)/installed  ## speed beside other libraries, growth, memory, fault schedules, against targets: an hour or two
	$(BIN)/python -m bench

chaos: $(VENV)/installed  ## N seeded schedules of disasters on whole runs, from SEED on: 1,000 take an hour or two
	$(BIN)/python -m bench.chaos --schedules $(N) --seed $(SEED)

lock: $(VENV)/installed   ## resolve constraints.txt again, with sglang's pins
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python tests/lock.py
