# `make` shows what there is. What CI does is `.ci/run`; it uses these targets and nothing else.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

GO ?= go
# The pattern `work` is all packages of all modules in go.work; `./...` does not cross modules.
PKG ?= work
RUN ?= .
COUNT ?= 1
TIMEOUT ?= 10m
FUZZTIME ?= 10s
WAITS ?= 200000

# Tools are built once a version, into the user's cache, and not into the repository.
GOLANGCI_VERSION := v2.12.2
GOTESTSUM_VERSION := v1.13.0
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/switchback
TOOLS = $(CACHE)/tools/$(shell $(GO) env GOVERSION)
GOLANGCI = $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)
# Its own for each clone: verdicts remember the paths of the clone that they were found in, and then no exception for a
# path holds.
export GOLANGCI_LINT_CACHE ?= $(CACHE)/lint$(CURDIR)
GOTESTSUM = $(TOOLS)/gotestsum-$(GOTESTSUM_VERSION)

# Tests wait more than they work, for timers, disks and each other's processes: more packages at once than processors.
PARALLEL ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
# In CI the tests' last line counts them, and `make check` has vetted the code already.
TEST = $(GO) test
ifdef CI
TEST = $(GOTESTSUM) --format standard-quiet -- -vet=off
test: $(GOTESTSUM)
endif

# each runs a command in the folder of every module, and fails at the end when it failed in one.
each = failed=0; for dir in $$($(GO) list -m -f '{{.Dir}}'); do echo "$(1) $${dir\#$(CURDIR)/}"; (cd "$$dir" && $(2)) || failed=1; done; exit $$failed

##@ Work

.PHONY: help
help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the commands into bin/
	$(GO) build -trimpath -o bin/ $$($(GO) list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' work)

# Images are named by VERSION, and know what they were built of.
VERSION ?= dev
.PHONY: images
images: ## Container images of the services and of the command (VERSION=v1.2.3)
	SWITCHBACK_VERSION=$(VERSION) SWITCHBACK_REVISION=$$(git rev-parse HEAD 2>/dev/null || true) docker compose build $(if $(CI),--progress plain)

.PHONY: demo
demo: ## A run goes to sleep and a callback wakes it, all in one process
	$(GO) run ./cmd/switchback demo

.PHONY: test
test: ## Test with the race detector (PKG=./pkg/expr RUN=TestName COUNT=10)
	$(TEST) -race -p $(PARALLEL) -timeout $(TIMEOUT) -run '$(RUN)' $(if $(filter-out 1,$(COUNT)),-count $(COUNT)) $(PKG)

.PHONY: compose
compose: ## compose.yaml on a Docker engine: scaled, restarted and killed under load, and counted
	test/compose/standins.sh
	$(MAKE) images
	SWITCHBACK_COMPOSE=1 $(GO) test -count 1 -timeout 15m -v ./test/compose

.PHONY: bench
bench: ## Measure ingest, roundtrip and park; a table, and JSON in bench/out/
	mkdir -p bench/out
	$(GO) run ./bench all --json bench/out/bench.json

.PHONY: stress
stress: ## The wait protocol with 200,000 ids (WAITS=n)
	$(GO) test -count 1 -timeout 1h -v ./test/waits -ids $(WAITS)

.PHONY: record
record: ## Record runs and definitions, for versions to come (RELEASE=v0.1.0 for a release; else they are those of the next one)
	$(GO) test -count 1 -run TestRecorded ./services/runner/engine -record $(or $(RELEASE),next)
	$(GO) test -count 1 -run TestRecorded ./pkg/compose -record $(or $(RELEASE),next)

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME=10s (PKG=./pkg/expr for one package)
	@$(GO) list -f '{{$$p := .}}{{range .TestGoFiles}}{{$$p.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$$p.Dir}}/{{.}}{{"\n"}}{{end}}' $(PKG) \
	  | xargs -r grep -oHE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/' | sort \
	  | while IFS=: read -r file target; do \
	      echo "fuzz $$target in $${file#$(CURDIR)/}"; \
	      $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" | grep -vE '^fuzz: elapsed' || exit 1; \
	    done

##@ Before a commit

.PHONY: check
check: lint vet imports modules ## Everything that CI checks, the tests excepted

# All modules in one run: module by module, what they have in common, NATS and the standard library, is analysed for each.
# Of go.mod files the linter reads one a run.
.PHONY: lint
lint: $(GOLANGCI) ## Formatting and golangci-lint
	$(GOLANGCI) run $$($(GO) list -m -f '{{.Dir}}' | sed 's|^$(CURDIR)/\(.*\)|./\1/...|')
	@$(call each,lint go.mod of,$(GOLANGCI) run --enable-only gomoddirectives ./...)

.PHONY: fmt
fmt: $(GOLANGCI) ## Format
	@$(call each,format,$(GOLANGCI) fmt ./...)

.PHONY: vet
vet: ## go vet
	$(GO) vet work

.PHONY: imports
imports: ## Who may import whom, package comments, go.mod files that agree
	$(GO) test ./test/imports

.PHONY: modules
modules: ## Each module builds and is tidy by itself, without go.work
	@$(call each,module,GOWORK=off $(GO) build ./... && GOWORK=off $(GO) mod tidy -diff)

.PHONY: tidy
tidy: ## Tidy every go.mod and go.work.sum
	@$(call each,tidy,GOWORK=off $(GO) mod tidy)
	$(GO) work sync
	@$(call each,tidy,GOWORK=off $(GO) mod tidy)

.PHONY: cover
cover: ## Coverage of all tests over all packages; coverage.html to look at
	$(GO) test -timeout $(TIMEOUT) -coverprofile coverage.out -coverpkg "$$($(GO) list -f '{{.ImportPath}}/...' -m | paste -sd,)" work
	$(GO) tool cover -func coverage.out | tail -1
	$(GO) tool cover -html coverage.out -o coverage.html

.PHONY: clean
clean: ## Remove what was built; the tools in $(CACHE) stay
	rm -rf bin coverage.out coverage.html bench/out
	$(GO) clean -testcache

# Installed outside of the workspace, so that a tool's requirements and ours do not meet.
install = echo "building $(notdir $@) once, into $(TOOLS)"; mkdir -p $(TOOLS); \
  build=$$(mktemp -d $(TOOLS)/build.XXXXXX); trap 'rm -rf "$$build"' EXIT; cd "$$build"; \
  GOBIN="$$build" GOWORK=off GOFLAGS= $(GO) install $(1); mv "$$build/$(notdir $(firstword $(subst @, ,$(1))))" $@

$(GOLANGCI): # takes minutes
	@$(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION))

$(GOTESTSUM):
	@$(call install,gotest.tools/gotestsum@$(GOTESTSUM_VERSION))
