"""Resolves an engram step: reference checks, Engram, template, layered policy → ``Binding``.

A reference without a namespace means the Story's namespace, for the check and for the execution alike (the reference
checks one namespace and runs another). Source: StoryRun contract 11.2, StepRun contract 6, 10 and 11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from core.api.objects import Object
from core.api.phases import Reason
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, STORY
from core.api.unreadable import why_unreadable
from core.engine.errors import MissingReferenceError, RejectedError
from core.engine.ports import JOB, Binding
from core.kube.client import KubeClient
from core.policy.layers import ExecutionPolicy, PolicyError, resolve_policy
from core.policy.references import ForeignReference, why_denied
from core.policy.settings import OperatorSettings
from core.policy.sources import Sources
from core.policy.timing import retry_policy, retry_spec, step_timeout
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import World, find


class Definitions(NamedTuple):
    """The definitions that a step refers to."""

    engram: Object
    template: Object


@dataclass(frozen=True, slots=True)
class ResolvedStep:
    """The adapter's part of a ``Binding``: values that the Job builder needs and the engine does not."""

    engram: Object
    template: Object
    settings: OperatorSettings
    policy: ExecutionPolicy
    sources: Sources

    def policy_for(self, step_run: Object) -> ExecutionPolicy:
        """The policy with the StepRun's own ``executionOverrides``, if it has any.

        Raises:
            RejectedError: the overrides are invalid.
        """
        overrides = step_run["spec"].get("executionOverrides")
        if not overrides:
            return self.policy
        try:
            return resolve_policy(replace(self.sources, step_run_overrides=overrides))
        except PolicyError as error:
            raise RejectedError(f"StepRun {step_run['metadata']['name']}: {error}") from error


class Binder:
    """``Bindings``: resolves engram steps against the current objects."""

    def __init__(self, client: KubeClient, world: World, settings: Callable[[], OperatorSettings]) -> None:
        self._client = client
        self._world = world
        self._settings = settings

    async def bind(self, run: Object, story: Object, step: Mapping[str, Any]) -> Binding:
        # References are resolved from the Story's namespace; Secrets and volumes are those of the run's namespace.
        namespace, settings = run["metadata"]["namespace"], self._settings()
        engram, template = await self.definitions(story, step)
        sources = Sources(settings, template, engram, story, step, namespace=namespace)
        try:
            resolved = ResolvedStep(engram, template, settings, resolve_policy(sources), sources)
            spec = retry_spec(sources)
            retry, timeout = retry_policy(spec, settings.max_retries), step_timeout(sources)
        except PolicyError as error:
            raise RejectedError(f"step {step['name']!r}: {error}") from error
        return _binding(resolved, step, spec, retry=retry, timeout=timeout)

    async def definitions(self, story: Object, step: Mapping[str, Any]) -> Definitions:
        """The Engram and template of a step.

        Raises:
            MissingReferenceError: one of them does not exist, or the reference is not allowed.
            UnavailableError: they could not be read.
        """
        reference = step.get("ref") or {}
        namespace, name = reference.get("namespace") or story["metadata"]["namespace"], reference.get("name", "")
        denied = self._why_denied(story, namespace, name)
        if denied:
            raise MissingReferenceError(denied, reason=Reason.ENGRAM_REFERENCE_INVALID)
        with port_errors():
            engram = await find(self._client, self._world.engrams, ENGRAM, namespace, name)
        if engram is None:
            raise MissingReferenceError(
                f"Engram {namespace}/{name} of step {step['name']!r} does not exist; apply it or correct steps[].ref"
            )
        _refuse_unreadable(engram)
        return Definitions(engram, await self._template(engram))

    def _why_denied(self, story: Object, namespace: str, name: str) -> str | None:
        reference = ForeignReference(
            from_group=STORY.group,
            from_kind=STORY.kind,
            from_namespace=story["metadata"]["namespace"],
            to_group=ENGRAM.group,
            to_kind=ENGRAM.kind,
            to_namespace=namespace,
            to_name=name,
        )
        grants = self._world.reference_grants.list(namespace)
        return why_denied(reference, self._settings().cross_namespace_policy, grants)

    async def _template(self, engram: Object) -> Object:
        name = ((engram["spec"].get("templateRef") or {}).get("name") or "").strip()
        with port_errors():
            template = await find(self._client, self._world.engram_templates, ENGRAM_TEMPLATE, "", name)
        if template is None:
            raise MissingReferenceError(
                f"EngramTemplate {name!r} of Engram {engram['metadata']['namespace']}/{engram['metadata']['name']} "
                "does not exist; apply it or correct spec.templateRef",
                reason=Reason.TEMPLATE_NOT_FOUND,
            )
        _refuse_unreadable(template)
        return template


def _refuse_unreadable(definition: Object) -> None:
    if why := why_unreadable(definition):
        text = f"{definition.get('kind')} {definition['metadata']['name']} cannot be read: {why}; make it smaller"
        raise RejectedError(text, reason=Reason.UNREADABLE)


def _binding(resolved: ResolvedStep, step: Mapping[str, Any], spec: dict[str, Any] | None, **timing: Any) -> Binding:
    engram, template = resolved.engram, resolved.template
    declared = template["spec"].get("declaredOutputKeys")
    version = (step.get("ref") or {}).get("version") or engram["spec"].get("version") or ""
    return Binding(
        engram_namespace=engram["metadata"]["namespace"],
        engram_name=engram["metadata"]["name"],
        engram_version=version.strip(),
        template_name=template["metadata"]["name"],
        template_generation=template["metadata"].get("generation", 0),
        default_with=engram["spec"].get("with"),
        retry_spec=spec,
        max_inline_size_bytes=resolved.policy.max_inline_size_bytes,
        input_schema=template["spec"].get("inputSchema"),
        output_schema=template["spec"].get("outputSchema"),
        declared_output_keys=None if declared is None else frozenset(declared),
        policy=resolved,
        executor=JOB,
        **timing,
    )
