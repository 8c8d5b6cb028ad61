"""``python -m tools.control_plane build [VERSION]`` · ``up [--audit] DIRECTORY`` · ``test [OPTION_OF_PYTEST…]``.

``up`` runs a control plane until its standard input ends. When the control plane is ready, it prints one line of JSON
on standard output. ``session`` keeps one like this for all tests of a session. With a terminal as input it runs until
Ctrl-D or Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from kubewire import parent
from tools.control_plane import binaries
from tools.control_plane.binaries import MissingBinariesError, ensure_binaries
from tools.control_plane.building import BuildError
from tools.control_plane.processes import ServerError
from tools.control_plane.running import open_control_plane
from tools.control_plane.session import ready_of
from tools.control_plane.suites import run_suites

USAGE: Final = "python -m tools.control_plane build [VERSION] | up [--audit] DIRECTORY | test [OPTION_OF_PYTEST…]"


def main(arguments: Sequence[str]) -> int:
    match list(arguments):
        case ["build", *version] if len(version) <= 1:
            return binaries.main(version)
        case ["test", *options]:
            return run_suites(options)
        case ["up", "--audit", directory]:
            return _up(Path(directory), audit=True)
        case ["up", directory]:
            return _up(Path(directory), audit=False)
    print(f"usage: {USAGE}", file=sys.stderr)
    return 2


def _up(directory: Path, *, audit: bool) -> int:
    try:
        programs = ensure_binaries()
        trio.run(_run, programs, directory, audit)
    except (MissingBinariesError, BuildError, ServerError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _run(programs: binaries.Binaries, directory: Path, audit: bool) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_with_parent, nursery.cancel_scope)
        async with open_control_plane(programs, directory, audit=audit) as plane:
            parent.answer(ready_of(plane).to_line())
            await trio.sleep_forever()


async def _end_with_parent(scope: trio.CancelScope) -> None:
    await parent.wait_until_gone(parent.standard_input())
    scope.cancel()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
