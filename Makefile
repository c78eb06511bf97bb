# The two that matter: `make demo` and `make test`. Everything else is a part of one of them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE := 1
READY := build/.packages $(VENV)/.locked

ROLES := $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard molecule/*/molecule.yml)))))
ROLE ?= $(ROLES)
DEMO := BTMM_FLEET=demo
# The kernel is emulated, as this machine's.
E2E_KERNEL := $(if $(filter amd64,$(shell dpkg --print-architecture)),e2e-kernel)

.PHONY: help demo demo-down lint unit molecule e2e e2e-kernel test images lock clean

help: ## show this list
	@grep -E '^[a-z0-9%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: images ## enrol a rehearsal fleet and reach a NATed host by name
	$(DEMO) lab/lab up
	$(DEMO) ansible-playbook -i inventories/lab site.yml
	$(DEMO) python -m tests.e2e.demo

demo-down: ## remove the rehearsal fleet of `make demo`, and the images
	$(DEMO) lab/lab down
	lab/lab image --remove

lint: $(READY) ## ruff, mypy, yamllint, ansible-lint
	ruff format --check .
	ruff check .
	mypy
	yamllint --strict .
	ansible-lint --offline --strict

unit: $(READY) ## unit tests
	pytest --numprocesses 2 tests/unit

molecule: images ## each role's scenario, or one: make molecule ROLE=tunnel
	tests/run/molecule $(ROLE)

e2e: images ## the main job, faults, sign-on and scenarios, two rehearsal fleets at a time
	tests/run/e2e

e2e-kernel: images build/kernel/.packages build/kernel/.linux ## tunnel, guard and MTU with a kernel that has ESP (emulated; amd64)
	pytest --timeout 600 tests/kernel

test: lint unit molecule e2e $(E2E_KERNEL) ## all of these

bench-%: $(READY) build/bench/.packages build/bench/.locked ## measure: make bench-dns
	PYTHONPATH=.collections python -m tests.bench.$*

images: $(READY)
	lab/lab image

# What is installed is for the tests to start, and not to serve this machine: hence the policy (invoke-rc.d(8)).
# Root, since the rehearsal fleet needs network namespaces and containers.
build/.packages: lab/apt-packages.txt
build/bench/.packages: tests/bench/apt-packages.txt
build/kernel/.packages: tests/kernel/apt-packages.txt
build/.packages build/bench/.packages build/kernel/.packages:
	@echo "== Debian packages"
	@missing=$$(for package in $$(cat $<) python3-venv; do dpkg-query -W -f '$${Status}\n' "$$package" 2>/dev/null | grep -q 'ok installed' || echo "$$package"; done); \
	if [ -n "$$missing" ]; then \
	  [ "$$(id -u)" = 0 ] || { echo "These Debian packages are missing, and only root can install them:" $$missing >&2; exit 1; }; \
	  policy=/usr/sbin/policy-rc.d; test -e $$policy || { trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' > $$policy; chmod +x $$policy; }; \
	  apt-get update -q; DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi
	@mkdir -p $(@D) && touch $@

# Debian's kernel, unpacked and not installed: this machine keeps its own.
build/kernel/.linux: | build/kernel/.packages
	@echo "== A kernel with ESP"
	@rm -rf build/kernel/linux && mkdir -p build/kernel/linux/usr
	@apt-get update -q
	@cd build/kernel && rm -f linux-image-*.deb && \
	  apt-get download -q "$$(apt-cache depends linux-image-cloud-amd64 | awk '$$1 == "Depends:" { print $$2; exit }')" && \
	  dpkg-deb --extract linux-image-*.deb linux && mv linux/lib linux/usr/lib && \
	  depmod --basedir linux/usr "$$(ls linux/usr/lib/modules)" && rm linux-image-*.deb
	@touch $@

# What is measured against; half a gigabyte, so only for the benchmarks.
build/bench/.locked: tests/bench/requirements.txt | build/bench/.packages
	@echo "== Python packages to measure against"
	@test -x build/bench/nsupdate/bin/pip || python3 -m venv build/bench/nsupdate
	@build/bench/nsupdate/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@

$(VENV)/.locked: requirements.lock | build/.packages
	@echo "== Python packages, as locked"
	@test -x $(VENV)/bin/pip || python3 -m venv $(VENV)
	@$(VENV)/bin/pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

lock: $(READY) ## renew requirements.lock from pyproject.toml
	pip-compile -q --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links --generate-hashes --extra dev -o requirements.lock pyproject.toml

clean: demo-down ## forget what was built here
	rm -rf build $(VENV)
