"""The whole answer about a run: what it waits for, what comes later, or why it failed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.conditions import find_condition
from core.api.objects import is_being_deleted
from core.api.phases import Phase, Reason
from core.engine.plan import Refusal, parse_story
from core.engine.redrive.request import pending_redrive
from views.rerun import refusal_of
from views.run_view import RunView, view_run
from views.step_layout import known_step
from views.text import one_line
from views.trace_view import trace_view
from views.why.cause import Cause, CauseKind, CommandIn, Explanation, Facts
from views.why.causes import Search


def explain(facts: Facts, step: str, command: CommandIn) -> Explanation:
    """Explains ``step``, or with an empty one the whole run.

    Raises:
        ViewError: there is no such step.
    """
    view = _view(facts, command)
    search = _search(facts, view, command)
    known = known_step(view.name, [each.name for each in view.steps], step) if step else ""
    causes = search.causes(known) if known else _causes(search)
    waits = not view.terminal and not step
    return Explanation(
        namespace=facts.namespace,
        run=facts.name,
        step=step,
        story=view.story,
        phase=str(view.phase or ""),
        message=view.message,
        since=view.started_at or view.created_at,
        until=view.started_at + view.timeout if view.started_at and view.timeout and not view.terminal else None,
        causes=_each_once(causes),
        later=tuple((name, needs) for name, needs in search.needs.items() if needs) if waits else (),
        unseen=_unseen(facts),
        summary="" if causes else _summary(facts, view),
        trace=trace_view(facts.step_runs.get(known), facts.run),
    )


def _each_once(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Each cause once. Several ways may lead to the same step; the first one is kept."""
    found: dict[tuple[str, str, str], Cause] = {}
    for cause in causes:
        found.setdefault((cause.run, cause.step, cause.text), cause)
    return tuple(found.values())


def _view(facts: Facts, command: CommandIn) -> RunView:
    return view_run(
        facts.run,
        facts.story,
        facts.step_runs.values(),
        facts.pods.values(),
        facts.bindings.values(),
        command=lambda verb, *arguments: command(facts.namespace, verb, *arguments),
    )


def _search(facts: Facts, view: RunView, command: CommandIn) -> Search:
    def into(child: Facts) -> list[Cause]:
        return _causes(_search(child, _view(child, command), command))

    return Search(facts, view, _unmet(facts, view), command, into)


def _causes(search: Search) -> list[Cause]:
    facts, view = search.facts, search.view
    if is_being_deleted(facts.run):
        return [_deletion(facts)]
    if pending_redrive(facts.run) is not None:
        text = "was asked to run again; the operator has not started it yet"
        return [_of_run(facts, CauseKind.OPERATOR, text, who="the operator, when it is running")]
    if view.terminal:
        refusal = refusal_of(facts.run)
        refused = [_of_run(facts, CauseKind.FAILED, f"is not run again: {refusal}")] if refusal else []
        return [*refused, *_why_it_failed(search)]
    found = _of_the_run_itself(search)
    for step in view.active:
        found += search.causes(step.name)
    if view.streams:  # what flows is said last
        found.sort(key=lambda cause: cause.kind is CauseKind.RUNNING)
    found = found or _between_steps(search)
    culprit = view.culprit()
    return found + (search.failures(culprit) if culprit is not None else [])


def _of_the_run_itself(search: Search) -> list[Cause]:
    """The causes that keep the whole run waiting."""
    facts, view = search.facts, search.view
    ready = find_condition(facts.status.get("conditions") or (), "Ready") or {}
    since = parse_instant_or_none(ready.get("lastTransitionTime"))
    message = one_line(ready.get("message") or view.message)
    found = []
    if facts.run["spec"].get("cancelRequested"):
        found.append(_canceling(facts))
    if view.phase is None:
        text = "has not been seen by an operator yet"
        who = "an administrator: check that an operator runs for this namespace"
        found.append(_of_run(facts, CauseKind.OPERATOR, text, since=view.created_at, who=who))
    elif ready.get("reason") == Reason.STORY_NOT_FOUND:
        text = f"waits for its Story: {message}"
        who = "the owner of the Story's manifest"
        commands = ("kubectl apply --filename STORY.yaml",)
        found.append(_of_run(facts, CauseKind.STORY, text, since=since, who=who, commands=commands))
    elif ready.get("reason") == Reason.PERMISSION_DENIED:
        text = f"waits for a permission that the operator does not have: {message}"
        who = "a cluster administrator; the operator continues by itself once it has the permission"
        found.append(_of_run(facts, CauseKind.PERMISSION, text, since=since, who=who))
    elif ready.get("reason") == Reason.AWAITING_TRANSPORT:
        text = f"waits for the address of the hub: {message}"
        who = "a cluster administrator; the operator continues by itself once it knows the address"
        look = facts.hub.commands if facts.hub is not None else ()
        found.append(_of_run(facts, CauseKind.HUB, text, since=since, who=who, commands=look))
    elif ready.get("reason") == Reason.STORAGE_UNAVAILABLE:
        text = f"waits for data of a step that is in object storage: {message}"
        who = "the administrator of the object store; the operator continues by itself once it can read there"
        found.append(_of_run(facts, CauseKind.STORAGE, text, since=since, who=who))
    return found


def _canceling(facts: Facts) -> Cause:
    annotations = facts.run["metadata"].get("annotations") or {}
    since = parse_instant_or_none(annotations.get(keys.ANNOTATION_GRACEFUL_CANCEL_OBSERVED_AT))
    reason = one_line(annotations.get(keys.ANNOTATION_CANCEL_REASON) or "")
    text = "is being canceled" + (f" ({reason})" if reason else "") + ": its steps are asked to end, then stopped"
    return _of_run(facts, CauseKind.CANCEL, text, since=since, who="the running steps")


def _deletion(facts: Facts) -> Cause:
    """What a run waits for that has been deleted and is still there."""
    metadata = facts.run["metadata"]
    others = [name for name in metadata.get("finalizers") or [] if name != keys.FINALIZER_STORY_RUN]
    children = len(facts.step_runs) + len(facts.children)
    commands: tuple[str, ...] = ()
    if children:
        text, who = (
            f"is being deleted, and waits for the end of its {children} steps and child runs",
            "the running steps",
        )
    elif len(others) == len(metadata.get("finalizers") or []):
        text = f"is being deleted, and waits for other programs: finalizer {', '.join(others) or 'none'}"
        who = "the programs that have set these finalizers"
    else:
        text = "is being deleted, and waits until its containers have ended and what it has stored is deleted"
        who = (
            "the operator; its Events show the errors of the object store; after ten minutes the run is deleted anyway"
        )
        commands = (f"kubectl events --namespace {facts.namespace} --for storyrun/{facts.name}",)
    since = parse_instant_or_none(metadata["deletionTimestamp"])
    return _of_run(facts, CauseKind.DELETION, text, since=since, who=who, commands=commands)


def _between_steps(search: Search) -> list[Cause]:
    """The causes when no step is active: the next steps have everything they need."""
    facts = search.facts
    ready = [name for name, needs in search.needs.items() if not needs]
    if ready:
        return [cause for name in ready for cause in search.causes(name)]
    text = "has no running step; the operator is about to start the next one"
    return [_of_run(facts, CauseKind.OPERATOR, text, since=search.view.started_at, who="the operator")]


def _why_it_failed(search: Search) -> list[Cause]:
    """The causes of a run that has ended without success."""
    facts, view = search.facts, search.view
    if view.phase is None or not view.phase.failing or view.phase in (Phase.FINISHED, Phase.CANCELED):
        return []
    culprit = view.culprit()
    if culprit is None:
        error = facts.status.get("error") or {}
        cause = one_line(error.get("message") or view.message or "no reason is recorded")
        commands = (search.command(facts.namespace, "resubmit", facts.name),)
        text = f"ended {view.phase}: {cause}"
        return [_of_run(facts, CauseKind.FAILED, text, since=view.finished_at, commands=commands)]
    return search.failures(culprit)


def _unmet(facts: Facts, view: RunView) -> dict[str, tuple[str, ...]]:
    """What each main step that has not begun still needs, in spec order."""
    if view.terminal or facts.story is None:
        return {}
    plan = parse_story(facts.story)
    if isinstance(plan, Refusal):
        return {}
    phases = {step.name: step.phase for step in view.steps}
    begun = plan.rules.started_suffices  # a stream needs no end of another
    done = {name for name, phase in phases.items() if phase is not None and (begun or phase.terminal)}
    main = plan.main.graph
    return {
        name: tuple(need for need in main.needs[name] if need not in done)
        for name in main.order
        if phases.get(name) is None and name in phases
    }


def _summary(facts: Facts, view: RunView) -> str:
    if not view.terminal:
        return "no cause is known"
    reason = one_line((facts.run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_CANCEL_REASON) or "")
    if facts.run["spec"].get("cancelRequested") and view.phase is not Phase.SUCCEEDED:
        return "was canceled" + (f": {reason}" if reason else "") + "; it waits for nothing"
    return f"has ended {view.phase}; it waits for nothing"


def _unseen(facts: Facts) -> tuple[str, ...]:
    own = dict.fromkeys(facts.unseen)
    for child in facts.children.values():
        own |= dict.fromkeys(_unseen(child))
    return tuple(own)


def _of_run(
    facts: Facts,
    kind: CauseKind,
    text: str,
    *,
    since: datetime | None = None,
    who: str = "",
    commands: tuple[str, ...] = (),
) -> Cause:
    return Cause(kind, facts.namespace, facts.name, "", text, since, who=who, commands=commands)
