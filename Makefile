# make demo and make test set up all they need; PYTHON names the interpreter to build on, by default
# the first that tools/find_python.sh finds.
PYTHON ?=
VENV ?= .venv
BIN := $(VENV)/bin

# Object stores that the tests run against, by the module that builds each.
STORES ?= versitygw fake-gcs-server minio
versitygw := github.com/versity/versitygw/cmd/versitygw@v1.8.0
fake-gcs-server := github.com/fsouza/fake-gcs-server@v1.56.1
minio := github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

.PHONY: setup demo test lint docs release stores engines image image-test bench soak fuzz clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@python="$(PYTHON)"; [ "$$python" ] || python=$$(tools/find_python.sh) || exit 1; \
	"$$python" -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/tessera-mosaic demo

test: setup
	$(BIN)/python -m pytest -m "not soak and not engines and not image" --numprocesses=2

# The pages as a site in build/site; a link that leads nowhere is an error.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Source archive and wheel of the last commit in dist/, the same bytes wherever they are built.
release: setup
	$(BIN)/python tools/build_release.py

soak: setup
	$(BIN)/python -m pytest -m soak

# As many examples for each parser of foreign bytes as FUZZ_EXAMPLES says: 20,000 take an hour.
fuzz: setup
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-20000} $(BIN)/python -m pytest tests/scenarios/test_fuzz.py --timeout=0 --numprocesses=2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/link_packages.py build/links
	MYPYPATH=build/links $(BIN)/mypy

# Idle cores take 45 s for versitygw, 37 s for fake-gcs-server and three minutes for minio. Where
# there is no Go, or a server cannot be built, the tests that need it are skipped and say why. Go
# waits for a module proxy for as long as it takes: one that does not answer is given up, and so is
# a build that comes to nothing.
REACHED_IN := 15
BUILT_IN := 1200
within = $(if $(shell command -v timeout),timeout $1)
module_of = $(shell echo $1 | sed 's,/cmd/[^@]*,,')

stores: $(STORES:%=build/stores/%)

build/stores/%:
	@if ! command -v go >/dev/null; then echo "$* is not built: there is no Go"; \
	elif ! $(call within,$(REACHED_IN)) go list -m $(call module_of,$($*)) >/dev/null; then \
	  echo "$* is not built: its module cannot be reached within $(REACHED_IN) s"; \
	else \
	  GOBIN=$(CURDIR)/build/stores $(call within,$(BUILT_IN)) go install $($*) || \
	    echo "$* could not be built"; \
	fi

# The job on engines that are started for real: Beam's Prism, built with Go, and the Slurm of Debian
# (apt-get install slurm-wlm munge). Where one is not there its tests are skipped and say why.
prism := github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0
# The program that starts a worker in every container of Beam's.
container := github.com/apache/beam/sdks/v2/python/container@v2.77.0
ENGINES_MODULE := github.com/apache/beam/sdks/v2@v2.77.0

engines: setup build/engines/prism
	$(BIN)/python -m pytest -m engines

build/engines/%:
	@if ! command -v go >/dev/null; then echo "$* is not built: there is no Go"; \
	elif ! $(call within,$(REACHED_IN)) go list -m $(ENGINES_MODULE) >/dev/null; then \
	  echo "$* is not built: its module cannot be reached within $(REACHED_IN) s"; \
	else \
	  GOBIN=$(CURDIR)/build/engines $(call within,$(BUILT_IN)) go install $($*) || \
	    echo "$* could not be built"; \
	fi

# The image that clouds and clusters run, by Docker, BuildKit or buildah: deploy/image.sh says how to
# name other base images. `make image-test` builds it on stand-ins for them (debootstrap, buildah and
# Beam's boot) and runs it; what a machine lacks it says and skips.
image:
	deploy/image.sh

image-test: setup build/engines/prism build/engines/container
	$(BIN)/python -m pytest -m image -rs

bench: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks all

clean:
	rm -rf $(VENV) .venv-client build dist demo
