"""What to show when a run has failed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from bubu_contract.identity import label_value
from cli.pod_logs import last_lines_of
from cli.render.log_lines import LogForm, lines_of
from cli.runs import pods_of, step_runs_of
from cli.session import Session
from core.api import keys
from core.api.objects import Object
from views.lost_logs import may_have_logged
from views.run_view import RunView
from views.sign import word_of
from views.step_layout import path_of

MAX_LINE_CHARACTERS: Final = 500
"""So much of a log line is shown in the summary of a failure; ``logs`` shows all of it."""


async def failure_report(session: Session, run: Object, view: RunView) -> str:
    """The failing step, its error, its last log lines and the next useful command.

    A step that has no container has no log.
    """
    lines = [f"{view.name}: {view.word}" + (f": {view.message}" if view.message else "")]
    failing = view.culprit()
    if failing is None:
        return lines[0]
    detail = _unsaid(failing.detail, view.message)
    lines.append(f"step {failing.name}: {word_of(failing.phase)}" + (f", {detail}" if detail else ""))
    lines += [f"  {name}: {value}" for name, value in failing.error]
    step_runs = [each for each in await step_runs_of(session, run) if path_of(each) == failing.name]
    tail = await _last_lines(session, run, failing.name, step_runs)
    if tail:
        lines.append(f"last {f'{len(tail)} log lines' if len(tail) > 1 else 'log line'} of {failing.name}:")
        shown = [text for line in tail for text, _ in lines_of(None, line, None, LogForm.PEOPLE)]
        lines += [f"  | {shown_line(text)}" for text in shown]
    more = ("logs", view.name, failing.name) if any(map(may_have_logged, step_runs)) else ("why", view.name)
    lines.append(f"more: {session.command(*more)}")
    return "\n".join(lines)


def _unsaid(detail: str, said: str) -> str:
    """``detail`` without the end that was said in the line before."""
    parts = detail.split(", ")
    end = next((at for at in range(len(parts)) if ", ".join(parts[at:]) in said), len(parts))
    return ", ".join(parts[:end])


def shown_line(text: str) -> str:
    """A log line as the summary shows it."""
    if len(text) <= MAX_LINE_CHARACTERS:
        return text
    return f"{text[:MAX_LINE_CHARACTERS]}… ({len(text):,} characters)"


async def _last_lines(session: Session, run: Object, step: str, step_runs: Sequence[Object]) -> list[str]:
    names = {label_value(each["metadata"]["name"]) for each in step_runs}
    pods = [pod for pod in await pods_of(session, run) if _is_of(pod, step, names)]
    return await last_lines_of(session, pods[-1]) if pods else []


def _is_of(pod: Object, step: str, step_runs: Collection[str]) -> bool:
    """Whether the Pod belongs to the step: by its StepRun; if the Pod does not name one, by the step."""
    labels = pod["metadata"]["labels"]
    by_run = labels.get(keys.LABEL_STEP_RUN)
    return by_run in step_runs if by_run else labels.get(keys.LABEL_STEP) == label_value(step)
