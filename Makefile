# make book     the site in _build/html, decks included       make serve     look at it
# make test     everything that CI runs                       make robust    chapters at 20 other seeds
# make quick    lint, types and the tests that are not slow: while you work, under two minutes
# make chapters run the notebooks, store their outputs        make bench     the benchmarks
# make equations  draft the entries of new equations          make accelerator  chapters on a device without a GPU
# Every target sets up .venv by itself; Python 3.11 or later and make are all it needs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := book
.PHONY: book slides serve chapters equations robust accelerator bench test quick lint types browser mutants \
	pretrained vendor requirements address clean

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PORT ?= 8000
OFFSETS ?= 20
NOTEBOOKS ?= $(wildcard chapters/*.ipynb)

BIN := .venv/bin
READY := .venv/.ready
HTML := _build/html
SITE := $(HTML)/.built
DECKS := $(HTML)/slides/.built
# pages and what they are made from; the chapters' stored outputs are part of the notebooks
PAGES := _config.yml _toc.yml references.bib index.md $(wildcard chapters/*.ipynb chapters/*.md) \
	tools/grammar.py $(shell find web -type f -not -path '*/__pycache__/*')

book: $(SITE) $(DECKS)
	@echo "The book is built. Open $(CURDIR)/$(HTML)/index.html, or run: make serve"

slides: book

$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: none was found"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# always from scratch: a page left over from an earlier build keeps its warnings to itself
$(SITE): $(READY) $(PAGES)
	@rm -rf _build/html _build/.doctrees
	$(BIN)/jupyter-book build . -W -n --keep-going --all --quiet
	@touch $@

$(DECKS): $(SITE) tools/slides.py tools/slide_text.py
	$(BIN)/python -m tools.slides --out $(HTML)/slides $(wildcard chapters/*.ipynb)
	@touch $@

serve: book
	@echo "http://127.0.0.1:$(PORT)/  (Ctrl-C stops it)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory $(HTML) $(PORT)

chapters: $(READY)
	$(BIN)/python -m tools.execute $(NOTEBOOKS)
	$(BIN)/python -m tools.contents

# draft what new equations need in chapters/equations.yml
equations: $(READY)
	$(BIN)/python -m tools.equations

robust: $(READY)
	$(BIN)/python -m tools.robust --offsets $(OFFSETS) $(NOTEBOOKS)

# a device in pretence, on which code that mixes devices fails as on a GPU
accelerator: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/accelerator -k "not a_chapter_runs"
	$(BIN)/python -m tools.accelerator $(NOTEBOOKS)

bench: $(READY)
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/evaluation.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(READY)
	$(BIN)/mypy

# Debian's Chromium for the browser tests; CHROMIUM names another one
browser:
	@if [ -n "$${CHROMIUM:-}" ] || command -v chromium >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y chromium >/dev/null; \
	elif [ "$${CI:-}" = true ]; then echo "chromium is missing, and CI needs it"; exit 1; \
	else echo "chromium is missing: the browser tests will be skipped (apt-get install chromium)"; fi

# what one runs while working; the marker slow stands in pyproject.toml
quick: $(READY) lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow" \
		tests/unit tests/contracts

# two processes of one thread each; then, alone, every notebook anew on two threads
FRESH := tests/contracts/test_fresh_run.py tests/contracts/test_solutions.py
test: $(READY) browser book lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests $(FRESH:%=--ignore %)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --nbval --nbval-current-env \
		--nbval-sanitize-with tests/sanitize.cfg $(NOTEBOOKS)
	$(BIN)/python -m pytest $(FRESH)

# break the mathematics on purpose: every mistake must be caught twice
mutants: $(READY)
	$(BIN)/python -m tools.break_it

# train the models that ship with the package (VAE_TUTORIAL_DATA names the folder of data)
pretrained: $(READY)
	$(BIN)/python -m tools.train_pretrained
	$(BIN)/python -m tools.hero

vendor: $(READY)
	$(BIN)/python -m tools.vendor

address: $(READY)
	$(BIN)/python -m tools.address

# writes the lines below the head of requirements.txt anew
requirements: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools
	@mkdir -p _build
	echo 'torch==2.13.0' > _build/torch.txt
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --all-extras --no-annotate --no-header --upgrade \
		--constraint _build/torch.txt --output-file _build/pins.txt pyproject.toml
	{ sed -n '/^#/!q;p' requirements.txt; sed 's/+cpu$$//' _build/pins.txt | grep -v '^#\|^$$'; } > _build/requirements.txt
	mv _build/requirements.txt requirements.txt

clean:
	rm -rf _build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@echo "Kept: .venv (remove it yourself to start afresh)"
