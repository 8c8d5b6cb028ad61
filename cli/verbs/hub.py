"""``hub``: the process that moves messages between the steps of realtime Stories, of a cluster or of a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bubu_contract.durations import parse_duration
from cli.completing import is_called, refuse_help_as_value
from cli.problem import UsageError
from core.telemetry.logs import LogFormat, configure_logging
from manager.bind import Address, parse_address
from manager.hub_endpoint import is_loopback, parse_endpoint

if TYPE_CHECKING:
    from manager.hub_console import ConsoleOptions
if is_called():
    from hub.topology_file import TopologyFileError
    from manager.hub_serving import HubFiles, HubStartError
    from manager.stream_hub import HubOptions, run_file_hub, run_forever, tokens_of


_Topology = Annotated[
    Path | None,
    typer.Option(help="File with the runs and their steps, YAML or JSON, instead of a cluster; SIGHUP reads it again."),
]
_Keys = Annotated[
    Path | None,
    typer.Option(help="With --topology: file with a key in each line; the first signs tokens, all are accepted."),
]
_Kubeconfig = Annotated[Path | None, typer.Option(help="Kubeconfig; default: $KUBECONFIG, in-cluster, home.")]
_Namespace = Annotated[
    str, typer.Option(help="Namespace of the operator, with key, certificate and Lease; default: that of the Pod.")
]
_Certificate = Annotated[
    Path | None, typer.Option(help="Certificate (PEM); default: the operator's; on loopback plaintext.")
]
_Drain = Annotated[str, typer.Option(help="How long steps still receive messages after SIGTERM.")]
_Identity = Annotated[
    str,
    typer.Option(help="Name in the Lease; a hub that starts again with the same name does not wait for it."),
]
_Console = Annotated[
    str,
    typer.Option(help="Address of the console for `bobrapet stream`, open only while a command asks for it; 0: none."),
]
_ConsoleService = Annotated[
    str,
    typer.Option(help="The Service of that port as NAME:PORT, in the operator's namespace; not needed on loopback."),
]
_Tokens = Annotated[
    bool, typer.Option("--print-tokens", help="With --topology: print the token of each step and exit.")
]


def register(app: typer.Typer) -> None:
    app.command("hub")(run_hub)


def run_hub(
    topology: _Topology = None,
    key_file: _Keys = None,
    kubeconfig: _Kubeconfig = None,
    context: Annotated[str, typer.Option(help="Context of the kubeconfig.")] = "",
    config_namespace: _Namespace = "",
    bind_address: Annotated[str, typer.Option(help="Address to which the steps connect.")] = "127.0.0.1:9000",
    tls_cert: _Certificate = None,
    tls_key: Annotated[Path | None, typer.Option(help="Key of the certificate (PEM).")] = None,
    health_probe_bind_address: Annotated[str, typer.Option(help="Address of /healthz and /readyz; 0: none.")] = "0",
    metrics_bind_address: Annotated[str, typer.Option(help="Address of /metrics, plain HTTP; 0: none.")] = "0",
    console_bind_address: _Console = "0",
    console_service: _ConsoleService = "",
    drain_seconds: _Drain = "10",
    lease_identity: _Identity = "",
    print_tokens: _Tokens = False,
    log_format: Annotated[str, typer.Option(help="json or text.")] = "json",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    attached: Annotated[bool, typer.Option("--attached", hidden=True)] = False,
) -> None:
    """Move messages between the steps of realtime Stories until SIGTERM.

    It serves the runs of the cluster, or with --topology those of a file. The steps are containers with a streaming
    SDK, which connect to the bind address, each with its token.
    """
    refuse_help_as_value()
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together: give both, or neither")
    try:
        address, metrics = parse_address(bind_address), parse_address(metrics_bind_address)
        health, console = parse_address(health_probe_bind_address), parse_address(console_bind_address)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if address is None:
        raise UsageError("--bind-address: the hub must listen somewhere; write host:port")
    if topology is not None:
        _refuse_beside_file(kubeconfig, context, config_namespace, health, console)
        if key_file is None:
            raise UsageError("--topology needs --key-file, a file with a key in each line")
        if print_tokens:
            _print_tokens(topology, key_file)
            return
    elif key_file is not None or print_tokens:
        raise UsageError("--key-file and --print-tokens belong to --topology; in a cluster the operator issues tokens")
    configure_logging(LogFormat.CONSOLE if log_format == "text" else LogFormat.JSON, level=log_level)
    if topology is not None and key_file is not None:
        options = HubOptions(topology, key_file, address, tls_cert, tls_key, metrics)
        raise typer.Exit(run_forever(partial(run_file_hub, options)))
    # The hub of a file needs no client of an API server.
    from core.kube.errors import KubeError
    from manager.cluster_hub import ClusterHubOptions, run_until_signal
    from manager.serving import ListenError

    namespace = config_namespace or _default_namespace(kubeconfig)
    files = HubFiles(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    cluster = ClusterHubOptions(
        address,
        namespace,
        kubeconfig,
        context or None,
        files,
        health,
        metrics,
        _seconds(drain_seconds),
        lease_identity,
        attached,
        _console_options(console, console_service, namespace),
    )
    raise typer.Exit(run_forever(partial(run_until_signal, cluster), (KubeError, ListenError)))


def _console_options(address: Address | None, service: str, namespace: str) -> ConsoleOptions | None:
    """
    Raises:
        UsageError: nobody could reach the console.
    """
    if address is None:
        return None

    from manager.hub_console import ConsoleOptions  # only the hub of a cluster has one

    if is_loopback(address.host):
        return ConsoleOptions(address)
    if not service:
        raise UsageError("--console-service is needed beyond the loopback interface, for example bobrapet-hub:9001")
    try:
        parse_endpoint(service)
    except ValueError as error:
        raise UsageError(f"--console-service: {error}") from None
    return ConsoleOptions(address, f"{namespace}/{service}")


def _refuse_beside_file(
    kubeconfig: Path | None, context: str, namespace: str, health: Address | None, console: Address | None
) -> None:
    given = {
        "--kubeconfig": kubeconfig,
        "--context": context,
        "--config-namespace": namespace,
        "--health-probe-bind-address": health,
        "--console-bind-address": console,
    }
    if wrong := [flag for flag, value in given.items() if value]:
        raise UsageError(f"{', '.join(wrong)}: only for the hub of a cluster; leave it out, or leave out --topology")


def _print_tokens(topology: Path, key_file: Path) -> None:
    try:
        tokens = tokens_of(topology, key_file)
    except (HubStartError, TopologyFileError) as error:
        raise UsageError(str(error)) from None
    for step, token in tokens:
        typer.echo(f"{step}\t{token}")


def _default_namespace(kubeconfig: Path | None) -> str:
    from core.kube.config import SERVICE_ACCOUNT_PATH  # only the hub of a cluster has one

    try:
        found = "" if kubeconfig else (SERVICE_ACCOUNT_PATH / "namespace").read_text(encoding="utf-8").strip()
    except OSError:
        found = ""
    return found or "bobrapet-system"


def _seconds(text: str) -> float:
    """A number of seconds, or a Go duration."""
    try:
        seconds = float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text).total_seconds()
    except ValueError as error:
        raise UsageError(f"--drain-seconds: {error}") from None
    if not 0 <= seconds <= 3600:
        raise UsageError("--drain-seconds: the time must be 0 to 3600 seconds")
    return seconds
