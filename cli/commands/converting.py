"""``convert``: the Stories of a file in another version."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cli.options import CLUSTER, CommonOptions, with_common_options
from cli.problem import UsageError


class TargetVersion(StrEnum):
    V1ALPHA1 = "v1alpha1"
    V1BETA1 = "v1beta1"


def register(app: typer.Typer) -> None:
    app.command("convert")(with_common_options(convert, without=CLUSTER))


def convert(
    options: CommonOptions,
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Manifests or folders; - reads stdin.")],
    to: Annotated[TargetVersion, typer.Option("--to", help="The version to convert Stories to.")],
) -> None:
    """Print manifests with their Stories converted to another version, without loss.

    The operator's webhook converts in the same way. Comments stay where they still belong; documents that are not
    Stories stay unchanged. What the target version cannot express is kept in an annotation, and restored from it.
    """
    from cli.converting import VERSIONS, converted_text
    from cli.manifests import texts
    from cli.problem import RejectedManifestError

    if options.output not in ("table", "yaml"):
        raise UsageError(
            f"convert has no output format {options.output!r}", remedy="the output is YAML, or JSON for JSON input"
        )
    parts: list[str] = []
    problems: list[str] = []
    for file, text in texts(files):
        try:
            parts.append(converted_text(file, text, VERSIONS[to]))
        except RejectedManifestError as error:
            problems.append(str(error))
    if problems:
        raise RejectedManifestError(problems)
    _print(options, parts)


def _print(options: CommonOptions, parts: list[str]) -> None:
    """Print the parts one after the other, as a stream of documents."""
    from cli.console import Console

    ended = [part if part.endswith("\n") else f"{part}\n" for part in parts if part]
    joined = "".join(
        part if index == 0 or part.startswith("---") else f"---\n{part}" for index, part in enumerate(ended)
    )
    Console(options).result(joined.removesuffix("\n"))
