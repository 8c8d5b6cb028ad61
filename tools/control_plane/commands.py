"""The command lines of etcd, kube-apiserver and kube-controller-manager. Pure.

Everything listens on loopback, on ports that we hold, or not at all. Nothing is written outside the given directory.
"""

from __future__ import annotations

from pathlib import Path

from tools.control_plane.access import CONTROLLERS, Access
from tools.control_plane.binaries import Binaries


def etcd(binaries: Binaries, data: Path, client_port: int, peer_port: int) -> list[str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in (client_port, peer_port))
    return [
        str(binaries.etcd),
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--socket-reuse-port=true",
        "--unsafe-no-fsync=true",  # a test's etcd survives its own kill -9, but not a crash of the machine
        "--log-level=warn",
    ]


def kube_apiserver(
    binaries: Binaries, access: Access, port: int, etcd_url: str, *, audit_log: Path | None, flags: tuple[str, ...]
) -> list[str]:
    audit = [f"--audit-policy-file={access.audit_policy}", f"--audit-log-path={audit_log}"] if audit_log else []
    return [
        str(binaries.kube_apiserver),
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        "--permit-port-sharing=true",
        f"--etcd-servers={etcd_url}",
        f"--cert-dir={access.directory}",
        f"--tls-cert-file={access.certificate('serving')}",
        f"--tls-private-key-file={access.key('serving')}",
        f"--client-ca-file={access.ca_file}",
        f"--token-auth-file={access.token_file}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={access.service_account_key}",
        f"--service-account-signing-key-file={access.service_account_key}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={access.ca_file}",
        f"--kubelet-client-certificate={access.certificate('kubelet-client')}",
        f"--kubelet-client-key={access.key('kubelet-client')}",
        "--profiling=false",
        *audit,
        *flags,
    ]


def kube_controller_manager(binaries: Binaries, access: Access, url: str) -> list[str]:
    kubeconfig = access.write_kubeconfig(CONTROLLERS, url, access.tokens[CONTROLLERS])
    return [
        str(binaries.kube_controller_manager),
        f"--kubeconfig={kubeconfig}",
        "--secure-port=0",
        "--leader-elect=false",
        f"--root-ca-file={access.ca_file}",
        f"--service-account-private-key-file={access.service_account_key}",
        # The Pods of our node have a loopback address, which endpoints may not have: these two would fail for ever.
        "--controllers=*,-endpoints-controller,-endpointslice-controller",
        # One client for all controllers. At the default of 20 requests a second they would wait for each other.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--profiling=false",
    ]
