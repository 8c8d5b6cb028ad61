"""What an Impulse refers to, and its configuration resolved with that. Source: Trigger contract 6.2, steps 2 to 5."""

from __future__ import annotations

from collections.abc import Callable

from bubu_contract.canonical import NotJsonError
from core.api.objects import Object
from core.api.phases import ImpulseReason, Reason
from core.api.resource import IMPULSE, IMPULSE_TEMPLATE, STORY
from core.api.unreadable import why_unreadable
from core.kube.client import KubeClient
from core.policy.layers import PolicyError
from core.policy.references import ForeignReference, why_denied
from core.policy.settings import OperatorSettings
from core.workloads.impulse_resolution import ResolvedImpulse, resolve_impulse
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import World, find
from reconcilers.definition import referred_key
from reconcilers.impulse_held_up import blocked, failed


class ImpulseReferences:
    """Looks up template and Story, and resolves the Impulse against them."""

    def __init__(self, client: KubeClient, world: World, settings: Callable[[], OperatorSettings]) -> None:
        self._client = client
        self._world = world
        self._settings = settings

    async def resolve(self, impulse: Object) -> ResolvedImpulse:
        """
        Raises:
            ListenerHeldUpError: something is missing, not allowed or invalid.
            UnavailableError: the caller should try again.
        """
        template, story = await self._template(impulse), await self._story(impulse)
        try:
            return resolve_impulse(impulse, template, story, self._settings())
        except (PolicyError, NotJsonError) as error:
            raise failed(Reason.INVALID_CONFIGURATION, str(error)) from error

    async def _template(self, impulse: Object) -> Object:
        if why := why_unreadable(impulse):
            raise failed(Reason.UNREADABLE, f"the Impulse cannot be read: {why}; make it smaller")
        name = ((impulse["spec"].get("templateRef") or {}).get("name") or "").strip()
        with port_errors():
            template = await find(self._client, self._world.informer(IMPULSE_TEMPLATE), IMPULSE_TEMPLATE, "", name)
        if template is None:
            message = f"ImpulseTemplate {name!r} does not exist; apply it, or correct spec.templateRef"
            raise blocked(ImpulseReason.TEMPLATE_NOT_FOUND, message)
        if why := why_unreadable(template):
            raise failed(Reason.UNREADABLE, f"ImpulseTemplate {name!r} cannot be read: {why}; make it smaller")
        return template

    async def _story(self, impulse: Object) -> Object:
        own_namespace = impulse["metadata"]["namespace"]
        wanted = referred_key(impulse["spec"].get("storyRef") or {}, own_namespace)
        reference = ForeignReference(
            from_group=IMPULSE.group,
            from_kind=IMPULSE.kind,
            from_namespace=own_namespace,
            to_group=STORY.group,
            to_kind=STORY.kind,
            to_namespace=wanted.namespace,
            to_name=wanted.name,
        )
        grants = self._world.reference_grants.list(wanted.namespace)
        denied = why_denied(reference, self._settings().cross_namespace_policy, grants)
        if denied is not None:
            raise failed(Reason.STORY_REFERENCE_INVALID, f"spec.storyRef: {denied}")
        with port_errors():
            story = await find(self._client, self._world.stories, STORY, wanted.namespace, wanted.name)
        if story is None:
            raise blocked(Reason.STORY_NOT_FOUND, f"Story {wanted} does not exist; apply it, or correct spec.storyRef")
        return story
