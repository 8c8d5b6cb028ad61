from typing import Any

import pytest

from localcluster.node.environment import container_variables, machine_variables, service_variables
from localcluster.node.podfields import HostFacts, PodFieldError
from localcluster.node.sources import MissingSourceError, SourceName, Sources, names_in_containers

HOST = HostFacts("local", "127.0.0.1", {"cpu": "4", "memory": "8Gi"})
SOURCES = Sources(
    {SourceName("secrets", "s"): {"token": b"abc", "b": b"\xff"}, SourceName("configmaps", "c"): {"k": b"v"}}
)
POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "x"}, "annotations": {"a/b": "y"}},
    "spec": {"serviceAccountName": "runner", "containers": [{"name": "engram"}]},
}


def variables(container: dict[str, Any], base: dict[str, str] | None = None) -> dict[str, str]:
    return container_variables(POD, {"name": "engram", **container}, SOURCES, HOST, base or {})


def test_literals_see_what_stands_before_them_and_nothing_after() -> None:
    env = [{"name": "A", "value": "$(B)$(BASE)"}, {"name": "B", "value": "2"}, {"name": "C", "value": "$(A)-$(B)"}]

    assert variables({"env": env}, {"BASE": "b"}) == {"BASE": "b", "A": "$(B)b", "B": "2", "C": "$(B)b-2"}


def test_the_last_of_two_equal_names_wins() -> None:
    assert variables({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}) == {"A": "2"}


def test_values_from_elsewhere_are_not_expanded() -> None:
    pod = {**POD, "metadata": {**POD["metadata"], "annotations": {"x": "$(A)"}}}
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['x']"}}},
    ]

    assert container_variables(pod, {"name": "engram", "env": env}, SOURCES, HOST, {})["B"] == "$(A)"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "n"),
        ("metadata.uid", "u"),
        ("metadata.labels['app']", "x"),
        ("metadata.annotations['a/b']", "y"),
        ("metadata.labels['none']", ""),
        ("spec.serviceAccountName", "runner"),
        ("spec.nodeName", "local"),
        ("status.podIP", "127.0.0.1"),
    ],
)
def test_fields_of_the_pod_can_be_read(path: str, expected: str) -> None:
    env = [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}]

    assert variables({"env": env}) == {"X": expected}


def test_an_unknown_field_is_an_error_that_names_it() -> None:
    with pytest.raises(PodFieldError, match=r"spec\.zone"):
        variables({"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.zone"}}}]})


def test_resources_are_counted_in_their_divisor_and_default_to_the_node() -> None:
    def wanted(resource: str, divisor: str = "") -> dict[str, Any]:
        reference = {"containerName": "engram", "resource": resource, "divisor": divisor}
        return {"name": resource, "valueFrom": {"resourceFieldRef": reference}}

    pod = {**POD, "spec": {**POD["spec"], "containers": [{"name": "engram", "resources": {"limits": {"cpu": "250m"}}}]}}
    container = {
        "name": "engram",
        "env": [wanted("limits.cpu", "1m"), wanted("limits.memory", "1Gi"), wanted("requests.cpu")],
    }

    found = container_variables(pod, container, SOURCES, HOST, {})

    assert found == {"limits.cpu": "250", "limits.memory": "8", "requests.cpu": "0"}


def test_secrets_and_config_maps_come_key_by_key_or_whole_with_a_prefix() -> None:
    container = {
        "envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}],
        "env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "token"}}}],
    }

    found = variables(container)

    assert found == {"P_token": "abc", "P_b": "\udcff", "k": "v", "T": "abc"}
    assert set(names_in_containers([container])) == {SourceName("secrets", "s"), SourceName("configmaps", "c")}


def test_a_missing_key_or_secret_is_an_error_unless_optional() -> None:
    def reference(**extra: Any) -> dict[str, Any]:
        return {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"key": "token", **extra}}}]}

    with pytest.raises(MissingSourceError, match='secret "gone" not found'):
        variables(reference(name="gone"))
    with pytest.raises(MissingSourceError, match="couldn't find key other in secret s"):
        variables(reference(name="s", key="other"))
    assert variables(reference(name="gone", optional=True)) == {}
    assert variables({"envFrom": [{"configMapRef": {"name": "gone", "optional": True}}]}) == {}


def test_nothing_of_the_machine_leaks_but_the_few_documented_names() -> None:
    environ = {"PATH": "/bin", "HOME": "/h", "AWS_SECRET_ACCESS_KEY": "x", "LANG": "C"}

    assert machine_variables(environ, "/py") == {"PATH": "/py:/bin", "HOME": "/h", "LANG": "C"}


def test_in_cluster_configuration_finds_the_server() -> None:
    found = service_variables("https://127.0.0.1:16443")

    assert (found["KUBERNETES_SERVICE_HOST"], found["KUBERNETES_SERVICE_PORT"]) == ("127.0.0.1", "16443")
