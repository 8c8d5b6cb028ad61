"""Resolves an engram step: reference checks, Engram, template, layered policy → ``ResolvedBinding``.

A reference without a namespace means the Story's namespace, for the check and for the execution alike (the reference
checks one namespace and runs another). What a person may still apply is awaited. Refused is only what no user can apply
(an impossible name, a namespace that the policy ``deny`` closes), and what is invalid. Source: StoryRun contract 11.2,
StepRun contract 6, 10 and 11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from bubu_contract.canonical import NotJsonError
from core.api.objects import Object
from core.api.phases import Reason, StepReason
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, REFERENCE_GRANT, STORY, TRANSPORT
from core.api.text import text
from core.api.unreadable import why_unreadable
from core.caches.recently_used import RecentlyUsed
from core.engine.errors import AwaitedError, Definition, MissingReferenceError, RejectedError
from core.engine.ports import JOB, STREAM, WORKER, AttemptOrder, Binding
from core.kube.client import KubeClient
from core.policy.credentials import is_operators_store
from core.policy.layers import ExecutionPolicy, PolicyError, resolve_policy
from core.policy.references import ForeignReference, why_denied
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from core.policy.sources import OPERATOR, Sources
from core.policy.timing import BUILT_IN, TimeoutChoice, retry_policy, retry_spec, timeout_choice
from core.telemetry.tracing.run_trace import OFF, TraceRules, untraced
from core.workloads.container_problems import container_problems
from core.workloads.execution import definition_digest
from core.workloads.script import engram_of, image_of, is_script, template_of, why_image_not_allowed
from core.workloads.warm_steps import why_not_warm
from reconcilers.adapters.stream_definitions import (
    ResolvedStream,
    declared_transport,
    kind_of,
    resolved_stream,
    serves_stream,
    stream_mode,
)
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import World, find, is_object_name

REMEMBERED: Final = 8
"""Bindings; each holds its Story, Engram and template, which may be large."""


class Definitions(NamedTuple):
    """The definitions that a step refers to."""

    engram: Object
    template: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedBinding(Binding):
    """A ``Binding`` with the values that the builders of workloads need and the engine does not."""

    engram: Object
    template: Object
    settings: OperatorSettings
    policy: ExecutionPolicy
    sources: Sources
    stream: ResolvedStream | None = None
    """Of a step of a realtime Story."""
    trace_rules: TraceRules = OFF

    @classmethod
    def of(cls, order: AttemptOrder) -> ResolvedBinding:
        """The binding of an order. In this process, only ``Binder`` binds steps."""
        assert isinstance(order.binding, cls), "the Binder has bound the step"
        return order.binding

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


class _Known(NamedTuple):
    sources: Sources
    """What the binding follows from; kept, so that no other object gets one of these identities."""
    binding: ResolvedBinding


class Binder:
    """``Bindings``: resolves engram steps against the current objects."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        settings: Callable[[], OperatorSettings],
        rules: Callable[[], TraceRules] = untraced,
    ) -> None:
        self._client = client
        self._world = world
        self._settings = settings
        self._rules = rules
        self._last = RecentlyUsed[tuple[object, ...], _Known](REMEMBERED)
        """Bindings of the last steps, by the identities of what they follow from: the items of a loop share one."""

    async def bind(self, run: Object, story: Object, step: Mapping[str, Any]) -> ResolvedBinding:
        # References are resolved from the Story's namespace; Secrets and volumes are those of the run's namespace.
        namespace, settings = run["metadata"]["namespace"], self._settings()
        found = await self.definitions(story, step)
        stream, rules = await self._stream(story, step, *found), self._rules()
        sources = Sources(settings, found.template, found.engram, story, step, namespace=namespace)
        if stream is not None:
            return _bound(sources, found, stream, rules)
        key = (namespace, rules, *map(id, (settings, *found, story, step)))
        known = self._last.get(key)
        if known is None:
            known = _Known(sources, _bound(sources, found, None, rules))
            self._last.put(key, known, 1)
        return known.binding

    async def definitions(self, story: Object, step: Mapping[str, Any]) -> Definitions:
        """The Engram and template of a step.

        Raises:
            AwaitedError: one of them does not exist, has another version, or may not be referred to, yet.
            MissingReferenceError: the reference can never be met.
            UnavailableError: they could not be read.
        """
        if is_script(step):
            return self._script(story, step)
        reference = step.get("ref") or {}
        namespace, name = reference.get("namespace") or story["metadata"]["namespace"], reference.get("name", "")
        wait = _Wait(self._settings(), story, step, Definition(ENGRAM.kind, namespace, name))
        if denied := self._why_denied(story, namespace, name):
            if wait.settings.cross_namespace_policy is CrossNamespacePolicy.DENY:
                raise MissingReferenceError(denied, reason=Reason.ENGRAM_REFERENCE_INVALID)
            grants = Definition(REFERENCE_GRANT.kind, namespace, "")
            raise wait.error(StepReason.REFERENCE_NOT_GRANTED, denied, grants)
        if not (is_object_name(name) and is_object_name(namespace)):
            raise MissingReferenceError(
                f"Engram {namespace}/{name} of step {step['name']!r} does not exist, and no Engram can have this name; "
                "correct steps[].ref"
            )
        with port_errors():
            engram = await find(self._client, self._world.engrams, ENGRAM, namespace, name)
        if engram is None:
            text = f"Engram {namespace}/{name} of step {step['name']!r} does not exist; apply it or correct steps[].ref"
            raise wait.error(StepReason.ENGRAM_NOT_FOUND, text)
        _refuse_unreadable(engram)
        pin, version = _text(reference.get("version")), _text(engram["spec"].get("version"))
        if pin and pin != version:
            text = (
                f"step {step['name']!r} requires version {pin!r} of Engram {namespace}/{name}, which "
                f"{f'is version {version!r}' if version else 'has no version'}; apply that version or correct "
                "steps[].ref"
            )
            raise wait.error(StepReason.ENGRAM_VERSION_MISMATCH, text)
        return Definitions(engram, await self._template(engram, wait))

    async def _stream(
        self, story: Object, step: Mapping[str, Any], engram: Object, template: Object
    ) -> ResolvedStream | None:
        """What makes the step a part of a stream; None: it is not.

        Raises:
            AwaitedError: its Transport does not exist yet.
            MissingReferenceError, RejectedError: its Engram, its Transport or its settings cannot serve a stream.
        """
        if not serves_stream(story, step):
            return None
        mode, declared = stream_mode(step, engram, template), declared_transport(story, step)
        name, transports = text(declared.get("transportRef")), self._world.informer(TRANSPORT)
        with port_errors():
            transport = await find(self._client, transports, TRANSPORT, "", name)
        if transport is None:
            namespace, engram_name = engram["metadata"]["namespace"], engram["metadata"]["name"]
            wait = _Wait(self._settings(), story, step, Definition(ENGRAM.kind, namespace, engram_name))
            why = f"Transport {name!r} of step {step['name']!r} does not exist; apply it or correct spec.transports"
            raise wait.error(StepReason.TRANSPORT_NOT_FOUND, why, Definition(TRANSPORT.kind, "", name), engram)
        _refuse_unreadable(transport)
        names = {text(each.get("transportRef")) for each in story["spec"]["transports"]}
        known = (found for each in names if (found := transports.get("", each)) is not None)
        kinds = {each["metadata"]["name"]: kind_of(each) for each in (*known, transport)}
        return resolved_stream(mode, story, step, declared, transport, kinds)

    def _script(self, story: Object, step: Mapping[str, Any]) -> Definitions:
        """What a script step stands for."""
        settings = self._settings().scripts
        if refused := why_image_not_allowed(step, settings):
            raise RejectedError(f"step {step['name']!r}: {refused[0]}; {refused[1]}")
        template = template_of(step, image_of(step, settings))
        return Definitions(engram_of(story["metadata"]["namespace"]), template)

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

    async def _template(self, engram: Object, wait: _Wait) -> Object:
        name = _text((engram["spec"].get("templateRef") or {}).get("name"))
        with port_errors():
            template = await find(self._client, self._world.engram_templates, ENGRAM_TEMPLATE, "", name)
        if template is None:
            text = (
                f"EngramTemplate {name!r} of Engram {engram['metadata']['namespace']}/{engram['metadata']['name']} "
                "does not exist; apply it or correct spec.templateRef"
            )
            missing = Definition(ENGRAM_TEMPLATE.kind, "", name)
            raise wait.error(StepReason.TEMPLATE_NOT_FOUND, text, missing, engram)
        _refuse_unreadable(template)
        return template


@dataclass(frozen=True, slots=True)
class _Wait:
    """The data of a step that may have to wait for a definition."""

    settings: OperatorSettings
    story: Object
    step: Mapping[str, Any]
    engram: Definition

    def error(
        self, reason: StepReason, text: str, missing: Definition | None = None, engram: Object | None = None
    ) -> AwaitedError | RejectedError:
        """The step waits for the Engram, or for ``missing``, as long as its timeout allows. ``engram``: as far as it is
        known, it may set that timeout.
        """
        try:
            limit = timeout_choice(Sources(self.settings, {}, engram or {}, self.story, self.step))
        except PolicyError as error:
            return RejectedError(f"step {self.step['name']!r}: {error}")
        definitions = frozenset({self.engram} | ({missing} if missing is not None else set()))
        return AwaitedError(text, reason=reason, limit=limit, definitions=definitions)


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _refuse_unreadable(definition: Object) -> None:
    if why := why_unreadable(definition):
        text = f"{definition.get('kind')} {definition['metadata']['name']} cannot be read: {why}; make it smaller"
        raise RejectedError(text, reason=Reason.UNREADABLE)


def _bound(
    sources: Sources, definitions: Definitions, stream: ResolvedStream | None, rules: TraceRules
) -> ResolvedBinding:
    """
    Raises:
        RejectedError: the definitions cannot be used.
    """
    step, template = sources.step, definitions.template
    if problems := container_problems(template["spec"]):
        text = "; ".join(f"{each.path}: {each.message} ({each.remedy})" for each in problems)
        what = "script" if is_script(step) else f"EngramTemplate {template['metadata']['name']}"
        raise RejectedError(f"step {step['name']!r}: its {what} cannot be used: {text}")
    try:
        return bound(sources, definitions.engram, template, stream, rules)
    except PolicyError as error:
        raise RejectedError(f"step {step['name']!r}: {error}") from error


def bound(
    sources: Sources,
    engram: Object,
    template: Object,
    stream: ResolvedStream | None = None,
    rules: TraceRules = OFF,
) -> ResolvedBinding:
    """What a step is bound to; ``engram`` and ``template`` are those of ``sources``. Pure.

    A stream flows without a time limit, unless a definition sets one: the operator's default is for steps that end.

    Raises:
        PolicyError: the layers have invalid values.
    """
    settings, policy = sources.settings, resolve_policy(sources)
    spec = retry_spec(sources)
    limit: TimeoutChoice | None = timeout_choice(sources)
    runs_jobs = stream is not None and stream.mode is None  # time limit, schema and container are those of each Job
    if stream is not None and limit and (runs_jobs or limit.layer in (OPERATOR, BUILT_IN)):
        limit = None
    declared = template["spec"].get("declaredOutputKeys")
    version = _text(engram["spec"].get("version"))  # the step asks for this one, if it asks for any
    return ResolvedBinding(
        engram_namespace=engram["metadata"]["namespace"],
        engram_name=engram["metadata"]["name"],
        engram_version=version,
        template_name=template["metadata"]["name"],
        template_generation=template["metadata"].get("generation", 0),
        default_with=engram["spec"].get("with"),
        retry_spec=spec,
        retry=retry_policy(spec, settings),
        timeout=None if limit is None else limit.timeout,
        timeout_layer="" if limit is None else limit.layer,
        max_inline_size_bytes=policy.max_inline_size_bytes,
        input_schema=None if runs_jobs else template["spec"].get("inputSchema"),
        output_schema=template["spec"].get("outputSchema"),
        declared_output_keys=None if declared is None else frozenset(declared),
        executor=_executor(policy, engram, template, sources.namespace) if stream is None else STREAM,
        shares_store=is_operators_store(policy.storage, settings.storage),
        cache=policy.cache if stream is None else None,
        image=policy.image,
        container=None if runs_jobs else template["spec"].get("container"),
        definition=_definition(engram, template) if stream is None else "",
        engram=engram,
        template=template,
        settings=settings,
        policy=policy,
        sources=sources,
        stream=stream,
        trace_rules=rules,
    )


def _executor(policy: ExecutionPolicy, engram: Object, template: Object, namespace: str) -> str:
    where = namespace or engram["metadata"]["namespace"]
    return JOB if policy.warm is None or why_not_warm(policy, engram, template, where) else WORKER


def _definition(engram: Object, template: Object) -> str:
    try:
        return definition_digest(engram, template)
    except NotJsonError:
        return ""
