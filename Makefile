# aifab: what one types. Targets that need the set-up do it themselves; with nothing to do it is fast.

python := $(if $(AIFAB_VENV),$(AIFAB_VENV),.venv)/bin/python
aifab  := $(dir $(python))aifab
root   := $(if $(filter 0,$(shell id -u)),,sudo)

pure   := tests/unit tests/test_layers.py $(addprefix tests/docs/test_,docs.py what_is_read.py plain_english.py site.py)
# Pytest rewrites each assert that it collects: half a minute of a processor, unless it may keep what it has made.
pytest := PYTHONDONTWRITEBYTECODE= $(python) -m pytest -p no:cacheprovider -n auto --dist worksteal
labs   := $(python) -m pytest -p no:cacheprovider --durations=20 $(addprefix --ignore=,$(pure)) tests

vm-variables := AIFAB_CACHE,AIFAB_CPUS,AIFAB_MEMORY,AIFAB_ACCEL,AIFAB_SUITE,AIFAB_MIRROR

.DEFAULT_GOAL := help
.PHONY: help demo test unit lint bench lessons golden docs vm-test vagrant-test clean setup setup-dev

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

setup:
	@./provision.sh

setup-dev:
	@./provision.sh --dev

demo: setup  ## set up, run the demo scenario, write its report
	$(root) $(aifab) run scenarios/library/demo.yml

test: setup-dev  ## set up, then every test: pure ones on all processors, then ones on real namespaces and switches
	$(root) $(pytest) $(pure)
	$(root) $(labs) -n 2 --dist loadfile -m "not alone"
	$(root) $(labs) -m alone

unit: setup-dev  ## tests that need neither root nor a network: without the large ones, and 20 examples of each property
	AIFAB_EXAMPLES=20 $(pytest) -m "not large" $(pure)

lint: setup-dev  ## ruff and mypy
	$(dir $(python))ruff check .
	$(dir $(python))mypy

bench: setup-dev  ## measure; figures go to bench-results/
	$(root) $(python) -m tests.bench

lessons: setup  ## run the library (or LESSONS="name name"): which lessons still hold? lessons.xml for CI
	$(root) $(aifab) lessons $(LESSONS) --junit lessons.xml

golden: setup-dev  ## rewrite the golden files; review the diff
	$(python) -m tests.golden

docs: setup-dev  ## build the documentation as a site that needs no network, links checked; it goes to build/site/
	NO_MKDOCS_2_WARNING=1 $(dir $(python))mkdocs build --strict --quiet

vm-test:  ## build the lab VM, boot it in QEMU, run tests and scenarios in it; logs go to vm-results/
	$(if $(root),sudo --preserve-env=$(vm-variables)) python3 -m vm test

vagrant-test:  ## the lab VM by Vagrant and libvirt: up, ssh, run, halt, destroy; logs go to vm-results/
	$(if $(root),sudo --preserve-env=$(vm-variables)) python3 -m vm vagrant

clean:  ## take down what labs left behind; drop caches, keep runs/
	@if [ -x $(aifab) ]; then $(root) $(aifab) clean; fi
	$(root) rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build
