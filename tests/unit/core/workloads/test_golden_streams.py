"""Representative realtime steps, byte for byte; and that SDKs start with exactly their environment."""

from __future__ import annotations

import base64

import pytest

from bubu_sdk.streaming import settings as sdk
from core.api import manifest
from core.api.objects import Object
from core.workloads.binding_token import is_genuine, read_identity
from core.workloads.variables import MAX_VARIABLE_BYTES
from tests.unit.core.workloads.golden_streams import ACCESS, FOLDER, KEY, cases, documents, objects, rendered, stored
from webhooks.cluster_view import InMemoryView
from webhooks.finding import errors_among
from webhooks.validate import admission


@pytest.mark.parametrize("case", cases())
def test_the_objects_are_the_stored_ones(case: str) -> None:
    """After a change that is wanted: ``make generate``, and read the difference."""
    assert rendered(case) == stored(case).read_text(encoding="utf-8")


@pytest.mark.parametrize("case", cases())
def test_admission_accepts_its_manifests_and_the_binding(case: str) -> None:
    given = documents(case)
    ours = {kind: each for kind, each in given.items() if kind != "ConfigMap"}
    world = InMemoryView(list(ours.values()))
    for each in (*ours.values(), objects(case)[0]):
        assert manifest.errors_of(each) == []
        assert [str(found) for found in errors_among(admission.validate(each, None, world))] == []


def test_each_case_has_its_file_and_its_hub() -> None:
    assert cases() == sorted(ACCESS)
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(
        name for case in cases() for name in (f"{case}.yaml", f"{case}.objects.yaml")
    )


@pytest.mark.parametrize("case", cases())
def test_our_sdk_starts_with_this_environment(case: str) -> None:
    settings = sdk.load(environment(case))
    assert str(settings.endpoint) == ACCESS[case].endpoint
    assert settings.warnings == ()
    assert (settings.reconnect.max_retries, settings.pace.message_seconds) == (-1, 600.0)
    identity = read_identity(settings.binding)
    stored_binding = objects(case)[0]["metadata"]
    assert (identity.namespace, identity.binding) == (stored_binding["namespace"], stored_binding["name"])
    assert is_genuine(identity, stored_binding["uid"], [KEY])
    assert str(identity.generation) == environment(case)["BUBU_CONNECTOR_GENERATION"]


@pytest.mark.parametrize("case", cases())
def test_nothing_but_the_secret_has_the_token(case: str) -> None:
    token = sdk.load(environment(case)).binding.partition("/")[2]
    assert not [obj["kind"] for obj in objects(case) if obj["kind"] != "Secret" and token in str(obj)]


@pytest.mark.parametrize("case", cases())
def test_no_variable_is_there_twice_or_too_large(case: str) -> None:
    names = [variable["name"] for variable in container(case)["env"]]
    assert sorted(set(names)) == sorted(names)
    assert all(len(f"{name}={value}") <= MAX_VARIABLE_BYTES for name, value in environment(case).items())


def container(case: str) -> Object:
    [found] = objects(case)[-1]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(case: str) -> dict[str, str]:
    """As the kubelet passes it."""
    [secret] = [obj for obj in objects(case) if obj["kind"] == "Secret"]
    found = {}
    for variable in container(case)["env"]:
        source = (variable.get("valueFrom") or {}).get("secretKeyRef") or {}
        if source.get("name") == secret["metadata"]["name"]:
            found[variable["name"]] = base64.b64decode(secret["data"][source["key"]]).decode()
        elif "value" in variable:
            found[variable["name"]] = variable["value"].replace("$$", "$")
    return found
