# Each command does its own set-up in .venv, so it works on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_OPTIONS := --disable-pip-version-check --quiet --constraint constraints.txt

# A module is compiled when it is first imported; compiling all that is installed takes half of the installation.
PIP_OPTIONS += --no-compile
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo docs gallery test test-lowest pytest test-transformers test-extras test-rendered-people test-slow lint format clean

# Tests of features whose packages are optional; `make test` skips them where these are absent. Those of the app in a
# browser need Chromium: one in the path (`apt install chromium`), or HFPOSE_CHROMIUM.
TESTS_OF_EXTRAS := tests/backends/test_auto_backend.py tests/backends/test_graph_backend.py \
	tests/backends/test_onnx_graphs.py tests/media/test_inputs.py tests/media/test_parquet.py tests/media/test_heic.py \
	tests/visualization/test_interactive.py tests/visualization/test_plots.py tests/distributed/test_actor.py \
	tests/pipelines/test_adapters.py tests/pipelines/test_options.py tests/examples tests/test_readme.py \
	tests/test_scripts.py tests/app

demo: $(VENV)/.installed
	$(BIN)/python docs/demo.py

# The site of the docs, below out/site. A warning is an error.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

# The images of the docs.
gallery: $(VENV)/.installed
	$(BIN)/pip install $(PIP_OPTIONS) --editable ".[plots]"
	$(BIN)/python tools/gallery/make_gallery.py

# Types are checked beside the tests: mypy has one thread. A file's tests share its fixtures, so they go to one worker; in
# the order of their names the last files are quick ones, and no worker waits long for another.
test: $(VENV)/.installed-test
	$(MAKE) --no-print-directory --jobs 2 lint pytest

pytest: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 20

# A short part of the tests with the oldest versions that pyproject.toml allows, but for torch, of which the pinned one is
# taken, and transformers, whose 5.17 needs torchvision.
test-lowest: .venv-lowest/.installed
	.venv-lowest/bin/python -m pytest --numprocesses auto tests/test_results.py tests/ops tests/keypoints tests/tracking \
		tests/media/test_images.py tests/media/test_video.py tests/media/test_writers.py tests/visualization/test_poses.py \
		tests/pipelines/test_pose_estimation.py tests/models/test_auto.py tests/models/rtmpose

test-extras: $(VENV)/.installed-extras
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup --durations 10 $(TESTS_OF_EXTRAS)

# transformers' own common tests, out of the source distribution of the installed version, over all our models.
test-transformers: $(VENV)/.installed-transformers-tests
	$(BIN)/python tests/transformers_common

# The renderer and the training of the packaged models; no part of the library.
test-rendered-people: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses auto tools/rendered_people/tests

test-slow: $(VENV)/.installed-extras
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch is pinned: a machine with a CPU build of it then installs no CUDA packages.
$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install $(PIP_OPTIONS) --editable .
	touch $@

$(VENV)/.installed-test: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install $(PIP_OPTIONS) --editable ".[test]"
	touch $@

.venv-lowest/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install $(PIP_OPTIONS) "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	sed -n '/^dependencies/,/^]/p' pyproject.toml | grep -o '"[^"]*"' | tr -d '"' | grep -v ^torch \
		| sed 's/>=5.17,<6/==5.18/; s/>=\(.*\)/==\1.*/' > .venv-lowest/oldest.txt
	.venv-lowest/bin/pip install --disable-pip-version-check --quiet --requirement .venv-lowest/oldest.txt \
		"pytest>=8" "pytest-xdist>=3.7"
	.venv-lowest/bin/pip install --disable-pip-version-check --quiet --no-deps --editable .
	touch $@

$(VENV)/.installed-extras: $(VENV)/.installed-test
	$(BIN)/pip install $(PIP_OPTIONS) --editable ".[test-extras]"
	touch $@

$(VENV)/.installed-transformers-tests: $(VENV)/.installed-test
	$(BIN)/pip install $(PIP_OPTIONS) --editable ".[test-transformers]"
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/pip install $(PIP_OPTIONS) --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) .venv-lowest out
