"""The documents of an installation: what must agree between them."""

from __future__ import annotations

import copy
import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from ruamel.yaml import YAML

from core.api.crd import custom_resource_definition
from core.api.kinds import KINDS
from core.api.objects import Object
from core.api.resource import OUR_RESOURCES, STEP_RUN, Resource
from core.policy.config import parse_config
from deployment import certmanager, configuration, generate, metadata, network, registration, workload
from deployment.generate import MANIFESTS_DIRECTORY, installation
from deployment.kustomization import FILE_NAME
from deployment.permissions.roles import DEFAULT_INSTALLATION
from deployment.permissions.table import CONFIG_NAME, OPERATOR_NAMESPACE
from deployment.policies import exemptions
from manager.run import STOP_DEADLINE_SECONDS
from tests.e2e.policy_evaluation import ANN, Request, holds
from webhooks.registration import HOOKS, MUTATING, VALIDATING

REPOSITORY = Path(__file__).parents[3]
POD = workload.deployment()["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
WEBHOOKS = [
    *registration.mutating_configuration()["webhooks"],
    *registration.validating_configuration()["webhooks"],
]


def test_every_hook_is_registered_once_with_its_path() -> None:
    registered = [(each["name"], each["clientConfig"]["service"]["path"], each["rules"][0]) for each in WEBHOOKS]

    assert [(name, path) for name, path, _ in registered] == [(hook.name, hook.path) for hook in HOOKS]
    for hook, (_, _, rule) in zip([*MUTATING, *VALIDATING], registered, strict=True):
        assert rule["apiGroups"] == [hook.resource.group]
        assert rule["apiVersions"] == [hook.resource.version]
        assert rule["resources"] == [hook.target]
        assert not [word for words in rule.values() for word in words if "*" in word]


def test_requests_fail_for_specs_only_and_soon() -> None:
    for hook, webhook in zip(HOOKS, WEBHOOKS, strict=True):
        must_answer = not hook.mutating and not hook.subresource

        assert webhook["failurePolicy"] == ("Fail" if must_answer else "Ignore")
        assert webhook["timeoutSeconds"] <= 5
        assert webhook["sideEffects"] == "None"
        assert webhook["matchPolicy"] == "Equivalent"
        assert "caBundle" not in webhook["clientConfig"]
    assert registration.MUTATING_SECONDS + registration.VALIDATING_SECONDS < 10


def test_the_operators_namespace_is_exempt_wherever_there_is_one() -> None:
    for hook, webhook in zip(HOOKS, WEBHOOKS, strict=True):
        if hook.resource.namespaced:
            (expression,) = webhook["namespaceSelector"]["matchExpressions"]
            assert expression == {
                "key": "kubernetes.io/metadata.name",
                "operator": "NotIn",
                "values": [OPERATOR_NAMESPACE],
            }
        else:
            assert "namespaceSelector" not in webhook


def asked(resource: Resource, new: Object, old: Object | None, username: str = ANN) -> bool:
    """Whether the API server asks admission about a write of a whole object."""
    head: Object = {"apiVersion": resource.api_version, "kind": resource.kind}
    request = Request({**head, **new}, old and {**head, **old}, username)
    conditions = exemptions.conditions_of(resource, DEFAULT_INSTALLATION)
    return all(holds(each.expression, request) for each in conditions)


OLD: Object = {"metadata": {"name": "x", "namespace": "team"}, "spec": {"a": 1}}
RELABELLED: Object = {"metadata": {**OLD["metadata"], "labels": {"a": "b"}}, "spec": {"a": 1}}
CHANGED: Object = {**OLD, "spec": {"a": 2}}


@pytest.mark.parametrize("resource", OUR_RESOURCES, ids=lambda resource: resource.kind)
def test_admission_is_asked_about_new_specs_alone(resource: Resource) -> None:
    going = {**OLD["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}

    assert asked(resource, OLD, None)
    assert asked(resource, CHANGED, OLD)
    assert not asked(resource, RELABELLED, OLD)
    assert not asked(resource, {**OLD, "metadata": going}, OLD)
    assert asked(resource, {**CHANGED, "metadata": going}, OLD) == (resource.kind == "Engram")
    assert asked(resource, {"metadata": OLD["metadata"]}, OLD)  # so that the schema reports what is missing


@pytest.mark.parametrize("key", exemptions.CHECKED_ANNOTATIONS)
def test_admission_is_asked_about_the_identity_of_a_run(key: str) -> None:
    marked = {**OLD, "metadata": {**OLD["metadata"], "annotations": {key: "a"}}}
    moved = {**OLD, "metadata": {**OLD["metadata"], "annotations": {key: "b"}}}
    (run,) = (resource for resource in OUR_RESOURCES if resource.kind == "StoryRun")

    assert asked(run, marked, OLD)
    assert asked(run, OLD, marked)
    assert asked(run, moved, marked)
    assert not asked(run, marked, marked)


def test_only_the_operator_is_exempt_and_only_for_what_it_creates() -> None:
    exempt = {resource for resource in OUR_RESOURCES if not asked(resource, OLD, None, DEFAULT_INSTALLATION.user)}

    assert STEP_RUN in exempt
    assert exempt == {resource for resource in OUR_RESOURCES if exemptions.is_created_by_operator(resource)}
    for other in ("system:serviceaccount:team:bobrapet-controller-manager", DEFAULT_INSTALLATION.user + "2", ""):
        assert asked(STEP_RUN, OLD, None, other)


def test_the_pods_keep_to_the_restricted_standard() -> None:
    assert POD["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert workload.namespace()["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {kind for volume in POD["volumes"] for kind in volume if kind != "name"} == {"emptyDir"}


def test_services_lead_to_ports_that_the_pods_have_and_the_network_policy_lets_them() -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    labels = workload.deployment()["spec"]["template"]["metadata"]["labels"]
    allowed = {port["port"] for rule in network.network_policy()["spec"]["ingress"] for port in rule["ports"]}

    reached = set()
    for service in (network.webhook_service(), network.metrics_service()):
        assert service["spec"]["selector"].items() <= labels.items()
        reached |= {ports[port["targetPort"]] for port in service["spec"]["ports"]}
    assert reached == allowed
    assert network.network_policy()["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert {CONTAINER["livenessProbe"]["httpGet"]["port"], CONTAINER["readinessProbe"]["httpGet"]["port"]} == {"health"}


def test_metrics_are_for_marked_namespaces_and_the_admission_port_is_the_only_one_open_to_everybody() -> None:
    admission, metrics = network.network_policy()["spec"]["ingress"]

    assert admission == {"ports": [{"port": 9443, "protocol": "TCP"}]}
    assert metrics == {
        "from": [{"namespaceSelector": {"matchLabels": {"metrics": "enabled"}}}],
        "ports": [{"port": 8443, "protocol": "TCP"}],
    }


def test_the_webhooks_lead_to_the_service() -> None:
    (port,) = network.webhook_service()["spec"]["ports"]
    metadata_ = network.webhook_service()["metadata"]
    for webhook in WEBHOOKS:
        service = webhook["clientConfig"]["service"]
        assert (service["namespace"], service["name"], service["port"]) == (
            metadata_["namespace"],
            metadata_["name"],
            port["port"],
        )


def test_a_pod_is_given_longer_than_the_manager_takes_to_stop() -> None:
    assert POD["terminationGracePeriodSeconds"] > STOP_DEADLINE_SECONDS


def test_one_replica_always_answers() -> None:
    spec = workload.deployment()["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert workload.disruption_budget()["spec"]["minAvailable"] == 1
    assert "--leader-elect" in CONTAINER["args"]
    assert not [argument for argument in CONTAINER["args"] if "cert" in argument]


def test_the_managers_flags_are_ones_it_knows() -> None:
    reference = (REPOSITORY / "docs/commands.md").read_text()
    for argument in [*CONTAINER["args"], f"--webhook-cert-path={certmanager.CERTIFICATE_FOLDER}"]:
        assert f"`{argument.partition('=')[0]}`" in reference


def test_the_shipped_settings_are_accepted_without_a_word() -> None:
    parsed = parse_config(configuration.config_map()["data"])

    assert [str(problem) for problem in (*parsed.errors, *parsed.warnings)] == []
    assert parsed.settings is not None
    assert configuration.config_map()["metadata"]["name"] == CONFIG_NAME
    assert f"--config-name={CONFIG_NAME}" in CONTAINER["args"]


def test_all_processes_together_have_room_in_the_pod() -> None:
    """The manager itself takes about 100 MiB."""
    settings = parse_config(configuration.config_map()["data"]).settings
    assert settings is not None
    workers = settings.templating.workers * settings.templating.worker_memory_bytes

    assert CONTAINER["resources"]["limits"]["memory"] == "1Gi"
    assert workers + (256 << 20) < 1 << 30


# Files on disk.


def stored() -> list[tuple[PurePosixPath, Object]]:
    return copy.deepcopy(_stored())


@functools.cache
def _stored() -> list[tuple[PurePosixPath, Object]]:
    """Cached, because reading takes a second."""
    return list(_documents())


def _documents() -> Iterator[tuple[PurePosixPath, Object]]:
    """The definitions before they were written to files; ``test_generate`` shows that the files read back as equal."""
    for kind in KINDS:
        name = f"{kind.resource.group}_{kind.resource.plural}.yaml"
        yield generate.CRD_DIRECTORY / name, custom_resource_definition(kind)
    reader = YAML(typ="safe", pure=True)
    for path, text in [*installation(), *generate.role_based_access()]:
        if path.parts[0] == MANIFESTS_DIRECTORY.name:
            for document in reader.load_all(text):
                yield path, document


def test_no_command_applies_the_folder_of_the_conversion_without_its_kustomization() -> None:
    """With ``-f`` kubectl refuses it: it has a patch of the definitions."""
    root = Path(__file__).parents[3]
    places = [*root.glob("docs/**/*.md"), root / "README.md", root / "Makefile"]
    found = [
        f"{place.name}: {line}"
        for place in places
        for line in place.read_text().splitlines()
        if re.search(r"-f \S*manifests/conversion", line)
    ]

    assert found == []


def test_every_manifest_is_named_by_the_kustomization_beside_it() -> None:
    named = {
        path.parent / entry
        for path, document in stored()
        if path.name == FILE_NAME
        for entry in document["resources"]
        if not entry.startswith("..")
    }

    assert named == {path for path, _ in stored() if path.name != FILE_NAME}


def test_the_whole_is_made_of_folders_that_have_a_kustomization() -> None:
    files = {path: document for path, document in stored() if path.name == FILE_NAME}
    whole = files[MANIFESTS_DIRECTORY / "default" / FILE_NAME]
    for folder in whole["resources"]:
        assert (REPOSITORY / MANIFESTS_DIRECTORY / "default" / folder / FILE_NAME).is_file()


def test_cert_manager_fills_in_every_bundle_and_takes_the_rights_to() -> None:
    patches = certmanager.patches()
    annotated = {each["metadata"]["name"] for each in patches if "annotations" in each["metadata"]}
    deleted = {each["metadata"]["name"] for each in patches if each.get("$patch") == "delete"}
    rights = {document["metadata"]["name"] for path, document in stored() if path.name == "certificates.yaml"}

    assert {"bobrapet-mutating-webhook-configuration", "stories.bubustack.io"} < annotated
    assert deleted == {name for name in rights if "role" in name}
    (serving,) = (each for each in certmanager.issuers_and_certificates() if "dnsNames" in each["spec"])
    assert serving["spec"]["secretName"] == "bobrapet-webhook-server-cert"
    assert serving["spec"]["dnsNames"][0] == "bobrapet-webhook-service.bobrapet-system.svc"


# The image.


def dockerfile() -> list[list[str]]:
    """The instructions, with continued lines joined."""
    text = re.sub(r"\\\n", " ", (REPOSITORY / "Dockerfile").read_text())
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [[line[0], *line[1:]] for line in lines]


def stages() -> list[list[list[str]]]:
    found: list[list[list[str]]] = []
    for instruction in dockerfile():
        if instruction[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def test_the_image_runs_as_nobody_with_the_manager_as_its_entry() -> None:
    last = {instruction[0]: instruction[1:] for instruction in stages()[-1]}

    assert last["USER"] == ["65532:65532"]
    assert last["ENTRYPOINT"] == ['["bobrapet",', '"manager"]']
    assert {"9443", "8443", "8081"} == set(last["EXPOSE"])


def test_the_last_stage_takes_the_installed_environment_and_runs_nothing() -> None:
    words = [instruction[0] for instruction in stages()[-1]]

    assert "RUN" not in words
    assert [each for each in stages()[-1] if each[0] in ("COPY", "ADD")] == [
        ["COPY", "--from=build", "/opt/bobrapet", "/opt/bobrapet"]
    ]


def test_base_images_are_pinned_by_version_and_digest() -> None:
    arguments = dict(each[1].split("=") for each in dockerfile() if each[0] == "ARG")
    for stage in stages():
        name, _, tag = stage[0][1].partition(":")
        tag = arguments.get(tag.strip("${}"), tag)
        assert name
        assert re.match(r"\d+\.\d+\.\d+[-a-z0-9]*@sha256:[0-9a-f]{64}$", tag), stage[0]


def test_what_is_installed_and_what_builds_it_is_held_to_hashes() -> None:
    commands = [" ".join(each) for each in dockerfile() if each[0] == "RUN"]
    installs = [part for command in commands for part in command.split("&&") if re.search(r" (install|build) ", part)]

    assert len(installs) == 5
    assert [each for each in installs if "--require-hashes" not in each] == []
    assert "--constraints tools/release/locks/requirements.lock" in installs[3]


def test_make_installs_nothing_without_a_hash() -> None:
    installs = re.findall(r"pip install .*", (REPOSITORY / "Makefile").read_text())

    assert len(installs) == 5
    assert [
        each for each in installs if not re.search(r"--require-hashes|--no-deps --no-build-isolation -e", each)
    ] == []


def test_what_the_image_is_built_from_exists_and_nothing_else_gets_in() -> None:
    copied = {
        source
        for stage in stages()
        for each in stage
        if each[0] == "COPY" and not each[1].startswith("--from")
        for source in each[1:-1]
    }
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}

    wheel = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {folder.partition("/")[0] for folder in wheel["only-include"]} <= copied
    assert all((REPOSITORY / source).exists() for source in copied)
    assert let_in == copied
    assert "*" in ignored
    assert not re.search(r"(?i)password|token|secret|private", (REPOSITORY / "Dockerfile").read_text())


def test_the_version_of_the_image_is_that_of_the_project() -> None:
    (version,) = re.findall(r'^version = "(.*)"', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)

    assert metadata.image() == f"bobrapet-py:{version}"
    assert CONTAINER["image"] == metadata.image()
