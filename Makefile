# Every target first makes .venv and installs what it needs there (tools/setup.py; at once when nothing changed).
#   make train ARGS="--data fer2013.csv"      passes arguments on
#   make setup PYTHON=/path/to/python3.12     chooses the Python to build .venv from
# Without make: `python3 tools/setup.py`, then `.venv/bin/python -m tinyfer.train`.

VENV_PYTHON := $(if $(filter Windows_NT,$(OS)),.venv/Scripts/python.exe,.venv/bin/python)

# tools/setup.py, by the first Python 3 that really runs: one that is only a name on the PATH (a pyenv shim) is passed over.
define setup
@for python in "$$PYTHON" python3 python3.13 python3.12 python3.11 python3.10 python py; do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 6))' >/dev/null 2>&1; then \
		exec "$$python" tools/setup.py $(1); \
	fi; \
done; \
echo "error: no Python 3 runs here: install Python 3.12 from https://www.python.org/downloads/ and try again" >&2; exit 2
endef

.PHONY: help setup train test gradcheck bench bench-quick lessons lessons-lint lessons-bank lint budget site

help: ## show this list
	@sed -n 's/^\([a-z%-]*\): ## /\1@/p' Makefile | sed 's/^lesson-%/lesson-05/' | awk -F@ '{ printf "make %-13s %s\n", $$1, $$2 }'

setup: ## make .venv and install tinyfer in it, with what tests and lessons need
	$(call setup,test)

train: ## train the network on drawn faces, no download needed (ARGS="--help" shows what can be chosen)
	$(call setup)
	@$(VENV_PYTHON) -m tinyfer.train $(ARGS)

test: ## run the test suite
	$(call setup,test)
	@$(VENV_PYTHON) -m pytest $(ARGS)

gradcheck: ## prove every gradient (ARGS="--use my_ops.py" for your own)
	$(call setup,test)
	@$(VENV_PYTHON) -m tinyfer.gradcheck $(ARGS)

# PyTorch for processors alone is a tenth of the download; without peers the bench says so and measures the rest.
bench: export PIP_EXTRA_INDEX_URL ?= https://download.pytorch.org/whl/cpu

bench: ## measure speed beside PyTorch and ONNX Runtime, up to 25 minutes (ARGS="--only KEY")
	-$(call setup,bench)
	$(call setup)
	@$(VENV_PYTHON) -m tinyfer.bench $(ARGS)

bench-quick: ## the same in under a minute, without PyTorch
	-$(call setup,onnx)
	$(call setup)
	@$(VENV_PYTHON) -m tinyfer.bench --quick $(ARGS)

lessons: ## the course: where you are, and what to type next
	$(call setup,test)
	@$(VENV_PYTHON) -m lessons $(ARGS)

lesson-%: ## check your work on a lesson
	$(call setup,test)
	@$(VENV_PYTHON) -m lessons $* $(ARGS)

lessons-lint: ## check the course itself
	$(call setup,test)
	@$(VENV_PYTHON) -m lessons dev lint

lessons-bank: ## hand in every solution of the mistake banks (ARGS="--quarter 2" for a part), and write their table
	$(call setup,test)
	@$(VENV_PYTHON) -m lessons dev bank $(ARGS)

lint: ## check style and types
	$(call setup,lint)
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m mypy

budget: ## count the lines a reader has to read
	$(call setup)
	@$(VENV_PYTHON) tools/budget.py

site: ## build lessons, guides and the API into pages that need no network: site/index.html
	$(call setup,site)
	@$(VENV_PYTHON) -m tools.site
