# `make demo` and `make test` do all set-up on a fresh machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help demo test chaos deploy-test bench train evaluate-models lint unit integration lock docs sbom clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(INSTALLED): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

DEMO_MODELS := --model-store samples/weights --recognition-model crnn_mobilenet_v3_small

demo: $(INSTALLED)  ## read the sample crops, pages and forms, and compare two models, with an embedded broker
	rm -rf out/demo
	$(BIN)/trace-ocr run samples/crops -o out/demo/crops --chunk-size 64 --head 5 $(DEMO_MODELS)
	$(BIN)/trace-ocr run samples/pages -o out/demo/pages --kind ocr --exports txt,hocr,pdf \
	  --detection-model linknet_resnet18 $(DEMO_MODELS)
	@echo " share of the pages' words that were read:"
	@$(BIN)/python -m tools.recall out/demo/pages/results.jsonl samples/pages/truth.json
	@$(BIN)/trace-ocr view out/demo/pages letter.jpg -o out/demo/letter.html
	$(BIN)/trace-ocr run samples/forms.jsonl -o out/demo/forms --regions template:samples/form-template.json $(DEMO_MODELS)
	@echo " the fields of the invoices, by a template:"
	@cat out/demo/forms/exports/forms.csv
	$(BIN)/trace-ocr compare samples/crops -o out/demo/compare --truth samples/labels.json --target-precision 0.99 \
	  --model-store samples/weights \
	  --models 'mobilenet-2025,crnn_mobilenet_v3_small,mobilenet-2025>crnn_mobilenet_v3_small@0.9'

# Two processes, each with whole files: most tests wait for processes of their own. torch has a thread in each: on two
# cores, threads that wait for each other at every step are slower than one.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test: lint $(INSTALLED)  ## linters, types, layers and all tests
	tools/test-programs.sh
	$(PYTEST) -m 'not full' --durations=25

chaos: $(INSTALLED)  ## every fault against a real cluster; prints a table
	$(BIN)/python -m pytest tests/chaos

deploy-test: $(INSTALLED)  ## deploy on this machine, in containers and under systemd, and break it (root; 40 minutes)
	deploy/try/run.sh $(BIN)/python $(TRY)

bench: $(INSTALLED)  ## measure against the alternatives (30 minutes; BENCH=--full for more)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks $(BENCH)

train: $(INSTALLED)  ## train the bundled models, in .training/ (hours; docs/models.md)
	nice -n 19 $(BIN)/python -m tools.training.train detection --minutes 80
	nice -n 19 $(BIN)/python -m tools.training.train recognition --minutes 180

evaluate-models: $(INSTALLED)  ## measure the bundled models; fails below their aims
	$(BIN)/python -m tools.training.evaluate

lint: $(INSTALLED)  ## only linters, types, layers and declared dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry contract producer trace_ocr worker
	$(BIN)/deptry benchmarks deploy tests tools --ignore DEP002,DEP004

unit: $(INSTALLED)  ## only the fast tests
	$(PYTEST) tests/unit

integration: $(INSTALLED)  ## only the tests with real servers and processes
	tools/test-programs.sh
	$(PYTEST) tests/integration

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
	  --custom-compile-command 'make lock'

lock: $(INSTALLED)  ## resolve the dependencies into requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tools/installer/requirements.txt
	$(COMPILE) --all-extras --no-emit-package trace-ocr-batch --overrides tools/lock-overrides.txt \
	  -o requirements.lock pyproject.toml tools/lock-extra.in
	$(COMPILE) --constraints requirements.lock -o tools/sbom/requirements.txt tools/sbom/requirements.in
	$(COMPILE) --constraints requirements.lock -o tools/docs/requirements.txt tools/docs/requirements.in
	$(COMPILE) --constraints requirements.lock -o tools/installer/requirements.txt tools/installer/requirements.in

# Beside the program, since the reference is made of it. None of these is newer or older than the lock's.
docs: $(INSTALLED)  ## build the documentation as a site, with its reference, and man pages, in out/docs/
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tools/docs/requirements.txt
	$(BIN)/python -m tools.docs out/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file tools/docs/mkdocs.yml

# Of another environment, such as an image's: make sbom ENVIRONMENT=/opt/trace-ocr/bin/python
ENVIRONMENT ?= $(BIN)/python

sbom: $(INSTALLED)  ## list what is installed: CycloneDX and licences, in out/sbom/
	$(PYTHON) -m venv $(VENV)/sbom
	$(VENV)/sbom/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tools/sbom/requirements.txt
	$(BIN)/python -m tools.sbom $(VENV)/sbom/bin/cyclonedx-py $(ENVIRONMENT) out/sbom

clean:  ## remove the environment and all outputs
	rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache
