# Every target does its own set-up in .venv; it needs Python 3.10-3.14, pip and make.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
RUN ?= demo

.PHONY: demo test test-sglang test-sglang-arguments lab lint bench lock help
help:                     ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/ /'

$(VENV)/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.10 to 3.14 found: install one, or give make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,lab,dev]'
	@touch $@

demo: $(VENV)/installed   ## the math track on an embedded model: outputs/demo
	$(BIN)/sdg run start math --profile demo --run $(RUN) --to 07

test: $(VENV)/installed   ## all tests
	$(BIN)/python -m pytest

test-sglang: $(VENV)/installed   ## the real SGLang on a CPU, in an environment of its own (2.7 GB): many minutes
	$(BIN)/python tests/sglang/environment.py .venv-sglang
	SDG_TEST_SGLANG=.venv-sglang $(BIN)/python -m pytest tests/sglang

test-sglang-arguments: $(VENV)/installed   ## every command line that we build, parsed by SGLang itself: two minutes
	$(BIN)/python tests/sglang/environment.py .venv-sglang --arguments-only
	SDG_TEST_SGLANG=.venv-sglang $(BIN)/python -m pytest tests/sglang/test_arguments.py

lab: $(VENV)/installed    ## the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

lint: $(VENV)/installed   ## style of code; notebooks without outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify $$(git ls-files 'notebooks/**.ipynb')

bench: $(VENV)/installed  ## speed beside a bare loop, growth with the rows, memory, disasters: an hour
	$(BIN)/python -m bench.completions
	$(BIN)/python -m bench.scale
	$(BIN)/python -m pytest -m slow -s
	SCHEDULES=500 $(BIN)/python -m pytest tests/test_fault_schedules.py

lock: $(VENV)/installed   ## resolve constraints.txt anew, with what sglang pins
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python tests/lock.py
