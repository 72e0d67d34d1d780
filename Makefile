# make reproduce   results, figures and report of the quick preset, in out/
# make test        the tests
# make test-lowest, make test-newest   the tests with the oldest and the newest versions that pyproject.toml admits
# make test-wheel  a wheel of the library alone passes its part of the tests, outside of this tree
# make audit       bill of materials and licences, in out/audit, and known vulnerabilities of constraints.txt
# make explore-test  the explorer in a headless chromium, screenshots in out/explore
# make docs        the documentation, docs/_build/html/index.html
# make docs-links  asks for every external link of it
# make paper       the testbed's long settings, kept in results/ (up to two hours)
# Each does its own set-up in $(VENV), with the versions of constraints.txt.

PYTHON ?= python3
VENV   ?= .venv
OUT    ?= out
PRESET ?= quick
JOBS   ?= 2
TESTS  ?=
BIN    := $(VENV)/bin
STUDY  := $(if $(filter paper,$(PRESET)),small,cpu)
# experiments that read no study of language models
EXACT  := $(subst _,-,$(filter-out llm_% claims framework,$(basename $(notdir $(wildcard experiments/[a-z]*)))))
TESTBED := speed-and-dynamics taylor-in-training not-bradley-terry beta-or-f over-optimisation policy-deviation \
  online-and-offline statistical-efficiency links-and-divergences loss-to-order own-data

# one thread a process: JOBS says how many processors are used, and sums are taken in the same order everywhere
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export MPLBACKEND := Agg
# compiled modules are kept, also where the environment says otherwise: the tests start hundreds of processes
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help reproduce study study-optimum study-predicted exact paper test test-lowest test-newest test-wheel audit explore-test coverage lint notebooks docs docs-links clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# make/make/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=…")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-run: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[experiments,llm]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed-run

reproduce: $(VENV)/.installed-run
	$(MAKE) --no-print-directory -j $(JOBS) study study-optimum study-predicted exact
	GPO_LLM=$(OUT)/llm $(BIN)/python -m experiments all --preset $(PRESET) --jobs $(JOBS) --out $(OUT)/records
	$(BIN)/python -m figures all --jobs $(JOBS) --records $(OUT)/records --out $(OUT)/figures
	$(BIN)/python -m figures report --records $(OUT)/records --out $(OUT)

# studies of language models, the longest first, and what needs none of them: side by side, so that no processor waits
# while a study does what one process does
study: $(VENV)/.installed-run
	$(BIN)/python -m llm run --preset $(STUDY) --out $(OUT)/llm/$(STUDY)

study-optimum: $(VENV)/.installed-run
	$(BIN)/python -m llm optimum --preset cpu --out $(OUT)/llm/optimum-cpu

study-predicted: $(VENV)/.installed-run
	$(BIN)/python -m llm predicted --preset cpu --out $(OUT)/llm/predicted-cpu

exact: $(VENV)/.installed-run
	$(BIN)/python -m experiments run $(EXACT) --preset $(PRESET) --jobs $(JOBS) --out $(OUT)/records --quiet

paper: $(VENV)/.installed-run
	$(BIN)/python -m experiments run $(TESTBED) --preset paper --jobs $(JOBS) --out $(OUT)/paper
	$(BIN)/python -m experiments keep $(TESTBED) --records $(OUT)/paper --out results

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n $(JOBS) $(TESTS)

# constraints.txt does not hold here: what is resolved stands in the environment's resolved.txt
test-lowest test-newest: test-%: $(OUT)/tools/.installed
	$(OUT)/tools/bin/uv venv -q --clear -p $(PYTHON) $(OUT)/$*
	$(OUT)/tools/bin/uv pip compile -q --extra dev -p $(OUT)/$*/bin/python \
	  --resolution $(if $(filter lowest,$*),lowest-direct,highest) pyproject.toml -o $(OUT)/$*/resolved.txt
	$(OUT)/tools/bin/uv pip install -q -p $(OUT)/$*/bin/python -r $(OUT)/$*/resolved.txt
	$(OUT)/tools/bin/uv pip install -q -p $(OUT)/$*/bin/python --no-deps -e .
	$(OUT)/$*/bin/python -m pytest -q -n $(JOBS) -p no:cacheprovider $(if $(filter lowest,$*),-W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning)

test-wheel: $(OUT)/tools/.installed
	$(OUT)/tools/bin/python -m build -q --wheel --outdir $(OUT)/wheel .
	$(OUT)/tools/bin/uv venv -q --clear -p $(PYTHON) $(OUT)/wheel/venv
	$(OUT)/tools/bin/uv pip install -q -p $(OUT)/wheel/venv/bin/python -c constraints.txt $(OUT)/wheel/gpo_analysis-*.whl \
	  pytest pytest-xdist hypothesis cvxpy choix networkx  # what the tests compare with; no extra
	$(OUT)/wheel/venv/bin/python tests/wheel.py -n $(JOBS)

audit: $(VENV)/.installed-dev $(OUT)/tools/.installed
	@mkdir -p $(OUT)/audit
	$(OUT)/tools/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml -o $(OUT)/audit/sbom.json
	$(OUT)/tools/bin/pip-licenses --python $(BIN)/python --format=csv --with-urls --output-file $(OUT)/audit/licences.csv
	$(OUT)/tools/bin/pip-audit -r constraints.txt --no-deps --disable-pip

$(OUT)/tools/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(OUT)/tools
	$(OUT)/tools/bin/python -m pip install -q -c constraints.txt build cyclonedx-bom pip-audit pip-licenses uv
	@touch $@

# needs chromium on the PATH; skips, saying why, where there is none
explore-test: $(VENV)/.installed-dev
	GPO_BROWSER=1 GPO_EXPLORE_PICTURES=$(OUT)/explore $(BIN)/python -m pytest -q tests/explore/test_browser.py

# the same tests, and at least 95 % of the library's lines run by the library's own; the others are not slowed by counting
BESIDE := $(addprefix tests/,docs experiments figures fuzz llm mutation)
coverage:
	$(MAKE) --no-print-directory test TESTS='$(addprefix --ignore=,$(BESIDE)) --cov --cov-report=term-missing:skip-covered --cov-fail-under=95'
	$(MAKE) --no-print-directory test TESTS='$(BESIDE)'

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: $(VENV)/.installed-dev
	$(BIN)/python notebooks/run.py

# the figures that have no committed result are drawn from quick records, which are made here if they are not there
SHORT_RECORDS := losses taylor beta-sweep variants gradient-identity ipo-toys journals kl-and-mu-square mixture-of-gaussians \
	two-log-ratios

docs: $(VENV)/.installed-dev
	$(BIN)/python -m experiments run $(SHORT_RECORDS) --preset quick --jobs $(JOBS) --out $(OUT)/records
	GPO_RECORDS=$(abspath $(OUT)/records) $(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html
	@echo docs/_build/html/index.html

docs-links: docs
	GPO_RECORDS=$(abspath $(OUT)/records) $(BIN)/python -m sphinx -b linkcheck -q docs docs/_build/links

clean:
	rm -rf $(OUT) docs/_build docs/_generated .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
