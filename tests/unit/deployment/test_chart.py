"""The Helm chart and the Kustomize set are one installation. What Helm itself renders is tested in ``tests/e2e``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from certs.inject import targets_of
from core.api.kinds import KINDS
from deployment import certmanager
from deployment.chart import values
from deployment.chart.release import LONGEST_NAME
from deployment.chart.values_table import ROWS
from deployment.configuration import SHIPPED
from deployment.observability.dashboards import dashboards
from deployment.observability.rules import prometheus_rule
from deployment.permissions.names import Installation
from tests.unit.deployment.chart_release import by_key, kustomize_objects, merged, release_objects

CHART = Path(__file__).parents[3] / "deployment" / "charts" / "bobrapet"
AS_IT_IS: dict[str, Any] = {"crds": {"keep": False}}
"""Without what only Helm reads: an annotation, and the Job for ``helm uninstall``."""
RELEASES = [("bobrapet", "bobrapet-system"), ("flows", "1234"), ("my-bobrapet", "team-a"), ("x" * 53, "true")]


@pytest.mark.parametrize(("name", "namespace"), RELEASES)
def test_a_release_has_the_objects_of_the_kustomize_set(name: str, namespace: str) -> None:
    fullname = (name if "bobrapet" in name else f"{name}-bobrapet")[:LONGEST_NAME]
    installation = Installation(namespace, f"{fullname}-", manager_account=fullname)

    assert by_key(release_objects(AS_IT_IS, name=name, namespace=namespace)) == by_key(kustomize_objects(installation))


def test_a_release_with_the_account_of_the_default_installation_is_exactly_that() -> None:
    account = AS_IT_IS | {"serviceAccount": {"name": "bobrapet-controller-manager"}}

    assert by_key(release_objects(account)) == by_key(kustomize_objects(Installation()))


def test_conditions_and_policies_name_the_account_and_namespace_of_the_release() -> None:
    text = json.dumps(release_objects({"serviceAccount": {"name": "ada"}}, name="flows", namespace="team-a"))

    assert "system:serviceaccount:team-a:ada'" in text
    assert "bobrapet-system" not in text
    for word in ("namespace-of-the-release", "full-name-of-the-release", "account-of-the-operator", "domain.of.the"):
        assert word not in text


def test_with_cert_manager_the_objects_are_those_of_its_overlay() -> None:
    installation = Installation(manager_account="bobrapet")
    found = by_key(release_objects(AS_IT_IS | {"certificates": {"certManager": {"enabled": True}}}))
    patches = certmanager.patches(installation)
    taken = {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])
        for each in patches
        if each.get("$patch") == "delete"
    }
    added = by_key(certmanager.issuers_and_certificates(installation))

    assert found.keys() == by_key(kustomize_objects(installation)).keys() - taken | added.keys()
    assert {key: found[key] for key in added} == added
    deployment = found["Deployment", "bobrapet-system", "bobrapet-controller-manager"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (patched,) = certmanager.mounted(installation)["spec"]["template"]["spec"]["containers"]
    assert container["args"] == patched["args"]
    assert patched["volumeMounts"][0] in container["volumeMounts"]
    annotation = certmanager.injected(installation).items()
    injected = {key for key, obj in found.items() if annotation <= obj["metadata"].get("annotations", {}).items()}
    assert injected == {(target.resource.kind, "", target.name) for target in targets_of(installation.prefix)}


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("", {}),
        ("https://admission.example:8443/hooks", {"dnsNames": ["admission.example"]}),
        ("https://10.0.0.7", {"ipAddresses": ["10.0.0.7"]}),
        ("https://[fd00::7]:8443/", {"ipAddresses": ["fd00::7"]}),
    ],
)
def test_cert_manager_issues_for_every_name_by_which_api_servers_reach_admission(
    url: str, names: dict[str, list[str]]
) -> None:
    changes = {"certificates": {"certManager": {"enabled": True}}, "webhooks": {"url": url}}
    spec = by_key(release_objects(changes))["Certificate", "bobrapet-system", "bobrapet-serving-cert"]["spec"]

    host = "bobrapet-webhook-service.bobrapet-system.svc"
    assert spec["dnsNames"] == [host, f"{host}.cluster.local", *names.get("dnsNames", [])]
    assert spec.get("ipAddresses") == names.get("ipAddresses")
    assert spec["usages"] == ["digital signature", "server auth"]


OFF: dict[str, Any] = {
    "webhooks": {"enabled": False},
    "admissionPolicies": {"enabled": False},
    "hub": {"enabled": False},
    "networkPolicies": {"enabled": False},
    "rbac": {"people": False},
    "crds": {"install": False},
    "controllerManager": {"replicas": 1, "leaderElection": False},
}


def test_what_is_switched_off_is_left_out_with_its_permissions() -> None:
    found = by_key(release_objects(OFF))

    assert sorted({kind for kind, _, _ in found}) == [
        *("ClusterRole", "ClusterRoleBinding", "ConfigMap", "Deployment", "Role", "RoleBinding"),
        *("Service", "ServiceAccount"),
    ]
    roles = {name for kind, _, name in found if kind in ("Role", "ClusterRole")}
    assert not roles & {
        *("bobrapet-admission-role", "bobrapet-certificates-role", "bobrapet-ca-bundle-role"),
        *("bobrapet-hub-role", "bobrapet-leader-election-role", "bobrapet-hub-certificate-role"),
    }
    (deployment,) = (obj for (kind, _, _), obj in found.items() if kind == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "--leader-elect=false" in container["args"]
    assert container["env"] == [{"name": "ENABLE_WEBHOOKS", "value": "false"}]
    assert "webhook-server" not in {port["name"] for port in container["ports"]}


def test_the_links_of_the_chart_lead_to_the_definitions_dashboards_and_rules_of_the_manifests() -> None:
    links = {path.name: path.readlink().as_posix() for path in CHART.iterdir() if path.is_symlink()}

    assert links == {
        "definitions": "../../../manifests/crds",
        "conversion": "../../../manifests/conversion",
        "dashboards": "../../../manifests/observability/dashboards",
        "prometheus.rules.yaml": "../../../manifests/observability/prometheus.rules.yaml",
    }
    files = {f"{kind.resource.group}_{kind.resource.plural}.yaml": len(kind.versions) > 1 for kind in KINDS}
    assert {path.name for path in (CHART / "definitions").glob("*.yaml")} == files.keys()
    assert {path.name for path in (CHART / "conversion").glob("*.yaml")} == {name for name in files if files[name]}
    assert {path.name for path in (CHART / "dashboards").iterdir()} == {each.file_name for each in dashboards()}


def test_without_admission_stories_are_served_as_they_are_stored() -> None:
    found = by_key(release_objects({"webhooks": {"enabled": False}}))

    spec = found["CustomResourceDefinition", "", "stories.bubustack.io"]["spec"]
    assert [(version["name"], version["served"]) for version in spec["versions"]] == [
        ("v1alpha1", True),
        ("v1beta1", False),
    ]


def test_uninstalling_keeps_every_definition_unless_told_otherwise() -> None:
    policy = "helm.sh/resource-policy"
    for keep in (True, False):
        found = release_objects({"crds": {"keep": keep}})
        definitions = [obj for obj in found if obj["kind"] == "CustomResourceDefinition"]

        kept = [obj for obj in definitions if obj["metadata"].get("annotations", {}).get(policy) == "keep"]
        assert kept == (definitions if keep else [])


def test_before_kept_definitions_lose_their_webhook_a_job_stops_the_conversion() -> None:
    def hooks(changes: dict[str, Any]) -> list[str]:
        found = release_objects(changes)
        return [obj["kind"] for obj in found if "helm.sh/hook" in obj["metadata"].get("annotations", {})]

    assert hooks({}) == ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Job"]
    for off in ({"crds": {"keep": False}}, {"crds": {"removalJob": False}}, {"webhooks": {"enabled": False}}):
        assert hooks(off) == []
    (job,) = (obj for obj in release_objects({}) if obj["kind"] == "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["bobrapet", "conversion", "off"]


def test_settings_are_those_of_an_installation_and_extra_keys_win() -> None:
    extra = {"storyrun.queue.night.concurrency": "2", "retry.max-retries": "5"}
    changes = {"operatorConfig": {"retryMaxRetries": "4", "realtimeTtlSecondsAfterFinished": "60", "extra": extra}}

    found = by_key(release_objects(changes))["ConfigMap", "bobrapet-system", "bobrapet-operator-config"]

    assert found["data"] == SHIPPED | extra | {"realtime.ttl-seconds-after-finished": "60"}


def test_ports_follow_the_flags_wherever_they_are() -> None:
    """The last one counts, in each form in which the program reads it."""
    extra = ["--webhook-bind-address=:10250", "-metrics-bind-address", "[::]:7443", "--health-probe-bind-address=:1"]
    hub_flags = ["--bind-address=$(POD_IP):9100", "--metrics-bind-address=:8088", "--console-bind-address=:9101"]
    changes = {"controllerManager": {"manager": {"extraArgs": extra}}, "hub": {"extraArgs": hub_flags}}
    found = by_key(release_objects(changes))

    def ports(name: str) -> dict[str, int]:
        (container,) = found["Deployment", "bobrapet-system", name]["spec"]["template"]["spec"]["containers"]
        return {port["name"]: port["containerPort"] for port in container["ports"]}

    def let_in(name: str) -> list[int]:
        rules = found["NetworkPolicy", "bobrapet-system", name]["spec"]["ingress"]
        return [port["port"] for rule in rules for port in rule["ports"]]

    assert ports("bobrapet-controller-manager") == {"webhook-server": 10250, "metrics": 7443, "health": 1}
    assert let_in("bobrapet-controller-manager") == [10250, 7443]
    assert ports("bobrapet-hub") == {"grpc": 9100, "console": 9101, "metrics": 8088, "health": 8081}
    assert let_in("bobrapet-hub") == [9100, 9101, 8088]
    for (kind, _, name), obj in found.items():
        if kind == "Service":
            assert all(isinstance(port["targetPort"], str) for port in obj["spec"]["ports"]), name


def test_recreate_needs_no_word_about_rolling_updates_and_host_networks_have_their_dns() -> None:
    changes = {"controllerManager": {"strategy": {"type": "Recreate"}, "hostNetwork": True}}
    spec = by_key(release_objects(changes))["Deployment", "bobrapet-system", "bobrapet-controller-manager"]["spec"]

    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["template"]["spec"]["hostNetwork"] is True
    assert spec["template"]["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"


def test_rules_and_dashboards_are_those_of_the_manifests() -> None:
    runbooks = "https://wiki.example/runbooks"
    changes = {"prometheusRule": {"enabled": True, "runbooks": runbooks}, "dashboards": {"enabled": True}}
    found = by_key(release_objects(changes))

    assert found["PrometheusRule", "bobrapet-system", "bobrapet-rules"] == prometheus_rule(runbooks=runbooks)
    boards = found["ConfigMap", "bobrapet-system", "bobrapet-dashboards"]
    assert boards["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert boards["data"] == {each.file_name: each.text for each in dashboards()}


def test_one_time_limit_holds_for_all_webhooks_if_it_is_set() -> None:
    def seconds(changes: dict[str, Any]) -> set[int]:
        found = release_objects({"webhooks": changes})
        hooks = [hook for obj in found if "webhooks" in obj for hook in obj["webhooks"]]
        return {hook["timeoutSeconds"] for hook in hooks}

    assert seconds({"timeoutSeconds": 10}) == {10}
    assert seconds({}) == {2, 4, 5}


SCHEMA = jsonschema_rs.validator_for(json.loads((CHART / "values.schema.json").read_text()))


def complaints(changes: dict[str, Any]) -> str:
    return "\n".join(error.message for error in SCHEMA.iter_errors(merged(values.default_values(), changes)))


def test_the_schema_accepts_the_defaults_and_every_key_of_the_contract() -> None:
    of_the_reference = {
        "controllerStorageS3UsePathStyle": "true",
        "storyrunQueueDefaultDefaultPriority": "1",
        "loopMaxIterations": "10000",
        "telemetryTracePropagation": "false",
    }

    assert complaints({}) == ""
    assert complaints({"operatorConfig": of_the_reference, "global": {"a": 1}}) == ""


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"operatorConfig": {"retryMaxRetries": 3}}, '3 is not of type "string"'),
        ({"operatorConfig": {"retryMaxRetires": "3"}}, "retryMaxRetires"),
        ({"controllerManager": {"replicas": "two"}}, '"two" is not of type "integer"'),
        ({"hub": {"enable": False}}, "enable"),
        ({"controllerManager": {"manager": {"image": {"digest": "sha256:1"}}}}, "sha256:1"),
        ({"controllerManager": {"manager": {"image": {"repository": "registry.example/UP per"}}}}, "UP per"),
        ({"webhooks": {"url": "http://admission.example"}}, "http://admission.example"),
        ({"commonLabels": {"team": "not a label"}}, "not a label"),
        ({"controllerManager": {"podLabels": {"-wrong": "a"}}}, "-wrong"),
        ({"webhooks": {"timeoutSeconds": 31}}, "31 is greater than the maximum of 30"),
        ({"controllerManager": {"strategy": {"type": "Rolling"}}}, "Rolling"),
        ({"controllerManager": {"manager": {"livenessProbe": {"httpGet": {}}}}}, "httpGet"),
        ({"hub": {"readinessProbe": {"periodSeconds": "2s"}}}, '"2s" is not of type "integer"'),
        ({"extraObjects": [1]}, "1 is not of type"),
        ({"webhookService": {"ports": []}}, "[] has less than 1 item"),
    ],
)
def test_the_schema_names_what_is_wrong(changes: dict[str, Any], complaint: str) -> None:
    assert complaint in complaints(changes)


def test_no_two_keys_of_the_settings_have_the_same_name_among_the_values() -> None:
    names = values.setting_keys()

    assert [values.camel_case(key) for key in names.values()] == list(names)
    assert set(SHIPPED) <= set(names.values())


def test_every_value_says_what_it_does() -> None:
    for row in ROWS:
        assert row.does.endswith((".", "`"))
    text = (CHART / "values.yaml").read_text()
    assert not [line for line in text.splitlines() if len(line) > 120]
