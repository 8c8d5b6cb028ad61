"""The client, and where it finds its cluster. (kubeclient.py, kubeconfig.py)"""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from bubu_sdk import kubeconfig
from bubu_sdk.errors import ContextError
from bubu_sdk.kube import ConflictError, NotFoundError, StatusError, UnreachableError
from bubu_sdk.kubeclient import KubeClient
from bubu_sdk.kubeconfig import ClusterConfig
from bubu_sdk.testing import EngramEnvironment
from tests.unit.sdk.sdk_container import LiveApi


@pytest.fixture
def client(api: LiveApi) -> Any:
    client = KubeClient(ClusterConfig(api.url, token="t"))
    yield client
    client.close()


def test_failures_have_their_own_classes(client: KubeClient, environment: EngramEnvironment) -> None:
    with pytest.raises(NotFoundError, match="not found"):
        client.request("GET", "/api/v1/namespaces/default/secrets/none")
    environment.cluster.fail(409, method="GET")
    with pytest.raises(ConflictError):
        client.request("GET", environment.step_run_path)
    environment.cluster.fail(503, method="GET")
    with pytest.raises(StatusError) as caught:
        client.request("GET", environment.step_run_path)
    assert caught.value.retryable
    environment.cluster.fail(403, method="GET", details=RIGHT_LACKS)
    with pytest.raises(StatusError) as caught:
        client.request("GET", environment.step_run_path)
    assert caught.value.is_about_rights


RIGHT_LACKS = {"group": "runs.bubustack.io", "kind": "storytriggers"}


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (403, RIGHT_LACKS, True),
        (403, None, False),  # as an admission webhook denies
        (403, {"uid": "1"}, False),
        (403, "no object", False),
        (403, {**RIGHT_LACKS, "causes": [{"message": "the policy says no"}]}, False),
        (422, RIGHT_LACKS, False),
    ],
)
def test_a_refusal_for_missing_rights_is_told_from_one_of_admission(code: int, details: object, expected: bool) -> None:
    assert StatusError(code, "is forbidden", details=details).is_about_rights is expected


def test_a_connection_is_kept_for_the_next_request(client: KubeClient, environment: EngramEnvironment) -> None:
    for _ in range(3):
        assert client.request("GET", environment.step_run_path)["kind"] == "StepRun"

    assert len(client._idle) == 1


def test_a_closed_connection_is_opened_again(client: KubeClient, environment: EngramEnvironment) -> None:
    client.request("GET", environment.step_run_path)
    idle = client._idle[0]
    assert idle.sock is not None
    idle.sock.shutdown(2)

    assert client.request("GET", environment.step_run_path)["kind"] == "StepRun"


def test_nobody_listening_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="ConnectionRefusedError"):
        KubeClient(ClusterConfig("http://127.0.0.1:1")).request("GET", "/version")


def test_in_a_pod_the_token_is_read_anew_for_every_request(tmp_path: Path) -> None:
    folder = tmp_path / "var/run/secrets/kubernetes.io/serviceaccount"
    folder.mkdir(parents=True)
    (folder / "token").write_text("one\n")
    config = kubeconfig.load(
        {
            "KUBERNETES_SERVICE_HOST": "fd00::1",
            "KUBERNETES_SERVICE_PORT": "6443",
            "BUBU_VOLUME_ROOT": str(tmp_path),
        }
    )

    assert config.server == "https://[fd00::1]:6443"
    assert config.authorization() == "Bearer one"
    (folder / "token").write_text("two")
    assert config.authorization() == "Bearer two"


def write(path: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None) -> Path:
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:6443/"} | (cluster or {})}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(json.dumps(document))
    return path


def test_a_kubeconfig_in_yaml_is_read_when_a_parser_is_there(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "clusters: [{name: k, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {tokenFile: token}}]\n"
    )
    (tmp_path / "token").write_text("from-file")

    config = kubeconfig.load({"KUBECONFIG": str(path)})

    assert (config.server, config.authorization()) == ("https://h", "Bearer from-file")


@pytest.mark.parametrize(
    ("user", "cluster", "message"),
    [
        ({"exec": {"command": "aws"}}, None, "credential plugin 'exec'"),
        ({"auth-provider": {}}, None, "credential plugin 'auth-provider'"),
        ({"client-certificate-data": "%%"}, None, "client-certificate-data is not base64"),
        ({"client-key": "gone.pem"}, None, "client-key"),
        ({}, {"server": ""}, "has no server"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any] | None, message: str
) -> None:
    with pytest.raises(ContextError, match=message):
        kubeconfig.from_kubeconfig(write(tmp_path / "config", user, cluster))


def test_a_context_that_does_not_exist_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text('{"current-context":"gone"}')

    with pytest.raises(ContextError, match="contexts has no entry named 'gone'"):
        kubeconfig.from_kubeconfig(path)


def test_a_client_certificate_and_a_private_authority_are_loaded(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("client@example.org")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    user = {"client-certificate": "cert.pem", "client-key": "key.pem"}

    context = kubeconfig.from_kubeconfig(
        write(tmp_path / "config", user, {"certificate-authority": "ca.pem"})
    ).ssl_context()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_there_is_no_stray_temporary_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    issued = trustme.CA().issue_cert("c@example.org")
    pem = issued.cert_chain_pems[0].bytes().decode()

    ClusterConfig("https://h", client_certificate=pem, client_key=issued.private_key_pem.bytes().decode()).ssl_context()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("server", ["ftp://h", "h:6443", "https://"])
def test_a_server_address_needs_scheme_and_host(server: str) -> None:
    with pytest.raises(ContextError, match="must begin with https:// or http://"):
        kubeconfig.split_server(server)
