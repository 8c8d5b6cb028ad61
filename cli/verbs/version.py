"""``version``: of this command and of the cluster."""

from __future__ import annotations

import json
from importlib.metadata import version as installed
from typing import Annotated

import typer

from cli.completing import is_called
from cli.console import Console
from cli.options import CommonOptions, with_common_options
from cli.problem import CommandError, UsageError
from core.kube.errors import KubeError

if is_called():
    from cli.interruption import run_async
    from cli.session import open_session


def register(app: typer.Typer) -> None:
    app.command("version")(with_common_options(version))


def version(
    options: CommonOptions,
    client: Annotated[bool, typer.Option("--client", help="Do not ask the cluster.")] = False,
) -> None:
    """Print the versions of this command and of the cluster."""
    versions = {"bobrapet": installed("bobrapet")}
    if not client:
        server = _server_version(options)
        if server:
            versions["kubernetes"] = server
    match options.output:
        case "json":
            Console(options).result(json.dumps(versions))
        case "yaml":
            Console(options).result("\n".join(f"{name}: {number}" for name, number in versions.items()))
        case "table" | "wide":
            Console(options).result("\n".join(f"{name} {number}" for name, number in versions.items()))
        case other:
            raise UsageError(f"version has no output format {other!r}", remedy="use json, yaml or none")


def _server_version(options: CommonOptions) -> str:
    """Empty if there is no cluster, or no answer: that is not an error."""

    async def work() -> str:
        try:
            async with open_session(options) as session:
                answer = await session.client.server_version()
                return str(answer.get("gitVersion", "unknown"))
        except CommandError:
            return ""  # there is no cluster
        except KubeError as error:
            Console(options).note(f"no version of the cluster: {error}")
            return ""

    return run_async(options, work)
