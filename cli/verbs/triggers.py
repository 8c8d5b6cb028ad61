"""``triggers``: how requests of runs were answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from bubu_contract.instants import parse_instant
from cli.arguments import DecisionOption, StoryArgument, TriggerStoryOption
from cli.completing import is_called
from cli.options import ALL_NAMESPACES, CommonOptions, TimeStyle, with_common_options
from cli.problem import UsageError
from cli.render.output import render
from cli.render.table import table
from cli.render.time import age
from core.api.objects import Object
from core.api.phases import member_or_none
from core.api.resource import STORY_TRIGGER
from core.api.suggestion import closest
from core.kube.errors import BadRequestError
from core.workloads.keyed_request import Decision
from core.workloads.trigger import request_of

if is_called():
    from cli.interruption import run_async
    from cli.session import Session, open_session
    from core.engine.clock import system_now


def register(app: typer.Typer) -> None:
    app.command("triggers")(with_common_options(triggers, also=ALL_NAMESPACES))


def triggers(
    options: CommonOptions,
    story: StoryArgument = "",
    of_story: TriggerStoryOption = "",
    decision: DecisionOption = "",
    selector: Annotated[str, typer.Option("--selector", "-l", help="Only StoryTriggers with these labels.")] = "",
) -> None:
    """List StoryTriggers, newest first: what the operator decided, and the run.

    -o wide adds the key and the message.
    """
    if story and of_story and story != of_story:
        raise UsageError("STORY and --story name different Stories", remedy="leave out one of them")
    selection = TriggerSelection.of_flags(story or of_story, decision, selector)

    async def work() -> None:
        async with open_session(options) as session:
            found = await select_triggers(session, selection)
            if found or options.output not in ("table", "wide"):
                session.console.result(shown(session, found, system_now()))
            else:
                where = "any namespace" if options.all_namespaces else f"namespace {session.namespace}"
                what = "no StoryTriggers" if selection.is_everything else "no such StoryTriggers"
                session.console.note(f"{what} in {where}")

    run_async(options, work)


@dataclass(frozen=True, slots=True)
class TriggerSelection:
    """Conditions for StoryTriggers; without a condition, all of them."""

    story: str = ""
    decision: Decision | None = None
    labels: str = ""

    @classmethod
    def of_flags(cls, story: str, decision: str, labels: str) -> TriggerSelection:
        """Raises:
        UsageError: there is no such decision.
        """
        return cls(story, _decision(decision) if decision else None, labels)

    @property
    def is_everything(self) -> bool:
        return self == TriggerSelection()

    def takes(self, trigger: Object) -> bool:
        """Whether Story and decision match; the API server compares the labels."""
        if self.story and request_of(trigger).story.name != self.story:
            return False
        return self.decision is None or decision_of(trigger) == self.decision


def decision_of(trigger: Object) -> Decision:
    """The stored decision; a StoryTrigger without one is undecided."""
    return member_or_none(Decision, (trigger.get("status") or {}).get("decision")) or Decision.PENDING


async def select_triggers(session: Session, selection: TriggerSelection) -> list[Object]:
    """The selected StoryTriggers, newest first, in the namespace of the flags or in all of them.

    Raises:
        UsageError: the label selector cannot be read.
    """
    try:
        listed = await session.client.list(
            STORY_TRIGGER, session.list_namespace, label_selector=selection.labels or None
        )
    except BadRequestError as error:
        if not selection.labels:
            raise
        raise UsageError(
            f"--selector {selection.labels!r}: {error.message}", remedy="write for example team=a"
        ) from None
    found = [trigger for trigger in listed.items if selection.takes(trigger)]
    order = [(trigger["metadata"]["creationTimestamp"], trigger["metadata"]["name"]) for trigger in found]
    return [trigger for _, trigger in sorted(zip(order, found, strict=True), key=lambda pair: pair[0], reverse=True)]


def shown(session: Session, triggers: Sequence[Object], now: datetime) -> str:
    """The StoryTriggers in the output format of the flags.

    Raises:
        UsageError: there is no such format.
    """
    options = session.options
    if options.output not in ("table", "wide"):
        return render(triggers, options.output, single=False)
    headers = ["NAME", "STORY", "DECISION", "RUN", "REASON", "AGE"]
    headers = (["NAMESPACE"] if options.all_namespaces else []) + headers
    headers += ["KEY", "MESSAGE"] if options.output == "wide" else []
    rows = []
    for trigger in triggers:
        metadata, status, request = trigger["metadata"], trigger.get("status") or {}, request_of(trigger)
        row = [metadata["namespace"]] if options.all_namespaces else []
        row += [
            metadata["name"],
            request.story.name if request.story.namespace == metadata["namespace"] else str(request.story),
            decision_of(trigger),
            (status.get("storyRunRef") or {}).get("name", ""),
            status.get("reason", ""),
            age(parse_instant(metadata["creationTimestamp"]), now, iso=options.time_style is TimeStyle.ISO),
        ]
        rows.append(row + ([request.key, status.get("message", "")] if options.output == "wide" else []))
    return table(headers, rows, no_headers=options.no_headers)


def _decision(text: str) -> Decision:
    for decision in Decision:
        if decision.value.lower() == text.lower():
            return decision
    known = [decision.value for decision in Decision]
    near = closest(text, known)
    remedy = f"did you mean {near}?" if near else f"there are: {', '.join(known)}"
    raise UsageError(f"there is no decision {text!r}", remedy=remedy)
