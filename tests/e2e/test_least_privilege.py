"""The operator does its work with exactly the rights of the table, on a real API server.

The test plays a day of an operator: runs that succeed, fail, are retried, canceled, deleted and outlived, then a crash,
a hand-over and a stop. Then it reads the audit log: nothing was refused, and each right was used or has a reason.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from bubu_contract.submission import story_run_name, trigger_name
from core.api.keys import (
    FINALIZER_STEP_RUN,
    FINALIZER_STORY,
    FINALIZER_STORY_RUN,
    LABEL_RUNNER_GRANTS,
    LABEL_STORY_RUN,
)
from core.api.objects import Object
from core.api.resource import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    ENGRAM,
    IMPULSE,
    LEASE,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    TRANSPORT,
    Resource,
)
from core.kube.client import KubeClient
from core.kube.errors import ForbiddenError
from deployment.files import policies
from deployment.permissions.roles import DEFAULT_INSTALLATION, METRICS_READER
from deployment.permissions.table import (
    CONFIG_NAME,
    LEASE_NAME,
    LISTENER,
    MANAGER,
    OPERATOR_NAMESPACE,
    ROLE_TABLES,
    RUNNER,
)
from deployment.policies.policy import BINDING, POLICY, documents
from tests.e2e import yaml_documents
from tests.e2e.admission_rig import ask_admission, ask_nobody
from tests.e2e.listener_chapters import (
    change_a_listener,
    move_a_listener_into_a_stateful_set,
    start_runs_from_a_schedule,
)
from tests.e2e.operator_rig import FLOWS, ROOT, OperatorRig, eventually, status_of, step
from tests.e2e.permission_usage import Usage, report, usage
from tests.e2e.stream_chapters import run_a_stream
from tests.e2e.warm_chapter import serve_steps_warm
from tools.control_plane.processes import ServerProcess

WEATHER = ROOT / "examples/weather"
ENGRAMS = Path(__file__).parent / "engrams"
REPORT = ROOT / "report/least-privilege.txt"
METRICS = "--metrics-bind-address=127.0.0.1:0"
GATE = "--webhook-bind-address=127.0.0.1:0"


async def test_every_right_is_used_or_explained_and_none_is_missing(rig: OperatorRig, tmp_path: Path) -> None:
    await configure(rig)
    await put_policies_in_force(rig)
    first = await rig.start_operator("first", METRICS, GATE, "--webhook-names=127.0.0.1")
    await leads(rig, first)
    await ask_admission(rig, first)
    standby = await rig.start_operator("standby")
    async with trio.open_nursery() as nursery:
        for chapter in (
            read_metrics,
            run_the_weather,
            retry_a_step,
            copy_the_storage_secret,
            change_a_listener,
            move_a_listener_into_a_stateful_set,
            start_runs_from_a_schedule,
            hand_on_what_an_engram_asks_for,
            cancel_a_run,
            delete_a_run_of_the_reference,
            outlive_a_run,
            declare_a_transport,
            run_a_stream,
            serve_steps_warm,
        ):
            nursery.start_soon(chapter, rig)
    await ask_nobody(rig)  # the first operator is about to die, and here no Service leads to another one
    for chapter in (start_a_run_before_its_story, refer_to_what_is_missing, answer_a_request_before_its_story):
        await chapter(rig)  # admission would refuse these
    await crash_and_restore_what_somebody_changed(rig, first, standby)
    await give_each_run_an_account(rig)
    await hand_over(rig, standby)

    found = the_day_of(rig)
    text = report(found, ROLE_TABLES)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(text + "\n")
    assert found.refused == []
    assert found.unexplained == []
    assert [str(right) for right in found.unused(ROLE_TABLES) if not right.permission.seldom] == []


def the_day_of(rig: OperatorRig) -> Usage:
    """The usage by the operator, and by the containers to which it granted its rights."""
    events, account = rig.audit_events(), re.compile(rf"system:serviceaccount:{FLOWS}:.+-(story|impulse)-runner")

    def containers_of(kind: str) -> Callable[[str], bool]:
        return lambda user: (match := account.fullmatch(user)) is not None and match[1] == kind

    operator = usage(events, ROLE_TABLES, of=lambda user: user == DEFAULT_INSTALLATION.user)
    steps = usage(events, [RUNNER], of=containers_of("story"))
    return operator + steps + usage(events, [LISTENER], of=containers_of("impulse"))


# The parts of the day.


async def configure(rig: OperatorRig) -> None:
    settings = {
        "controller.storage.provider": "s3",
        "controller.storage.s3.bucket": "data",
        "controller.storage.s3.auth-secret-name": "store-keys",
        "controller.storage.s3.credential-namespaces": FLOWS,
        "engram.default-max-inline-size": "65536",  # there is no store behind this
        "controller.storage.delete-with-run": "false",
    }
    await rig.create(CONFIG_MAP, CONFIG_NAME, {"data": settings}, OPERATOR_NAMESPACE)
    await rig.create(SECRET, "store-keys", {"data": keys("one")}, OPERATOR_NAMESPACE)


async def put_policies_in_force(rig: OperatorRig) -> None:
    """Install the policies, to show that they do not disturb the operator or containers."""
    for policy in policies():
        for document in documents(policy, DEFAULT_INSTALLATION):
            resource = POLICY if document["kind"] == POLICY.kind else BINDING
            await rig.client.create(resource, document)


def keys(value: str) -> Object:
    encoded = b64encode(value.encode()).decode()
    return {"AWS_ACCESS_KEY_ID": encoded, "AWS_SECRET_ACCESS_KEY": encoded}


async def leads(rig: OperatorRig, operator: ServerProcess, *, seconds: float = 60) -> None:
    """Wait until this operator holds the Lease."""

    async def holds() -> bool:
        lease = await rig.client.get(LEASE, LEASE_NAME, OPERATOR_NAMESPACE)
        return str(lease["spec"]["holderIdentity"]).endswith(f"_{operator.pid}")

    async def leading() -> bool:
        leases = (await rig.client.list(LEASE, OPERATOR_NAMESPACE)).items
        return any(lease["metadata"]["name"] == LEASE_NAME for lease in leases) and await holds()

    await eventually(leading, operator.tail, seconds=seconds)


def log_of_first(rig: OperatorRig) -> str:
    return (rig.directory / "first.log").read_text()


async def read_metrics(rig: OperatorRig) -> None:
    """Read metrics as a scraper does. Only a user with the reader role gets them."""
    await rig.create(SERVICE_ACCOUNT, "scraper", {})
    await bind(rig, "scraper-reads", DEFAULT_INSTALLATION.prefix + METRICS_READER, "scraper", FLOWS)
    token = await rig.plane.token_of("scraper", FLOWS)
    stranger = await rig.plane.token_of("default", FLOWS)
    [url] = re.findall(r"Running on (https://127\.0\.0\.1:\d+)", log_of_first(rig))
    async with httpx.AsyncClient(verify=False, trust_env=False) as http:
        answers = [
            await http.get(f"{url}/metrics", headers={"authorization": f"Bearer {bearer}"})
            for bearer in (token, stranger)
        ]
    assert [answer.status_code for answer in answers] == [200, 403]


async def bind(rig: OperatorRig, name: str, role: str, account: str, namespace: str) -> None:
    content = {
        "roleRef": {"apiGroup": CLUSTER_ROLE.group, "kind": CLUSTER_ROLE.kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
    await rig.create(CLUSTER_ROLE_BINDING, name, content)


async def run_the_weather(rig: OperatorRig) -> None:
    rig.add_images(yaml_documents.images(WEATHER / "images.yaml"))
    await rig.apply("examples/weather/manifests.yaml", namespace=FLOWS)
    inputs = {"data": str(WEATHER / "data"), "report": str(rig.directory)}
    await rig.run("weather", "two-cities", inputs=inputs)
    await rig.ended("weather", "Succeeded")


async def retry_a_step(rig: OperatorRig) -> None:
    marker = rig.directory / "tried"
    await rig.engram("flaky", f"test -e {marker} || {{ touch {marker}; exit 137; }}")
    await rig.story("flaky", step("flaky", execution={"retry": {"maxRetries": 2, "delay": "10ms"}}))
    await rig.run("flaky", "flaky")
    await rig.ended("flaky", "Succeeded")


async def copy_the_storage_secret(rig: OperatorRig) -> None:
    await rig.engram("keeper")
    await rig.story("keeper", step("keeper"))
    await rig.run("keeper", "keeper")
    await rig.ended("keeper", "Succeeded")
    assert [copy["data"] for copy in await copies_of(rig, "keeper")] == [keys("one")]
    await rig.merge(SECRET, "store-keys", {"data": keys("two")}, OPERATOR_NAMESPACE)
    await rig.run("keeper-again", "keeper")
    await rig.ended("keeper-again", "Succeeded")
    assert [copy["data"] for copy in await copies_of(rig, "keeper-again")] == [keys("two")]
    await rig.client.delete(STORY_RUN, "keeper", FLOWS)

    async def collected() -> bool:
        return not await copies_of(rig, "keeper")

    await eventually(collected, lambda: "the copy of a run that is gone is still there")


async def copies_of(rig: OperatorRig, run: str) -> list[Object]:
    """The copies of the operator's credentials that the steps of a run got."""
    return (await rig.client.list(SECRET, FLOWS, label_selector=f"{LABEL_STORY_RUN}={run}")).items


async def hand_on_what_an_engram_asks_for(rig: OperatorRig) -> None:
    """A step with the SDK that reads named configuration and claims an effect."""
    await rig.create(CONFIG_MAP, "mine", {"data": {"greeting": "hello"}})
    await rig.create(SECRET, "mine", {"stringData": {"password": "swordfish"}})
    wanted = [
        {"apiGroups": [""], "resources": [kind], "verbs": ["get"], "resourceNames": ["mine"]}
        for kind in ("configmaps", "secrets")
    ]
    await rig.engram("asking", engram={"overrides": {"rbac": {"rules": wanted}}})
    rig.add_images({"test/asking": {"command": ["$(PYTHON)", str(ENGRAMS / "use_rights.py")]}})
    inputs = {
        "greeting": {"$bubuConfigMapRef": {"name": "mine", "key": "greeting"}},
        "password": {"$bubuSecretRef": {"name": "mine", "key": "password"}},
    }
    await rig.story("asking", {**step("asking"), "with": inputs})
    await rig.run("asking", "asking")
    await rig.ended("asking", "Succeeded")
    role = await rig.client.get(ROLE, await rig.account_of("asking"), FLOWS)
    assert role["rules"] == wanted
    output = status_of(await rig.client.get(STEP_RUN, "asking-asking", FLOWS))["output"]
    assert output == {"greeting": "hello", "length": 9, "charge": {"charged": 1}}


async def start_a_run_before_its_story(rig: OperatorRig) -> None:
    await rig.engram("early")
    await rig.run("early", "early")
    await rig.until(STORY_RUN, "early", lambda run: status_of(run).get("phase") == "Pending")
    await rig.story("early", step("early"))
    await rig.ended("early", "Succeeded")


async def answer_a_request_before_its_story(rig: OperatorRig) -> None:
    name = trigger_name(FLOWS, "asked", "event-1")
    spec = {"storyRef": {"name": "asked"}, "deliveryIdentity": {"submissionId": "event-1"}}
    await rig.create(STORY_TRIGGER, name, {"spec": spec})
    await rig.until(STORY_TRIGGER, name, lambda trigger: status_of(trigger).get("decision") == "Pending")
    await rig.engram("asked")
    await rig.story("asked", step("asked"))
    await rig.until(STORY_TRIGGER, name, lambda trigger: status_of(trigger).get("decision") == "Created")
    await rig.ended(story_run_name(FLOWS, "asked", "event-1"), "Succeeded")


async def declare_a_transport(rig: OperatorRig) -> None:
    spec = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}
    await rig.create(TRANSPORT, "voice", {"spec": spec})
    await rig.until(TRANSPORT, "voice", lambda each: status_of(each).get("validationStatus") == "valid")


async def refer_to_what_is_missing(rig: OperatorRig) -> None:
    await rig.create(ENGRAM, "hollow", {"spec": {"templateRef": {"name": "nowhere"}}})
    await rig.create(IMPULSE, "mute", {"spec": {"templateRef": {"name": "nowhere"}, "storyRef": {"name": "broken"}}})
    await rig.story("broken", step("nobody"), step("hollow"))
    await rig.run("broken", "broken")
    missing = {"nobody": "EngramNotFound", "hollow": "TemplateNotFound"}
    await rig.until(STORY_RUN, "broken", lambda run: reasons_of(run) == missing)
    await rig.merge(STORY_RUN, "broken", {"spec": {"cancelRequested": True}})
    await rig.ended("broken", "Finished")


def reasons_of(run: Object) -> Object:
    return {name: state.get("reason") for name, state in (status_of(run).get("stepStates") or {}).items()}


async def cancel_a_run(rig: OperatorRig) -> None:
    await rig.engram("endless", "sleep 600")
    await rig.story("endless", step("endless"))
    await rig.run("endless", "endless")
    await started(rig, "endless")
    await rig.merge(STORY_RUN, "endless", {"spec": {"cancelRequested": True}})
    await rig.ended("endless", "Finished")


async def started(rig: OperatorRig, run: str) -> None:
    """Wait until the container of the first step runs."""
    name = f"{run}-{run}"
    await eventually_stored(rig, STEP_RUN, name)
    await rig.until(STEP_RUN, name, lambda obj: status_of(obj).get("phase") == "Running")


async def eventually_stored(rig: OperatorRig, resource: Resource, name: str) -> None:
    async def there() -> bool:
        return name in {obj["metadata"]["name"] for obj in (await rig.client.list(resource, FLOWS)).items}

    await eventually(there, lambda: f"no {resource.kind} {name}")


async def delete_a_run_of_the_reference(rig: OperatorRig) -> None:
    """It, its Story and its StepRun carry finalizers that the reference has set."""
    await rig.engram("heirloom", "sleep 600")
    await rig.story("heirloom", step("heirloom"))
    await rig.merge(STORY, "heirloom", {"metadata": {"finalizers": [FINALIZER_STORY]}})
    await rig.run("heirloom", "heirloom")
    await started(rig, "heirloom")
    await rig.merge(STORY_RUN, "heirloom", {"metadata": {"finalizers": [FINALIZER_STORY_RUN]}})
    await rig.merge(STEP_RUN, "heirloom-heirloom", {"metadata": {"finalizers": [FINALIZER_STEP_RUN]}})
    for resource in (STORY_RUN, STORY):
        await rig.client.delete(resource, "heirloom", FLOWS)
    for resource, name in ((STORY, "heirloom"), (STORY_RUN, "heirloom"), (STEP_RUN, "heirloom-heirloom")):
        await rig.gone(resource, name)


async def outlive_a_run(rig: OperatorRig) -> None:
    """A run that is removed as soon as it has ended."""
    await rig.engram("mayfly")
    await rig.story("mayfly", step("mayfly"), policy={"execution": {"job": {"storyRunRetentionSeconds": -1}}})
    await rig.run("mayfly", "mayfly")
    await rig.gone(STORY_RUN, "mayfly")


async def crash_and_restore_what_somebody_changed(
    rig: OperatorRig, first: ServerProcess, standby: ServerProcess
) -> None:
    """While no operator leads, the access of a Story is changed. The next leader restores it, and its run continues."""
    flag = rig.directory / "released"
    wanted = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["mine"]}]
    asks = {"overrides": {"rbac": {"rules": wanted}}}
    await rig.engram("survivor", f"until test -e {flag}; do sleep 0.1; done", engram=asks)
    annotations = {"authentication": {"serviceAccountAnnotations": {"cloud": "reader"}}}
    await rig.story("survivor", step("survivor"), policy={"storage": {"s3": {"bucket": "b", **annotations}}})
    await rig.run("survivor", "survivor")
    await started(rig, "survivor")
    await first.kill()
    runner = await rig.account_of("survivor")
    rules = (await rig.client.get(ROLE, runner, FLOWS))["rules"]
    stranger = {"kind": "ServiceAccount", "name": "stranger", "namespace": FLOWS}
    await rig.merge(ROLE, runner, {"rules": []})
    await rig.merge(ROLE_BINDING, runner, {"subjects": [stranger]})
    await rig.merge(SERVICE_ACCOUNT, runner, {"metadata": {"annotations": {"cloud": "admin"}}})
    await leads(rig, standby)
    await rig.until(ROLE, runner, lambda role: role.get("rules") == rules)
    await rig.until(ROLE_BINDING, runner, lambda binding: binding["subjects"][0]["name"] == runner)
    await rig.until(SERVICE_ACCOUNT, runner, lambda acc: acc["metadata"]["annotations"]["cloud"] == "reader")
    flag.touch()
    await rig.ended("survivor", "Succeeded")


async def give_each_run_an_account(rig: OperatorRig) -> None:
    """The setting for clusters that rely on the names of these accounts; the containers' reports are admitted."""
    setting = "controller.runner-identity"
    await rig.merge(CONFIG_MAP, CONFIG_NAME, {"data": {setting: "run"}}, OPERATOR_NAMESPACE)
    inputs = {"data": str(WEATHER / "data"), "report": str(rig.directory)}
    made: set[str] = set()
    for number in range(20):  # the operator learns of the setting from a watch
        run = f"weather-{number}"
        await rig.run(run, "two-cities", inputs=inputs)
        await rig.ended(run, "Succeeded")
        made = {account["metadata"]["name"] for account in (await rig.client.list(SERVICE_ACCOUNT, FLOWS)).items}
        if f"{run}-engram-runner" in made:
            break
    assert f"{run}-engram-runner" in made
    for resource in (ROLE, ROLE_BINDING):
        assert await rig.client.get(resource, f"{run}-engram-runner", FLOWS)
    await rig.merge(CONFIG_MAP, CONFIG_NAME, {"data": {setting: None}}, OPERATOR_NAMESPACE)


async def hand_over(rig: OperatorRig, leader: ServerProcess) -> None:
    """A clean stop gives the Lease back, so that the next operator need not wait until it expires."""
    await rig.engram("late")
    await rig.story("late", *(step(name, "late") for name in ("a", "b", "c")))
    await rig.run("late", "late")
    await rig.ended("late", "Succeeded")
    successor = await rig.start_operator("successor")
    await leader.stop()
    await leads(rig, successor, seconds=10)
    await rig.run("last", "late")
    await rig.ended("last", "Succeeded")
    await successor.stop()


# What the operator may not do.


async def test_what_is_beyond_the_table_is_refused_said_and_waited_for(rig: OperatorRig) -> None:
    await configure(rig)
    operator = await rig.start_operator("operator")
    await leads(rig, operator)
    async with as_operator(rig) as client:
        await refuse_what_leads_to_more(client)
    await wait_for_a_rule_of_a_template(rig)
    await wait_for_a_right_of_its_own(rig, "jobs", "create", 'cannot create resource "jobs"')
    await wait_for_a_right_of_its_own(rig, "storyruns/finalizers", "update", "can't set finalizers on")
    await renew_a_token_that_was_withdrawn(rig, operator)


@asynccontextmanager
async def as_operator(rig: OperatorRig) -> AsyncIterator[KubeClient]:
    async with AsyncExitStack() as stack:
        yield await rig.operator_client(stack)


async def refuse_what_leads_to_more(client: KubeClient) -> None:
    for resource in (SECRET, CONFIG_MAP):
        with pytest.raises(ForbiddenError):
            await client.list(resource)
    everything = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}
    greedy = {"apiVersion": ROLE.api_version, "kind": ROLE.kind, "metadata": {"name": "greedy"}, "rules": [everything]}
    with pytest.raises(ForbiddenError, match="not currently held"):
        await client.create(ROLE, greedy, namespace=FLOWS)
    binding = {
        "apiVersion": ROLE_BINDING.api_version,
        "kind": ROLE_BINDING.kind,
        "metadata": {"name": "greedy"},
        "roleRef": {"apiGroup": CLUSTER_ROLE.group, "kind": CLUSTER_ROLE.kind, "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": FLOWS}],
    }
    with pytest.raises(ForbiddenError, match="not currently held"):
        await client.create(ROLE_BINDING, binding, namespace=FLOWS)


async def wait_for_a_rule_of_a_template(rig: OperatorRig) -> None:
    """The run names the missing rule and the remedy. After the remedy, it continues by itself."""
    rule = {"apiGroups": [""], "resources": ["limitranges"], "verbs": ["get", "list"]}
    await rig.engram("curious", execution={"rbac": {"rules": [rule]}})
    await rig.story("curious", step("curious"))
    await rig.run("curious", "curious")
    run = await rig.until(STORY_RUN, "curious", lambda obj: ready_reason(obj) == "PermissionDenied")
    assert status_of(run)["phase"] == "Pending"
    assert 'Resources:["limitranges"]' in status_of(run)["message"]
    assert f"{LABEL_RUNNER_GRANTS}=true" in status_of(run)["message"]
    labels = {LABEL_RUNNER_GRANTS: "true"}
    await rig.create(CLUSTER_ROLE, "runs-read-limits", {"rules": [rule]}, labels=labels)
    await rig.ended("curious", "Succeeded")


def ready_reason(run: Object) -> str:
    conditions = status_of(run).get("conditions") or ()
    return next((str(condition["reason"]) for condition in conditions if condition["type"] == "Ready"), "")


async def wait_for_a_right_of_its_own(rig: OperatorRig, target: str, verb: str, said: str) -> None:
    """A right is taken away and given back: the run gets a condition and does not fail."""
    role, name = DEFAULT_INSTALLATION.prefix + MANAGER.name, f"lacks-{target.replace('/', '-')}"
    rules = [row.rule() for row in MANAGER.permissions]
    lesser = [row.rule() for row in MANAGER.permissions if (row.target, row.verbs) != (target, (verb,))]
    assert len(lesser) == len(rules) - 1
    await rig.merge(CLUSTER_ROLE, role, {"rules": lesser})
    await rig.run(name, "curious")
    run = await rig.until(STORY_RUN, name, lambda obj: ready_reason(obj) == "PermissionDenied")
    assert status_of(run)["phase"] == "Running"
    assert said in status_of(run)["message"]
    await rig.merge(CLUSTER_ROLE, role, {"rules": rules})
    await rig.ended(name, "Succeeded")


async def renew_a_token_that_was_withdrawn(rig: OperatorRig, operator: ServerProcess) -> None:
    """The old token becomes invalid at once. The operator finds the new one within five seconds."""
    account = DEFAULT_INSTALLATION
    await rig.client.delete(SERVICE_ACCOUNT, account.service_account, account.namespace)
    await rig.create(SERVICE_ACCOUNT, account.service_account, {}, account.namespace)
    await rig.renew_token()
    renewed_at = trio.current_time()
    await rig.run("renewed", "curious")
    await rig.until(STORY_RUN, "renewed", lambda obj: bool(status_of(obj).get("startedAt")))
    assert trio.current_time() - renewed_at < 5
    await rig.ended("renewed", "Succeeded")
    assert operator.running
