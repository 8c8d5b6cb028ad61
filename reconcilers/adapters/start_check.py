"""The last check before the object is created that starts an attempt, unless the StepRun is surely new."""

from __future__ import annotations

from core.api.resource import STEP_RUN, STORY_RUN
from core.engine.errors import StaleError
from core.engine.ports import AttemptOrder
from core.engine.redrive.request import pending_redrive
from core.engine.step.record import is_asked_to_end
from core.kube.client import KubeClient
from reconcilers.adapters.world import World
from reconcilers.adapters.writes import confirm


async def confirm_start(client: KubeClient, world: World, order: AttemptOrder) -> None:
    """Ask the API server whether the attempt may still start.

    Raises:
        GoneError: StepRun or run is gone, or is being deleted.
        StaleError: another leader has brought the StepRun further; or the run was asked to end, or to run again.
        UnavailableError.
    """
    await confirm(client, world.step_runs, STEP_RUN, order.step_run)
    run = await confirm(client, world.story_runs, STORY_RUN, order.run)  # may be in deletion
    if is_asked_to_end(order.run, run) and not order.outlives_cancel:
        raise StaleError(f"the run of {order.step_run['metadata']['name']} has been canceled")
    if pending_redrive(run) is not None:  # another leader may have ended what runs for this redrive
        raise StaleError(f"the run of {order.step_run['metadata']['name']} has a redrive request")
