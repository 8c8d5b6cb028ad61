"""What stands below the steps of a run: cancel, message, trace, error and output. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from cli.render.output import yaml_text
from core.api.artifact import for_people
from views.run_view import RunView


def paragraphs_of(view: RunView) -> Iterator[str]:
    """What there is of these, in this order."""
    if view.cancel_reason:
        yield f"canceled: {view.cancel_reason}"
    if view.message:
        yield f"message: {view.message}"
    if view.trace is not None:
        yield f"trace: {view.trace.text}"
    if view.error is not None:
        yield f"error:\n{yaml_text(view.error)}"
    if view.output is not None:
        yield f"output:\n{yaml_text(for_people(view.output))}"
