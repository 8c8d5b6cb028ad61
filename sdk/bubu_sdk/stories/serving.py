"""What a Story's file does when it is executed: it is the container of its engrams, or prints its manifests."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from bubu_sdk import container, yamltext
from bubu_sdk.engram_function import EngramFunction
from bubu_sdk.errors import Object
from bubu_sdk.stories.place import StoryBuildError

UNUSABLE: Final = 2
"""Exit code: the file cannot be read, or says nothing that can be built; stderr has the reason."""


def run_container(engrams: Mapping[str, EngramFunction[Any]]) -> NoReturn:
    """Run the engram that this container is for."""
    name = os.environ.get("BUBU_ENGRAM_NAME", "")
    if name not in engrams:
        sys.stderr.write(f"this file has no engram {name!r} (BUBU_ENGRAM_NAME); it has {', '.join(engrams)}\n")
        sys.exit(1)
    container.run(engrams[name])


def story_command(name: str, manifests: Callable[[], list[Object]], argv: Sequence[str]) -> int:
    """The command that a Story's file is outside a container."""
    program = Path(argv[0]).name
    parser = argparse.ArgumentParser(
        program, description=f"The Story {name}. Run it with: bobrapet run {program}", allow_abbrev=False
    )
    parser.add_argument("--manifest", action="store_true", required=True, help="print the manifests as YAML")
    parser.parse_args(argv[1:])
    try:
        sys.stdout.write(yamltext.documents(manifests()))
    except StoryBuildError as error:
        sys.stderr.write(f"{error}\n")
        return UNUSABLE
    return 0
