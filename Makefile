# What can be done here; `make` alone lists it. Every target does its own set-up and skips what is done.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/facemill
CLIP := $(CACHE)/media/WolfgangLanger_Pexels.mp4
PORTRAIT := deploy/demo/portrait.jpg
OUT := out/demo.mp4

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what is missing: Debian packages, ONNX Runtime, the demo's clips
	@deploy/setup/rust.sh
	@deploy/setup/debian.sh build
	@deploy/setup/onnxruntime.sh
	@deploy/setup/media.sh

.PHONY: setup-cuda setup-openvino
setup-cuda: ## fetch an ONNX Runtime for NVIDIA's GPUs, 1.5 GB
	@deploy/setup/accelerator.sh cuda
setup-openvino: ## fetch an ONNX Runtime for Intel's devices, 84 MB
	@deploy/setup/accelerator.sh openvino

.PHONY: build
build: setup ## build target/release/facemill
	cargo build --release --locked --workspace

.PHONY: demo
demo: build ## put the portrait's face onto the demo clip: out/demo.mp4
	@mkdir -p $(dir $(OUT))
	target/release/facemill swap -s $(PORTRAIT) -t $(CLIP) -o $(OUT)

.PHONY: test
test: setup ## run all tests that need no service
	@deploy/setup/c2pa.sh
	cargo test --release --locked --workspace

.PHONY: test-kafka
test-kafka: setup ## run the broker's tests on a real Apache Kafka, started and stopped here
	@deploy/setup/debian.sh kafka
	@deploy/setup/kafka-client.sh
	@# Ports and data of its own, so that a Kafka that somebody works with is left alone.
	@# One broker for most tests; three, of which one is killed, for what a single one cannot show.
	@one=$(CURDIR)/target/test-kafka three=$(CURDIR)/target/test-kafka-3; \
	stop() { FACEMILL_KAFKA_DATA=$$1 deploy/kafka/stop.sh --delete || true; }; \
	trap 'stop $$one; stop $$three' EXIT; \
	brokers=$$(FACEMILL_KAFKA_PORT=19192 FACEMILL_KAFKA_DATA=$$one deploy/kafka/start.sh); \
	brokers3=$$(FACEMILL_KAFKA_PORT=19212 FACEMILL_KAFKA_DATA=$$three FACEMILL_KAFKA_HEAP=256m \
		deploy/kafka/start.sh --brokers 3); \
	FACEMILL_TEST_BROKERS=$$brokers FACEMILL_TEST_BROKERS3=$$brokers3 FACEMILL_TEST_KAFKA3=$$three \
		cargo test --release --locked --workspace --test broker_kafka --test cluster_kafka

.PHONY: bench
bench: build ## measure against ffmpeg on this machine; prints the table of load-tests/RESULTS.md
	target/release/load-tests bench

.PHONY: faults
faults: setup ## break everything that can break, on a Kafka of its own: an hour and a half (FAULTS=--quick: 10 minutes)
	@deploy/setup/debian.sh kafka
	cargo build --release --locked --workspace
	cargo build --release --locked --workspace --features facemill/crash-points --bin facemill-faults
	@# The harness reads all topics while brokers come and go, of which librdkafka crashes on memory that it has not set (its issue 5280): filled
	@# with 0x7f it is passed over. Its roles run without this, as anybody's do.
	GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.perturb=128 target/release/load-tests faults $(FAULTS)

.PHONY: fuzz
fuzz: setup ## fuzz everything that parses, each target for EACH seconds (10)
	@deploy/setup/fuzz.sh $(or $(EACH),10)

.PHONY: mutate
mutate: build ## FILES (1000) mutated clips through the program: each is finished or refused
	target/release/load-tests mutate --files $(or $(FILES),1000)

.PHONY: matrix
matrix: build ## any clip in, the same clip out: the matrix of clips, played in Chromium, too (MATRIX=--kafka: on a Kafka)
	@deploy/setup/debian.sh $(if $(findstring --kafka,$(MATRIX)),kafka,browser)
	target/release/load-tests matrix $(or $(MATRIX),--browser)

.PHONY: long
long: build ## an hour of 1080p: how soon it is planned, in how much memory and scratch space it flows; memory at 4K
	target/release/load-tests long

.PHONY: quality
quality: build ## how good the demo's swap is: identity, pose, expression, jitter, sharpness; out/quality.png
	@mkdir -p out
	target/release/load-tests quality --sheet out/quality.png

.PHONY: fmt
fmt: ## format the sources
	cargo fmt --all

.PHONY: lint
lint: ## check format, lints and the crate graph, as .ci/run does
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets --test '*' -- -D warnings
	deploy/setup/deny.sh
