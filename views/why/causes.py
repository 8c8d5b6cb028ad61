"""What one step waits for, followed to its origin: into child runs, branches and needs. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import ReadOnlyObject
from core.api.phases import AWAITED_DEFINITIONS, Phase, Reason, StepReason
from core.policy.retry import why_not_retried
from views.flow import flow_of
from views.gates import GateView, gates_of
from views.lost_logs import may_have_logged
from views.run_view import RunView, StepView
from views.step_layout import declared_steps, parent_of
from views.text import one_line
from views.why import stream, workload
from views.why.cause import Cause, CauseKind, CommandIn, Facts
from views.why.effects import held_effects

_QUEUED = "Queued due to"
"""The beginning of the message of a step that waits for a slot. Source: StoryRun contract 13.4."""


_WHO_APPLIES: Final[dict[str, str]] = {
    StepReason.ENGRAM_NOT_FOUND: "a user who may apply the Engram, or the author of the Story",
    StepReason.TEMPLATE_NOT_FOUND: "a user who may apply EngramTemplates, or the author of the Engram",
    StepReason.ENGRAM_VERSION_MISMATCH: "a user who may apply the Engram, or the author of the Story",
    StepReason.REFERENCE_NOT_GRANTED: "a user who may create ReferenceGrants in the namespace of the Engram",
}


@dataclass(frozen=True, slots=True)
class Search:
    """Finds the causes in one run, and continues in other runs."""

    facts: Facts
    view: RunView
    needs: dict[str, tuple[str, ...]]
    """For each step that has not begun: the steps that it still needs."""
    command: CommandIn
    into: Callable[[Facts], list[Cause]]
    """Returns the causes of a child run."""

    def step(self, name: str) -> StepView:
        return next(step for step in self.view.steps if step.name == name)

    def causes(self, name: str, seen: frozenset[str] = frozenset()) -> list[Cause]:
        """The causes of one step in any phase."""
        step = self.step(name)
        if step.phase is None:
            return self._not_begun(step, seen | {name})
        if step.phase.failing:
            return self.failures(step)
        if step.phase.terminal:
            return [self._ended(step)]
        active = [each for each in self.view.steps if parent_of(each.name) == name and each.at_work]
        if active:
            return [cause for each in active for cause in self.causes(each.name, seen)]
        return self._at_work(step)

    def _at_work(self, step: StepView) -> list[Cause]:
        if step.reason == Reason.QUEUED:
            return [self._queued(step)]
        if step.reason in AWAITED_DEFINITIONS:
            return [self._undefined(step)]
        if step.serves_stream:
            return self._stream(step)
        match step.kind:
            case "gate":
                return [self._gate(step)]
            case "wait" | "sleep":
                return [self._timed(step)]
            case "executeStory":
                return self._child(step)
            case "engram" if not self._is_recorded_gate(step):
                own = workload.cause_of(self.facts, step.name, self.command)
                return [replace(own, signal=step.signal), *held_effects(self.facts, step.name, self.command)]
            case "engram":
                return [self._gate(step)]
        text = step.waits or ("its branches follow" if step.kind == "parallel" else "is running")
        kind = CauseKind.BRANCHES if step.kind == "parallel" else CauseKind.OPERATOR
        return [self._cause(kind, step, text, who="the operator")]

    def _stream(self, step: StepView) -> list[Cause]:
        """The cause of a stream; if it is blocked, also those of the steps that block it."""
        own = replace(stream.cause_of(self.facts, step.name, self.command), signal=step.signal)
        binding = self.facts.bindings.get(step.name)
        if own.kind is not CauseKind.BACKPRESSURE or binding is None:
            return [own]
        via, found = f"{self.facts.name}/{step.name}", [own]
        known = {each.name for each in self.view.steps if each.at_work}
        for name in flow_of(binding).paused_by:
            if name in known and name != step.name:
                found += [replace(cause, via=(via, *cause.via)) for cause in self.causes(name)]
        return found

    def _is_recorded_gate(self, step: StepView) -> bool:
        """Whether the run shows that it is a gate although its declaration is missing."""
        return bool(step.answer)

    def _queued(self, step: StepView) -> Cause:
        text = f"waits for its turn: {step.waits.removeprefix(_QUEUED).strip()}"
        who = "the steps that hold the slots, or an administrator who may raise the limit"
        commands = (self.command(self.facts.namespace, "list", "--phase=Running"),)
        return self._cause(CauseKind.QUEUE, step, text, who=who, commands=commands)

    def _undefined(self, step: StepView) -> Cause:
        since = parse_instant_or_none(self.facts.state(step.name).get("reasonSince"))
        text, who = f"cannot continue: {step.waits}", _WHO_APPLIES[step.reason]
        return self._cause(CauseKind.DEFINITION, step, text, since=since, who=who)

    def _gate(self, step: StepView) -> Cause:
        gate = next((each for each in gates_of(self.facts.run, self.facts.story) if each.name == step.name), None)
        if gate is not None and gate.decision is not None:
            by = f" by {gate.decision.by}" if gate.decision.by else ""
            text = f"was {gate.decision.state}{by}; the operator is about to act on it"
            return self._cause(CauseKind.OPERATOR, step, text, since=gate.decision.at, who="the operator")
        namespace = self.facts.namespace
        who = (
            f"a user who may patch storyruns/status in namespace {namespace}, for example with role "
            "bobrapet-gate-approver-role"
        )
        place = (self.facts.name, step.name)
        commands = tuple(self.command(self.facts.namespace, verb, *place) for verb in ("approve", "reject"))
        return self._cause(
            CauseKind.GATE, step, "waits for approval", until=step.until, then=_then(gate), who=who, commands=commands
        )

    def _timed(self, step: StepView) -> Cause:
        parameters = self._declared(step.name).get("with") or {}
        if step.kind == "sleep":
            return self._cause(
                CauseKind.SLEEP,
                step,
                "sleeps",
                until=step.until,
                then="the run continues",
                who="the operator continues by itself",
            )
        condition = one_line(parameters.get("until") or "")
        text = f"waits until {condition}" if condition else "waits for its condition"
        skips = str(parameters.get("onTimeout") or "").strip().lower() == "skip"
        then = "the step is skipped" if skips else "the step fails with Timeout"
        who = "the steps that the condition reads"
        return self._cause(CauseKind.WAIT, step, text, until=step.until, then=then if step.until else "", who=who)

    def _child(self, step: StepView) -> list[Cause]:
        child = self.facts.children.get(step.name)
        if child is None:
            text = f"waits for StoryRun {step.child_run}, which you cannot see" if step.child_run else step.waits
            return [self._cause(CauseKind.CHILD, step, text or "is about to start its StoryRun", until=step.until)]
        via = f"{self.facts.name}/{step.name}"
        found = [replace(cause, via=(via, *cause.via)) for cause in self.into(child)]
        if found:
            return found
        text = f"waits for StoryRun {child.name}, {child.status.get('phase') or 'Pending'}"
        commands = (self.command(child.namespace, "get", child.name),)
        return [self._cause(CauseKind.CHILD, step, text, until=step.until, commands=commands)]

    def _not_begun(self, step: StepView, seen: frozenset[str]) -> list[Cause]:
        """The causes of the steps that it needs; if those have ended, a cause of its own."""
        missing = [name for name in self.needs.get(step.name, ()) if name not in seen]
        if not missing:
            around = parent_of(step.name)
            if around:
                return [self._cause(CauseKind.BRANCHES, step, f"has not started; it is a branch of {around}")]
            if step.name in self.needs:
                return [
                    self._cause(
                        CauseKind.OPERATOR,
                        step,
                        "is about to start: all steps that it needs have ended",
                        who="the operator",
                    )
                ]
            return [self._cause(CauseKind.NEEDS, step, "starts when the steps before the clean-up have ended")]
        via = f"{self.facts.name}/{step.name}"
        needs = ", ".join(f"{name} ({self.step(name).phase or Phase.PENDING})" for name in missing)
        found = [self._cause(CauseKind.NEEDS, step, f"needs {needs}")]
        for name in missing:
            found += [replace(cause, via=(via, *cause.via)) for cause in self.causes(name, seen)]
        return found

    def _ended(self, step: StepView) -> Cause:
        text = f"has ended {step.phase}: {step.detail}" if step.detail else f"has ended {step.phase}"
        status = (self.facts.step_runs.get(step.name) or {}).get("status") or {}
        if status.get("cached") and (made_at := (status.get("cachedFrom") or {}).get("storedAt")):
            text = f"{text}, made at {made_at}"
        return replace(self._cause(CauseKind.ENDED, step, text, since=step.finished_at), signal=step.signal)

    def failures(self, step: StepView) -> list[Cause]:
        """Why a step failed. For a failed child run: the child's own reason, and the command to run this step again."""
        own = self._failure(step)
        child = self.facts.children.get(step.name)
        below = [cause for cause in self.into(child) if cause.kind is CauseKind.FAILED] if child is not None else []
        via = f"{self.facts.name}/{step.name}"
        return [
            replace(cause, via=(via, *cause.via), commands=(*cause.commands[:-1], *own.commands[-1:]))
            for cause in below
        ] or [own]

    def _failure(self, step: StepView) -> Cause:
        text = f"ended {step.phase}" + (f": {step.detail}" if step.detail else "")
        name = self.facts.name
        is_canceled = self.facts.run["spec"].get("cancelRequested")
        again = ("resubmit", name) if is_canceled else ("retry", name, "--from", step.name)
        commands = [self.command(self.facts.namespace, *again)]
        step_run = self.facts.step_runs.get(step.name)
        if step.kind == "engram" and (may_have_logged(step_run) or "StepRuns" in self.facts.unseen):
            commands.insert(0, self.command(self.facts.namespace, "logs", name, step.name))
        why = why_not_retried(step_run) if step_run is not None else ""
        used = self.facts.processor.get(step_run["metadata"]["name"], "") if step_run is not None else ""
        more = tuple((name, value) for name, value in (("retry", why), ("used", used)) if value)
        return replace(
            self._cause(CauseKind.FAILED, step, text, since=step.finished_at, commands=tuple(commands)),
            facts=(*step.error, *more),
            last_lines=self.facts.last_lines.get(step.name, ()),
            signal=step.signal,
        )

    def _declared(self, name: str) -> ReadOnlyObject:
        states = self.facts.status.get("stepStates") or {}
        return next((each.step for each in declared_steps(self.facts.story, states) if each.name == name), {})

    def _cause(
        self,
        kind: CauseKind,
        step: StepView,
        text: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        then: str = "",
        who: str = "",
        commands: tuple[str, ...] = (),
    ) -> Cause:
        began = since or parse_instant_or_none(self.facts.state(step.name).get("startedAt"))
        return Cause(kind, self.facts.namespace, self.facts.name, step.name, text, began, until, then, who, commands)


def _then(gate: GateView | None) -> str:
    if gate is None or gate.until is None:
        return ""
    return "the step is skipped" if gate.on_timeout == "skip" else "the step fails with Timeout"
