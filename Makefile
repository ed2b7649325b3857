# Everything a person runs. `make demo` and `make test` set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test check format bench lock clean

help: ## Show this list.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Build .venv/ with the pinned versions of requirements.lock.

$(READY): requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements.lock
	touch $@

demo: $(READY) ## Refine the embedded model on the project's own tasks, and show what came of it.
	$(BIN)/python main.py run configs/demo.toml

test: $(READY) ## Run all tests: the quick ones side by side, then those with a real server and real training.
	$(BIN)/python -m pytest -q -m "not real" -n auto
	$(BIN)/python -m pytest -v -m real

check: $(READY) ## Run all linters: format, lint, types, architecture.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(READY) ## Format and mend what ruff can mend.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## Run the benchmarks, or one: make bench NAME=serve.
	$(BIN)/python -m benchmarks $(NAME)

lock: $(READY) ## Write requirements.lock from what is installed in .venv/.
	$(BIN)/python -m pip freeze --exclude-editable | grep -vE '^(torchvision|torchaudio|torchcodec|nvidia-|cuda-|triton)' > requirements.lock

clean: ## Remove the virtual environment and caches; runs/ stays.
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
