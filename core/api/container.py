"""The container of an EngramTemplate whose image has no SDK: what it gets, and what its end means.

Source: StepRun contract 25.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.api.schema import Int32, WireModel


class ContainerVariable(WireModel):
    """An environment variable of the container."""

    name: str = Field(min_length=1, max_length=253, description="Name; those with a special meaning are reserved.")
    value: str = Field(
        max_length=65536,
        description="Template over `inputs`, `step` and `run`; a result that is not a string is written as JSON.",
    )


class ContainerResult(WireModel):
    """Where the output of the step comes from."""

    from_: Literal["stdout", "terminationMessage", "file", "exitCode"] = Field(
        alias="from",
        description="`stdout` (the log of the container, with stderr), `terminationMessage` (what it writes to "
        "`/dev/termination-log`), `file` (what it writes to `path`; at most 4096 bytes, as the message) or `exitCode`.",
    )
    format: Literal["auto", "json", "text"] | None = Field(
        None,
        description="`json`, `text` (the output is `{text: …}`) or `auto` (default): JSON, else text. JSON that is not "
        "an object becomes `{result: …}`. Of a log, the last line that is JSON counts.",
    )
    path: str | None = Field(
        None, min_length=1, max_length=1024, description="Absolute path of the file; only with `from: file`."
    )


class ContainerExitCodes(WireModel):
    """Classes of exit codes, 1 to 255; the other codes have those of every step."""

    rate_limited: list[Int32] | None = Field(
        None, max_length=255, description="Retried; the failure counts as a reached rate limit."
    )
    retry: list[Int32] | None = Field(None, max_length=255, description="Retried.")
    terminal: list[Int32] | None = Field(None, max_length=255, description="Never retried.")


class PlainContainer(WireModel):
    """A container without an SDK."""

    args: list[str] | None = Field(
        None,
        max_length=1024,
        description="Arguments, each a template over `inputs`, `step` and `run`. No shell is involved.",
    )
    command: list[str] | None = Field(
        None, max_length=1024, description="Program and first arguments, not templates; default: that of the image."
    )
    env: list[ContainerVariable] | None = Field(None, max_length=1024, description="Environment variables.")
    exit_codes: ContainerExitCodes | None = Field(None, description="What exit codes mean for retries.")
    inputs_file: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="Absolute path of a file with the inputs of the step as one JSON object; default: none. Its path "
        "is also in `BUBU_INPUTS`. At most 128 KiB.",
    )
    result: ContainerResult | None = Field(
        None, description="Where the output comes from; default `exitCode`, the output `{exitCode: 0}`."
    )
