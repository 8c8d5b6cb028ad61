"""The metadata that is written into a StoryRun before it is stored: what the operator would otherwise add to it.

Without admission, or without the Story, the operator adds it later, in a request of its own. Runs that the operator
creates have it already. Source: StoryRun contract 1.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.api.objects import ReadOnlyObject
from core.api.resource import STORY
from core.engine.run_marks import marked
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.validate.change import fields_of, metadata_of


def with_defaults(run: ReadOnlyObject, world: ClusterView) -> dict[str, Any]:
    """A copy of ``run`` with finalizer and labels; unchanged if its metadata does not match the schema.

    The labels that depend on the Story are left out while the Story is not known.
    """
    metadata = metadata_of(run)
    if not (_is_well_formed(metadata) and isinstance(run.get("status") or {}, Mapping)):
        return dict(run)
    return marked(run, _story(run, metadata, world), world.settings)


def _is_well_formed(metadata: ReadOnlyObject) -> bool:
    if not metadata or not isinstance(metadata.get("finalizers") or [], list):
        return False
    texts = [metadata.get(part) or {} for part in ("labels", "annotations")]
    owners = metadata.get("ownerReferences") or []
    return (
        all(isinstance(values, Mapping) and all(isinstance(each, str) for each in values.values()) for values in texts)
        and isinstance(owners, list)
        and all(isinstance(owner, Mapping) for owner in owners)
    )


def _story(run: ReadOnlyObject, metadata: ReadOnlyObject, world: ClusterView) -> ReadOnlyObject | None:
    reference = fields_of(fields_of(run.get("spec")).get("storyRef"))
    namespace, name = reference.get("namespace") or metadata.get("namespace"), reference.get("name")
    if not (isinstance(namespace, str) and isinstance(name, str)):
        return None
    found = world.find(STORY, namespace, name)
    return None if isinstance(found, Unseen) else found
