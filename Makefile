# Everything a person or a machine types to work on Jupyter Sky. Needs make and a Python 3.11 or newer, nothing else:
# each target makes the virtual environment it runs in, and makes it again only when pyproject.toml changes.
# Reference: https://www.gnu.org/software/make/manual/ (kept to what GNU make 3.81 knows, the one that macOS has)
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench format clean

# PYTHON names the interpreter to use; without it the newest one found is used (see .ci/environment).
export PYTHON
VENV := .venv
READY := $(VENV)/.ready
BIN := $(abspath $(VENV))/bin
# The tools find each other, and a job on this machine finds the libraries, as in an activated environment.
RUN := PATH="$(BIN):$$PATH"

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

demo: $(READY) ## Run examples/quickstart.ipynb from top to bottom on this machine, into build/quickstart.ipynb
	@$(RUN) python examples/demo.py

test: lint ## Run the linters, the type checker and every test
	@.ci/debian git=git ip=iproute2 ssh=openssh-client unshare=util-linux
	@.ci/debian git=git
	@$(RUN) python -m pytest $(ARGS)

lint: $(READY) ## Check style, types and the layers
	@$(RUN) ruff check
	@$(RUN) ruff format --check
	@$(RUN) mypy
	@$(RUN) lint-imports

bench: $(READY) ## Measure against the bars; ARGS="link logs" picks benches by name
	@.ci/debian git=git rsync=rsync
	@$(RUN) python -m tests.bench $(ARGS)

format: $(READY) ## Bring the code into the house style
	@$(RUN) ruff check --fix
	@$(RUN) ruff format

clean: ## Remove everything that was made here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@.ci/environment $(VENV) test
	@touch $@
