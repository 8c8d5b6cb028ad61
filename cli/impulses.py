"""Finds Impulses, and the facts that tell why one is down."""

from __future__ import annotations

from typing import Final

from cli.pod_logs import last_lines_of
from cli.problem import CommandError
from cli.session import Session
from core.api.keys import LABEL_APP_INSTANCE
from core.api.objects import Object
from core.api.resource import IMPULSE, POD
from core.api.suggestion import closest
from core.kube.errors import ForbiddenError, NotFoundError
from core.workloads.impulse_workload import SELECTOR, instance_label
from views.why.listener import ListenerFacts, explained_pods, log_of_unready

PREFIX: Final = "impulse/"
"""Before the name of an Impulse, where a run may be named as well."""


async def list_impulses(session: Session) -> list[Object]:
    """Those of the namespaces of the flags, by namespace and name."""
    found = (await session.client.list(IMPULSE, session.list_namespace)).items
    return sorted(found, key=lambda impulse: (impulse["metadata"]["namespace"], impulse["metadata"]["name"]))


async def find_impulse(session: Session, name: str) -> Object:
    """
    Raises:
        CommandError: there is none of that name.
    """
    try:
        return await session.client.get(IMPULSE, name, session.namespace)
    except (NotFoundError, ValueError):
        names = [impulse["metadata"]["name"] for impulse in await list_impulses(session)]
    near = closest(name, names)
    remedy = f"did you mean {near!r}?" if near else "list them with: bobrapet impulses"
    raise CommandError(f"there is no Impulse {name!r} in namespace {session.namespace}", remedy=remedy)


async def listener_facts(session: Session, impulse: Object) -> ListenerFacts:
    """What is known of the listener, as far as the user may read it."""
    metadata = impulse["metadata"]
    selector = f"{SELECTOR},{LABEL_APP_INSTANCE}={instance_label(metadata['name'])}"
    try:
        pods = (await session.client.list(POD, metadata["namespace"], label_selector=selector)).items
    except ForbiddenError:
        return ListenerFacts(impulse, unseen=("Pods",))
    newest = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)
    lines = {
        str(pod["metadata"]["name"]): tuple(await last_lines_of(session, pod, parameters))
        for pod in explained_pods(newest)
        if (parameters := log_of_unready(pod)) is not None
    }
    return ListenerFacts(impulse, tuple(newest), last_lines=lines)
