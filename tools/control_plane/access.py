"""The users of a control plane, and the files that its programs read: certificates, tokens, kubeconfigs.

One authority signs everything. Tokens are random for each control plane. There are three users, so that an audit log
can distinguish them: an administrator, the controllers and the node.
"""

from __future__ import annotations

import json
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from localcluster import certificates
from localcluster.certificates import KeyPair
from localcluster.clock import utc_now
from localcluster.kubeconfig import Connection, render_kubeconfig, write_private

ADMIN: Final = "admin"
CONTROLLERS: Final = "controllers"
NODE: Final = "node"
_HOSTS: Final = ("127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.0.0.1")


@dataclass(frozen=True, slots=True)
class Access:
    """Files below one directory. Only its owner can read them."""

    directory: Path
    authority: KeyPair
    tokens: dict[str, str]

    @property
    def ca_pem(self) -> str:
        return self.authority.certificate_pem

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def token_file(self) -> Path:
        return self.directory / "tokens.csv"

    @property
    def service_account_key(self) -> Path:
        return self.directory / "service-account.key"

    @property
    def audit_policy(self) -> Path:
        return self.directory / "audit-policy.json"

    def certificate(self, name: str) -> Path:
        """The certificate ``serving`` or ``kubelet-client``. Its key is ``key(name)``."""
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    def write_kubeconfig(self, name: str, url: str, token: str, namespace: str = "default") -> Path:
        path = self.directory / f"{name}.kubeconfig"
        write_private(path, render_kubeconfig(Connection(url, token=token, ca_pem=self.ca_pem), namespace=namespace))
        return path

    def tls_context(self) -> ssl.SSLContext:
        """For clients: trusts only this authority."""
        return ssl.create_default_context(cadata=self.ca_pem)


def create_access(directory: Path) -> Access:
    """Create new keys, certificates and tokens in ``directory``, which is created if it is missing."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = certificates.load_or_create_authority(directory, "bobrapet tests", utc_now())
    tokens = {user: secrets.token_urlsafe(24) for user in (ADMIN, CONTROLLERS, NODE)}
    access = Access(directory, authority, tokens)
    lines = [f'{token},{user},{user},"system:masters"\n' for user, token in tokens.items()]
    write_private(access.token_file, "".join(lines))
    pairs = {
        "serving": certificates.issue_server(authority, "kube-apiserver", _HOSTS, utc_now()),
        "kubelet-client": certificates.issue_client(authority, "kube-apiserver", "system:masters", utc_now()),
    }
    for name, pair in pairs.items():
        write_private(access.certificate(name), pair.certificate_pem)
        write_private(access.key(name), pair.key_pem)
    write_private(access.service_account_key, _rsa_key())
    write_private(access.audit_policy, json.dumps(_audit_policy()))
    return access


def load_access(directory: Path) -> Access:
    """Read what ``create_access`` has stored there, in another process."""
    authority = KeyPair((directory / "ca.crt").read_text(), (directory / "ca.key").read_text())
    access = Access(directory, authority, {})
    for line in access.token_file.read_text().splitlines():
        token, user, _ = line.split(",", 2)
        access.tokens[user] = token
    return access


def _rsa_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(encoding, kind, serialization.NoEncryption()).decode()


def _audit_policy() -> dict[str, Any]:
    """Which user did what to which object, once per request, never with its content."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "omitManagedFields": True,
        "rules": [{"level": "Metadata"}],
    }
