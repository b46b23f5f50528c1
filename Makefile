# asr_hlg: `make decode` and `make test` are enough to start; `make` lists the rest.
SHELL  := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install -qq
GRAPH  ?= en
WAVS   ?= examples
MINUTES ?= 30
REF    ?= examples/text
MODEL  ?= conformer
ARGS   ?=
comma  := ,

# Debian's python3 may be the right one without being called python3.11.
ifeq ($(origin PYTHON)$(shell $(PYTHON) -c 'print(1)' 2>/dev/null),file)
PYTHON := python3
endif

.PHONY: help install kaldifeat graph decode digits digits-transducer test test-slow test-examples test-ray fuzz lint format docs bench soak clean

help:
	@echo 'make install            install the project and its exact dependencies into $(VENV);'
	@echo '                        PYTHON=python3.12 names a Python: see docs/install.md'
	@echo 'make graph GRAPH=en     compile graphs/en.toml into graphs/en/ (also: cat_hat, en-full)'
	@echo 'make decode WAVS=...    transcribe recordings (default: the examples)'
	@echo 'make digits MODEL=...   train on spoken digits: conformer (default), blstm, tdnn, …'
	@echo 'make digits-transducer  train a transducer on strings of digits, compare its searches'
	@echo 'make test               run the test suite; make test-slow runs the slow tests'
	@echo 'make test-examples      run the property tests with more examples, others every time'
	@echo 'make test-ray           install Ray (500 MB) and test --engine ray'
	@echo 'make lint               ruff, mypy, import contracts; make format rewrites the layout'
	@echo 'make docs               run the code in docs/, draw its pictures, build the site in site/'
	@echo 'make kaldifeat          build kaldifeat, the feature front end that training prefers'
	@echo 'make bench WAVS=... REF=...   speed and errors beside other decoders (default: the examples)'
	@echo 'make fuzz               100,000 mutated files for every reader (hours)'
	@echo 'make soak               decode for MINUTES=30 while workers are killed at random'
	@echo 'make clean              remove $(VENV), compiled graphs, caches and the site'

# The index has a wheel of k2 for one Python on one platform. FULL is 1 there; elsewhere everything
# is installed that needs neither k2 nor torch.
VERSION = import sys, platform as p; print("Python %d.%d, %s %s" % (*sys.version_info[:2], p.machine(), p.system()))
WANTED := $(shell $(PYTHON) -c '$(VERSION)' 2>/dev/null)
ifeq ($(WANTED),Python 3.11, x86_64 Linux)
FULL := 1
endif
LOCK := requirements$(if $(FULL),,-base)

install: $(VENV)/.installed
	@# another Python than the one that is installed would otherwise be ignored silently
	@[ '$(WANTED)' = '' ] || [ '$(origin PYTHON)' = file ] || [ "$$($(BIN)/python -c '$(VERSION)')" = '$(WANTED)' ] || \
	  { echo "$(VENV) has $$($(BIN)/python -V), not $(WANTED): remove it, or name another folder with VENV=.venv-NAME"; exit 1; }
$(VENV)/.installed: requirements.lock requirements-k2.lock requirements-base.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo 'asr_hlg needs Python 3.10 or newer; name one with: make install PYTHON=/path/to/python3'; exit 1; }
ifdef FULL
	@echo 'Installing into $(VENV): torch, k2 and the other packages of requirements.lock (4 GB; a few minutes the first time)'
else
	@echo 'Installing into $(VENV): the packages of requirements-base.lock (0.7 GB), to transcribe, align and score on the CPU'
	@echo 'Left out: torch, k2 and lhotse, and so training, the search with k2, CUDA and Lhotse manifests, since the k2 wheel on the index is built for Python 3.11 on x86-64 Linux; this is $(WANTED)'
endif
	@$(PYTHON) -m venv $(VENV)
ifdef FULL
	@# newer pip refuses the file name of the k2 wheel
	@$(PIP) 'pip<26.2'
	@$(PIP) -r requirements.lock
	@$(PIP) --no-deps -r requirements-k2.lock
	@$(PIP) --no-deps --no-build-isolation -e .
else
	@$(PIP) -r requirements-base.lock
	@$(PIP) --no-deps -e .
endif
	@touch $@

$(VENV)/.installed-dev: $(LOCK)-dev.lock $(VENV)/.installed
	@echo 'Installing what tests$(if $(FULL),$(comma) linters and documentation) need ($(LOCK)-dev.lock)'
	@$(PIP) -r $(LOCK)-dev.lock
	@touch $@

$(VENV)/.kaldifeat: scripts/build_kaldifeat.sh $(VENV)/.installed-dev
	bash scripts/build_kaldifeat.sh $(BIN)/python
	@touch $@
kaldifeat: $(VENV)/.kaldifeat

graph: $(VENV)/.installed
	$(BIN)/asr-hlg graph $(GRAPH) $(ARGS)

decode: $(VENV)/.installed
	$(BIN)/asr-hlg graph $(GRAPH)
	$(BIN)/asr-hlg transcribe --graph $(GRAPH) $(if $(filter examples,$(WAVS)),--ref examples/text) $(ARGS) $(WAVS)

digits: $(VENV)/.installed
	$(BIN)/python scripts/train_digits.py $(MODEL) $(ARGS)

digits-transducer: $(VENV)/.installed
	$(BIN)/python scripts/train_digits.py transducer $(ARGS)
	$(BIN)/python benchmarks/transducer_searches.py .work/digits/transducer/model.npz

test: $(VENV)/.installed-dev
	$(BIN)/asr-hlg graph cat_hat
	$(BIN)/asr-hlg graph en
	$(BIN)/python -m pytest -q -n logical --dist loadfile $(ARGS)

test-slow: $(VENV)/.installed-dev
	$(BIN)/asr-hlg graph en
	$(BIN)/asr-hlg graph en-full
	$(BIN)/python -m pytest -q -m slow $(ARGS)

test-examples: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -m 'hypothesis and not slow' --hypothesis-profile many $(ARGS)

$(VENV)/.installed-ray: requirements-ray.lock $(VENV)/.installed-dev
	@$(PIP) -r requirements-ray.lock
	@touch $@

test-ray: $(VENV)/.installed-ray
	$(BIN)/asr-hlg graph en
	$(BIN)/python -m pytest -q -m '' tests/transcribe/test_ray.py $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev
	$(BIN)/python scripts/draw_lecture.py
	$(BIN)/python scripts/draw_architecture.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

soak: $(VENV)/.installed
	$(BIN)/python scripts/soak.py --graph graphs/$(GRAPH) --minutes $(MINUTES) --write docs/reliability.md

bench: $(VENV)/.installed-dev
	$(BIN)/asr-hlg graph $(GRAPH)
	$(BIN)/asr-hlg bench --graph $(GRAPH) --ref $(REF) $(ARGS) $(WAVS)

fuzz: $(VENV)/.installed-dev
	$(BIN)/python scripts/fuzz.py $(ARGS)

clean:
	rm -rf $(VENV) graphs/*/ site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
