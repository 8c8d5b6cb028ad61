"""``trigger``: request a run as an event source does."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final

import typer

from bubu_contract.canonical import NotJsonError
from bubu_contract.submission import MAX_KEY_CHARACTERS, MAX_NAME_BYTES, input_hash, trigger_name
from cli.arguments import InputPairs, InputsFile, StoryArgument
from cli.completing import is_called
from cli.console import Console
from cli.durations import seconds_of
from cli.exit_code import ExitCode
from cli.inputs import GivenInputs, parse_inputs
from cli.options import DRY_RUN, QUESTIONS, CommonOptions, DryRun, with_common_options
from cli.problem import CommandError, UsageError
from cli.render.output import render
from cli.storyinputs import fitting_inputs
from core.api.objects import Object
from core.api.resource import STORY_RUN, STORY_TRIGGER
from core.kube.errors import AlreadyExistsError, ForbiddenError, NotFoundError
from core.workloads.keyed_request import Decision, Difference, decide
from core.workloads.trigger import is_answered, request_of, requested_run

if is_called():
    import trio

    from cli.interruption import run_async
    from cli.runs import is_name
    from cli.secretnames import warn_of_missing
    from cli.session import Session, open_session, patiently, why_unreachable
    from cli.verbs.triggers import decision_of
    from cli.watching import exit_after
    from cli.workflow import print_object, story_to_submit
    from core.kube.informer import Informer


AnswerTimeoutOption = Annotated[
    str, typer.Option("--timeout", help="Stop waiting after this long, e.g. 30s (exit code 124); the request stays.")
]


def register(app: typer.Typer) -> None:
    app.command("trigger")(with_common_options(trigger, also=QUESTIONS | DRY_RUN))


def trigger(
    options: CommonOptions,
    story: StoryArgument,
    inputs: InputPairs = None,
    inputs_file: InputsFile = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="Business key: at most one run for this key; other inputs are a conflict."),
    ] = None,
    submission_id: Annotated[
        str | None,
        typer.Option(
            "--submission-id",
            help="Identity of this request; the same one repeats the request; default: the key, or a random id.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the decision of the operator.")] = True,
    timeout: AnswerTimeoutOption = "",
) -> None:
    """Request a run of a Story by a StoryTrigger; print the run and the decision: Created, Reused or Rejected.

    The operator decides, and this command prints what the decision waits for. Exit code 0: Created; 8: Reused; 7:
    Rejected. With --no-wait the name of the StoryTrigger is printed. The same request again finds the stored decision.
    """
    given = parse_inputs(inputs or (), inputs_file)
    identity = identity_of(key, submission_id)
    seconds = seconds_of("--timeout", timeout)
    if not wait and seconds is not None:
        raise UsageError(
            "--timeout limits the wait, which --no-wait leaves out", remedy="leave out --no-wait or --timeout"
        )
    request_run(options, story, given, identity, wait=wait, timeout=seconds)


TICK_SECONDS: Final = 1.0
"""How often the connection is checked while nothing changes."""
_CODES: Final = {
    Decision.CREATED: ExitCode.DONE,
    Decision.REUSED: ExitCode.REUSED,
    Decision.REJECTED: ExitCode.REJECTED,
}
_DIFFERS: Final = {
    Difference.STORY: "another Story, or another version of it",
    Difference.IMPULSE: "another Impulse",
    Difference.INPUTS: "other inputs",
}


@dataclass(frozen=True, slots=True)
class RequestIdentity:
    """What makes two requests the same."""

    submission_id: str
    key: str = ""

    @property
    def text(self) -> str:
        return self.key or self.submission_id


@dataclass
class Submitted:
    """What to print when the command stops waiting."""

    session: Session | None = None
    name: str = ""

    def farewell(self) -> str:
        if self.session is None:
            return ""
        return (
            f"detached from StoryTrigger {self.name}; the operator still decides; see: "
            f"{self.session.command('why', f'trigger/{self.name}')}"
        )


def identity_of(key: str | None, submission_id: str | None) -> RequestIdentity:
    """The identity for the flags; None: the flag was not given.

    Raises:
        UsageError: a value is blank or too long.
    """
    if key is not None:
        key = _checked("--key", key, MAX_KEY_CHARACTERS)
    if submission_id is not None:
        submission_id = _checked("--submission-id", submission_id, MAX_NAME_BYTES)
    elif key is None:
        submission_id = str(uuid.uuid4())
    elif len(key) > MAX_NAME_BYTES:
        submission_id = hashlib.sha256(key.encode()).hexdigest()
    return RequestIdentity(submission_id or key or "", key or "")


def trigger_manifest(story: str, namespace: str, inputs: Object, identity: RequestIdentity) -> Object:
    """The StoryTrigger of a request, with the name that every client computes.

    Raises:
        UsageError: JSON cannot represent the inputs.
    """
    delivery: Object = {"submissionId": identity.submission_id}
    if identity.key:
        try:
            delivery |= {"mode": "token", "key": identity.key, "inputHash": input_hash(inputs)}
        except NotJsonError as error:
            raise UsageError(f"the inputs cannot be hashed: {error}", remedy="use finite numbers") from None
    spec: Object = {"storyRef": {"name": story}, "deliveryIdentity": delivery}
    if inputs:
        spec["inputs"] = inputs
    return {
        "apiVersion": STORY_TRIGGER.api_version,
        "kind": STORY_TRIGGER.kind,
        "metadata": {"name": trigger_name(namespace, story, identity.text), "namespace": namespace},
        "spec": spec,
    }


def request_run(
    options: CommonOptions,
    story: str,
    given: GivenInputs,
    identity: RequestIdentity,
    *,
    wait: bool,
    timeout: float | None,
) -> None:
    """Submit the request and exit with the code of its decision; without ``wait``, print the name of the object."""
    submitted = Submitted()

    async def work() -> ExitCode:
        if options.dry_run is DryRun.CLIENT and (reason := await why_unreachable(options)):
            if not options.namespace:
                raise UsageError("the name of a StoryTrigger depends on its namespace", remedy="add --namespace")
            Console(options).note(f"the inputs were not checked: {reason}")
            print_object(options, trigger_manifest(story, options.namespace, given.read(), identity))
            return ExitCode.DONE
        async with open_session(options) as session:
            found = await _readable_story(session, story)
            whole = given.read() if found is None else await fitting_inputs(session.console, found, given)
            manifest = trigger_manifest(story, session.namespace, whole, identity)
            if options.dry_run is DryRun.CLIENT:
                print_object(options, manifest)
                return ExitCode.DONE
            if found is not None:
                await warn_of_missing(session, found)
            dry_run = options.dry_run is DryRun.SERVER
            trigger, is_new = await submit(session, manifest, dry_run=dry_run)
            if not wait or dry_run:
                _print(session, trigger, trigger["metadata"]["name"])
                return ExitCode.DONE
            submitted.session, submitted.name = session, trigger["metadata"]["name"]
            answered = await wait_for_answer(session, trigger, timeout=timeout)
            return await _report(session, answered, is_new=is_new)

    exit_after(options, lambda: run_async(options, work), submitted)


async def submit(session: Session, manifest: Object, *, dry_run: bool = False) -> tuple[Object, bool]:
    """The stored StoryTrigger, and whether this call has created it.

    Raises:
        CommandError: the name belongs to another request (code 7).
    """
    metadata = manifest["metadata"]
    try:
        return await session.client.create(STORY_TRIGGER, manifest, dry_run=dry_run), True
    except AlreadyExistsError:
        found = await session.client.get(STORY_TRIGGER, metadata["name"], metadata["namespace"])
    wanted, existing = (requested_run(request_of(trigger)) for trigger in (manifest, found))
    difference = decide(wanted, existing).difference
    if difference is not None:
        raise CommandError(
            f"Rejected: StoryTrigger {metadata['name']} has the identity of this request, but {_DIFFERS[difference]}",
            remedy="use another --key or --submission-id",
            code=ExitCode.REJECTED,
        )
    return found, False


async def wait_for_answer(session: Session, trigger: Object, *, timeout: float | None = None) -> Object:
    """The StoryTrigger with its final answer. Prints what it waits for.

    Raises:
        CommandError: ``timeout`` seconds passed (code 124), or it was deleted.
    """
    if is_answered(trigger):
        return trigger
    metadata = trigger["metadata"]
    place, uid = (metadata["namespace"], metadata["name"]), metadata["uid"]
    selector = f"metadata.name={metadata['name']}"
    deadline = trio.current_time() + (timeout if timeout is not None else float("inf"))
    list_it = partial(session.client.list, STORY_TRIGGER, metadata["namespace"], field_selector=selector)
    with trio.move_on_at(deadline):
        await patiently(list_it)  # may the user?
    informer = Informer(session.client, STORY_TRIGGER, namespace=metadata["namespace"], field_selector=selector)
    notes = _Notes(session.console)
    changed = trio.Event()
    informer.add_handler(lambda _: changed.set())
    async with trio.open_nursery() as nursery:
        with trio.move_on_at(deadline):
            await nursery.start(informer.run)
            while True:
                changed = trio.Event()
                found = informer.get(*place)
                if found is None or found["metadata"]["uid"] != uid:
                    raise CommandError(f"StoryTrigger {metadata['name']} was deleted before it was decided")
                if is_answered(found):
                    nursery.cancel_scope.cancel()
                    return found
                notes.show(found, informer)
                with trio.move_on_after(TICK_SECONDS):
                    await changed.wait()
        nursery.cancel_scope.cancel()
    name = metadata["name"]
    raise CommandError(
        f"StoryTrigger {name} is undecided after {timeout:g} s",
        code=ExitCode.WAIT_TIMED_OUT,
        remedy=f"look at it with: {session.command('why', f'trigger/{name}')}",
    )


class _Notes:
    """Prints each hold-up once, and when no changes arrive."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = ("", "")
        self._has_problem = False

    def show(self, trigger: Object, informer: Informer) -> None:
        status = trigger.get("status") or {}
        held = (str(status.get("reason") or ""), str(status.get("message") or ""))
        if held[0] and held != self._shown:
            self._console.note(f"waits ({held[0]}): {held[1]}")
            self._shown = held
        error = informer.last_error
        if error is not None and not self._has_problem:
            self._console.note(f"no answer from the API server: {error}; trying again")
        self._has_problem = error is not None


async def _readable_story(session: Session, story: str) -> Object | None:
    """The Story; None if the user may not read it.

    Raises:
        CommandError: there is no such Story.
    """
    wanted = {"spec": {"storyRef": {"name": story}}}
    try:
        return await story_to_submit(session, wanted, session.namespace)
    except ForbiddenError:
        return None


async def _report(session: Session, trigger: Object, *, is_new: bool) -> ExitCode:
    """Print the answer; returns its exit code.

    Raises:
        CommandError: the answer is Rejected.
    """
    name, status, decision = trigger["metadata"]["name"], trigger["status"], decision_of(trigger)
    run = str((status.get("storyRunRef") or {}).get("name") or "")
    _print(session, trigger, f"{run} {decision}" if run else "")
    if decision is Decision.REJECTED:
        raise CommandError(
            f"Rejected ({status.get('reason')}): {status.get('message')}",
            remedy=f"the decision is final; see it with: {session.command('why', f'trigger/{name}')}",
            code=ExitCode.REJECTED,
        )
    if not is_new:
        session.console.note(f"StoryTrigger {name} was submitted before; its decision is final")
    if is_new or await _exists(session, run):
        session.console.note(f"follow the run with: {session.command('watch', run)}")
    else:
        session.console.note(f"the run {run} has been removed since")
    return _CODES[decision]


async def _exists(session: Session, run: str) -> bool:
    """Whether the run is still there, as far as the user may know."""
    if not is_name(run):
        return False
    try:
        await session.client.get(STORY_RUN, run, session.namespace)
    except NotFoundError:
        return False
    except ForbiddenError:
        return True
    return True


def _print(session: Session, trigger: Object, line: str) -> None:
    """Print the line, or the object in the output format of the flags."""
    output = session.options.output
    session.console.result(line if output in ("table", "wide") else render([trigger], output, single=True))


def _checked(flag: str, text: str, limit: int) -> str:
    text = text.strip()
    if not 0 < len(text) <= limit:
        raise UsageError(f"{flag} must have 1 to {limit} characters")
    return text
