"""``manager``: the operator itself, against a kubeconfig or inside a cluster.

Its flags are those of the reference's manager container, so that existing Deployments start it unchanged.
Source: operator contract 1.1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from bubu_contract.durations import parse_duration
from cli.completing import is_called, refuse_help_as_value
from cli.problem import UsageError
from core.telemetry.logs import LogFormat, configure_logging, get_logger
from manager.admission.enabled import webhooks_enabled
from manager.bind import parse_address
from manager.goflags import boolean
from manager.hub_endpoint import parse_endpoint
from manager.options import AdmissionOptions, CertificateFiles, LeaderOptions, ManagerOptions, MetricsOptions

if is_called():
    from manager.run import run_forever


Parsed = TypeVar("Parsed")

BOOLEAN_FLAGS: Final = frozenset({"metrics-secure", "leader-elect", "enable-http2", "zap-devel"})


_MetricsSecure = Annotated[
    str, typer.Option(help="true: HTTPS, and callers need permission to get /metrics; false: HTTP.")
]
_MetricsCertPath = Annotated[
    Path | None, typer.Option(help="Folder of the metrics certificate; default: a self-signed one.")
]
_LeaderElect = Annotated[
    str, typer.Option(help="true: only the holder of the Lease works; needed with more than one replica.")
]
_LeaderElectionNamespace = Annotated[
    str, typer.Option(help="Namespace of the Lease; default: that of the Pod, else of --config-namespace.")
]
_WebhookBindAddress = Annotated[
    str, typer.Option(help="Address for admission reviews (HTTPS); 0 or ENABLE_WEBHOOKS=false: no admission.")
]
_WebhookCertPath = Annotated[
    Path | None,
    typer.Option(help="Folder of the webhook certificate; default: one that the operator creates, in a Secret."),
]
_WebhookClientCa = Annotated[
    Path | None, typer.Option(help="Accept only callers with a certificate signed by these authorities (PEM).")
]
_WebhookDrain = Annotated[
    str, typer.Option(help="How long reviews are still answered after SIGTERM; default: 3s in a Pod, else 0s.")
]
_NamePrefix = Annotated[
    str, typer.Option(help="Beginning of the names of the Service for admission and of the webhook configurations.")
]
_HubEndpoint = Annotated[
    str,
    typer.Option(
        help="Address at which the containers of realtime steps reach the hub, as host:port; default: no hub."
    ),
]
_WebhookNames = Annotated[
    str, typer.Option(help="More DNS names and IP addresses for the operator's own certificate, separated by commas.")
]


def register(app: typer.Typer) -> None:
    app.command("manager")(run_operator)


def run_operator(
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig; default: $KUBECONFIG, in-cluster, home.")] = None,
    context: Annotated[str, typer.Option(help="Context of the kubeconfig.")] = "",
    metrics_bind_address: Annotated[str, typer.Option(help="Address of /metrics; 0: none.")] = "0",
    metrics_secure: _MetricsSecure = "true",
    metrics_cert_path: _MetricsCertPath = None,
    metrics_cert_name: Annotated[str, typer.Option(help="Certificate file in that folder.")] = "tls.crt",
    metrics_cert_key: Annotated[str, typer.Option(help="Key file in that folder.")] = "tls.key",
    enable_http2: Annotated[str, typer.Option(help="true: also HTTP/2 on TLS ports.")] = "false",
    health_probe_bind_address: Annotated[str, typer.Option(help="Address of /healthz and /readyz.")] = ":8081",
    leader_elect: _LeaderElect = "true",
    leader_election_id: Annotated[str, typer.Option(help="Name of the Lease.")] = "d3a8b358.bubustack.io",
    leader_election_namespace: _LeaderElectionNamespace = "",
    config_namespace: Annotated[str, typer.Option(help="Namespace of the operator ConfigMap.")] = "bobrapet-system",
    config_name: Annotated[str, typer.Option(help="Name of the operator ConfigMap.")] = "bobrapet-operator-config",
    webhook_bind_address: _WebhookBindAddress = ":9443",
    webhook_cert_path: _WebhookCertPath = None,
    webhook_cert_name: Annotated[str, typer.Option(help="Certificate file in that folder.")] = "tls.crt",
    webhook_cert_key: Annotated[str, typer.Option(help="Key file in that folder.")] = "tls.key",
    webhook_client_ca: _WebhookClientCa = None,
    webhook_drain: _WebhookDrain = "",
    webhook_names: _WebhookNames = "",
    name_prefix: _NamePrefix = "bobrapet-",
    hub_endpoint: _HubEndpoint = "",
    tracing_init_timeout: Annotated[str, typer.Option(help="Accepted; no effect: nothing waits for it.")] = "10s",
    tracing_shutdown_timeout: Annotated[str, typer.Option(help="How long spans are sent after SIGTERM.")] = "5s",
    zap_devel: Annotated[str, typer.Option(help="true: logs as plain text, and debug level.")] = "false",
    zap_encoder: Annotated[str, typer.Option(help="json or console; default: json.")] = "",
    zap_log_level: Annotated[str, typer.Option(help="debug, info, error, panic or a number; default: info.")] = "",
    zap_stacktrace_level: Annotated[str, typer.Option(help="Accepted; no effect.")] = "",
    zap_time_encoding: Annotated[str, typer.Option(help="Accepted; no effect: always RFC 3339.")] = "",
    log_format: Annotated[str, typer.Option(help="json or text; overrides --zap-encoder.")] = "",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error; overrides --zap-log-level.")] = "",
    attached: Annotated[bool, typer.Option("--attached", hidden=True)] = False,
    volume_claims: Annotated[Path | None, typer.Option("--volume-claims", hidden=True)] = None,
) -> None:
    """Run the operator until SIGTERM.

    It has the flags of the Go operator's manager, with one dash or two; booleans need no value.
    """
    refuse_help_as_value()
    zap = ZapFlags(zap_devel, zap_encoder, zap_log_level, zap_stacktrace_level, zap_time_encoding)
    try:
        _configure_logging(log_format or zap.log_format, log_level or zap.log_level)
        http2 = boolean("enable-http2", enable_http2)
        options = ManagerOptions(
            attached=attached,
            kubeconfig=kubeconfig,
            context=context or None,
            health=_checked("--health-probe-bind-address", parse_address, health_probe_bind_address),
            metrics=_metrics_options(
                metrics_bind_address, metrics_secure, (metrics_cert_path, metrics_cert_name, metrics_cert_key), http2
            ),
            admission=_admission_options(
                address=webhook_bind_address,
                files=(webhook_cert_path, webhook_cert_name, webhook_cert_key),
                client_ca=webhook_client_ca,
                names=(name_prefix, webhook_names),
                drain=webhook_drain or _drain_time(kubeconfig),
                http2=http2,
            ),
            leader=LeaderOptions(boolean("leader-elect", leader_elect), leader_election_id, leader_election_namespace),
            config_namespace=config_namespace,
            config_name=config_name,
            hub_endpoint=_checked("--hub-endpoint", parse_endpoint, hub_endpoint),
            tracing_shutdown_seconds=_flush_seconds(tracing_shutdown_timeout, tracing_init_timeout),
            volume_claims=volume_claims,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    _warn_without_effect(zap)
    if sys.modules.get("click", ...) is None:  # most commands do not need it; the HTTP library of admission does
        del sys.modules["click"]
    raise typer.Exit(run_forever(options))


def _drain_time(kubeconfig: Path | None) -> str:
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ and kubeconfig is None
    return "3s" if in_pod else "0s"


def _flush_seconds(shutdown: str, init: str) -> float:
    """Seconds; zero and less mean the default, and more than the process has for its end is of no use."""
    _checked("--tracing-init-timeout", parse_duration, init)  # it has no effect, and is checked all the same
    seconds = _checked("--tracing-shutdown-timeout", parse_duration, shutdown).total_seconds()
    return min(seconds, 7.0) if seconds > 0 else 5.0


def _metrics_options(address: str, secure: str, files: tuple[Path | None, str, str], http2: bool) -> MetricsOptions:
    folder, certificate, key = files
    return MetricsOptions(
        address=_checked("--metrics-bind-address", parse_address, address),
        secure=boolean("metrics-secure", secure),
        certificate=folder / certificate if folder else None,
        key=folder / key if folder else None,
        http2=http2,
    )


def _admission_options(
    *,
    address: str,
    files: tuple[Path | None, str, str],
    client_ca: Path | None,
    names: tuple[str, str],
    drain: str,
    http2: bool,
) -> AdmissionOptions:
    folder, certificate, key = files
    prefix, more_names = names
    listened_on = _checked("--webhook-bind-address", parse_address, address)
    return AdmissionOptions(
        address=listened_on if webhooks_enabled(os.environ) else None,
        prefix=prefix,
        names=tuple(name for name in more_names.replace(" ", "").split(",") if name),
        files=CertificateFiles(folder, certificate, key) if folder else None,
        client_ca=client_ca,
        http2=http2,
        drain_seconds=_checked("--webhook-drain", parse_duration, drain).total_seconds(),
    )


def _warn_without_effect(zap: ZapFlags) -> None:
    """Log a warning for each flag of the reference that is accepted here but has no effect."""
    for reason in zap.without_effect():
        get_logger("setup").warning("a flag has no effect", cause=reason)


def _configure_logging(log_format: str, level: str) -> None:
    configure_logging(LogFormat.CONSOLE if log_format in ("console", "text") else LogFormat.JSON, level=level)


def _checked(flag: str, parse: Callable[[str], Parsed], text: str) -> Parsed:
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


_ENCODERS: Final = {"json": "json", "console": "console"}
_LEVELS: Final = {"debug": "debug", "info": "info", "error": "error", "panic": "error"}
_STACK_TRACES: Final = frozenset({"", "error"})
_TIMES: Final = frozenset({"", "rfc3339", "rfc3339nano", "iso8601"})


@dataclass(frozen=True, slots=True)
class ZapFlags:
    """The flags as given; empty means not given."""

    devel: str = "false"
    encoder: str = ""
    level: str = ""
    stacktrace_level: str = ""
    time_encoding: str = ""

    @property
    def log_format(self) -> str:
        """``json`` or ``console``.

        Raises:
            ValueError: another encoder.
        """
        encoder = self.encoder.lower() or ("console" if boolean("zap-devel", self.devel) else "json")
        if encoder not in _ENCODERS:
            raise ValueError(f"--zap-encoder must be json or console, not {self.encoder!r}")
        return _ENCODERS[encoder]

    @property
    def log_level(self) -> str:
        """``debug``, ``info`` or ``error``; a number above zero requests verbosity, so debug.

        Raises:
            ValueError: neither a level nor such a number.
        """
        level = self.level.lower() or ("debug" if boolean("zap-devel", self.devel) else "info")
        if level.isdecimal() and int(level) > 0:
            return "debug"
        if level not in _LEVELS:
            raise ValueError(f"--zap-log-level must be debug, info, error, panic or a number, not {self.level!r}")
        return _LEVELS[level]

    def without_effect(self) -> Iterator[str]:
        """Why each given flag has no effect."""
        if self.stacktrace_level.lower() not in _STACK_TRACES:
            yield "--zap-stacktrace-level: only unexpected errors have a stack trace, and they always have it"
        if self.time_encoding.lower() not in _TIMES:
            yield "--zap-time-encoding: times are always RFC 3339 in UTC with milliseconds"
