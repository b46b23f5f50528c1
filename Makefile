# asr_hlg: `make decode` and `make test` are all that a newcomer needs.
SHELL  := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
GRAPH  ?= en
WAVS   ?= examples
MINUTES ?= 30
REF    ?= examples/text
MODEL  ?= conformer
ARGS   ?=

# Debian's python3 may be the right one without being called python3.11.
ifeq ($(shell command -v $(PYTHON) 2>/dev/null),)
PYTHON := python3
endif

.PHONY: help install kaldifeat graph decode digits digits-transducer test test-slow test-ray fuzz lint docs bench soak clean

help:
	@echo 'make install            put the project and its exact dependencies into $(VENV)'
	@echo 'make graph GRAPH=en     compile graphs/en.toml into graphs/en/ (also: cat_hat, en-full)'
	@echo 'make decode WAVS=...    transcribe recordings (default: the examples that ship)'
	@echo 'make digits MODEL=...   train on spoken digits: conformer (default), blstm, tdnn'
	@echo 'make digits-transducer   train a transducer on strings of digits, try every search on it'
	@echo 'make test               run the test suite; make test-slow adds the long ones'
	@echo 'make test-ray           install Ray (500 MB), and test --engine ray'
	@echo 'make fuzz               100,000 nearly right files for every reader: hours'
	@echo 'make lint               ruff and mypy'
	@echo 'make soak               decode for MINUTES=30 while things break at random'
	@echo 'make bench WAVS=... REF=...   speed and errors beside other decoders (default: the examples)'
	@echo 'make docs               draw the pictures of docs/ anew'

install: $(VENV)/.installed
$(VENV)/.installed: requirements.lock requirements-k2.lock pyproject.toml
	@$(PYTHON) -c 'import sys, platform as p; ok = sys.version_info[:2] == (3, 11) and p.machine() == "x86_64" and p.system() == "Linux"; \
	  ok or sys.exit("make install needs Python 3.11 on x86-64 Linux, since the k2 wheel on the index is built for that; $(PYTHON) is %s on %s %s. Name another with: make install PYTHON=/path/to/python3.11" % (p.python_version(), p.system(), p.machine()))'
	$(PYTHON) -m venv $(VENV)
	# newer pip refuses the file name of the k2 wheel
	$(BIN)/python -m pip install --quiet 'pip<26.2'
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-k2.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -r requirements-dev.lock
	touch $@

$(VENV)/.kaldifeat: scripts/build_kaldifeat.sh $(VENV)/.installed-dev
	bash scripts/build_kaldifeat.sh $(BIN)/python
	touch $@
kaldifeat: $(VENV)/.kaldifeat

graph: $(VENV)/.installed
	$(BIN)/asr-hlg graph $(GRAPH) $(ARGS)

decode: $(VENV)/.installed
	$(BIN)/asr-hlg graph $(GRAPH)
	$(BIN)/asr-hlg transcribe --graph $(GRAPH) $(if $(filter examples,$(WAVS)),--ref examples/text) $(ARGS) $(WAVS)

digits: $(VENV)/.installed
	$(BIN)/python scripts/train_digits.py $(MODEL) $(ARGS)

digits-transducer: $(VENV)/.installed
	$(BIN)/python scripts/train_digits_transducer.py $(ARGS)

test: $(VENV)/.installed-dev $(VENV)/.kaldifeat
	$(BIN)/asr-hlg graph cat_hat
	$(BIN)/asr-hlg graph en
	$(BIN)/python -m pytest -q $(ARGS)

$(VENV)/.installed-ray: requirements-ray.lock $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet -r requirements-ray.lock
	touch $@

test-ray: $(VENV)/.installed-ray
	$(BIN)/asr-hlg graph en
	$(BIN)/python -m pytest -q -m '' tests/transcribe/test_ray.py $(ARGS)

test-slow: $(VENV)/.installed-dev $(VENV)/.kaldifeat
	$(BIN)/asr-hlg graph en
	$(BIN)/asr-hlg graph en-full
	$(BIN)/python -m pytest -q -m slow $(ARGS)

soak: $(VENV)/.installed
	$(BIN)/python scripts/soak.py --graph graphs/$(GRAPH) --minutes $(MINUTES) --write docs/reliability.md

bench: $(VENV)/.installed-dev
	$(BIN)/asr-hlg graph $(GRAPH)
	$(BIN)/asr-hlg bench --graph $(GRAPH) --ref $(REF) $(ARGS) $(WAVS)

fuzz: $(VENV)/.installed-dev
	$(BIN)/python scripts/fuzz.py $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-dev
	$(BIN)/python scripts/draw_lecture.py

clean:
	rm -rf $(VENV) graphs/*/ .pytest_cache .mypy_cache .ruff_cache
