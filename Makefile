# Two commands do all: `make reproduce` and `make test`. Everything is installed into .venv first, once.

PROFILE = quick
PAPER =
SCALE =
JOBS =
ON = laptop
ARGS =
VENV = .venv
PYTHON = $(shell command -v python3.11 || command -v python3)

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# An editable install holds the folder's name: one that was moved is installed anew.
MOVED := $(shell [ "$$(cat $(INSTALLED) 2>/dev/null)" = "$(CURDIR)" ] || echo moved)
RUNS := $(or $(SRLIB_RUNS),runs)
FIGURES := $(or $(SRLIB_FIGURES),$(RUNS)/figures)

.DEFAULT_GOAL := help
.PHONY: help setup reproduce test lab explore site data weights publish lint pins clean moved

help:
	@echo 'make reproduce   train, ablate, evaluate and render: tables, figures, HTML report'
	@echo '     PROFILE=    smoke (4 minutes), quick (10; default), released (released weights), paper (GPUs)'
	@echo '     PAPER=      btsrn, ... (default: all)         SCALE=  1, 2, 3, 4 or 8 (default: all of the profile)'
	@echo '     JOBS=       notebooks at a time (default: 2)  ON=     laptop (default), slurm or kubernetes'
	@echo 'make test        all tests and the linter (ARGS="tests/test_metrics.py -k psnr" for some)'
	@echo 'make lab         open the notebooks in JupyterLab'
	@echo 'make explore     serve the explorers as web pages (PROFILE=, default: released; ARGS="--port 8000")'
	@echo 'make site        write the explorers and the executed notebooks as pages into site/ (PROFILE=, default: released)'
	@echo 'make data        fetch and verify the public test and training sets'
	@echo 'make weights     train the networks that data/plan.toml has and data/weights lacks (JOBS=, default: 1;'
	@echo '                 ARGS=--dry-run lists them with their hours, ARGS="--only NAME" takes some, ARGS=--release releases)'
	@echo 'make publish     copy tables, figures and scores of PROFILE=released into figures/released, data/scores and README'
	@echo 'make lint        run the linter (ruff)'
	@echo 'make setup       install into .venv (the others do it when needed)'
	@echo 'make pins        write constraints.txt from the versions that are installed'
	@echo 'make clean       remove reports, executed notebooks, metrics and figures; never trained runs or data'

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt workflow/setup.sh $(MOVED)
	@bash workflow/setup.sh $(VENV) $(PYTHON)

reproduce: $(INSTALLED)
	@exec $(BIN)/python workflow/reproduce.py --profile "$(PROFILE)" --paper "$(PAPER)" --scale "$(SCALE)" --jobs "$(JOBS)" --on "$(ON)"

test: $(INSTALLED) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: $(INSTALLED)
	$(BIN)/python -m ruff check .

lab: $(INSTALLED)
	$(BIN)/python -m jupyter lab --notebook-dir=notebooks

explore: $(INSTALLED)
	@exec $(BIN)/python workflow/explore.py $(if $(filter file,$(origin PROFILE)),,--profile "$(PROFILE)") $(ARGS)

site: $(INSTALLED)
	@$(BIN)/python workflow/site.py $(if $(filter file,$(origin PROFILE)),,--profile "$(PROFILE)")

data: $(INSTALLED)
	$(BIN)/python -m srlib data

weights: $(INSTALLED)
	@OMP_NUM_THREADS=1 exec $(BIN)/python workflow/weights.py --jobs "$(JOBS)" $(ARGS)

publish: $(INSTALLED)
	$(BIN)/python workflow/publish.py
	$(BIN)/python workflow/readme.py
	$(BIN)/python workflow/scores.py

pins: $(INSTALLED)
	$(BIN)/python workflow/pins.py

clean:
	rm -rf "$(RUNS)/report" "$(RUNS)/notebooks" "$(RUNS)/metrics" "$(RUNS)/.snakemake" "$(RUNS)/figures"
	rm -rf "$(FIGURES)/smoke" "$(FIGURES)/quick" "$(FIGURES)/paper"
	rm -rf .pytest_cache .ruff_cache
