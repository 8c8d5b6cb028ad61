"""``manager``: the operator itself, against a kubeconfig or inside a cluster.

Its flags are those of the reference's manager container, so that existing Deployments start it unchanged.
Source: operator contract 1.1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from manager.cli.problem import UsageError

PROGRAM_NAME = "manager"


def register(app: typer.Typer) -> None:
    app.command(PROGRAM_NAME)(run_operator)


def run_operator(
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig; default: $KUBECONFIG, in-cluster, home.")] = None,
    context: Annotated[str, typer.Option(help="Context of the kubeconfig.")] = "",
    metrics_bind_address: Annotated[str, typer.Option(help="Where /metrics is served; 0 switches it off.")] = "0",
    metrics_secure: Annotated[
        str, typer.Option(help="true: HTTPS, and callers need get on /metrics; false: plain HTTP.")
    ] = "true",
    metrics_cert_path: Annotated[
        Path | None, typer.Option(help="Folder of the metrics certificate; default: a self-signed one.")
    ] = None,
    metrics_cert_name: Annotated[str, typer.Option(help="Certificate file in that folder.")] = "tls.crt",
    metrics_cert_key: Annotated[str, typer.Option(help="Key file in that folder.")] = "tls.key",
    health_probe_bind_address: Annotated[str, typer.Option(help="Where /healthz and /readyz are served.")] = ":8081",
    leader_elect: Annotated[
        str, typer.Option(help="true: only the holder of the Lease works; needed with more than one replica.")
    ] = "true",
    leader_election_id: Annotated[str, typer.Option(help="Name of the Lease.")] = "d3a8b358.bubustack.io",
    leader_election_namespace: Annotated[
        str, typer.Option(help="Namespace of the Lease; default: that of the Pod, else of --config-namespace.")
    ] = "",
    config_namespace: Annotated[str, typer.Option(help="Namespace of the operator ConfigMap.")] = "bobrapet-system",
    config_name: Annotated[str, typer.Option(help="Name of the operator ConfigMap.")] = "bobrapet-operator-config",
    attached: Annotated[bool, typer.Option("--attached", hidden=True)] = False,
    log_format: Annotated[str, typer.Option(help="json or text.")] = "json",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the operator until SIGTERM."""
    from core.telemetry.logs import LogFormat, configure_logging
    from manager.bind import parse_address
    from manager.options import LeaderOptions, ManagerOptions, MetricsOptions
    from manager.run import run_forever

    try:
        configure_logging(LogFormat.JSON if log_format == "json" else LogFormat.CONSOLE, level=log_level)
        options = ManagerOptions(
            attached=attached,
            kubeconfig=kubeconfig,
            context=context or None,
            health=parse_address(health_probe_bind_address),
            metrics=MetricsOptions(
                address=parse_address(metrics_bind_address),
                secure=_boolean("--metrics-secure", metrics_secure),
                certificate=metrics_cert_path / metrics_cert_name if metrics_cert_path else None,
                key=metrics_cert_path / metrics_cert_key if metrics_cert_path else None,
            ),
            leader=LeaderOptions(
                enabled=_boolean("--leader-elect", leader_elect),
                name=leader_election_id,
                namespace=leader_election_namespace,
            ),
            config_namespace=config_namespace,
            config_name=config_name,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    raise typer.Exit(run_forever(options))


def _boolean(flag: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "t", "f"):
        raise UsageError(f"{flag} must be true or false, not {text!r}")
    return text.lower() in ("true", "1", "t")
