"""Containers as the node runs them: environment, volumes, ends, restarts, waits. Whole clusters, real processes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from localcluster.node.client import ApiError
from localcluster_tests.file_limit import largest_file
from tests.integration.nodecluster import (
    PODS,
    SHELL_MAP,
    LocalCluster,
    container_state,
    has_started,
    in_phase,
    node_of,
    open_either,
    open_local_cluster,
    pod,
    until_no_process_with,
    waits_because,
)
from tools.control_plane.session import SessionCluster

TOKEN_PROGRAM = """
import json, os, ssl, urllib.request
root = os.environ.get("BUBU_VOLUME_ROOT", "") + "/var/run/secrets/kubernetes.io/serviceaccount/"
url = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
headers = {"Authorization": "Bearer " + open(root + "token").read(), "Content-Type": "application/json"}
request = urllib.request.Request(url + "/apis/authentication.k8s.io/v1/selfsubjectreviews", body, headers)
context = ssl.create_default_context(cafile=root + "ca.crt")
print(json.load(urllib.request.urlopen(request, context=context))["status"]["userInfo"]["username"])
print(open(root + "namespace").read())
"""
BUSY = """import time
while time.process_time() < 0.3: pass
print("used", flush=True)
time.sleep(600)"""
EVENTS = "/api/v1/namespaces/default/events"


@pytest.fixture(params=[True, False], ids=["namespaces", "plain"])
async def local(
    request: pytest.FixtureRequest, tmp_path: Path, control_plane: SessionCluster | None
) -> AsyncIterator[LocalCluster]:
    """A cluster whose node uses namespaces where the system allows them, and one whose node never uses them."""
    async with open_either(tmp_path, control_plane, isolate=request.param) as cluster:
        yield cluster


async def test_a_program_finds_its_environment_and_its_end_is_told(local: LocalCluster) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": "from secret"}}
    await local.client.create("/api/v1/namespaces/default/secrets", secret)
    env = [
        {"name": "A", "value": "one"},
        {"name": "B", "value": "$(A) $$(A)"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
    ]
    script = (
        'echo "$A|$B|$POD|$KEY|$HOSTNAME"; echo oops >&2; printf done > $BUBU_VOLUME_ROOT/dev/termination-log; exit 3'
    )

    ended = await local.run_pod(pod("p", script, env=env), until="Failed")

    state = container_state(ended)
    assert (state["exitCode"], state["reason"], state["message"]) == (3, "Error", "done")
    assert ended["spec"]["nodeName"] == "local"
    assert set((await local.log("p")).splitlines()) == {"oops", "one|one $(A)|p|from secret|p"}


async def test_volumes_stand_at_the_paths_of_the_pod_and_nothing_is_left_on_the_machine(local: LocalCluster) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}}
    await local.client.create("/api/v1/namespaces/default/configmaps", config)
    script = """
    R=$BUBU_VOLUME_ROOT; cat $R/etc/bubu-test/config/k; cat $R/bubu-test-shared/from-init
    touch $R/etc/bubu-test/config/new 2>/dev/null && [ -z "$R" ] && echo writable; echo end
    """
    shared = {"name": "shared", "mountPath": "/bubu-test-shared"}
    wanted = pod(
        "p",
        script,
        volumes=[{"name": "config", "configMap": {"name": "c"}}, {"name": "shared", "emptyDir": {}}],
        volumeMounts=[{"name": "config", "mountPath": "/etc/bubu-test/config", "readOnly": True}, shared],
        initContainers=[
            {
                "name": "prepare",
                "image": "shell",
                "args": ["echo ' and init' > $BUBU_VOLUME_ROOT/bubu-test-shared/from-init"],
                "volumeMounts": [shared],
            }
        ],
    )

    await local.run_pod(wanted)

    assert await local.log("p", container="main") == "v and init\nend\n"
    assert not any(path.exists() for path in (Path("/etc/bubu-test"), Path("/bubu-test-shared")))


async def test_a_program_reaches_the_api_server_as_its_service_account(local: LocalCluster) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}}
    await local.client.create("/api/v1/namespaces/default/serviceaccounts", account)
    wanted = pod("p", "", image="python", serviceAccountName="runner")
    wanted["spec"]["containers"][0]["command"] = ["python", "-c", TOKEN_PROGRAM.replace("$", "$$")]

    await local.run_pod(wanted)

    assert await local.log("p") == "system:serviceaccount:default:runner\ndefault\n"


async def test_no_process_outlives_its_container(local: LocalCluster) -> None:
    marker = "86399.25"

    await local.run_pod(pod("p", f"(setsid sleep {marker} >/dev/null 2>&1 &); sleep {marker} & echo started"))

    await until_no_process_with(f"sleep {marker}")


async def test_a_deleted_pod_gets_its_grace_and_is_then_gone(local: LocalCluster) -> None:
    script = "trap 'echo bye; exit 5' TERM; echo up; while true; do sleep 0.05; done"
    await local.run_pod(pod("p", script), until="Running")
    await local.wait_for(PODS, "p", in_phase("Running"))
    await local.log("p", follow="true", limitBytes="2")  # returns once the trap is set and "up" is written

    await local.client.delete(f"{PODS}/p", {})
    ended = await local.wait_for(PODS, "p", in_phase("Failed"))

    assert container_state(ended)["exitCode"] == 5
    await local.wait_gone(PODS)


async def test_an_event_says_how_much_of_the_processor_an_ended_container_had_used(local: LocalCluster) -> None:
    """After the deletion of its Pod nothing else can: a program that was starved looks like one that hangs."""
    busy = await local.run_pod(pod("busy", f"exec {sys.executable} -c '{BUSY}'"), until="Running")
    await local.log("busy", follow="true", limitBytes="4")  # returns once it has used what the Event must say
    await local.client.delete(f"{PODS}/busy", {"gracePeriodSeconds": 1})
    await local.wait_gone(PODS)

    told = {"fieldSelector": f"involvedObject.uid={busy['metadata']['uid']},reason=ProcessorUse"}
    with trio.fail_after(60):
        while not (found := (await local.client.get(EVENTS, told))["items"]):  # noqa: ASYNC110 - another process writes it
            await trio.sleep(0.1)
    [event] = found
    said = re.fullmatch(r"container main was ended; it had used (\S+) s of processor in (\d+) s", event["message"])
    assert said, event["message"]
    assert float(said[1]) >= 0.3
    assert event["involvedObject"]["kind"] == "Pod"


async def test_who_ignores_sigterm_is_killed_when_the_grace_is_over(local: LocalCluster) -> None:
    await local.run_pod(pod("p", "trap '' TERM; echo deaf; while true; do sleep 0.05; done"), until="Running")
    await local.log("p", follow="true", limitBytes="4")  # returns once the trap is set and "deaf" is written
    began = trio.current_time()

    await local.client.delete(f"{PODS}/p", {"gracePeriodSeconds": 1})
    ended = await local.wait_for(PODS, "p", in_phase("Failed"))

    assert container_state(ended)["exitCode"] == 137
    assert trio.current_time() - began < 5
    await local.wait_gone(PODS)


@pytest.fixture
async def isolated(tmp_path: Path, control_plane: SessionCluster | None) -> AsyncIterator[LocalCluster]:
    async with open_either(tmp_path, control_plane) as cluster:
        yield cluster


async def test_an_unknown_image_waits_until_the_map_knows_it(isolated: LocalCluster) -> None:
    await isolated.client.create(PODS, pod("p", "", image="acme/late:1"))
    waiting = await isolated.wait_for(PODS, "p", waits_because("ErrImagePull"))
    assert str(isolated.image_map) in container_state(waiting, "waiting")["message"]

    isolated.image_map.write_text("images: {acme/late: {command: [echo, here now]}}")
    await isolated.wait_for(PODS, "p", in_phase("Succeeded"))

    assert await isolated.log("p") == "here now\n"


async def test_a_missing_secret_is_waited_for(isolated: LocalCluster) -> None:
    env = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "late", "key": "key"}}}]
    await isolated.client.create(PODS, pod("p", "echo $KEY", env=env))
    waiting = await isolated.wait_for(PODS, "p", waits_because("CreateContainerConfigError"))
    assert container_state(waiting, "waiting")["message"] == 'secret "late" not found'

    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"key": "came"}}
    await isolated.client.create("/api/v1/namespaces/default/secrets", secret)
    await isolated.wait_for(PODS, "p", in_phase("Succeeded"))

    assert await isolated.log("p") == "came\n"


async def test_a_program_that_does_not_exist_fails_at_its_start(isolated: LocalCluster) -> None:
    wanted = pod("p", "")
    wanted["spec"]["containers"][0]["command"] = ["no-such-program"]

    state = container_state(await isolated.run_pod(wanted, until="Failed"))

    assert (state["exitCode"], state["reason"]) == (128, "StartError")
    assert "'no-such-program': executable file not found" in state["message"]


async def test_a_failing_container_is_restarted_and_the_run_before_can_be_read(isolated: LocalCluster) -> None:
    volumes: dict[str, Any] = {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    script = "cd $BUBU_VOLUME_ROOT/v; if [ -e again ]; then echo second; else touch again; echo first; exit 1; fi"

    ended = await isolated.run_pod(pod("p", script, restartPolicy="OnFailure", **volumes))

    status = ended["status"]["containerStatuses"][0]
    assert (status["restartCount"], status["lastState"]["terminated"]["exitCode"]) == (1, 1)
    assert await isolated.log("p") == "second\n"
    assert await isolated.log("p", previous="true") == "first\n"


async def test_a_run_before_the_first_is_refused_in_words(isolated: LocalCluster) -> None:
    await isolated.run_pod(pod("p", "echo only"))

    with pytest.raises(ApiError, match='previous terminated container "main" in pod "p" not found') as caught:
        await isolated.log("p", previous="true")

    assert caught.value.code == 400


async def test_a_container_that_keeps_crashing_is_held_back(isolated: LocalCluster) -> None:
    await isolated.client.create(PODS, pod("p", "exit 1", restartPolicy="Always"))

    held = await isolated.wait_for(PODS, "p", waits_because("CrashLoopBackOff"))

    assert held["status"]["phase"] == "Running"
    assert "back-off 10s restarting failed container=main pod=p_default" in container_state(held, "waiting")["message"]


async def test_of_a_long_message_the_end_is_kept_and_one_file_of_a_volume_is_mounted_alone(
    isolated: LocalCluster,
) -> None:
    """As a kubelet does; a file of the downward API at a path of its own, and a message at another path."""
    notes = {"name": "notes", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}
    script = """
    R=$BUBU_VOLUME_ROOT; exec > $R/dev/bubu-test-message
    printf '%05000d' 7; cat $R/etc/bubu-test/name; exit 3
    """
    mounts = [{"name": "notes", "mountPath": "/etc/bubu-test/name", "subPath": "n", "readOnly": True}]
    path = "/dev/bubu-test-message"
    wanted = pod("p", script, volumes=[notes], volumeMounts=mounts, terminationMessagePath=path)

    state = container_state(await isolated.run_pod(wanted, until="Failed"))

    assert (state["exitCode"], state["message"]) == (3, "7p".rjust(4096, "0"))


async def test_the_end_of_the_log_explains_an_error_when_the_pod_asks_for_it(isolated: LocalCluster) -> None:
    wanted = pod("p", "echo cause of death >&2; exit 1", terminationMessagePolicy="FallbackToLogsOnError")

    assert container_state(await isolated.run_pod(wanted, until="Failed"))["message"] == "cause of death\n"


async def test_a_pod_past_its_deadline_is_ended_and_says_so(isolated: LocalCluster) -> None:
    for seconds in (1, 8, 60):  # the first deadlines may pass before a busy machine has started the container
        ended = await isolated.run_pod(pod(f"p{seconds}", "sleep 600", activeDeadlineSeconds=seconds), until="Failed")
        assert ended["status"]["reason"] == "DeadlineExceeded"
        if has_started(ended):
            break

    assert container_state(ended)["exitCode"] == 143


async def test_a_failing_init_container_keeps_the_others_from_starting(isolated: LocalCluster) -> None:
    init = [{"name": "bad", "image": "shell", "args": ["exit 4"]}]

    ended = await isolated.run_pod(pod("p", "echo never", initContainers=init), until="Failed")

    assert ended["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
    assert container_state(ended, "waiting")["reason"] == "PodInitializing"


async def test_what_the_node_cannot_do_it_refuses_by_name(isolated: LocalCluster) -> None:
    wanted = pod("p", "true")
    wanted["spec"]["containers"][0]["lifecycle"] = {"preStop": {"exec": {"command": ["true"]}}}

    ended = await isolated.run_pod(wanted, until="Failed")

    assert ended["status"]["reason"] == "UnsupportedPod"
    assert "spec.containers[main].lifecycle" in ended["status"]["message"]


async def test_a_probe_decides_when_the_pod_is_ready(isolated: LocalCluster) -> None:
    probe = {"exec": {"command": ["test", "-e", "/v/ready"]}, "periodSeconds": 1}
    volumes: dict[str, Any] = {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    wanted = pod("p", "sleep 0.5; touch $BUBU_VOLUME_ROOT/v/ready; sleep 60", readinessProbe=probe, **volumes)

    running = await isolated.run_pod(wanted, until="Running")
    assert not running["status"]["containerStatuses"][0]["ready"]

    await isolated.wait_for(PODS, "p", lambda obj: obj["status"]["containerStatuses"][0]["ready"])
    await isolated.client.delete(f"{PODS}/p", {"gracePeriodSeconds": 0})


async def test_a_followed_log_ends_with_its_container(isolated: LocalCluster) -> None:
    await isolated.run_pod(pod("p", "echo one; sleep 0.3; echo two"), until="Running")

    with trio.fail_after(30):
        assert await isolated.log("p", follow="true") == "one\ntwo\n"


async def test_many_short_containers_end_as_themselves(isolated: LocalCluster) -> None:
    """Neighbors start and end at the same instant. None may be mistaken for another's stray process."""
    async with trio.open_nursery() as nursery:
        for number in range(40):
            wanted = pod(f"p{number}", "sleep 0.01" if number % 2 else "true")
            nursery.start_soon(isolated.client.create, PODS, wanted)

    for number in range(40):
        ended = await isolated.wait_for(
            PODS, f"p{number}", lambda obj: obj["status"]["phase"] in ("Succeeded", "Failed")
        )
        assert container_state(ended)["exitCode"] == 0


async def test_no_more_containers_run_than_allowed(tmp_path: Path, control_plane: SessionCluster | None) -> None:
    script = f"mkdir {tmp_path}/lock || echo together; sleep 0.05; rmdir {tmp_path}/lock"
    opened = open_either(tmp_path, control_plane, SHELL_MAP, max_containers=1)
    async with opened as cluster, trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(cluster.run_pod, pod(f"p{number}", script))

        for number in range(4):
            await cluster.wait_for(PODS, f"p{number}", in_phase("Succeeded"))
            assert await cluster.log(f"p{number}") == ""


async def test_what_ran_when_the_node_went_down_is_reported_when_it_is_back(tmp_path: Path) -> None:
    async with open_local_cluster(tmp_path, keep=True) as first:
        await first.run_pod(pod("once", "sleep 86399.5"), until="Running")
        await first.run_pod(pod("always", "sleep 86399.5", restartPolicy="Always"), until="Running")
        await first.run_pod(pod("done", "echo kept"))
    await until_no_process_with("sleep 86399.5")

    async with open_local_cluster(tmp_path, keep=True) as second:
        once = await second.wait_for(PODS, "once", in_phase("Failed"))
        always = await second.wait_for(
            PODS, "always", lambda obj: obj["status"]["containerStatuses"][0]["restartCount"] == 1
        )

        assert (container_state(once)["exitCode"], container_state(once)["reason"]) == (137, "ContainerStatusUnknown")
        assert always["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
        assert await second.log("done") == "kept\n"


async def test_a_pod_waits_while_the_disk_of_its_node_is_full_and_then_runs(tmp_path: Path) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}}
    mounted: dict[str, Any] = {
        "volumes": [{"name": "config", "configMap": {"name": "c"}}],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/bubu-test/config"}],
    }
    async with open_local_cluster(tmp_path) as cluster:
        await cluster.client.create("/api/v1/namespaces/default/configmaps", config)
        with largest_file(0, node_of(os.getpid())):
            await cluster.client.create(PODS, pod("p", "cat /etc/bubu-test/config/k", **mounted))
            waiting = await cluster.wait_for(PODS, "p", waits_because("ContainerCreating"))
        ended = await cluster.wait_for(PODS, "p", in_phase("Succeeded"))

    message = container_state(waiting, "waiting")["message"]
    assert message.startswith("the volumes cannot be created: ")
    assert message.endswith("free some disk space; the node tries again")
    assert ended["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_a_pod_whose_log_cannot_be_begun_waits_and_then_runs_once(tmp_path: Path) -> None:
    async with open_local_cluster(tmp_path, keep=True) as cluster:
        logs = tmp_path / "cluster" / "node" / "logs"
        logs.parent.mkdir(exist_ok=True)
        logs.write_text("a file where the directory of logs should be")
        await cluster.client.create(PODS, pod("p", f"echo began >> {tmp_path}/began"))
        waiting = await cluster.wait_for(PODS, "p", waits_because("CreateContainerError"))
        began_early = (tmp_path / "began").exists()
        logs.unlink()
        await cluster.wait_for(PODS, "p", in_phase("Succeeded"))

    assert str(logs) in container_state(waiting, "waiting")["message"]
    assert not began_early
    assert (tmp_path / "began").read_text() == "began\n"
