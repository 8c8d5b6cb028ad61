"""``up``: an embedded cluster."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cli.completing import is_called
from cli.console import Console
from cli.embedded.folder import EmbeddedCluster, data_folder, refuse_if_served
from cli.images import ImageMapOption, checked_image_map
from cli.options import CLUSTER, DATA, OUTPUT, CommonOptions, with_common_options

if is_called():
    import trio

    from cli.embedded.process import start, wait_until_ready
    from cli.embedded.usage import join, open_cluster
    from cli.interruption import InterruptedBySignalError, run_async


def register(app: typer.Typer) -> None:
    app.command("up")(with_common_options(up, also=DATA, without=CLUSTER | OUTPUT))


def up(
    options: CommonOptions,
    port: Annotated[
        int,
        typer.Option(
            "--port",
            help="Port on the loopback address; 0 takes the port that the data folder used last, else a free one.",
            min=0,
            max=65535,
        ),
    ] = 0,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Keep no data: use a temporary folder, stay in the foreground.")
    ] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in the foreground until Ctrl-C.")] = False,
    image_map: ImageMapOption = None,
) -> None:
    """Start the embedded cluster, unless it is up already; print its kubeconfig."""
    console = Console(options)
    images = checked_image_map(image_map)

    def announce(cluster: EmbeddedCluster, doing: str = "serving") -> None:
        console.note(f"{doing} {cluster.url} from {cluster.data} (process {cluster.pid})")
        console.note(f"use it with: export KUBECONFIG={cluster.kubeconfig}")
        console.result(str(cluster.kubeconfig))

    async def detached() -> None:
        data = data_folder(options.data)
        if up_already := await join(data, port=port, image_map=images):
            announce(up_already, "already serving")
            return
        starting = await start(data, port=port, image_map=images)
        ready = False
        try:
            announce(await wait_until_ready(starting))
            ready = True
        finally:
            if not ready:  # a failed start is undone, even after Ctrl-C
                with trio.CancelScope(shield=True):
                    await starting.end()

    if ephemeral:
        with tempfile.TemporaryDirectory(prefix="bobrapet-") as folder:
            _stay(options, Path(folder), port, images, announce, afterwards="stopped; its data was deleted")
    elif foreground:
        data = data_folder(options.data)
        refuse_if_served(data)
        _stay(options, data, port, images, announce, afterwards=f"stopped; the data stays in {data}")
    else:
        run_async(options, detached)


def _stay(
    options: CommonOptions,
    data: Path,
    port: int,
    image_map: Path | None,
    announce: Callable[[EmbeddedCluster], None],
    *,
    afterwards: str,
) -> None:
    """Serve ``data`` until Ctrl-C or SIGTERM, which is the normal end."""

    async def serve() -> None:
        async with open_cluster(data, port=port, image_map=image_map) as cluster:
            announce(cluster)
            await trio.sleep_forever()

    try:
        run_async(options, serve)
    except InterruptedBySignalError as interruption:
        console = Console(options)
        console.wipe_echo()
        console.note(afterwards)
        raise typer.Exit(int(interruption.code)) from None
