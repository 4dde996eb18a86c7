# Two commands matter: `make demo` steals a model and draws the report, `make test` checks it all. `make demo-detect`
# reads a log and names the thieves in it, `make demo-gateway` watches them at work, `make demo-ownership` tries claims on copies.
PYTHON ?= python3
PIP := .venv/bin/python -m pip install --quiet --constraint constraints.txt
RUN := .venv/bin

.PHONY: demo demo-detect demo-ownership demo-gateway test quick test-slow lint format bench results reproduce docs clean

demo: .venv/demo-ready
	$(RUN)/gamekeeper audit mnist --budget 1000 --budget 2500 --out demo
	@echo "open demo/report.html in a browser"

# a log of 40 clients, four of them thieves: who are they? Under three minutes
demo-detect: .venv/demo-ready
	$(RUN)/python examples/demo_log.py demo-detect
	$(RUN)/gamekeeper replay demo-detect/log.jsonl.gz --mapping demo-detect/mapping.toml --target mnist --out demo-detect
	@echo "open demo-detect/replay.html in a browser"

# an owner, three thieves, a false accuser and a judge: who is right? Under five minutes
demo-ownership: .venv/demo-ready
	$(RUN)/python -m examples.demo_ownership demo-ownership
	$(RUN)/gamekeeper verify demo-ownership/dawn.safetensors demo-ownership/answer-copy.toml --own demo-ownership/own-clone.toml \
	    --data mnist --panel 12 --register demo-ownership/owner-register.jsonl --opening demo-ownership/dawn.opening \
	    --opening demo-ownership/backdoor.opening --opening demo-ownership/triggers.opening --trust demo-ownership/root.pem \
	    --public-since "$$(cat demo-ownership/public-since.txt)" --out demo-ownership/verdict
	@echo "open demo-ownership/verdict/verdict.html in a browser"

# a gateway before a live model, twenty honest clients and four thieves: who is suspicious? Under three minutes
demo-gateway: .venv/serve-ready
	$(RUN)/python -m examples.demo_gateway demo-gateway

test: .venv/test-ready
	$(RUN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# what a change needs first: every test file but the longest ones, and no pages
quick: .venv/test-ready
	$(RUN)/python -m pytest -n 2 --dist loadfile tests -m "not thorough and not slow"

test-slow: .venv/test-ready
	$(RUN)/python -m pytest -m slow

lint: .venv/test-ready
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/pyright

format: .venv/test-ready
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

bench: .venv/bench-ready
	$(RUN)/python -m benchmarks --json results/bench.json

# the runs whose results are committed under results/; hours are not needed, about half an hour is
results: .venv/demo-ready
	$(RUN)/gamekeeper audit mnist --seeds 3 --out results/mnist
	$(RUN)/gamekeeper audit fashion --budget 250 --budget 1000 --budget 2500 --budget 10000 \
	    --defense none --attack knockoff --attack knockoff+labels --out results/fashion

# published experiments again: about four hours; data that are not shipped from the folder GAMEKEEPER_DATA
reproduce: .venv/demo-ready
	for name in tramer prediction-poisoning-fashion prediction-poisoning-mnist orderings prediction-poisoning-cifar10 \
	    other-thieves deep-defense deep-defense-fashion deep-defense-cifar10; do \
	    $(RUN)/gamekeeper reproduce $$name --jobs 1 --out results/reproduce/$$name || exit $$?; \
	done

# tables and figures in README.md and docs/ are made from results/ and from the code
docs: .venv/test-ready
	$(RUN)/python tools/make_docs.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo-ready: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

.venv/serve-ready: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[serve]'
	@touch $@ .venv/demo-ready

.venv/test-ready: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[test,lint]'
	@touch $@ .venv/demo-ready .venv/serve-ready

.venv/bench-ready: .venv/test-ready
	$(PIP) --editable '.[test,lint,bench]'
	@touch $@

clean:
	rm -rf .venv demo demo-detect demo-ownership demo-gateway gamekeeper-runs
