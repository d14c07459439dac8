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
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/switchback
TOOLS = $(CACHE)/tools/$(shell $(GO) env GOVERSION)
GOLANGCI = $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)

modules = $(GO) list -m -f '{{.Dir}}'

##@ Work

.PHONY: help
help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the commands into bin/
	$(GO) build -trimpath -o bin/ $$($(GO) list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' work)

.PHONY: demo
demo: ## A run goes to sleep and a callback wakes it, all in one process
	$(GO) run ./cmd/switchback demo

.PHONY: test
test: ## Test with the race detector (PKG=./pkg/expr RUN=TestName COUNT=10)
	$(GO) test -race -timeout $(TIMEOUT) -run '$(RUN)' $(if $(filter-out 1,$(COUNT)),-count $(COUNT)) $(PKG)

.PHONY: bench
bench: ## Measure ingest, roundtrip and park; a table, and JSON in bench/out/
	$(GO) run ./bench

.PHONY: stress
stress: ## The wait protocol with 200,000 ids (WAITS=n)
	SWITCHBACK_TEST_WAITS=$(WAITS) $(GO) test -count 1 -timeout 1h -v ./test/waits

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

.PHONY: lint
lint: $(GOLANGCI) ## Formatting and golangci-lint, module by module
	@$(modules) | while read -r dir; do echo "lint $${dir#$(CURDIR)/}"; (cd "$$dir" && $(GOLANGCI) run ./...); done

.PHONY: fmt
fmt: $(GOLANGCI) ## Format
	@$(modules) | while read -r dir; do (cd "$$dir" && $(GOLANGCI) fmt ./...); done

.PHONY: vet
vet: ## go vet
	$(GO) vet work

.PHONY: imports
imports: ## Who may import whom, package comments, go.mod files that agree
	$(GO) test ./test/imports

.PHONY: modules
modules: ## Each module builds and is tidy by itself, without go.work
	@$(modules) | while read -r dir; do echo "module $${dir#$(CURDIR)/}"; \
	  (cd "$$dir" && GOWORK=off $(GO) build ./... && GOWORK=off $(GO) mod tidy -diff); done

.PHONY: tidy
tidy: ## Tidy every go.mod and go.work.sum
	@$(modules) | while read -r dir; do (cd "$$dir" && GOWORK=off $(GO) mod tidy); done
	$(GO) work sync

.PHONY: cover
cover: ## Coverage of all tests over all packages; coverage.html to look at
	$(GO) test -timeout $(TIMEOUT) -coverprofile coverage.out -coverpkg "$$($(GO) list -f '{{.ImportPath}}/...' -m | paste -sd,)" work
	$(GO) tool cover -func coverage.out | tail -1
	$(GO) tool cover -html coverage.out -o coverage.html

.PHONY: clean
clean: ## Remove what was built; the tools in $(CACHE) stay
	rm -rf bin coverage.out coverage.html bench/out
	$(GO) clean -testcache

# Installed outside of the workspace, so that our requirements and its own do not meet.
$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION) once, into $(TOOLS): this takes minutes"
	@mkdir -p $(TOOLS)
	@build=$$(mktemp -d $(TOOLS)/build.XXXXXX) && trap 'rm -rf "$$build"' EXIT \
	  && cd "$$build" && GOBIN="$$build" GOWORK=off GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION) \
	  && mv "$$build/golangci-lint" $@
