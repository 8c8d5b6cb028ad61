"""Which cluster the client uses, and as which user. Each error names the place and the remedy."""

from __future__ import annotations

import base64
import os
import stat
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
import trio.testing
import trustme

from core.kube.config import ClusterConfig, Impersonation, load_config
from core.kube.credentials import ClientCertificate, bearer_token, token_file
from core.kube.errors import ConfigError
from core.kube.transport import ssl_context

CA = trustme.CA()
LEAF = CA.issue_cert("client@example.org")
CA_PEM = CA.cert_pem.bytes()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def kubeconfig(
    path: Path, *, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **top: Any
) -> Path:
    content = {
        "current-context": "dev",
        "contexts": [
            {"name": "dev", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
            {"name": "bare", "context": {"cluster": "c"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://example.org:6443/"} | (cluster or {})}],
        "users": [{"name": "u", "user": user or {}}],
    } | top
    path.write_bytes(orjson.dumps(content))
    return path


async def authorization(config: ClusterConfig) -> str | None:
    return (await config.credentials.current()).authorization


async def test_a_context_becomes_one_record(tmp_path: Path) -> None:
    user = {
        "token": "t",
        "client-certificate-data": b64(LEAF.cert_chain_pems[0].bytes()),
        "client-key-data": b64(LEAF.private_key_pem.bytes()),
    }
    path = kubeconfig(
        tmp_path / "config",
        user=user,
        cluster={"certificate-authority-data": b64(CA_PEM), "tls-server-name": "kube", "proxy-url": "http://proxy:1"},
    )
    config = await load_config(path)

    assert (config.server, config.namespace, config.context) == ("https://example.org:6443", "team", "dev")
    assert (config.tls_server_name, config.proxy_url, config.verify) == ("kube", "http://proxy:1", True)
    assert config.ca_pem == CA_PEM
    assert await authorization(config) == "Bearer t"
    assert config.client_certificate is not None
    ssl_context(config)
    assert b64(LEAF.private_key_pem.bytes())[:20] not in repr(config)
    assert "Bearer" not in repr(config)


async def test_yaml_with_relative_files_is_read_from_where_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "kube"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(CA_PEM)
    (folder / "token").write_text("from-file\n")
    (folder / "config").write_text(
        """
apiVersion: v1
kind: Config
current-context: dev
contexts: [{name: dev, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://h:1", certificate-authority: ca.crt, insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: other, tokenFile: token, as: bob, as-groups: [g]}}]
"""
    )
    config = await load_config(folder / "config")

    assert config.ca_pem == CA_PEM
    assert await authorization(config) == "Bearer from-file"
    assert (config.namespace, config.verify) == ("default", False)
    assert config.impersonation == Impersonation("bob", ("g",))


async def test_impersonation_by_flag_wins_over_the_file(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", user={"as": "bob"})

    assert (await load_config(path, impersonation=Impersonation("eve"))).impersonation.user == "eve"


async def test_several_files_are_merged_and_the_first_wins(tmp_path: Path) -> None:
    bare: dict[str, Any] = {"current-context": "bare"}
    one = kubeconfig(tmp_path / "one", user={"token": "first"})
    two = kubeconfig(tmp_path / "two", user={"token": "second"}, **bare)
    environ = {"KUBECONFIG": os.pathsep.join([str(tmp_path / "absent"), str(one), str(two)])}
    config = await load_config(environ=environ)

    assert (config.context, await authorization(config)) == ("dev", "Bearer first")
    assert await authorization(await load_config(None, "bare", environ=environ)) is None


async def test_home_is_searched_last(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube" / "config", user={"username": "u", "password": "p"})
    config = await load_config(environ={"HOME": str(tmp_path)})

    assert await authorization(config) == "Basic " + b64(b"u:p")


async def test_inside_a_pod_the_service_account_is_used(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(CA_PEM)
    (tmp_path / "token").write_text("pod-token")
    (tmp_path / "namespace").write_text("jobs\n")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    config = await load_config(environ=environ, service_account_path=tmp_path)

    assert (config.server, config.namespace) == ("https://[fd00::1]:443", "jobs")
    assert await authorization(config) == "Bearer pod-token"


@pytest.mark.parametrize(
    ("change", "context", "complaint"),
    [
        ({}, "prod", r"context 'prod' is not in .*config \(known: bare, dev\)"),
        ({"current-context": ""}, None, r"sets no current-context; choose one with --context \(known: bare, dev\)"),
        ({"clusters": []}, None, "names cluster 'c', which is not in"),
        ({"users": []}, None, "names user 'u', which is not in"),
        ({"users": {}}, None, "users in .* must be a list|names user"),
        ({"contexts": [{"context": {}}]}, None, "every entry of contexts in .* needs a name"),
        ({"clusters": [{"name": "c", "cluster": {"server": "example.org"}}]}, None, "needs server: https://"),
        (
            {"clusters": [{"name": "c", "cluster": {"server": "https://h", "certificate-authority": "no.crt"}}]},
            None,
            r"no.crt .*cannot be read",
        ),
        (
            {"clusters": [{"name": "c", "cluster": {"server": "https://h", "certificate-authority-data": "%%%"}}]},
            None,
            "is not base64",
        ),
        ({"users": [{"name": "u", "user": {"client-certificate-data": b64(b"x")}}]}, None, "both are needed"),
    ],
)
async def test_a_broken_kubeconfig_is_named_with_its_remedy(
    tmp_path: Path, change: dict[str, Any], context: str | None, complaint: str
) -> None:
    path = kubeconfig(tmp_path / "config", **change)

    with pytest.raises(ConfigError, match=complaint):
        await load_config(path, context)


@pytest.mark.parametrize(
    ("text", "complaint"), [("", "empty"), ("- a", "not a mapping"), ("a: [", "not valid"), ("{x", "not valid")]
)
async def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "config").write_text(text)

    with pytest.raises(ConfigError, match=complaint):
        await load_config(tmp_path / "config")


async def test_missing_files_are_listed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent does not exist"):
        await load_config(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"no kubeconfig found \(searched: .*\.kube/config\)"):
        await load_config(environ={"HOME": str(tmp_path)})
    with pytest.raises(ConfigError, match="automountServiceAccountToken"):
        await load_config(environ={"KUBERNETES_SERVICE_HOST": "h"}, service_account_path=tmp_path)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (ClusterConfig("https://h", ca_pem=b"nonsense", source="here"), "certificate-authority in here"),
        (
            ClusterConfig(
                "https://h",
                client_certificate=ClientCertificate(LEAF.cert_chain_pems[0].bytes(), CA.private_key_pem.bytes()),
            ),
            "do not fit together",
        ),
    ],
)
def test_certificates_that_cannot_be_used_are_refused(config: ClusterConfig, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        ssl_context(config)


async def test_a_rotated_token_file_is_read_again_after_a_minute_or_a_refusal(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    source = token_file(path)
    first = await source.current()
    path.write_text("two")

    assert await source.current() == first
    mock_clock.jump(61)
    second = await source.current()
    assert second.authorization == "Bearer two"
    path.write_text("three")
    assert (await source.renew(second)).authorization == "Bearer three"
    path.write_text("four")
    assert (await source.renew(second)).authorization == "Bearer three", "somebody else has renewed it already"
    path.unlink()
    mock_clock.jump(61)
    with pytest.raises(ConfigError, match="cannot be read"):
        await source.current()


def plugin(path: Path, script: str) -> dict[str, Any]:
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "interactiveMode": "Never"}}


ANSWER = """
import json, pathlib
count = pathlib.Path(__file__).with_name("count")
n = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(n))
status = {"token": f"t{n}"}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


@pytest.mark.slow
async def test_a_credential_plugin_runs_when_first_needed_and_when_refused(tmp_path: Path) -> None:
    config = await load_config(kubeconfig(tmp_path / "config", user=plugin(tmp_path / "plugin", ANSWER)))
    assert not (tmp_path / "count").exists()
    first = await config.credentials.current()
    assert (await config.credentials.current()) == first
    second = await config.credentials.renew(first)

    assert (first.authorization, second.authorization) == ("Bearer t1", "Bearer t2")


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("import sys; sys.exit('not logged in')", "failed: .*not logged in"),
        ("print('nonsense')", "failed: .*decode"),
        (ANSWER.replace('"token": f"t{n}"', ""), "must answer with status.token"),
    ],
)
async def test_a_failing_credential_plugin_is_an_error_not_an_anonymous_call(
    tmp_path: Path, script: str, complaint: str
) -> None:
    config = await load_config(kubeconfig(tmp_path / "config", user=plugin(tmp_path / "plugin", script)))

    with pytest.raises(ConfigError, match=complaint):
        await config.credentials.current()


async def test_a_missing_credential_plugin_shows_its_own_hint(tmp_path: Path) -> None:
    spec = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "no-such-plugin",
        "installHint": "get it at the shop",
    }
    config = await load_config(kubeconfig(tmp_path / "config", user={"exec": spec}))

    with pytest.raises(ConfigError, match="not on PATH: get it at the shop"):
        await config.credentials.current()


async def test_an_auth_provider_is_resolved_by_the_kubernetes_package(tmp_path: Path) -> None:
    claims = base64.urlsafe_b64encode(orjson.dumps({"exp": 4_000_000_000})).decode().rstrip("=")
    token = f"h.{claims}.s"
    provider = {"auth-provider": {"name": "oidc", "config": {"id-token": token}}}
    config = await load_config(kubeconfig(tmp_path / "config", user=provider))

    assert await authorization(config) == f"Bearer {token}"
    config = await load_config(kubeconfig(tmp_path / "config", user={"auth-provider": {"name": "azure"}}))
    with pytest.raises(ConfigError, match="'azure' returned no token"):
        await config.credentials.current()


async def test_a_fixed_token_does_not_change() -> None:
    source = bearer_token(" t\n")

    assert (await source.renew(await source.current())).authorization == "Bearer t"


async def test_a_plain_kubeconfig_is_read_without_loading_the_kubernetes_package(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", user={"token": "t"})
    script = (
        "import sys, trio, pathlib; from core.kube.config import load_config;"
        f"trio.run(load_config, pathlib.Path({str(path)!r}));"
        "sys.exit('kubernetes' in sys.modules)"
    )
    finished = await trio.run_process([sys.executable, "-c", script], check=False, capture_stderr=True)

    assert finished.returncode == 0, finished.stderr
