"""The inputs of a step must not refer to objects that only another step of the Story may read.

All steps of all runs of a Story share one account with the permissions that all their Engrams request. A container of
the SDK reads the references in its inputs. So a user who may write Stories, but not read Secrets, could pass a step a
reference to a Secret that the Engram of another step may read. Permissions from elsewhere, such as a RoleBinding of the
platform, count.
"""

from __future__ import annotations

from core.engine.errors import AwaitedError, MissingReferenceError, RejectedError
from core.engine.ports import AttemptOrder
from core.workloads.named_data import Named, named_in, readable
from core.workloads.runner_rules import extra_rules
from reconcilers.adapters.binding import Binder, ResolvedBinding
from reconcilers.adapters.world import step_references


async def refuse_lent_rights(order: AttemptOrder, binder: Binder) -> None:
    """
    Raises:
        RejectedError: the inputs refer to objects that only another step's Engram may read; the message names all of
            them.
        UnavailableError: the Engrams could not be read.
    """
    wanted = named_in(order.inputs)
    if not wanted:
        return
    namespace = order.step_run["metadata"]["namespace"]
    resolved = ResolvedBinding.of(order)
    wanted -= set(readable(extra_rules(resolved.template, resolved.engram, namespace), wanted))
    lent: set[Named] = set()
    for step in step_references(order.story) if wanted else ():
        try:
            engram, template = await binder.definitions(order.story, step)
        except (AwaitedError, MissingReferenceError):
            continue  # it adds no permissions either
        lent |= set(readable(extra_rules(template, engram, namespace), wanted))
    if lent:
        names = ", ".join(str(each) for each in sorted(lent))
        raise RejectedError(
            f"with: refers to {names}, which only the Engram of another step may read; let Engram "
            f"{resolved.engram['metadata']['name']} request it (spec.overrides.rbac.rules), or remove the reference"
        )
