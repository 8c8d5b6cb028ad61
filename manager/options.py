"""How one manager process runs, as one frozen record made from its flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certs.lifetimes import DEFAULT_LIFETIMES, Lifetimes
from manager.bind import Address

DEFAULT_PREFIX: Final = "bobrapet-"


@dataclass(frozen=True, slots=True)
class MetricsOptions:
    address: Address | None = None
    """None: no metrics endpoint."""
    secure: bool = True
    """HTTPS, and the user of the token must be allowed ``get`` on ``/metrics``."""
    certificate: Path | None = None
    """None: a self-signed certificate, made at start."""
    key: Path | None = None
    http2: bool = False
    """HTTP/2 in addition to HTTP/1.1, if the port uses TLS to negotiate it."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate and key that another component renews."""

    folder: Path
    certificate: str = "tls.crt"
    key: str = "tls.key"


@dataclass(frozen=True, slots=True)
class AdmissionOptions:
    """How admission reviews are answered."""

    address: Address | None = None
    """None: this process does not answer reviews."""
    prefix: str = DEFAULT_PREFIX
    """Beginning of the names of the Service and of the webhook configurations."""
    names: tuple[str, ...] = ()
    """DNS names and IP addresses in the certificate, in addition to those of the Service."""
    files: CertificateFiles | None = None
    """None: the operator makes its own certificate and keeps it in a Secret."""
    client_ca: Path | None = None
    """Only clients with a certificate of these authorities get answers; None: all clients."""
    http2: bool = False
    drain_seconds: float = 0.0
    """How long the process still answers reviews after the signal to stop."""
    lifetimes: Lifetimes = DEFAULT_LIFETIMES
    """Lifetimes of the operator's own certificates."""


@dataclass(frozen=True, slots=True)
class LeaderOptions:
    enabled: bool = True
    name: str = "d3a8b358.bubustack.io"
    namespace: str = ""
    """Empty: the Pod's namespace, or outside a Pod that of the operator ConfigMap."""


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    attached: bool = False
    """The kubeconfig is the first line of standard input; the manager stops at the end of standard input."""
    kubeconfig: Path | None = None
    context: str | None = None
    health: Address | None = None
    metrics: MetricsOptions = MetricsOptions()
    admission: AdmissionOptions = AdmissionOptions()
    leader: LeaderOptions = LeaderOptions()
    config_namespace: str = "bobrapet-system"
    config_name: str = "bobrapet-operator-config"
    hub_endpoint: str = ""
    """Where the containers of realtime steps reach the hub, as host:port; empty: there is no hub."""
    tracing_shutdown_seconds: float = 5.0
    """How long spans are still sent after the signal to stop."""
    volume_claims: Path | None = None
    """Folder of this machine with the data of volume claims, as NAMESPACE/CLAIM; None: there is no such folder."""
