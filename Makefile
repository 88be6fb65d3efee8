# make app: the dashboard.  make test: all tests.  Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: app test lint demo install install-dev browser clean
app: install
	$(BIN)/streamlit run app.py

demo: install
	$(BIN)/python -m core run

test: install-dev browser
	$(BIN)/python -m pytest

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(VENV)/app.done
install-dev: $(VENV)/dev.done

$(VENV)/python.done:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "RewindLab needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	@touch $@

$(VENV)/app.done: requirements.txt $(VENV)/python.done
	$(BIN)/pip install --quiet -r requirements.txt
	@touch $@

$(VENV)/dev.done: requirements-dev.txt requirements.txt $(VENV)/python.done
	$(BIN)/pip install --quiet -r requirements-dev.txt
	@touch $@ $(VENV)/app.done

# The browser tests drive Debian's Chromium; without it they are skipped and say so.
browser:
	@if ! command -v chromium >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu; } || \
		echo "Chromium cannot be installed (no network?): the browser tests will be skipped"; fi

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
