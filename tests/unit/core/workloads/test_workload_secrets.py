"""How secrets reach a container."""

from __future__ import annotations

import pytest

from core.api.objects import Object
from core.workloads.secrets import (
    mounted_secrets,
    secret_env_from,
    secret_environment,
    secret_volume_mounts,
    secret_volumes,
)
from tests.unit.core.workloads.workload_samples import workload

TOKEN = {"name": "api_token", "valueFrom": {"secretKeyRef": {"name": "openai", "key": "token"}}}
ORG = {"name": "api_org", "valueFrom": {"secretKeyRef": {"name": "openai", "key": "org"}}}
AS_ENV = {"name": "BUBU_SECRET_api", "value": "env:api_"}
AS_FILE = {"name": "BUBU_SECRET_api", "value": "file:/etc/bubu/secrets/api"}
NAME = {"name": "BUBU_SECRET_api_NAME", "value": "openai"}
ENV_FROM = {"prefix": "api_", "secretRef": {"name": "openai"}}
VOLUME = {"name": "secret-api", "secret": {"secretName": "openai"}}
MOUNT = {"name": "secret-api", "mountPath": "/etc/bubu/secrets/api", "readOnly": True}


@pytest.mark.parametrize(
    ("definition", "variables", "env_from", "on_disk"),
    [
        pytest.param({"expectedKeys": ["token", "org"]}, [TOKEN, ORG, AS_ENV, NAME], [], False, id="keys"),
        pytest.param({"mountType": "env", "expectedKeys": ["token"]}, [TOKEN, AS_ENV, NAME], [], False, id="env"),
        pytest.param({}, [AS_ENV, NAME], [ENV_FROM], False, id="all-keys"),
        pytest.param({"mountType": "file"}, [AS_FILE], [], True, id="file"),
        pytest.param({"mountType": "file", "expectedKeys": ["token"]}, [AS_FILE], [], True, id="file-with-keys"),
        pytest.param({"mountType": "both", "expectedKeys": ["token"]}, [TOKEN, AS_ENV], [], True, id="both-with-keys"),
        pytest.param({"mountType": "both"}, [AS_ENV, NAME], [ENV_FROM], True, id="both"),
    ],
)
def test_a_secret_is_emitted_as_its_definition_says(
    definition: Object, variables: list[Object], env_from: list[Object], on_disk: bool
) -> None:
    attempt = workload(policy={"secrets": {"api": "openai"}}, secret_schema={"api": definition})
    assert secret_environment(attempt) == variables
    assert secret_env_from(attempt) == env_from
    assert secret_volumes(attempt) == ([VOLUME] if on_disk else [])
    assert secret_volume_mounts(attempt) == ([MOUNT] if on_disk else [])


def test_prefix_and_path_of_the_template_are_used_as_they_are() -> None:
    definition = {"mountType": "both", "envPrefix": "OPENAI_", "mountPath": "/keys", "expectedKeys": ["Token"]}
    attempt = workload(policy={"secrets": {"api": "openai"}}, secret_schema={"api": definition})
    assert [variable["name"] for variable in secret_environment(attempt)] == ["OPENAI_Token", "BUBU_SECRET_api"]
    assert secret_environment(attempt)[-1]["value"] == "env:OPENAI_"
    assert secret_volume_mounts(attempt)[0]["mountPath"] == "/keys"


def test_secrets_that_the_template_does_not_declare_stay_out() -> None:
    attempt = workload(policy={"secrets": {"api": "openai", "db": "pg"}}, secret_schema={"api": {}})
    assert [secret.logical_name for secret in mounted_secrets(attempt)] == ["api"]


def test_the_order_is_that_of_the_logical_names() -> None:
    mapping = {"b": "2", "c": "3", "a": "1"}
    attempt = workload(policy={"secrets": mapping}, secret_schema={name: {} for name in mapping})
    assert [secret.secret_name for secret in mounted_secrets(attempt)] == ["1", "2", "3"]


def test_volume_names_are_valid_and_differ() -> None:
    names = ["api", "API", "a_b", "a-b", "x" * 70, "x" * 71]
    schema = {name: {"mountType": "file"} for name in names}
    attempt = workload(policy={"secrets": dict.fromkeys(names, "s")}, secret_schema=schema)
    volumes = [volume["name"] for volume in secret_volumes(attempt)]
    assert len(set(volumes)) == len(names)
    assert all(len(name) <= 63 and name == name.lower() and "_" not in name for name in volumes)
    assert {"secret-api", "secret-a-b"} <= set(volumes)
