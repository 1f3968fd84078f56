# Holdfast: build, check, test, demo. "make" alone lists the targets.

GO ?= go
MODULE := github.com/holdfast-ha/holdfast
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -s -w -X $(MODULE)/internal/build.version=$(VERSION) -X $(MODULE)/internal/build.commit=$(COMMIT)
# The commit comes from above: the go command's own stamp fails in a work tree that belongs to another user.
BUILD := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
TOOL := $(GO) tool -modfile=tools/go.mod
TEST_TIMEOUT ?= 20m
BIN ?= bin
PREFIX ?= /usr/local
DESTDIR ?=

.DEFAULT_GOAL := help
.PHONY: help build programs install packages package-test bin/demo check fmt test setup vm vm-kinds torture peers peers-check demo bench soak histories sim night model mutants clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: programs ## build holdfast, holdfastd and holdfast-guard into bin/

programs:
	@mkdir -p $(BIN)
	$(BUILD) -o $(BIN)/ ./cmd/holdfast ./cmd/holdfastd ./cmd/holdfast-guard

install: build ## install programs, units, man pages, completion (DESTDIR= PREFIX=/usr/local)
	DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) BIN=$(BIN) packaging/install.sh

packages: ## DEB and RPM packages for amd64 and arm64 into packages/; two builds are the same bytes
	packaging/build.sh

package-test: setup ## build and check the packages, then lead them through their life on a copy of this machine, in namespaces and on emulated Debian machines
	HOLDFAST_VM=all $(GO) test -count=1 -v -timeout 60m -run 'TestPackages|TestRooms|TestMachines|TestExposure|Udev' ./packaging

check: ## format, vet, staticcheck and unit tests, in a few minutes and without root
	@unformatted=$$($(TOOL) gofumpt -l .); if [ -n "$$unformatted" ]; then \
		echo "not formatted (make fmt does it):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(GO) test -short -timeout 5m ./...

fmt: ## format the Go files
	$(TOOL) gofumpt -w .

setup: ## install what the tests and the demo need (as root on Debian), or say what is missing
	test/setup.sh

test: setup build check ## everything: setup, build, check, then all tests with real disks and kernels (root runs all)
	$(GO) run ./test/run -timeout $(TEST_TIMEOUT) ./...

# The kinds of resources and the drills on whole machines take as long as the faults do.
KINDS = TestKindsOnRealThings|TestServiceOverNFS|TestDrills

vm: setup ## whole machines under emulation: kernels, watchdogs, an iSCSI target, and faults of clusters of them (RUN=; docs/VM.md)
	$(if $(RUN),,$(GO) test -count=1 ./test/vm/*/)
	HOLDFAST_VM=all $(GO) test -count=1 -v -timeout 90m -parallel 20 $(if $(RUN),-run '$(RUN)',-skip '$(KINDS)') ./test/vm

vm-kinds: setup ## on such machines: lvm, multipath, NFS and systemd themselves, and the drills that hit a node
	HOLDFAST_VM=all $(GO) test -count=1 -v -timeout 90m -parallel 20 -run '$(KINDS)' ./test/vm

torture: setup ## faults drawn at random on whole machines, with owners held to account (MINUTES=30 SEED=1): see docs/VM.md
	$(GO) test -count=1 -v -timeout 0 -run 'TestTorture$$' ./test/vm -minutes $(or $(MINUTES),30) -seed $(or $(SEED),1)

peers: setup ## Holdfast beside corosync, Pacemaker and sbd: the same faults in turn (ROUNDS=5, as root; docs/PERFORMANCE.md)
	$(GO) run ./test/peer -rounds $(or $(ROUNDS),5)

peers-check: setup ## the same on whole emulated machines, one round: a check of the order, not figures (as root)
	HOLDFAST_PEERS=machines $(GO) test -count=1 -v -timeout 60m ./test/peer/emulated

bin/demo:
	$(BUILD) -o bin/demo ./test/demo

demo: setup build bin/demo ## a three-node cluster on this machine, and a failover (DEMO=, DEMO_FAULT=, DEMO_DISKS=, DEMO_BMC= choose another)
	bin/demo

bench: build bin/demo ## Go benchmarks, ten measured failovers, and what 300 services cost (SERVICES=300 MINUTES=10)
	packages=$$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -r -n1 dirname | sort -u); \
		[ -z "$$packages" ] || $(GO) test -run xxx -bench . -benchmem $$packages
	bin/demo -bench 10
	bin/demo -load $(or $(SERVICES),300) -for $(or $(MINUTES),10)m

soak: setup ## PostgreSQL taken over N times (20) under a client that writes, every acknowledged transaction looked for
	HOLDFAST_SOAK=$(or $(N),20) $(GO) test -count=1 -v -timeout 0 -run 'TestSoak' ./test/examples

histories: ## N random histories of the register over failing disks (N=100000)
	HOLDFAST_HISTORIES=$(or $(N),100000) $(GO) test -count=1 -timeout 24h -v -run TestHistories ./test/histories

sim: ## simulated clusters under faults (SEEDS=2000 SEED=1): see docs/SIMULATION.md
	$(GO) test ./test/sim -run TestSeeds -v -timeout 0 -seeds $(or $(SEEDS),200) -seed $(or $(SEED),1)

night: ## a recorded night of a simulated cluster, told twice and replayed (HOURS=24 SEED=1): see docs/SIMULATION.md
	$(GO) test ./test/sim -run TestNight -v -count=1 -timeout 0 -night $(or $(HOURS),24)h -seed $(or $(SEED),1)

mutants: ## break the program on purpose, line by line: each break has to be noticed
	$(GO) run ./test/mutants -doc docs/MUTANTS.md

model: ## search the models of the protocol with spin, as built and with each condition dropped
	nice -n 10 $(GO) run ./test/model -doc docs/MODEL.md

clean: ## remove what make made
	rm -f bin/holdfast bin/holdfastd bin/holdfast-guard bin/demo
	[ ! -d bin ] || rmdir --ignore-fail-on-non-empty bin
