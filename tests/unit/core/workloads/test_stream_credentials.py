"""Token and authority of a realtime step. (core/workloads/stream_credentials.py)"""

from __future__ import annotations

from core.workloads import stream_credentials
from tests.unit.core.workloads.stream_samples import KEY, stream


def test_a_secret_is_immutable_and_goes_with_its_step_run() -> None:
    secret = stream_credentials.stream_secret(stream(), KEY)
    assert secret["immutable"] is True
    assert secret["metadata"]["name"].startswith("demo-run-fetch-transport-g1-")
    assert [owner["uid"] for owner in secret["metadata"]["ownerReferences"]] == [stream().step.step_run_uid]


def test_a_retry_has_another_token() -> None:
    first, second = (stream_credentials.stream_secret(stream(step={"attempt": each}), KEY) for each in (0, 1))
    assert first["data"] != second["data"]
    assert first["metadata"]["name"] != second["metadata"]["name"]


def test_a_config_map_of_somebody_else_is_recognised() -> None:
    ours = stream_credentials.authority_config_map("team", b"pem")
    assert stream_credentials.is_authority_config_map(ours)
    assert not stream_credentials.is_authority_config_map({"metadata": {"labels": {"app": "x"}}})
    assert not stream_credentials.is_authority_config_map({"metadata": {}})


def test_the_authority_is_mounted_where_the_container_looks_for_it() -> None:
    with_tls = stream(has_authority=True)
    [mount] = stream_credentials.authority_mounts(with_tls)
    assert mount["mountPath"] in stream_credentials.CERTIFICATE_FOLDERS.split(":")
    assert stream_credentials.authority_volumes(stream()) == stream_credentials.authority_mounts(stream()) == []
