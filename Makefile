# The commands of this repository; `make help` lists them.
# Paths are relative, so that all of it works in a folder whose name has spaces.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: up run stop down status logs token cli images clean test coverage bench-stages bench lint format diagrams readmes lock help

# The first Python that is new enough. Your own: make up PYTHON=/path/to/python3.13
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
VENV_PYTHON = .venv/bin/python
PIP_INSTALL = $(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes
DEMO = $(VENV_PYTHON) -m demo

# make up AUTH_PORT=9100 BANK_PORT=9101 CLIENT_PORT=9102
# make up STACK=local, or STACK=docker; without it, containers where a Docker engine answers
export AUTH_PORT BANK_PORT CLIENT_PORT STACK SERVICE ARGS

up: .venv/services.installed ## start the system, run the flow once and tell its five arrows
	@$(DEMO) up

run: .venv/services.installed ## run the flow once more on what runs now, and tell its arrows
	@$(DEMO) run

stop: .venv/services.installed ## stop one service: make stop SERVICE=resource_server
	@$(DEMO) stop "$${SERVICE:-resource_server}"

down: .venv/services.installed ## stop the system; its data stays
	@$(DEMO) down

status: .venv/services.installed ## say what runs
	@$(DEMO) status

logs: .venv/services.installed ## print the logs of all services, oldest line first (FOLLOW=1: go on; JSON=1: whole)
	@$(DEMO) logs $(if $(FOLLOW),--follow) $(if $(JSON),--json)

token: .venv/services.installed ## print a fresh access token, and nothing else
	@$(DEMO) token

cli: .venv/services.installed ## run a service's command: make cli SERVICE=auth_server ARGS="clients list"
	@$(DEMO) cli "$${SERVICE:-auth_server}" -- "$${ARGS:---help}"

images: .venv/services.installed ## build the containers' images and say how much each adds to its base
	@$(DEMO) images

clean: ## stop the system and delete its data (.local, or LOCAL_STATE_DIR; its volume), its images and the tools' caches
	@[ ! -e .venv/services.installed ] || $(DEMO) clean
	@rm -rf "$${LOCAL_STATE_DIR:-.local}" .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis

PYTEST = -m pytest -n auto --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

test: .venv/development.installed ## run every test
	@$(VENV_PYTHON) $(PYTEST)

coverage: .venv/development.installed ## run every test once more, with branch coverage over all processes
	@rm -f .coverage .coverage.*
	@$(VENV_PYTHON) -m coverage run $(PYTEST)
	@$(VENV_PYTHON) -m coverage combine --quiet
	@$(VENV_PYTHON) -m coverage report

bench-stages: .venv/development.installed ## count a token's instructions by stage, two minutes, with valgrind (CHECK=1: fail where they grew)
	@$(VENV_PYTHON) -m bench.instructions $(if $(CHECK),--check)

lint: .venv/development.installed ## check style and types
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m mypy

format: .venv/development.installed ## format the code
	@$(VENV_PYTHON) -m ruff format .
	@$(VENV_PYTHON) -m ruff check --fix .

bench: .venv/services.installed ## measure beside the peers (QUICK=1: two minutes; ROW=clients: one row alone)
	@$(VENV_PYTHON) -m bench $(if $(QUICK),--quick) $(if $(ROW),--row "$(ROW)") $(BENCH_ARGS)

diagrams: ## render the diagram to SVG (needs PlantUML)
	@diagrams/render.sh

readmes: .venv/development.installed ## write the tables of settings in the READMEs anew
	@$(VENV_PYTHON) -m tests.architecture.settings_tables

LOCK = $(VENV_PYTHON) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-header pyproject.toml

LOCK_ONE = $(LOCK) --constraint requirements/development.txt --extra postgresql

lock: .venv/development.installed ## write the hashed locks in requirements/ anew, valid from Python 3.11
	@$(LOCK) --all-extras --output-file requirements/development.txt
	@$(LOCK_ONE) --extra auth-server --extra openbao --extra valkey --output-file requirements/auth-server.txt
	@$(LOCK_ONE) --extra resource-server --output-file requirements/resource-server.txt
	@$(LOCK_ONE) --extra client-service --extra openbao --output-file requirements/client-service.txt

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed; none was found. Name yours: make up PYTHON=/path/to/python3" >&2; exit 1; }
	@command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) is no program: name another Python: make up PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old: Python 3.11 or newer is needed. Name another: make up PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module: install it (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "making the virtual environment .venv"
	@"$(PYTHON)" -m venv .venv

.venv/services.installed: requirements/auth-server.txt requirements/resource-server.txt requirements/client-service.txt | .venv/bin/python
	@$(PIP_INSTALL) -r requirements/auth-server.txt -r requirements/resource-server.txt -r requirements/client-service.txt
	@touch $@

.venv/development.installed: requirements/development.txt .venv/services.installed
	@$(PIP_INSTALL) -r requirements/development.txt
	@touch $@
