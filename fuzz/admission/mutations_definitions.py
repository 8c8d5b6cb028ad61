"""Mistakes in Engrams, Impulses, templates and ReferenceGrants."""

from __future__ import annotations

from core.api.objects import Object
from fuzz.admission.chance import Chance
from fuzz.admission.mutations import (
    ALWAYS_ON,
    BAD_DURATIONS,
    NOT_ALLOWED,
    NOWHERE,
    Draft,
    bad_schema,
    breaks,
    enlarge,
    insert,
    malformed,
    out_of_reach,
    section,
    somewhere,
)

_DEFINITIONS = ("Engram", "Impulse")


def _template(draft: Draft) -> Object:
    return draft.find(f"{draft.new['kind']}Template", draft.spec["templateRef"]["name"])


def _payload(draft: Draft) -> tuple[Object, str]:
    if "with" not in draft.spec:
        section(_template(draft), "spec").pop("configSchema", None)
    return section(draft.spec, "with"), "spec.with"


# --- compared with the template --------------------------------------------------------------------------------------


@breaks("definition/template-name", *_DEFINITIONS)
def _template_of_no_name(chance: Chance, draft: Draft) -> str:
    draft.spec["templateRef"]["name"] = chance.pick((" ", "\t"))
    return "spec.templateRef.name"


@breaks("definition/template-missing", *_DEFINITIONS)
def _template_gone(chance: Chance, draft: Draft) -> str:
    draft.remove(_template(draft))
    return "spec.templateRef.name"


@breaks("definition/template-version", *_DEFINITIONS)
def _another_version(chance: Chance, draft: Draft) -> str:
    draft.spec["templateRef"]["version"] = "another"
    return "spec.templateRef.version"


@breaks("definition/mode", *_DEFINITIONS)
def _unsupported_mode(chance: Chance, draft: Draft) -> str:
    if draft.new["kind"] == "Impulse":
        section(draft.spec, "workload")["mode"] = mode = chance.pick(("deployment", "statefulset"))
    else:
        draft.spec["mode"] = mode = chance.pick(("job", "deployment", "statefulset"))
    supported = _template(draft)["spec"]["supportedModes"]
    supported[:] = [other for other in ("job", "deployment", "statefulset") if other != mode]
    return "spec.workload.mode" if draft.new["kind"] == "Impulse" else "spec.mode"


@breaks("definition/mode-assumed", "Engram")
def _mode_that_is_not_said(chance: Chance, draft: Draft) -> str:
    draft.spec.pop("mode", None)
    _template(draft)["spec"]["supportedModes"] = ["statefulset"]
    return "spec.mode"


@breaks("definition/with-size", *_DEFINITIONS)
def _large(chance: Chance, draft: Draft) -> str:
    value, path = _payload(draft)
    enlarge(value, 4096)
    return path


@breaks("definition/with", *_DEFINITIONS)
def _configured_wrongly(chance: Chance, draft: Draft) -> str:
    schema = section(_template(draft), "spec", "configSchema")
    schema["additionalProperties"] = True
    given = section(draft.spec, "with")
    if chance.yes():
        schema.setdefault("required", []).append("wanted")
        return "spec.with"
    section(schema, "properties")["wanted"] = {"type": "integer"}
    given["wanted"] = "three"
    return "spec.with.wanted"


@breaks("definition/with-unknown", *_DEFINITIONS)
def _configured_by_another_name(chance: Chance, draft: Draft) -> str:
    spec = _template(draft)["spec"]
    spec.pop("inputSchema", None)
    spec["configSchema"] = {"properties": {"wanted": {}}}
    draft.spec["with"] = {"watned": 1}
    return "spec.with.watned"


@breaks("definition/with-absent", *_DEFINITIONS)
def _not_configured(chance: Chance, draft: Draft) -> str:
    draft.spec.pop("with", None)
    _template(draft)["spec"]["configSchema"] = {"required": ["wanted"]}
    return "spec.with"


@breaks("definition/reference-form", *_DEFINITIONS)
def _malformed_reference(chance: Chance, draft: Draft) -> str:
    (value, path), (wrong, below) = _payload(draft), malformed(chance)
    return f"{somewhere(chance, value, path, wrong)}.{below}"


@breaks("definition/reference-namespace", *_DEFINITIONS, policies=NOT_ALLOWED)
def _reference_out_of_reach(chance: Chance, draft: Draft) -> str:
    (value, path), (wrong, below) = _payload(draft), out_of_reach(chance)
    return f"{somewhere(chance, value, path, wrong)}.{below}"


@breaks("definition/secret-required", *_DEFINITIONS)
def _without_a_secret(chance: Chance, draft: Draft) -> list[str]:
    declared = section(_template(draft), "spec", "secretSchema")
    declared.setdefault("wanted", {})
    keys = chance.some(tuple(declared), 2, 1)
    for key in keys:
        declared[key] = {"required": True}
        section(draft.spec, "secrets").pop(key, None)
    return [f"spec.secrets.{key}" for key in declared if key in keys]


@breaks("definition/secret-unknown", *_DEFINITIONS)
def _secret_that_nobody_declares(chance: Chance, draft: Draft) -> str:
    section(draft.spec, "secrets")["nobodys"] = chance.pick(("keys", "", "gone"))
    return "spec.secrets.nobodys"


def _declared_secret(chance: Chance, draft: Draft) -> str:
    declared = section(_template(draft), "spec", "secretSchema")
    declared.setdefault("api", {})
    return chance.pick(tuple(declared))


@breaks("definition/secret-blank", *_DEFINITIONS)
def _blank_secret(chance: Chance, draft: Draft) -> str:
    key = _declared_secret(chance, draft)
    section(draft.spec, "secrets")[key] = chance.pick(("", " "))
    return f"spec.secrets.{key}"


@breaks("definition/secret-missing", *_DEFINITIONS)
def _secret_gone(chance: Chance, draft: Draft) -> str:
    key = _declared_secret(chance, draft)
    section(draft.spec, "secrets")[key] = "gone"
    return f"spec.secrets.{key}"


# --- security --------------------------------------------------------------------------------------------------------


def _workload_block(chance: Chance, draft: Draft) -> tuple[Object, str]:
    """A block of execution settings, and its path."""
    of_execution = dict.fromkeys(("Impulse", "EngramTemplate", "ImpulseTemplate"), ("execution",))
    places: dict[str, tuple[str, ...]] = {"Engram": ("overrides",), **of_execution}
    keys = places.get(draft.new["kind"], ("policy", "execution"))
    return section(draft.spec, *keys), ".".join(("spec", *keys))


@breaks("definition/security-lowered", "Engram", "Impulse", "Story")
def _less_security(chance: Chance, draft: Draft) -> str:
    block, path = _workload_block(chance, draft)
    if draft.new["kind"] != "Story":  # the settings of its template are a minimum, too
        section(_template(draft), "spec", "execution")["security"] = {"requiresNonRoot": True}
    key, weak = chance.pick(
        (("runAsNonRoot", False), ("readOnlyRootFilesystem", False), ("allowPrivilegeEscalation", True))
    )
    section(block, "security")[key] = weak
    return f"{path}.security.{key}"


@breaks("definition/toleration", "Engram", "Impulse", "Story")
def _every_taint(chance: Chance, draft: Draft) -> str:
    block, path = _workload_block(chance, draft)
    tolerations = section(block, "placement").setdefault("tolerations", [])
    tolerations.append(
        chance.pick(({"operator": "Exists"}, {"key": "", "operator": "Exists"}, {"effect": "NoExecute"}))
    )
    return f"{path}.placement.tolerations[{len(tolerations) - 1}]"


_PODS = ("Engram", "Impulse", "Story", "EngramTemplate", "ImpulseTemplate")
_FORBIDDEN_VOLUMES: tuple[tuple[str, Object], ...] = (
    ("hostPath", {"hostPath": {"path": "/"}}),
    ("secret", {"secret": {"secretName": "database"}}),
    ("projected", {"projected": {"sources": []}}),
    ("mountPath", {"emptyDir": {}, "mountPath": "/var/run"}),
    ("mountPath", {"emptyDir": {}, "mountPath": "data"}),
    ("subPath", {"emptyDir": {}, "subPath": "../other"}),
    ("name", {"emptyDir": {}, "name": "bubu-storage"}),
)
"""The broken field, and what breaks it."""


@breaks("definition/extended-resource", *_PODS)
def _half_a_gpu(chance: Chance, draft: Draft) -> str:
    block, path = _workload_block(chance, draft)
    name, amount = chance.pick(
        (("nvidia.com/gpu", "500m"), ("nvidia.com/gpu", -1), ("gpu", "1"), ("x.kubernetes.io/a", 1), ("a.b/", 1))
    )
    section(block, "resources", "extended")[name] = amount
    return f'{path}.resources.extended["{name}"]'


@breaks("definition/extended-resource", "StepRun")
def _half_a_gpu_for_one_step(chance: Chance, draft: Draft) -> str:
    section(draft.spec, "executionOverrides", "extendedResources")["nvidia.com/gpu"] = chance.pick(("0.5", "1k"))
    return 'spec.executionOverrides.extendedResources["nvidia.com/gpu"]'


@breaks("definition/volume", *_PODS)
def _forbidden_volume(chance: Chance, draft: Draft) -> str:
    block, path = _workload_block(chance, draft)
    field, volume = chance.pick(_FORBIDDEN_VOLUMES)
    block["volumes"] = [{"name": "v", "mountPath": "/mnt/v", **volume}]
    return f"{path}.volumes[0].{field}"


@breaks("definition/warm", "Engram", "Story", "EngramTemplate")
def _impossible_workers(chance: Chance, draft: Draft) -> str:
    block, path = _workload_block(chance, draft)
    wrong, field = chance.pick(
        (
            ({"replicas": 3, "maxReplicas": 2}, "maxReplicas"),
            ({"enabled": False, "idleTimeout": "soon"}, "idleTimeout"),
            ({"maxReplicas": 0, "idleTimeout": "0s"}, "idleTimeout"),
        )
    )
    block["warm"] = wrong
    return f"{path}.warm.{field}"


@breaks("definition/warm-unused", "Engram", "Impulse", "EngramTemplate", "ImpulseTemplate")
def _workers_that_cannot_serve(chance: Chance, draft: Draft) -> str:
    block, path = _workload_block(chance, draft)
    block["warm"] = chance.pick(({}, {"replicas": 2}, {"enabled": True, "maxReplicas": 5, "isolation": "task"}))
    modes = draft.spec if draft.new["kind"].endswith("Template") else _template(draft)["spec"]
    modes["supportedModes"] = [mode for mode in modes["supportedModes"] if mode != "worker"] or ["job"]
    return f"{path}.warm"


@breaks("definition/retry-on", "EngramTemplate")
def _no_recommended_failure(chance: Chance, draft: Draft) -> str:
    retry = section(draft.spec, "execution", "retry")
    retry["recommendedRetryOn"] = [1, chance.pick((0, 256, "trasient", "75", ""))]
    return "spec.execution.retry.recommendedRetryOn[1]"


@breaks("definition/retry-unused", "Engram")
def _retries_that_nobody_reads(chance: Chance, draft: Draft) -> str:
    field = chance.pick(("overrides", "executionPolicy"))
    section(draft.spec, field)["retry"] = {"maxRetries": chance.number(1, 10)}
    return f"spec.{field}.retry"


@breaks("definition/quantity", "Engram", "Impulse", "Story")
def _no_quantity(chance: Chance, draft: Draft) -> str:
    block, path = _workload_block(chance, draft)
    field = chance.pick(("cpuLimit", "memoryRequest", "ephemeralStorageLimit"))
    section(block, "resources")[field] = chance.pick(("lots", "1 Gi", "2gb"))
    return f"{path}.resources.{field}"


@breaks("definition/request-above-limit", "Engram", "Impulse", "Story")
def _more_than_is_allowed(chance: Chance, draft: Draft) -> str:
    block, path = _workload_block(chance, draft)
    amount = chance.pick(("cpu", "memory", "ephemeralStorage"))
    section(block, "resources").update({f"{amount}Request": "2", f"{amount}Limit": chance.pick(("1", "1999m", "1e0"))})
    return f"{path}.resources.{amount}Request"


@breaks("definition/class", "Engram", "Impulse", "Story")
def _class_of_others(chance: Chance, draft: Draft) -> str:
    block, path = _workload_block(chance, draft)
    field = chance.pick(("priorityClassName", "runtimeClassName"))
    block[field] = chance.pick(("system-cluster-critical", "high"))
    return f"{path}.{field}"


@breaks("template/secret-variable", "EngramTemplate", "ImpulseTemplate")
def _variable_that_runs_a_program(chance: Chance, draft: Draft) -> str:
    prefix, key = chance.pick((("LD_", "PRELOAD"), ("PA", "TH"), ("PYTHON", "PATH"), ("BUBU_", "X"), ("BASH_", "ENV")))
    found: Object = {"envPrefix": prefix, "expectedKeys": ["fine", key]} | chance.pick(({}, {"mountType": "both"}))
    section(draft.spec, "secretSchema")["bad"] = found
    return "spec.secretSchema.bad.expectedKeys"


@breaks("template/secret-variable", "EngramTemplate", "ImpulseTemplate")
def _prefix_that_runs_a_program(chance: Chance, draft: Draft) -> str:
    section(draft.spec, "secretSchema")["bad"] = {"envPrefix": chance.pick(("LD_", "PYTHON", "BUBU_SECRET_", "DYLD_"))}
    return "spec.secretSchema.bad.envPrefix"


# --- Engrams ---------------------------------------------------------------------------------------------------------


@breaks("engram/deleted", "Engram", update=True)
def _changed_while_it_goes(chance: Chance, draft: Draft) -> str:
    draft.new["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    draft.spec["version"] = "changed"
    return "spec"


@breaks("engram/duration", "Engram")
def _no_timeout(chance: Chance, draft: Draft) -> str:
    key = chance.pick(("overrides", "executionPolicy"))
    section(draft.spec, key)["timeout"] = chance.pick((*BAD_DURATIONS, "0s"))
    return f"spec.{key}.timeout"


# --- Impulses --------------------------------------------------------------------------------------------------------


@breaks("impulse/story-denied", "Impulse", policies=NOT_ALLOWED)
def _story_out_of_reach(chance: Chance, draft: Draft) -> str:
    draft.spec["storyRef"]["namespace"] = NOWHERE
    return "spec.storyRef.namespace"


@breaks("impulse/story-missing", "Impulse")
def _story_gone(chance: Chance, draft: Draft) -> str:
    draft.remove(draft.referred("Story", draft.spec["storyRef"]))
    return "spec.storyRef.name"


@breaks("impulse/story-always-on", "Impulse")
def _story_that_is_always_on(chance: Chance, draft: Draft) -> str:
    draft.referred("Story", draft.spec["storyRef"])["spec"] |= ALWAYS_ON
    return "spec.storyRef.name"


@breaks("impulse/story-version", "Impulse")
def _another_story(chance: Chance, draft: Draft) -> str:
    draft.spec["storyRef"]["version"] = "another"
    return "spec.storyRef.version"


@breaks("impulse/job", "Impulse")
def _listens_as_a_job(chance: Chance, draft: Draft) -> str:
    section(draft.spec, "workload")["mode"] = "job"
    return "spec.workload.mode"


@breaks("impulse/mode-assumed", "Impulse")
def _mode_that_nobody_chose(chance: Chance, draft: Draft) -> str:
    stateful = chance.yes()
    draft.spec["workload"] = {"statefulSet": {"serviceName": "s"}} if stateful else {}
    _template(draft)["spec"]["supportedModes"] = ["deployment" if stateful else "statefulset"]
    return "spec.workload.mode"


@breaks("impulse/mapping-unused", "Impulse")
def _mapping(chance: Chance, draft: Draft) -> str:
    draft.spec["mapping"] = chance.pick(({}, {"id": "{{ .event.id }}"}, {"n": {"m": [1]}}))
    return "spec.mapping"


@breaks("impulse/expression", "Impulse")
def _no_template(chance: Chance, draft: Draft) -> str:
    wrong = chance.pick(("{{ .event.id", "{{ nope }}", "{{ 1 + }}"))
    section(draft.spec, "deliveryPolicy")["dedupe"] = {"mode": "key", "keyTemplate": wrong}
    return "spec.deliveryPolicy.dedupe.keyTemplate"


@breaks("impulse/key-required", "Impulse")
def _without_a_key(chance: Chance, draft: Draft) -> str:
    blank: Object = chance.pick(({}, {"keyTemplate": ""}, {"keyTemplate": " "}))
    section(draft.spec, "deliveryPolicy")["dedupe"] = {"mode": "key", **blank}
    return "spec.deliveryPolicy.dedupe.keyTemplate"


@breaks("impulse/key-unused", "Impulse")
def _with_a_key_for_nothing(chance: Chance, draft: Draft) -> str:
    mode: Object = chance.pick(({}, {"mode": "token"}, {"mode": "none"}))
    section(draft.spec, "deliveryPolicy")["dedupe"] = {**mode, "keyTemplate": "{{ .inputs.id }}"}
    return "spec.deliveryPolicy.dedupe.keyTemplate"


@breaks("impulse/delay", "Impulse")
def _no_delay(chance: Chance, draft: Draft) -> str:
    key = chance.pick(("baseDelay", "maxDelay"))
    section(draft.spec, "deliveryPolicy", "retry")[key] = chance.pick((*BAD_DURATIONS, "", " "))
    return f"spec.deliveryPolicy.retry.{key}"


@breaks("impulse/delays", "Impulse")
def _delays_the_wrong_way_round(chance: Chance, draft: Draft) -> str:
    delays: Object = chance.pick(({"baseDelay": "10s", "maxDelay": "1s"}, {"baseDelay": "1ms", "maxDelay": " 1us"}))
    section(draft.spec, "deliveryPolicy", "retry").update(delays)
    return "spec.deliveryPolicy.retry.maxDelay"


@breaks("impulse/throttle", "Impulse")
def _negative(chance: Chance, draft: Draft) -> list[str]:
    keys = chance.some(("burst", "maxInFlight", "ratePerSecond"), 3, 1)
    for key in keys:
        section(draft.spec, "throttle")[key] = -chance.number(1, 9)
    return [f"spec.throttle.{key}" for key in draft.spec["throttle"] if key in keys]


# --- templates -------------------------------------------------------------------------------------------------------


@breaks("template/schema", "EngramTemplate", "ImpulseTemplate")
def _no_schema(chance: Chance, draft: Draft) -> str:
    own = ("inputSchema", "outputSchema") if draft.new["kind"] == "EngramTemplate" else ("contextSchema",)
    key = chance.pick((*own, "configSchema"))
    draft.spec[key] = bad_schema(chance)
    return f"spec.{key}"


@breaks("template/blank", "EngramTemplate", "ImpulseTemplate")
def _blank(chance: Chance, draft: Draft) -> str:
    key = chance.pick(("image", "version"))
    draft.spec[key] = chance.pick(("", " "))
    return f"spec.{key}"


@breaks("template/container", "EngramTemplate")
def _container_that_cannot_run(chance: Chance, draft: Draft) -> str:
    draft.spec["supportedModes"] = ["job"]
    wrong, path = chance.pick(
        (
            ({"args": ["x", "{{ steps.a.output }}"]}, "args[1]"),
            ({"args": ["{{ inputs.a"]}, "args[0]"),
            ({"env": [{"name": "LD_PRELOAD", "value": "/x.so"}]}, "env[0].name"),
            ({"env": [{"name": "A", "value": ""}, {"name": "A", "value": ""}]}, "env[1].name"),
            ({"inputsFile": "inputs.json"}, "inputsFile"),
            ({"result": {"from": "file", "path": "/a/../b"}}, "result.path"),
            ({"result": {"from": "stdout", "path": "/a"}}, "result.path"),
            ({"exitCodes": {"retry": [0]}}, "exitCodes.retry[0]"),
            ({"exitCodes": {"retry": [7], "terminal": [7]}}, "exitCodes.terminal[0]"),
        )
    )
    draft.spec["container"] = wrong
    return f"spec.container.{path}"


@breaks("template/container", "EngramTemplate")
def _container_that_runs_on(chance: Chance, draft: Draft) -> str:
    draft.spec["supportedModes"] = ["job", chance.pick(("deployment", "statefulset"))]
    draft.spec["container"] = chance.pick(({}, {"result": {"from": "stdout"}}))
    return "spec.supportedModes[1]"


@breaks("template/container-doubtful", "EngramTemplate")
def _shell_program_of_inputs(chance: Chance, draft: Draft) -> str:
    draft.spec["supportedModes"] = ["job"]
    text = "echo {{ inputs.city }}"
    wrong, path = chance.pick(
        (
            ({"command": ["sh", "-c"], "args": [text]}, "args[0]"),
            ({"args": ["/bin/bash", "-ec", text]}, "args[2]"),
            ({"command": ["curl", "{{ inputs.url }}"]}, "command[1]"),
        )
    )
    draft.spec["container"] = wrong
    return f"spec.container.{path}"


@breaks("template/job", "ImpulseTemplate")
def _listeners_as_jobs(chance: Chance, draft: Draft) -> str:
    return f"spec.supportedModes[{insert(chance, draft.spec, 'supportedModes', 'job')}]"


@breaks("definition/rights", "EngramTemplate", "ImpulseTemplate", "Engram", "Impulse")
def _too_many_rights(chance: Chance, draft: Draft) -> str:
    part = "overrides" if draft.new["kind"] == "Engram" else "execution"
    asked = chance.pick(
        (
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]},
            {"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["get"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["escalate"]},
            {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
        )
    )
    if draft.new["kind"] == "Impulse" and chance.yes():
        own = {"apiGroups": ["bubustack.io"], "resourceNames": [draft.new["metadata"].get("name") or "x"]}
        asked = chance.pick(
            (
                {**own, "resources": ["impulses"], "verbs": ["get", "update"]},
                {**own, "resources": ["impulses/status"], "verbs": ["update"]},
                {**own, "resources": ["impulses"], "verbs": ["get"], "resourceNames": ["another"]},
            )
        )
    rbac = draft.spec.setdefault(part, {}).setdefault("rbac", {})
    return f"spec.{part}.rbac.rules[{insert(chance, rbac, 'rules', asked)}]"


# --- ReferenceGrants -------------------------------------------------------------------------------------------------


@breaks("grant/unknown-kind", "ReferenceGrant")
def _unknown_kind(chance: Chance, draft: Draft) -> str:
    group, kind = chance.pick((("bubustack.io", "Engramm"), ("runs.bubustack.io", "Engram"), ("x", "Story")))
    key = chance.pick(("from", "to"))
    entry: Object = {"group": group, "kind": kind} | ({"namespace": "team"} if key == "from" else {})
    return f"spec.{key}[{insert(chance, draft.spec, key, entry)}]"


@breaks("grant/never-asked", "ReferenceGrant")
def _never_asked(chance: Chance, draft: Draft) -> str:
    draft.spec["from"] = [{"group": "runs.bubustack.io", "kind": "StoryRun", "namespace": "team"}]
    draft.spec["to"] = [{"group": "bubustack.io", "kind": "Story"}]
    entry = {"group": "bubustack.io", "kind": "Engram"}
    return f"spec.to[{insert(chance, draft.spec, 'to', entry)}]"


# --- settings of the listeners of this project -----------------------------------------------------------------------


def _listener(draft: Draft, program: str, settings: Object) -> None:
    """Make the Impulse one of ``program``, cron or webhook, with these settings."""
    spec = section(_template(draft), "spec")
    spec.pop("configSchema", None)
    spec["image"] = f"registry.example/impulse-{program}:1"
    draft.spec["with"] = settings


@breaks("impulse/schedule", "Impulse")
def _schedule_that_cannot_be_read(chance: Chance, draft: Draft) -> str:
    key, wrong = chance.pick((("cron", "0 25 * * *"), ("cron", "* * * *"), ("every", "1500ms"), ("jitter", "-1s")))
    _listener(draft, "cron", {"schedules": [{key: wrong}]})
    return f"spec.with.schedules[0].{key}"


@breaks("impulse/time-zone", "Impulse")
def _unknown_time_zone(chance: Chance, draft: Draft) -> str:
    if chance.pick((True, False)):
        _listener(draft, "cron", {"timeZone": "Europe/Brelin"})
        return "spec.with.timeZone"
    _listener(draft, "cron", {"schedules": [{"cron": "0 2 * * *", "timeZone": "Mars/Olympus"}]})
    return "spec.with.schedules[0].timeZone"


@breaks("impulse/setting-template", "Impulse")
def _setting_that_is_no_template(chance: Chance, draft: Draft) -> str:
    wrong = chance.pick(("{{ bdoy.id }}", "{{ body.id | uper }}", "{{ body.id", "{{ inputs.id }}"))
    key, value, path = chance.pick((("key", wrong, "key"), ("inputs", {"id": [wrong]}, "inputs.id[0]")))
    _listener(draft, "webhook", {key: value})
    return f"spec.with.{path}"


@breaks("impulse/unsigned", "Impulse")
def _key_that_no_signature_covers(chance: Chance, draft: Draft) -> str:
    choices: tuple[tuple[Object, str], ...] = (
        ({"keyHeader": "X-Delivery"}, "keyHeader"),
        ({"key": "{{ headers.x }}"}, "key"),
        ({"key": ""}, "key"),
        ({"auth": {"type": "standard"}, "inputs": {"id": "{{ headers.x }}"}}, "inputs.id"),
    )
    settings, path = chance.pick(choices)
    _listener(draft, "webhook", settings)
    return f"spec.with.{path}"
