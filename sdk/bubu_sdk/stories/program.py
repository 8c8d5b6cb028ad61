"""What a file with Stories is as a program: the container of its engrams, and the printer of its manifests.

python -m bubu_sdk.stories FILE               the container of an engram: BUBU_ENGRAM_NAME says which
python -m bubu_sdk.stories FILE --describe    prints the documents with their places as JSON, for tools
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bubu_sdk import yamltext
from bubu_sdk.engram_function import in_container
from bubu_sdk.stories import serving
from bubu_sdk.stories.place import StoryBuildError
from bubu_sdk.stories.story import Story, engrams_by_name, manifests_of

_PACKAGE: Final = str(Path(__file__).resolve().parents[1])


def main(argv: Sequence[str]) -> int:
    """The command; ``argv`` starts with the name of the program. Does not return in a container."""
    parser = argparse.ArgumentParser("python -m bubu_sdk.stories", allow_abbrev=False)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--describe", action="store_true", help="print the documents and their places as JSON")
    given = parser.parse_args(argv[1:])
    if not given.describe and not in_container(os.environ):
        parser.error("outside a container, give --describe")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            stories = load(given.file)
            described = describe(stories) if given.describe else None
    except StoryBuildError as error:
        sys.stderr.write(f"{error}\n")
        return serving.UNUSABLE
    except Exception as error:  # noqa: BLE001 - the user's file may raise anything; the user gets the trace
        sys.stderr.write(own_trace(error))
        return serving.UNUSABLE
    if described is None:
        serving.run_container(engrams_by_name(stories))
    sys.stdout.write(json.dumps(described))
    return 0


def load(file: Path) -> list[Story[Any]]:
    """The Stories that a file defines, in order. The file is executed, with its folder in front of the import path.

    Raises:
        StoryBuildError: it defines none.
        Exception: what the file raises.
    """
    path = file.resolve()
    if not path.is_file():
        raise StoryBuildError(f"{file} does not exist")
    sys.path.insert(0, str(path.parent))
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise StoryBuildError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module  # where the types of its functions are looked up
    found.loader.exec_module(module)
    stories = [value for value in vars(module).values() if isinstance(value, Story)]
    if not stories:
        raise StoryBuildError(f"{file} defines no Story; decorate a function with @story")
    return list({id(one): one for one in stories}.values())


def describe(stories: list[Story[Any]]) -> dict[str, Any]:
    """The documents, each as YAML, too, with its file and the lines of its parts."""
    documents = []
    for document, places in manifests_of(stories):
        own = places[""]
        lines = {path: written.line for path, written in places.items() if written.file == own.file}
        text = yamltext.document(document)
        documents.append({"document": document, "text": text, "file": own.file, "lines": lines})
    return {"documents": documents}


def own_trace(error: BaseException) -> str:
    """The trace of the user's code, without the frames of this package and of the import system."""
    shown = traceback.TracebackException.from_exception(error)
    shown.stack = traceback.StackSummary.from_list(
        [frame for frame in shown.stack if not frame.filename.startswith((_PACKAGE, "<frozen importlib"))]
    )
    return "".join(shown.format())
