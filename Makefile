# Everything needs only Python 3.11 to 3.13, make and a package index.
# The first target that runs makes .venv; nothing outside this directory is touched.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV_VERSION := 0.13.8
VENV := .venv
RUN := $(VENV)/bin
SOURCES := operator/modelyard runtimes/modelyard_runtimes

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage engines networks ray conformance test-cluster soak lint generate generate-check bench clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.synced

$(VENV)/.synced: uv.lock pyproject.toml runtimes/pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no python3; install Python 3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "error: $(PYTHON) is not 3.11 to 3.13; run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(RUN)/uv --version 2>/dev/null | grep -q "uv $(UV_VERSION)" || { \
		$(PYTHON) -m venv $(VENV) && \
		$(RUN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); }
	VIRTUAL_ENV=$(VENV) $(RUN)/uv sync --frozen --inexact --quiet --system-certs --python $(RUN)/python
	@touch $@

demo: setup ## From YAML to a served, watched model: breast cancer, predictions, drift found
	$(RUN)/python examples/demo.py

# In the order of their names, and not by how many tests a file has: the files that take longest
# have few, and one of them alone at the end would keep the other processor idle.
TESTS := -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not soak and not bench"

test: setup ## All tests, a seeded sample of the long ones
	$(RUN)/python $(TESTS)

coverage: setup ## The same, counting the lines they reach, which takes half as long again
	$(RUN)/python $(TESTS) --cov --cov-report=term:skip-covered --cov-report=xml:.cache/coverage.xml --cov-fail-under=90

# AutoGluon takes no PyArrow of today, so its environment is its own, locked like the other.
engines: setup ## The contract of search engines with AutoGluon, in an environment of its own
	$(RUN)/python tests/tools/extras.py autogluon

# PyTorch brings 5 GB of libraries for GPUs. The search over architectures that `make soak` adds to
# these tests takes an hour of CPU time and more.
networks: setup ## The tests of networks with PyTorch, in an environment of its own
	$(RUN)/python tests/tools/extras.py torch -m "not soak"

ray: setup ## The search on Ray, in an environment of its own
	$(RUN)/python tests/tools/extras.py ray

# The same tests of API behaviour against both servers: `make test` runs them on the embedded one.
# Argo CD's sync engine gets a server of its own, to which git brings the definitions too; it takes
# five CPU minutes to build, which `make soak` does, and is skipped where it is not built.
conformance: setup ## The API's behaviour and the main job on a real kube-apiserver, built with Go
	$(RUN)/python tests/tools/api_server.py $(RUN)/python -m pytest -m "not soak and not bench" \
		tests/apiserver tests/cli/test_invalid_manifests.py tests/conformance tests/tenancy \
		tests/chart/test_installed.py tests/chart/test_pod_security.py
	$(RUN)/python tests/tools/api_server.py $(RUN)/python -m pytest tests/gitops/test_engine.py

# What needs a whole cluster (nodes, real controllers) comes after the part that needs none.
test-cluster: conformance ## Conformance, then chart, Argo, KServe and KubeRay on a whole cluster
	$(RUN)/python tests/tools/cluster.py $(RUN)/python -m pytest -m cluster tests/cluster

soak: engines coverage ## Full counts of kills, fuzz and drift windows, times asserted
	-@$(RUN)/python tests/tools/gitops.py
	$(RUN)/python -m pytest -m soak --timeout 7200
	$(RUN)/python tests/tools/extras.py torch
	$(RUN)/python tests/tools/extras.py ray

lint: setup generate-check ## Style, types, layers, generated files, policies, documentation
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy --strict $(SOURCES)
	MYPYPATH=operator:runtimes $(RUN)/mypy --strict --ignore-missing-imports \
		--no-explicit-package-bases --no-namespace-packages tests/bench
	$(RUN)/lint-imports
	@if opa=$$($(RUN)/python tests/tools/opa.py); then "$$opa" test policies --ignore '*.yaml'; \
	else echo "opa test: skipped"; fi
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --strict --quiet --site-dir .cache/site

generate: setup ## Write crds/, the editor schemas and the reference page from the models
	$(RUN)/python -m modelyard.cli.generate

generate-check: setup
	@mkdir -p .cache && rm -rf .cache/generated && $(RUN)/python -m modelyard.cli.generate .cache/generated
	@(cd .cache/generated && find . -type f) | while read -r file; do \
		cmp -s ".cache/generated/$$file" "$$file" || { \
			echo "error: $$file is out of date; run make generate" >&2; exit 1; }; done

bench: setup ## Ratios, both sides measured in one run; one of them with ROW=drift
	$(RUN)/python tests/bench/frame.py $(ROW)
ifndef ROW
	@$(RUN)/python -m pytest -m bench -s || [ $$? -eq 5 ]
endif

clean: ## Remove what the targets made, .venv among it
	rm -rf $(VENV) .cache site .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
