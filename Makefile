# The commands of this project; the scripts behind them are in scripts/.

.PHONY: run check test prove bench fmt lint help

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build and serve on http://127.0.0.1:8080 with the development mailbox
	@scripts/run.sh

check: ## formatting, clippy and the quick tests, for the inner loop
	@scripts/check.sh

test: ## install what is missing, check the style, run every test on SQLite and PostgreSQL
	@scripts/test.sh

prove: ## the tests on the release build with more kills, seeds and cases
	@scripts/test.sh prove

bench: ## measure as ratios to floors; writes target/bench.json
	@scripts/bench.sh

fmt: ## format the code
	@cargo fmt --all

lint: ## formatting and clippy, warnings as errors
	@scripts/lint.sh
