"""Fetches everything about one step of a run, as far as the user may read it."""

from __future__ import annotations

from dataclasses import dataclass

from bubu_contract.identity import label_value
from cli.problem import CommandError
from cli.runs import find_run, pods_of, step_runs_of, visible_story_of
from cli.session import Session
from cli.streams import bindings_of, has_streams
from core.api import keys
from core.api.objects import Object, is_controlled_by
from core.api.resource import JOB, POD
from core.engine.step.assignment import assignment_of
from core.kube.errors import ForbiddenError, NotFoundError
from views.run_view import view_run
from views.step_detail import StepDetail, step_detail
from views.step_layout import known_step, path_of


@dataclass(frozen=True, slots=True)
class FoundStep:
    """One step of a run, and the objects that it consists of."""

    run: Object
    name: str
    step_run: Object | None
    job: Object | None
    detail: StepDetail

    def stored(self, command: str) -> Object:
        """The StepRun.

        Args:
            command: the command that shows the state of a step without one.
        Raises:
            CommandError: it has none.
        """
        if self.step_run is None:
            raise CommandError(
                f"step {self.name!r} has no StepRun: it has not begun, or the operator executes it itself",
                remedy=f"its state is in the run: {command}",
            )
        return self.step_run


async def find_step(session: Session, run_name: str, step: str) -> FoundStep:
    """The step ``step``, a path or a last part that only one step has.

    Raises:
        CommandError, ViewError: there is no such run or step.
    """
    run = await find_run(session, run_name)
    story, step_runs = await visible_story_of(session, run), await step_runs_of(session, run)
    pods = await pods_of(session, run)
    bindings = await bindings_of(session, run) if has_streams(story, step_runs) else ()
    view = view_run(run, story, step_runs, pods, bindings, command=session.command)
    name = known_step(view.name, [each.name for each in view.steps], step)
    step_run = next((each for each in step_runs if path_of(each) == name), None)
    own = [pod for pod in pods if step_run is not None and _is_of(pod, step_run)]
    own += await _worker(session, step_run) if step_run is not None and not own else []
    job = await _job(session, step_run) if step_run is not None else None
    found = next(each for each in view.steps if each.name == name)
    return FoundStep(run, name, step_run, job, step_detail(run, found, step_run, job, own))


def _is_of(pod: Object, step_run: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return labels.get(keys.LABEL_STEP_RUN) == label_value(step_run["metadata"]["name"])


async def _worker(session: Session, step_run: Object) -> list[Object]:
    """The Pod of the warm worker that executes the step, or did, if there is one."""
    found = assignment_of(step_run)
    if found is None:
        return []
    try:
        pod = await session.client.get(POD, found.worker, step_run["metadata"]["namespace"])
    except (ForbiddenError, NotFoundError):
        return []
    return [pod] if pod["metadata"]["uid"] == found.worker_uid else []


async def _job(session: Session, step_run: Object) -> Object | None:
    metadata = step_run["metadata"]
    try:
        job = await session.client.get(JOB, metadata["name"], metadata["namespace"])
    except (ForbiddenError, NotFoundError):
        return None
    return job if is_controlled_by(job, metadata["uid"]) else None
