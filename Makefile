# Short targets without logic: each is the plain command, for whoever would
# rather type it. What needs root says so.

PROGRAMS = ./cmd/deacon ./cmd/deacon-init ./examples/demo ./testsuite/leftovers

.PHONY: packages chaos build droplets demo test test-root guest check bench fuzz fmt setup sweep sim mutations

build:
	CGO_ENABLED=0 go build -trimpath -buildvcs=auto -ldflags "-s -w" -o bin/ $(PROGRAMS)

# A deb and an rpm in bin/; the tests of packaging unpack both.
packages: build
	for format in deb rpm; do \
		ARCH=$$(go env GOARCH) VERSION=$$(bin/deacon version | sed -n '1s/deacon \([^ ]*\) .*/\1/p') \
		go tool -modfile=tools/go.mod nfpm package -f packaging/nfpm.yaml -p $$format -t bin/ || exit 1; \
	done

droplets: build
	$(MAKE) --no-print-directory -C examples

# A node, NATS and two applications on this machine until Ctrl-C; ONCE=1 ends by itself.
demo: setup droplets
	@bin/demo $(if $(ONCE),-once)

# All tests. Root tests make their own namespaces and look for their own traces, so
# packages run side by side.
test: setup build
	DEACON_BIN=$(CURDIR)/bin go test -p 2 -timeout 25m ./...

# A kill at every step of every operation, on both sides of the call, and runc
# beside it (nightly, some 11,000 kills, two hours); make test does a slice: make sweep SEED=7 TIMES=1
sweep: build
	tools/setup bench
	DEACON_BIN=$(CURDIR)/bin go test ./testsuite/chaos/sweep -count 1 -timeout 4h -v -sweep.runc=200 \
		-sweep.kills=0 -sweep.agentkills=0 -sweep.times=$(or $(TIMES),3) $(if $(SEED),-sweep.seed=$(SEED))

# Whole lives of a node from seeds, at three rates of faults (nightly); make test
# plays a slice that follows from the commit's hash: make sim COUNT=20000 FROM=1
sim:
	go test ./testsuite/sim -count 1 -timeout 4h -v -run TestSeeds -sim.count=$(or $(COUNT),20000) $(if $(FROM),-sim.from=$(FROM))

# Bugs that are made on purpose, one at a time: the simulation must find each.
mutations:
	go test ./testsuite/sim -count 1 -timeout 2h -v -run TestDeliberateBugsAreFound -sim.mutations

# Only the tests that touch the kernel.
test-root: setup build
	DEACON_BIN=$(CURDIR)/bin go test -p 2 -timeout 25m -count 1 ./isolation/... ./agent/... ./testsuite/...

# Containers and whole nodes on Debian's kernel 6.1 in an emulated machine, on cgroup
# v2 and v1, and the deb in a Debian with systemd; needs root for the files' owners. SHORT=1 is v2's most telling part.
guest:
	@tools/setup guest
	GUEST_KERNEL=$$(tools/guest-kernel) GUEST_DEBIAN=$$(tools/guest-debian) nice -n 19 go test -tags guest -count 1 -timeout 60m -v $(if $(SHORT),-short) ./testsuite/guest

# Half an hour of faults on a node with 100 containers that are asked all the time;
# the page is REPORT/report.html. make chaos TIME=5m CONTAINERS=20 SEED=7
chaos: setup build
	DEACON_BIN=$(CURDIR)/bin go test -count 1 -timeout 90m -v ./testsuite/chaos -run TestANodeStandsWhatIsDrawn \
		-chaos.duration $(or $(TIME),30m) -chaos.containers $(or $(CONTAINERS),100) -chaos.seed $(or $(SEED),0) \
		-chaos.report $(abspath $(or $(REPORT),bin/chaos))

check:
	tools/gofmt-check
	go vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...
	go test ./testsuite/tidy

bench: build
	tools/setup bench
	go run ./testsuite/bench $(if $(JSON),-json $(JSON))

# Every fuzz test for a while each: make fuzz TIME=1m
fuzz:
	tools/fuzz $(or $(TIME),10s)

fmt:
	gofmt -w $$(git ls-files '*.go')

setup:
	@tools/setup test
