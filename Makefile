# Everything runs in .venv, which the targets make themselves; only Python (3.10-3.14) and make are needed.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
# What to install, and how; CI narrows both (see the ci-* targets).
EXTRAS ?= test
PIP_INSTALL ?= $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test test-lowest check site dist bench tour tiny-eval fuzz kill shards mutants ci-system ci-venv clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/installed-%: pyproject.toml datumaro_clip.pth
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e '.[$*]'
	@touch $@

demo: $(VENV)/installed-$(EXTRAS) ## Show the whole product on drawn pictures
	$(BIN)/datum-clip demo

test: $(VENV)/installed-$(EXTRAS) ## Run the tests (WORKERS=2 in two processes)
	$(BIN)/python -m pytest $(if $(WORKERS),-n $(WORKERS) --dist loadgroup)

# What pins stored bytes, decoded pixels, tokens and vectors.
PINNED := $(addprefix tests/test_,store_golden.py store_columns.py store_hashes.py tiny.py texts.py model_openvino.py \
	images_decoding.py images_preprocess.py similarity_kernels.py host_codec_items.py tables_arrow.py)
LOWEST := $(VENV)-lowest
LOWEST_BIN := $(LOWEST)/$(notdir $(BIN))

test-lowest: ## Test stored bytes, pixels, tokens and golden vectors with the lowest versions of all libraries
	test -x $(LOWEST_BIN)/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST_BIN)/python -m pip install --quiet --disable-pip-version-check "tomli; python_version < '3.11'"
	$(LOWEST_BIN)/python tools/lowest.py > $(LOWEST)/lowest.txt
	$(LOWEST_BIN)/python -m pip install --quiet --disable-pip-version-check -c $(LOWEST)/lowest.txt -e '.[test]'
	$(LOWEST_BIN)/python -m pytest $(PINNED)

check: $(VENV)/installed-dev site ## Lint, types, floors, documentation: what CI checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

site: $(VENV)/installed-dev ## Build the documentation into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

dist: $(VENV)/installed-dev ## Build wheel and source distribution, check them, list what they need (SBOM)
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m venv dist/venv
	dist/venv/$(notdir $(BIN))/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --of JSON --output-reproducible -o dist/sbom.json dist/venv
	rm -rf dist/venv

bench: $(VENV)/installed-bench ## Measure against goals and peers (ONLY=part for one part)
	$(BIN)/python -m benchmarks $(ONLY)

# Real products, photos, a detector and OpenSearch beside the project; without them the tours draw their own.
SHARED ?= ../shared
TOURS ?= build/tours
# PostgreSQL, OpenSearch's client and a browser's driver.
TOUR_EXTRAS := test,test-servers,test-browser

tour: $(VENV)/installed-$(TOUR_EXTRAS) ## Walk both tours of docs/tours, on real pictures where they are; a second time goes on
	$(BIN)/python docs/tours/products.py -o $(TOURS)/products $(if $(wildcard $(SHARED)/data),\
	  --table $(SHARED)/data/products/products.csv --sizes 6000 4000 2000)
	$(BIN)/python docs/tours/visual_search.py -o $(TOURS)/visual-search $(if $(wildcard $(SHARED)/data),\
	  --photos $(SHARED)/data/coco_mini/images --photos $(SHARED)/data/coco128_yolo/images \
	  --table $(SHARED)/data/products/products.csv --detector $(SHARED)/models/yolox_nano/yolox_nano.onnx \
	  --labels $(SHARED)/models/yolox_nano/coco_names.json --opensearch $(SHARED)/servers/opensearch/run)

tiny-eval: $(VENV)/installed-test ## Measure the bundled model on drawn pictures it has not seen
	$(BIN)/python tools/eval_tiny.py

fuzz: $(VENV)/installed-test ## Open 1,000 damaged and hostile files (ARGS="model --count 300")
	$(BIN)/python tools/fuzz.py $(or $(ARGS),--count 1000)

kill: $(VENV)/installed-test ## Kill every command that writes, 30 times in all, and repeat it
	$(BIN)/python tools/kill.py $(or $(ARGS),--kills 30 --items 40)

shards: $(VENV)/installed-test,ray ## Embed in shards, killed, cut off and on Ray with ten workers killed: is all as in one run?
	$(BIN)/python tools/shards.py $(ARGS)

mutants: $(VENV)/installed-dev ## Change the core in 620 places, one at a time: do the tests notice? (ARGS=--again: now?)
	test -d build/mutants || git clone --quiet . build/mutants
	cd build/mutants && PYTHONPATH=$$PWD nice -n 10 $(abspath $(BIN))/python tools/mutants.py $(ARGS)

# Programs that some tests run, and the Debian package of each.
SYSTEM := chromium:chromium java:openjdk-17-jre-headless nginx:nginx promtool:prometheus jq:jq zsh:zsh npm:npm

ci-system: ## The Debian programs that some tests run, for CI
	@missing=; for pair in $(SYSTEM); do command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair#*:}"; done; \
	test -z "$$missing" || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null; }

ci-venv: ## A CPU-only environment with the export extra, for CI
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) torch==2.13.0
	$(PIP_INSTALL) -e '.[dev,download,ray,test-servers,test-browser]' 'transformers>=4.51,<5.6' nncf requests
	# optimum-intel asks for torchvision, whose wheels do not load beside a CPU-only torch; nothing here needs it.
	$(PIP_INSTALL) --no-deps optimum-intel optimum
	# OpenCLIP does need it; the one test that runs OpenCLIP itself finds it here, in the last release that loads without its
	# own compiled operators, of which OpenCLIP uses none.
	$(PIP_INSTALL) --no-deps --target $(VENV)/openclip open_clip_torch==3.3.0 timm==1.0.31 torchvision==0.16.2 ftfy wcwidth
	# What checks the page's types and its accessibility; nobody who installs the project needs Node.
	npm install --silent --no-save --prefix $(VENV)/node typescript@5 axe-core@4
	touch $(VENV)/installed-test $(VENV)/installed-dev

clean: ## Remove what the targets made
	rm -rf $(VENV) $(LOWEST) build dist site .pytest_cache .mypy_cache .ruff_cache
