# Everything below sets up what it needs: Python 3.11 or later and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check lint types golden docs lock bench campaign fuzz clean

demo: $(READY)  ## See it work: every bundled sample through the real Kafka and ClickHouse.
	$(BIN)/fleetline demo

test: $(READY)  ## Run the tests, on the real Kafka and ClickHouse.
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: lint types test  ## All of CI.

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

golden: $(READY)  ## Rewrite the golden records from today's normalizers; review with git diff.
	$(BIN)/python -m sources.golden

docs: $(READY)  ## Rewrite the generated pages in docs/: sources, settings, record-types, and the table in kafka-security.
	$(BIN)/python -m sources.document
	$(BIN)/python -m fleetline.document
	$(BIN)/python -m fleetline.connectivity.record_types

bench: $(READY)  ## Measure everything; benchmarks/RESULTS.md says how to read it.
	for name in $$($(BIN)/fleetline bench --list); do $(BIN)/fleetline bench $$name --json || exit 1; done

campaign: $(READY)  ## Five minutes of every sender under every fault; ends with an account that must close.
	$(BIN)/fleetline simulate all --devices 100 --rate 500 --duration 300 \
		--faults lost-ack,duplicate,broker-restart,disconnect,reorder,slow

fuzz: $(READY)  ## Ten minutes of requests that schemathesis makes up, at every endpoint of the admin API.
	FLEETLINE_FUZZ_EXAMPLES=100 $(BIN)/python -m pytest tests/admin/test_fuzz.py

lock: $(READY)  ## Resolve the dependencies anew.
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--extra local --extra dev --extra bench pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .fleetline .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps -e .
	touch $(READY)
