"""``hub``: the process that moves messages between the steps of realtime Stories, with a topology from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.problem import UsageError

_Topology = Annotated[
    Path, typer.Option(help="File with the runs and their steps, YAML or JSON; SIGHUP reads it again.")
]
_Keys = Annotated[Path, typer.Option(help="File with a key in each line; the first signs tokens, all are accepted.")]
_Certificate = Annotated[Path | None, typer.Option(help="Certificate (PEM); without it plaintext, on loopback only.")]
_Tokens = Annotated[bool, typer.Option("--print-tokens", help="Print the token of each step, and do not serve.")]


def register(app: typer.Typer) -> None:
    app.command("hub")(run_hub)


def run_hub(
    topology: _Topology,
    key_file: _Keys,
    bind_address: Annotated[str, typer.Option(help="Where the steps connect.")] = "127.0.0.1:9000",
    tls_cert: _Certificate = None,
    tls_key: Annotated[Path | None, typer.Option(help="Key of the certificate (PEM).")] = None,
    metrics_bind_address: Annotated[str, typer.Option(help="Where /metrics is served, plain HTTP; 0: nowhere.")] = "0",
    print_tokens: _Tokens = False,
    log_format: Annotated[str, typer.Option(help="json or text.")] = "json",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Move messages between the steps of realtime Stories until SIGTERM. The topology comes from a file.

    The steps are containers with a streaming SDK. They connect to the bind address, each with its token.
    """
    from core.telemetry.logs import LogFormat, configure_logging
    from hub.topology_file import TopologyFileError
    from manager.bind import parse_address
    from manager.stream_hub import HubOptions, HubStartError, run_forever, tokens_of

    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together: give both, or neither")
    try:
        address, metrics = parse_address(bind_address), parse_address(metrics_bind_address)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if address is None:
        raise UsageError("--bind-address: the hub must listen somewhere; write host:port")
    if print_tokens:
        try:
            tokens = tokens_of(topology, key_file)
        except (HubStartError, TopologyFileError) as error:
            raise UsageError(str(error)) from None
        for step, token in tokens:
            typer.echo(f"{step}\t{token}")
        return
    configure_logging(LogFormat.CONSOLE if log_format == "text" else LogFormat.JSON, level=log_level)
    raise typer.Exit(run_forever(HubOptions(topology, key_file, address, tls_cert, tls_key, metrics)))
