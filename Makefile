# On a machine with Python 3.11+, git and make: `make run`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test coverage check format fuzz torture soak bench bench-pretrain gpu-pretrain clean

run: $(STAMP)  ## the quickstart session
	$(BIN)/dlpo-tui run profiles/quickstart.toml

# One thread a process: there are as many processes as cores, and their threads would wait for each other.
# Without coverage, which costs a third more before Python 3.12: `make coverage` has it.
test: $(STAMP)  ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadgroup

coverage: $(STAMP)  ## the tests, and which lines they reach
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadgroup --cov=engine --cov=dlpo_tui --cov-report=term

check: $(STAMP)  ## format, lint, types, layers, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fuzz: $(STAMP)  ## every reader over five thousand spoilt files each, in minutes; `make test` takes seconds
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz --hypothesis-profile=fuzz --numprocesses auto

# What a GPU is asked for besides: make CONSTRAINTS= bench SAMPLER="--device cuda --precision bf16 --batches 1 8 64 --seconds 6"
# UPDATE="--device cuda --precision bf16 --batch 64 --seconds 2 6 10 --kept 1 4"
SAMPLER ?= --seconds 1 --timesteps 4
UPDATE ?= --voice bundled --batch 2 --seconds 2 6 --kept 1 2 --windows 0 1
bench: $(STAMP)  ## JSON: a session's phases, the sampler beside a plain one, an update; informational
	$(BIN)/python tests/benchmarks/session.py
	$(BIN)/python tests/benchmarks/sampler.py $(SAMPLER)
	$(BIN)/python tests/benchmarks/update.py $(UPDATE)

bench-pretrain: $(STAMP)  ## JSON: audio seconds a second of each phase of pretraining, loss by time
	$(BIN)/python tests/benchmarks/pretrain.py

# Both print JSON, and fail where a figure is not what it should be; the second takes half an hour.
torture: $(STAMP)  ## a thousand bad inputs, every fault, 100 kills: nothing lost, doubled or different
	OMP_NUM_THREADS=1 $(BIN)/python tests/torture/bad_input.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/torture tests/engine/test_recovery.py
	$(BIN)/python tests/torture/kills.py --kills 100

soak: $(STAMP)  ## 10,000 updates of a tiny session under the screen: what grows?
	$(BIN)/python tests/torture/soak.py

# CORPORA holds ljspeech-part and kathleen; what is prepared already is not prepared again, and a
# training that was stopped goes on. On a GPU also say CONSTRAINTS= , for a torch that knows it.
CORPORA ?= corpora
PRETRAIN ?= profiles/pretrain-gpu.toml
CHAIN ?= profiles/pretrain-gpu-chain.toml
SPOKEN := ljspeech-part kathleen
# A profile's name is its file's, and that of the folder it writes.
MADE = pretrained/$(notdir $(basename $(PRETRAIN)))
gpu-pretrain: $(STAMP) $(SPOKEN:%=prepared/%/clips.jsonl)  ## a base voice in 25 minutes on a GPU
	$(BIN)/dlpo-tui pretrain $(SPOKEN:%=prepared/%) $(PRETRAIN)
	$(BIN)/dlpo-tui pretrain $(SPOKEN:%=prepared/%) $(CHAIN) --set start=$(MADE)/voice.safetensors

prepared/%/clips.jsonl: | $(STAMP)
	$(BIN)/dlpo-tui prepare $(CORPORA)/$*

# constraints.txt keeps torch at a build that a laptop without a GPU can take; the project's
# own ranges are wide. `make CONSTRAINTS= run` installs the newest torch instead.
CONSTRAINTS ?= -c constraints.txt
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("dlpo-tui needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) -e '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
