# The commands of the README. Each installs what it needs, once, and says nothing about what is there already.
#
#   make run      build, fetch the data files, start Headcount
#   make demo     the same on a folder of its own that is full of made-up traffic (DEMO="--days 60 --events 300000" for more)
#   make build    target/release/headcount
#   make test     every gate and every test
#   make lint     the gates alone: format, clippy, documentation, licences and sources
#   make faults   the long fault campaign: hours, resumable, with a table at the end (FAULTS="--only 'kill -9' --rounds 50" for less)
#   make bench    cost of an event, printed (FIGURES="requests batches" for less, FIGURES=help for what there is)
#   make bench-compare OLD=one.json NEW=other.json  two runs, figure by figure
#   make bench-scaling  cost of a request as connections, cores, bytes and the backlog grow, printed and drawn (tests/performance)
#   make bench-backlog  how a start goes on a spool of 5 GB, printed: minutes, and 6 GB of the temporary folder
#   make bench-query  the dashboard's questions over 10 million events (8 minutes), then over 100 million, printed
#   make dashboard  the built-in pages alone, which every build of the collector embeds: once in a fresh clone before a bare `cargo build`
#   make picture  the pictures of the README, taken again: minutes, for one is of sixty days of `headcount demo`
#
# What is downloaded is shared by all clones: ${XDG_CACHE_HOME:-~/.cache}/headcount.

SHELL := /bin/sh
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/headcount
DENY_VERSION := 0.20.2
DENY := $(CACHE)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny

.PHONY: run demo build test lint faults bench bench-compare bench-scaling bench-backlog bench-query assets deps dashboard picture

run: build assets
	exec target/release/headcount

demo: build assets
	exec target/release/headcount demo $(DEMO)

build: dashboard
	cargo build --release --locked

test: lint
	@sh tests/deps.sh test
	@node collector/assets.mjs --tests
	@HEADCOUNT_FAULTS=full node tests/run.mjs

lint: $(DENY) dashboard
	cd dashboards/web && node_modules/.bin/tsc --noEmit
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --workspace --all-targets --locked --features headcount-tests/leaky -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked --quiet --features headcount-tests/tested
	$(DENY) --log-level error --offline --locked check --hide-inclusion-graph licenses bans sources

faults: dashboard
	@sh tests/deps.sh test
	@node collector/assets.mjs --tests
	cargo build --release --locked -p headcount -p headcount-tests --bins
	target/release/faults $(FAULTS) target/faults.json

bench: assets dashboard
	cargo build --release --locked -p headcount -p headcount-tests --bins
	cargo build --release --locked -p headcount-tests --bin leaky --features leaky
	target/release/bench $(FIGURES) target/bench.json

bench-compare:
	cargo build --release --locked -p headcount-tests --bin bench
	target/release/bench compare $(OLD) $(NEW)

bench-scaling: assets dashboard
	cargo build --release --locked -p headcount -p headcount-tests --bins
	target/release/bench scaling tests/performance

bench-backlog: assets dashboard
	cargo build --release --locked -p headcount -p headcount-tests --bins
	target/release/bench backlog

bench-query: assets dashboard
	cargo build --release --locked -p headcount -p headcount-tests --bins
	target/release/bench queries 10
	target/release/bench queries 100

assets:
	@node collector/assets.mjs

deps:
	@sh tests/deps.sh test

# Silent and quick when there is nothing to do, like the two above.
dashboard:
	@sh tests/deps.sh build
	@node dashboards/web/build.mjs

picture: build assets
	cd tests/browser && README_PICTURE=../../dashboards/first-page.png node --test --test-name-pattern="picture of the README" pages.test.mjs
	cd tests/browser && HEADCOUNT_BINARY=../../target/release/headcount DEMO_DAYS=60 DEMO_EVENTS=200000 README_PICTURE=../../dashboards/overview.png node --test demo.test.mjs

# Built without optimisation: that takes a third of the time, and it runs for a second.
$(DENY):
	@echo "cargo-deny $(DENY_VERSION) is built once, for all clones (a few minutes) ..."
	cargo install --quiet --locked --debug --root $(CACHE)/cargo-deny-$(DENY_VERSION) --target-dir $(CACHE)/cargo-deny-$(DENY_VERSION)/target cargo-deny@$(DENY_VERSION)
	@rm -rf $(CACHE)/cargo-deny-$(DENY_VERSION)/target
