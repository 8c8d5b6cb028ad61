"""``approve``: let a run pass its gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final

import typer

from bubu_contract.instants import format_instant
from cli.arguments import GateArgument, RunAndGateArgument
from cli.completing import is_called
from cli.options import DRY_RUN, CommonOptions, DryRun, with_common_options
from cli.problem import CommandError, UsageError
from core.api.gatedata import KEY_RULE, MAX_CHARACTERS, MAX_KEYS, is_key
from core.api.objects import Object
from core.api.phases import Phase
from core.api.resource import STORY_RUN, Resource, Scope
from core.kube.errors import ApiError, ConflictError, ForbiddenError

if is_called():
    import trio

    from cli.interruption import run_async
    from cli.runs import find_run, story_of
    from cli.session import Session, open_session
    from core.engine.clock import system_now
    from views.gates import APPROVED, DecisionView, GateView, find_gate, gate_called, gates_of


DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="KEY=TEXT",
        help="key=text; later steps read it as {{ steps.GATE.output.KEY }}. May be repeated.",
    ),
]
ReasonOption = Annotated[str, typer.Option("--message", "-m", help="The reason; it becomes the message of the step.")]


def register(app: typer.Typer) -> None:
    app.command("approve")(with_common_options(approve, also=DRY_RUN))


def approve(
    options: CommonOptions,
    run: RunAndGateArgument,
    gate: GateArgument = "",
    reason: ReasonOption = "",
    data: DataOption = None,
) -> None:
    """Let a run continue past a gate. A decision is final; it may be made before the run reaches the gate.

    GATE is the name of the step. For a branch it is the path (fan/approve), or the last part of the path if only one
    gate has it. You may leave GATE out if the run waits at only one gate.

    --data does not name the data folder of the embedded cluster here; set $BOBRAPET_DATA for that.
    """
    decide_by_flags(options, run, gate, reason, "Approved", data or ())


def decide_by_flags(options: CommonOptions, run: str, gate: str, reason: str, state: str, pairs: Sequence[str]) -> None:
    data = parse_data(pairs) if state == "Approved" else no_data(pairs)
    if not gate:
        run, _, gate = run.partition("/")

    async def work() -> None:
        async with open_session(options) as session:
            await decide(session, run, gate, state, reason=reason, data=data, dry_run=options.dry_run)

    run_async(options, work)


_ACCESS_REVIEW: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", Scope.CLUSTER
)
_SELF_REVIEW: Final = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", Scope.CLUSTER)
_ATTEMPTS: Final = 20
_PAUSE_SECONDS: Final = 0.1
_APPROVER_ROLE: Final = "bobrapet-gate-approver-role"


async def decide(
    session: Session,
    reference: str,
    wanted: str,
    state: str,
    *,
    reason: str,
    dry_run: DryRun,
    data: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Record ``state`` (``Approved``, ``Rejected``) for the gate ``wanted`` of a run, and print it.

    ``data`` belongs to an approval and becomes the output of the step. The same decision again is success.

    Raises:
        CommandError: there is no such gate, another decision exists, or the run is past it.
        UsageError: no gate is named, and the run has several.
    """
    run = await find_run(session, reference)
    story = await _story(session, run, wanted)
    wanted = wanted or _the_only_gate(session, run, gates_of(run, story), state)
    name = find_gate(gates_of(run, story), wanted, run["metadata"]["name"])
    author = await _who_we_are(session) if dry_run is not DryRun.CLIENT else ""
    for _ in range(_ATTEMPTS):
        gate = gate_called(gates_of(run, story), name)
        if _is_decided_so(session, run, gate, name, state, data):
            return
        given = f" with {', '.join(data)}" if data else ""
        if dry_run is DryRun.CLIENT:
            description = f"{state}{given}{_when(gate, state)}"
            session.console.note(f"would set gate {name} of {run['metadata']['name']} to {description}")
            return
        decision = _decision(run, name, state, author, reason, data)
        try:
            await _record(session, run, name, decision, dry_run=dry_run is DryRun.SERVER)
        except ConflictError:  # the operator writes the same object
            await trio.sleep(_PAUSE_SECONDS)
            run = await session.client.get(STORY_RUN, run["metadata"]["name"], run["metadata"]["namespace"])
            continue
        tried = " (dry run)" if dry_run is DryRun.SERVER else ""
        session.console.result(f"gate {name} of {run['metadata']['name']} {state}{given}{tried}{_when(gate, state)}")
        return
    raise CommandError(
        f"StoryRun {run['metadata']['name']!r} was changed by others on every try; the decision was not recorded",
        remedy="try again in a moment",
    )


async def _story(session: Session, run: Object, wanted: str) -> Object | None:
    """The Story. A user who may not read it can decide on the gates at which the run waits.

    Raises:
        CommandError: ``wanted`` is not one of those gates.
    """
    try:
        return await story_of(session, run)
    except ForbiddenError as error:
        waiting = [gate.name for gate in gates_of(run, None)]
        if not waiting or (wanted and not any(wanted in (name, name.rpartition("/")[2]) for name in waiting)):
            name = run["metadata"]["name"]
            raise CommandError(
                f"run {name} does not wait at a gate {wanted!r}, and you may not read its Story, which may have one",
                remedy="wait until the run reaches it, or ask for the permission to get Stories",
            ) from error
        return None


def _is_decided_so(
    session: Session, run: Object, gate: GateView, name: str, state: str, data: Mapping[str, str]
) -> bool:
    """Whether the same decision exists already.

    Raises:
        CommandError: this decision is not possible any more.
    """
    run_name = run["metadata"]["name"]
    decision = gate.decision if gate.name == name else None
    if decision is not None and decision.state != state:
        raise CommandError(
            f"gate {name} of {run_name} was {_description_of(decision)}",
            remedy=f"a decision is final; start another run with: {session.command('resubmit', run_name)}",
        )
    if decision is not None and data and data != _stored(run, name).get("data"):
        raise CommandError(
            f"gate {name} of {run_name} was {_description_of(decision)} already, and not with this --data",
            remedy=f"a decision is final; start another run with: {session.command('resubmit', run_name)}",
        )
    if decision is not None:
        session.console.note(f"gate {name} of {run_name} was {_description_of(decision)} already")
        return True
    status = run.get("status") or {}
    if status.get("phase") in set(Phase) and Phase(status["phase"]).terminal:
        ended = f"{status['phase']}: {status['message']}" if status.get("message") else status["phase"]
        raise CommandError(
            f"run {run_name} has ended, {ended}",
            remedy=f"run it again with: {session.command('retry', run_name)}, "
            f"or start a new run with: {session.command('resubmit', run_name)}",
        )
    if gate.is_over:
        why = f": {gate.message}" if gate.message else ""
        raise CommandError(
            f"gate {name} of {run_name} no longer waits; it is {gate.phase}{why}",
            remedy=f"look at the run with: {session.command('get', run_name)}",
        )
    return False


def _description_of(decision: DecisionView) -> str:
    by = f" by {decision.by}" if decision.by else ""
    at = f" at {format_instant(decision.at)}" if decision.at else ""
    return f"{decision.state}{by}{at}" + (f": {decision.message}" if decision.message else "")


def _when(gate: GateView, state: str) -> str:
    """The effect of a decision that is made before the run reaches the gate."""
    if gate.phase:
        return ""
    return "; the run has not reached it yet, and will " + ("pass it" if state == APPROVED else "fail there")


def _stored(run: Object, name: str) -> Object:
    entry = ((run.get("status") or {}).get("gates") or {}).get(name)
    return entry if isinstance(entry, dict) else {}


def _decision(run: Object, name: str, state: str, author: str, reason: str, data: Mapping[str, str]) -> Object:
    """The merge patch of the gate's entry. It removes data without a decision, which the user has not seen."""
    decision: Object = {"state": state, "updatedAt": format_instant(system_now())}
    decision |= {key: text for key, text in (("updatedBy", author), ("message", reason)) if text}
    left = _stored(run, name).get("data") or {}
    if data:
        decision["data"] = {**dict.fromkeys(left), **data}
    elif left:
        decision["data"] = None
    return decision


async def _record(session: Session, run: Object, name: str, decision: Object, *, dry_run: bool) -> None:
    metadata = run["metadata"]
    patch = {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "status": {"gates": {name: decision}},
    }
    try:
        await session.client.patch(
            STORY_RUN, metadata["name"], patch, namespace=metadata["namespace"], subresource="status", dry_run=dry_run
        )
    except ForbiddenError as error:
        if await _may_decide(session, metadata["namespace"]):  # a webhook or a policy refuses
            raise
        raise CommandError(
            error.message, remedy=f"ask for a binding of ClusterRole {_APPROVER_ROLE} in {metadata['namespace']}"
        ) from error


async def _may_decide(session: Session, namespace: str) -> bool:
    """Whether this user may write the status of runs; True if the API server does not answer."""
    attributes = {
        "namespace": namespace,
        "verb": "patch",
        "group": STORY_RUN.group,
        "resource": STORY_RUN.plural,
        "subresource": "status",
    }
    review = {"apiVersion": _ACCESS_REVIEW.api_version, "kind": _ACCESS_REVIEW.kind}
    try:
        answer = await session.client.create(_ACCESS_REVIEW, {**review, "spec": {"resourceAttributes": attributes}})
    except ApiError:
        return True
    return bool((answer.get("status") or {}).get("allowed", True))


async def _who_we_are(session: Session) -> str:
    """Our user name at the API server; empty if it does not answer."""
    try:
        answer = await session.client.create(
            _SELF_REVIEW, {"apiVersion": _SELF_REVIEW.api_version, "kind": _SELF_REVIEW.kind}
        )
    except ApiError:
        return ""
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")


def _the_only_gate(session: Session, run: Object, gates: list[GateView], state: str) -> str:
    """The gate at which the run waits; if it waits at none, the only one that it has.

    Raises:
        UsageError: there are several, or none.
    """
    name, verb = run["metadata"]["name"], "approve" if state == APPROVED else "reject"
    waiting = [gate.name for gate in gates if gate.is_open] or [gate.name for gate in gates]
    if len(waiting) == 1:
        return waiting[0]
    if not waiting:
        raise UsageError(f"run {name} has no gates", remedy=f"look at it with: {session.command('get', name)}")
    raise UsageError(
        f"name the gate of {name} to {verb}: {', '.join(waiting)}",
        remedy=f"for example: {session.command(verb, name, waiting[0])}",
    )


def parse_data(pairs: Sequence[str]) -> dict[str, str]:
    """Values by key; the part after the first ``=`` is always a string.

    Raises:
        UsageError: pairs are not valid; the message has all errors.
    """
    problems = list(_problems(pairs))
    if problems:
        remedy = f"write for example --data ticket=OPS-17; keys are {KEY_RULE}"
        raise UsageError("\n".join(problems), remedy=remedy)
    return {key: text for key, _, text in (pair.partition("=") for pair in pairs)}


def no_data(pairs: Sequence[str]) -> dict[str, str]:
    """The data of a rejection: none.

    Raises:
        UsageError: data is given.
    """
    if pairs:
        raise UsageError("--data is an option of approve only", remedy="give a reason: -m TEXT")
    return {}


def _problems(pairs: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            yield f"--data {pair!r} must be key=text"
            continue
        if not is_key(key):
            yield f"--data {key!r}: templates cannot read this key"
        if key in seen:
            yield f"--data {key!r}: must be given only once"
        seen.add(key)
        if len(text) > MAX_CHARACTERS:
            yield f"--data {key!r}: has {len(text)} characters, the maximum is {MAX_CHARACTERS}"
        if any("\ud800" <= letter <= "\udfff" for letter in text):  # Python's form of bytes that are not UTF-8
            yield f"--data {key!r}: is not UTF-8 text"
    if len(seen) > MAX_KEYS:
        yield f"--data: has {len(seen)} keys, the maximum is {MAX_KEYS}"
