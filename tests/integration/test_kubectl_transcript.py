"""A day with kubectl: every common verb, with a real kubectl, against a cluster that ``bobrapet up`` started.

The same tests run against the real control plane, which must give the same answers.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.integration.command_stand import open_line
from tests.integration.commandline import DEADLINE_SECONDS, CommandLine
from tests.integration.kubectl_binary import KUBECTL, needs_kubectl
from tools.control_plane.session import SessionCluster

pytestmark = [pytest.mark.kubectl, needs_kubectl]

RUN = """\
apiVersion: runs.bubustack.io/v1alpha1
kind: StoryRun
metadata: {name: one}
spec: {storyRef: {name: story}}
"""


class Kubectl:
    """One cluster, one folder, one kubectl."""

    def __init__(self, cli: CommandLine, namespace: str) -> None:
        self.cli = cli
        self.namespace = namespace
        embedded = {"KUBECONFIG": str(cli.data / "kubeconfig")}
        self.environment = {**embedded, **cli.env, "KUBE_EDITOR": "sed -i s/purple/green/"}

    def command(self, *arguments: str) -> list[str]:
        assert KUBECTL is not None
        return [KUBECTL, *arguments]

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.cli.folder,
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory, real: SessionCluster | None) -> Iterator[Kubectl]:
    with open_line(tmp_path_factory.mktemp("kubectl"), real) as (line, namespace):
        kubectl = Kubectl(line, namespace)
        kubectl.cli.story("greet", "wave")
        kubectl("apply", "-f", "story.yaml")
        kubectl("apply", "-f", "-", stdin=RUN)
        kubectl("wait", "storyrun/one", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
        yield kubectl


def test_apply_a_second_time_changes_nothing_on_either_side(kubectl: Kubectl) -> None:
    assert "story.bubustack.io/story unchanged" in kubectl("apply", "-f", "story.yaml")
    assert "serverside-applied" in kubectl("apply", "--server-side", "--force-conflicts", "-f", "story.yaml")
    kubectl("diff", "-f", "story.yaml")


def test_get_prints_the_printer_columns_of_runs_and_steps(kubectl: Kubectl) -> None:
    runs = kubectl("get", "storyruns").splitlines()
    steps = kubectl("get", "step").splitlines()

    assert runs[0].split() == ["NAME", "STORY", "PHASE", "DURATION", "AGE"]
    assert runs[1].split()[:3] == ["one", "story", "Succeeded"]
    assert steps[0].split() == ["NAME", "STORYRUN", "STEP", "PHASE", "RETRIES", "AGE"]
    assert [line.split()[2:5] for line in steps[1:]] == [["greet", "Succeeded", "0"], ["wave", "Succeeded", "0"]]


def test_get_selects_by_field_label_and_category(kubectl: Kubectl) -> None:
    assert "one" in kubectl("get", "srun", "--field-selector", "status.phase=Succeeded")
    assert "No resources" in kubectl("get", "srun", "--field-selector", "status.phase=Failed")
    assert "greet" in kubectl("get", "pods", "-l", "bubustack.io/storyrun=one,bubustack.io/step=greet")
    assert "storyrun.runs.bubustack.io/one" in kubectl("get", "bubu", "-o", "name")


def test_describe_tells_conditions_and_events(kubectl: Kubectl) -> None:
    text = kubectl("describe", "storyrun", "one")

    assert "Phase:" in text
    assert "StartingExecution" in text


def test_logs_are_read_and_followed(kubectl: Kubectl) -> None:
    selector = ("-l", "bubustack.io/step=greet", "--tail=-1")

    assert kubectl("logs", *selector).strip() == "this is greet"
    assert kubectl("logs", "-f", *selector).strip() == "this is greet"


def test_edit_and_patches_change_an_object(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "paint", "--from-literal=color=purple")

    assert "edited" in kubectl("edit", "configmap", "paint")
    kubectl("patch", "configmap", "paint", "--type=merge", "-p", '{"data": {"a": "1"}}')
    kubectl("patch", "configmap", "paint", "--type=json", "-p", '[{"op": "add", "path": "/data/b", "value": "2"}]')
    kubectl("patch", "configmap", "paint", "--type=strategic", "-p", '{"data": {"c": "3"}}')
    data = json.loads(kubectl("get", "configmap", "paint", "-o", "json"))["data"]
    assert data == {"color": "green", "a": "1", "b": "2", "c": "3"}


def test_status_is_patched_through_its_subresource_only(kubectl: Kubectl) -> None:
    gates = '{"status": {"gates": {"approve": {"state": "Approved"}}}}'

    kubectl("patch", "storyrun", "one", "--type=merge", "-p", gates)
    assert kubectl("get", "storyrun", "one", "-o", "jsonpath={.status.gates}") == ""
    kubectl("patch", "storyrun", "one", "--subresource=status", "--type=merge", "-p", gates)
    assert kubectl("get", "storyrun", "one", "-o", "jsonpath={.status.gates.approve.state}") == "Approved"


def test_explain_teaches_fields(kubectl: Kubectl) -> None:
    assert "needs" in kubectl("explain", "story.spec.steps")
    assert "activeDeadlineSeconds" in kubectl("explain", "job.spec")


def test_discovery_and_access_are_answered(kubectl: Kubectl) -> None:
    assert "storyruns" in kubectl("api-resources", "--api-group=runs.bubustack.io")
    assert kubectl("auth", "can-i", "delete", "storyruns").strip() == "yes"
    nobody = ("--as=system:serviceaccount:default:default",)
    assert kubectl("auth", "can-i", "delete", "storyruns", *nobody, code=1).strip() == "no"


def test_a_watch_shows_a_run_from_start_to_end(kubectl: Kubectl) -> None:
    """A selector, because the watch of a single name begins anew, and kubectl does not show how it begins."""
    selected = ("get", "storyruns", "--field-selector=metadata.name=two", "--watch")
    shown = ("-o", "jsonpath={.status.phase}{'\\n'}")
    watch = ["timeout", str(DEADLINE_SECONDS), *kubectl.command(*selected, *shown)]
    kubectl("apply", "-f", "-", stdin=RUN.replace("name: one", "name: two"))
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True, env=kubectl.environment) as process:
        assert process.stdout is not None
        phases = []
        for line in process.stdout:
            phases.append(line.strip())
            if phases[-1] == "Succeeded":
                process.terminate()
                break

    assert phases[-1] == "Succeeded"


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
def test_delete_takes_or_leaves_dependants(kubectl: Kubectl, cascade: str) -> None:
    name = f"sleeper-{cascade}"
    kubectl("create", "job", name, "--image=busybox", "--", "sleep", "60")
    kubectl("wait", f"job/{name}", "--for=jsonpath={.status.active}=1", "--timeout=20s")

    kubectl("delete", "job", name, f"--cascade={cascade}", "--timeout=30s")

    pods = ("pods", "-l", f"job-name={name}")
    if cascade == "orphan":
        assert name in kubectl("get", *pods)
        kubectl("delete", *pods, "--grace-period=0", "--force")
    else:
        kubectl("wait", *pods, "--for=delete", "--timeout=30s")


def test_a_deleted_run_takes_its_steps_along(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=RUN.replace("name: one", "name: gone"))
    kubectl("wait", "storyrun/gone", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")

    kubectl("delete", "storyrun", "gone", "--timeout=30s")

    assert "gone-" not in kubectl("get", "stepruns", "-o", "name")
