"""Extended resources, volumes, shared memory, classes and pull secrets: which layer decides, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.policy.layers import PolicyError, resolve_impulse_policy, resolve_policy
from core.policy.settings import OperatorSettings, SecuritySettings
from tests.unit.core.policy.policy_samples import sources

GPU = "nvidia.com/gpu"
SCRATCH = {"name": "scratch", "mountPath": "/scratch", "emptyDir": {}}
DATA = {"name": "data", "mountPath": "/data", "persistentVolumeClaim": {"claimName": "data"}}
CLASSES = OperatorSettings(security=SecuritySettings(priority_classes=("batch-*", "low"), runtime_classes=("nvidia",)))


def problems_of(**fields: Any) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as caught:
        resolve_policy(sources(**fields))
    return caught.value.problems


def in_layers(**fields: Any) -> dict[str, Any]:
    """The same ``fields`` in a block of each layer, by layer: what ``sources`` takes."""
    return {
        "EngramTemplate": {"template": {"execution": fields}},
        "Engram executionPolicy": {"engram": {"executionPolicy": fields}},
        "Engram overrides": {"engram": {"overrides": fields}},
        "Story policy": {"story_policy": {"execution": fields}},
        "Story step": {"step": {"execution": fields}},
        "StepRun": {"step_run": fields},
    }


@pytest.mark.parametrize("layer", in_layers())
def test_each_layer_may_ask_for_all_of_it_and_is_named(layer: str) -> None:
    fields: dict[str, Any] = {
        "sharedMemory": "2Gi",
        "volumes": [SCRATCH],
        "priorityClassName": "batch-low",
        "runtimeClassName": "nvidia",
        "imagePullSecrets": ["registry"],
        "placement": {"nodeSelector": {"gpu": "a100"}},
        "resources": {"extended": {GPU: 2}, "ephemeralStorageLimit": "9Gi", "recommendedEphemeralStorageLimit": "9Gi"},
        "extendedResources": {GPU: 2},
        "ephemeralStorageLimit": "9Gi",
    }
    policy = resolve_policy(sources(settings=CLASSES, **in_layers(**fields)[layer]))

    assert (policy.shared_memory, policy.volumes) == ("2Gi", (SCRATCH,))
    assert (policy.priority_class_name, policy.runtime_class_name) == ("batch-low", "nvidia")
    assert (policy.image_pull_secrets, policy.extended_resources) == (("registry",), {GPU: "2"})
    assert policy.resources["ephemeralStorageLimit"] == "9Gi"
    assert policy.node_selector == {"gpu": "a100"}
    wanted = {
        *("shared_memory", "volumes.scratch", "priority_class_name", "runtime_class_name"),
        *("image_pull_secrets.registry", f"extended_resources.{GPU}", "resources.ephemeralStorageLimit"),
        "node_selector.gpu",
    }
    assert {policy.provenance[setting] for setting in wanted} == {layer}
    assert policy.notes == ()


def test_a_later_layer_replaces_volumes_of_its_names_and_adds_the_others() -> None:
    mine = {"name": "scratch", "mountPath": "/tmp/scratch", "emptyDir": {"medium": "Memory"}}
    policy = resolve_policy(
        sources(template={"execution": {"volumes": [SCRATCH]}}, step={"execution": {"volumes": [mine, DATA]}})
    )

    assert policy.volumes == (mine, DATA)
    assert policy.provenance["volumes.scratch"] == policy.provenance["volumes.data"] == "Story step"


def test_extended_resources_merge_by_name_and_zero_removes_one() -> None:
    policy = resolve_policy(
        sources(
            template={"execution": {"resources": {"extended": {GPU: 1, "example.com/nic": 1}}}},
            step={"execution": {"resources": {"extended": {GPU: "0", "hugepages-2Mi": "4Mi"}}}},
        )
    )

    assert policy.extended_resources == {"example.com/nic": "1", "hugepages-2Mi": "4Mi"}
    assert policy.provenance[f"extended_resources.{GPU}"] == "Story step"
    assert policy.provenance["extended_resources.example.com/nic"] == "EngramTemplate"


def test_pull_secrets_of_all_layers_are_used_once_each() -> None:
    policy = resolve_policy(
        sources(
            template={"execution": {"imagePullSecrets": ["platform"]}},
            engram={"overrides": {"imagePullSecrets": ["team", "platform"]}},
        )
    )
    assert policy.image_pull_secrets == ("platform", "team")


def test_zero_gives_the_shared_memory_of_the_runtime() -> None:
    policy = resolve_policy(
        sources(template={"execution": {"sharedMemory": "2Gi"}}, step={"execution": {"sharedMemory": 0}})
    )
    assert policy.shared_memory == ""


# Classes.


@pytest.mark.parametrize("field", ["priorityClassName", "runtimeClassName"])
@pytest.mark.parametrize("layer", [layer for layer in in_layers() if layer != "EngramTemplate"])
def test_a_class_that_the_platform_does_not_list_is_ignored_with_a_note(layer: str, field: str) -> None:
    policy = resolve_policy(sources(**in_layers(**{field: "high"})[layer]))

    assert (policy.priority_class_name, policy.runtime_class_name) == ("", "")
    [note] = policy.notes
    assert note.startswith(f"{layer}: {field} is ignored: it names 'high', which security.")
    assert "let the template name it" in note


def test_a_template_may_name_any_class_and_others_keep_it() -> None:
    template = {"execution": {"priorityClassName": "system-node-critical", "runtimeClassName": "kata"}}
    policy = resolve_policy(sources(template=template, step={"execution": {"priorityClassName": "other"}}))

    assert (policy.priority_class_name, policy.runtime_class_name) == ("system-node-critical", "kata")
    assert policy.provenance["priority_class_name"] == "EngramTemplate"
    assert len(policy.notes) == 1


@pytest.mark.parametrize(("name", "allowed"), [("batch-low", True), ("low", True), ("lower", False), ("batch", False)])
def test_the_list_has_names_and_patterns(name: str, allowed: bool) -> None:
    policy = resolve_policy(sources(settings=CLASSES, step={"execution": {"priorityClassName": name}}))
    assert (policy.priority_class_name == name) is allowed


def test_a_name_that_no_class_can_have_is_a_problem() -> None:
    assert problems_of(template={"execution": {"priorityClassName": "Not a name"}})[0].startswith(
        "EngramTemplate: priorityClassName: 'Not a name' is not the name of a class"
    )


# Volumes.


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("hostPath", "use emptyDir for scratch space"),
        ("secret", "secretSchema of the template"),
        ("projected", "use configMap"),
        ("csi", "persistentVolumeClaim with a storage class"),
        ("nfs", "persistentVolumeClaim"),
        ("downwardAPI", "BUBU_POD_NAME"),
        ("gitRepo", "use emptyDir, persistentVolumeClaim or configMap"),
    ],
)
def test_other_kinds_are_refused_by_field_and_remedy_in_every_layer(kind: str, remedy: str) -> None:
    volume = {"name": "a", "mountPath": "/a", kind: {}}
    for layer, fields in in_layers(volumes=[volume]).items():
        [problem] = problems_of(**fields)
        assert problem.startswith(f"{layer}: volumes[0].{kind}: is not allowed")
        assert remedy in problem


RESERVED = (
    *("/", "/var", "/var/run", "/run", "/etc", "/proc", "/sys/fs", "/dev", "/dev/shm", "//dev//shm/", "/./run/tls"),
    *("/var/run/secrets", "/run/secrets/kubernetes.io", "/var/run/bubu/storage", "/var/run/tls", "/etc/bubu/secrets/x"),
)


@pytest.mark.parametrize("path", [*RESERVED, "", "data", "../data", "/data/../etc/bubu", "/a:b", "/a\0"])
def test_a_path_that_is_not_free_is_refused(path: str) -> None:
    [problem] = problems_of(step={"execution": {"volumes": [{**SCRATCH, "mountPath": path}]}})
    assert problem.startswith("Story step: volumes[0].mountPath: ")


@pytest.mark.parametrize("path", ["/data", "/devices", "/var/run-time", "/etc/app", "/home/user/.cache", "/tmp"])
def test_other_paths_are_free(path: str) -> None:
    assert resolve_policy(sources(step={"execution": {"volumes": [{**SCRATCH, "mountPath": path}]}})).volumes


@pytest.mark.parametrize("name", ["bubu-storage", "engram-tls", "secret-api", "kube-api-access-x", "A", "a.b", "-", ""])
def test_a_name_that_is_not_free_is_refused(name: str) -> None:
    [problem] = problems_of(step={"execution": {"volumes": [{**SCRATCH, "name": name}]}})
    assert problem.startswith("Story step: volumes[0].name: ")


@pytest.mark.parametrize("path", ["/data", "/data/", "/data/cache", "/"])
def test_mounts_of_different_layers_do_not_hide_each_other(path: str) -> None:
    below = {"name": "other", "mountPath": "/data", "emptyDir": {}}
    fields = {"template": {"execution": {"volumes": [below]}}, "step": {"execution": {"volumes": [SCRATCH]}}}
    fields["step"]["execution"]["volumes"][0] = {**SCRATCH, "mountPath": path}
    assert len(problems_of(**fields)) == 1


def test_a_mount_does_not_hide_the_file_store_nor_a_secret_of_the_template() -> None:
    store = {"storage": {"file": {"path": "/mnt/store", "volumeClaimName": "store"}}}
    schema = {"secretSchema": {"api": {"mountType": "file", "mountPath": "/keys"}}}
    volumes = [{**SCRATCH, "mountPath": "/mnt"}, {**DATA, "mountPath": "/keys"}]

    found = problems_of(
        template=schema, engram={"secrets": {"api": "a"}}, step={"execution": {"volumes": volumes, **store}}
    )
    assert ["storage.file.path" in found[0], "secretSchema.api" in found[1]] == [True, True]
    assert resolve_policy(sources(template=schema, step={"execution": {"volumes": volumes[1:]}})).volumes


def test_all_problems_of_all_layers_are_reported_at_once() -> None:
    found = problems_of(
        template={"execution": {"volumes": [{"name": "a", "mountPath": "/a", "hostPath": {}}]}},
        engram={"overrides": {"sharedMemory": "lots", "imagePullSecrets": "registry"}},
        step={"execution": {"resources": {"extended": {GPU: "1.5", "gpu": 1}}, "volumes": "none"}},
    )
    assert [problem.partition(": ")[0] for problem in found] == [
        *("EngramTemplate", "Engram overrides", "Engram overrides"),
        *("Story step", "Story step", "Story step"),
    ]


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        *((GPU, amount) for amount in (-1, "-1", "500m", "1k", "", "two", True, 1.0, None, 10**9, "9" * 5000)),
        *((name, 1) for name in ("gpu", "/gpu", "nvidia.com/", "nvidia.com/a/b", "NVIDIA.com/gpu", "a.b/-x")),
        *((name, 1) for name in ("kubernetes.io/x", "node.kubernetes.io/x", "requests.nvidia.com/gpu")),
        *(("hugepages-2Mi", amount) for amount in ("3Mi", "-2Mi", "x")),
        ("hugepages-0Mi", "2Mi"),
    ],
)
def test_what_is_no_extended_resource_or_no_amount_of_one_is_refused(name: str, amount: Any) -> None:
    [problem] = problems_of(step={"execution": {"resources": {"extended": {name: amount}}}})
    assert problem.startswith("Story step: resources.extended[")


@pytest.mark.parametrize("odd", [None, True, 5, "x", [], ["x"], [None], {}, {"a": 1}, [{"name": ["x"]}], [[]]])
@pytest.mark.parametrize("field", ["volumes", "sharedMemory", "imagePullSecrets", "priorityClassName"])
def test_a_branch_that_no_schema_has_checked_stops_nothing(field: str, odd: Any) -> None:
    """A branch of a ``parallel`` step is free-form where admission is off."""
    found = problems_of(step={"execution": {field: odd, "resources": {"extended": 5}}})
    assert all(problem.startswith("Story step: ") for problem in found)
    valid = (("sharedMemory", 5), ("priorityClassName", "x"), ("imagePullSecrets", ["x"]))
    assert len(found) > 1 or odd in (None, [], {}) or (field, odd) in valid


# Definitions of other namespaces.


def test_a_story_of_another_namespace_mounts_nothing_of_this_one() -> None:
    settings = {"name": "settings", "mountPath": "/settings", "configMap": {"name": "settings"}}
    given = replace(sources(step={"execution": {"volumes": [SCRATCH, DATA, settings]}}), namespace="elsewhere")
    with pytest.raises(PolicyError) as caught:
        resolve_policy(given)

    where = "Story step of namespace team: volumes"
    assert [problem.partition(":  names")[0][: len(where)] for problem in caught.value.problems] == [where, where]
    assert "claim 'data'" in caught.value.problems[0]
    assert "ConfigMap 'settings'" in caught.value.problems[1]


def test_an_engram_of_another_namespace_pulls_with_no_secret_of_this_one() -> None:
    given = replace(
        sources(engram={"overrides": {"imagePullSecrets": ["theirs"], "volumes": [SCRATCH]}}), namespace="elsewhere"
    )
    policy = resolve_policy(given)

    assert policy.image_pull_secrets == ()
    assert policy.volumes == (SCRATCH,)
    assert policy.notes[0].startswith("Engram overrides of namespace team: imagePullSecrets is ignored")


def test_a_listener_has_the_same_fields() -> None:
    template = {
        "metadata": {"name": "t"},
        "spec": {"image": "i", "execution": {"resources": {"extended": {GPU: 1}}, "runtimeClassName": "nvidia"}},
    }
    impulse = {
        "metadata": {"name": "i", "namespace": "team"},
        "spec": {"execution": {"volumes": [DATA], "priorityClassName": "high"}},
    }
    policy = resolve_impulse_policy(OperatorSettings(), template, impulse)

    assert (policy.extended_resources, policy.runtime_class_name) == ({GPU: "1"}, "nvidia")
    assert (policy.volumes, policy.priority_class_name) == ((DATA,), "")
    assert len(policy.notes) == 1
