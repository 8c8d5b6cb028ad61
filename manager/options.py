"""How one manager process runs, as one frozen record made from its flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from certs.authority import DEFAULT_LIFETIMES, Lifetimes
from manager.bind import Address


@dataclass(frozen=True, slots=True)
class MetricsOptions:
    address: Address | None = None
    """None: no metrics endpoint."""
    secure: bool = True
    """HTTPS, and the caller's token must be allowed ``get`` on ``/metrics``."""
    certificate: Path | None = None
    """None: self-signed, made at start."""
    key: Path | None = None
    http2: bool = False
    """HTTP/2 beside HTTP/1.1, where there is TLS to agree on it."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A pair that somebody else keeps fresh."""

    folder: Path
    certificate: str = "tls.crt"
    key: str = "tls.key"


@dataclass(frozen=True, slots=True)
class GateOptions:
    """How admission reviews are answered."""

    address: Address | None = None
    """None: they are not."""
    names: tuple[str, ...] = ()
    """DNS names and IP addresses in our certificate, beside those of the Service."""
    files: CertificateFiles | None = None
    """None: a certificate of our own, kept in a Secret."""
    client_ca: Path | None = None
    """Only callers with a certificate of these authorities are answered; None: everybody is."""
    http2: bool = False
    drain_seconds: float = 0.0
    """How long reviews are still answered after the process was told to stop."""
    lifetimes: Lifetimes = DEFAULT_LIFETIMES
    """Of certificates of our own."""


@dataclass(frozen=True, slots=True)
class LeaderOptions:
    enabled: bool = True
    name: str = "d3a8b358.bubustack.io"
    namespace: str = ""
    """Empty: the Pod's namespace, else that of the operator ConfigMap."""


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    attached: bool = False
    """The kubeconfig is the first line of standard input, and the end of standard input that of the manager."""
    kubeconfig: Path | None = None
    context: str | None = None
    health: Address | None = None
    metrics: MetricsOptions = MetricsOptions()
    gate: GateOptions = GateOptions()
    leader: LeaderOptions = LeaderOptions()
    config_namespace: str = "bobrapet-system"
    config_name: str = "bobrapet-operator-config"
    volume_claims: Path | None = None
    """Where this machine keeps what is on the volumes of claims, as NAMESPACE/CLAIM; None: this is no such machine."""
