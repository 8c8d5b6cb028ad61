"""What the pages of the docs need so that their commands can be played, and which commands no test can play."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_REAL_CLUSTER: Final = "needs an operator that is installed in a real cluster"
_ENDLESS: Final = "serves until a person stops it"
_COUNTS: Final = (
    "shows counts of the moment; test_command_line_streams.py and test_hub_stream_console.py run such commands"
)
_GO_OPERATOR: Final = (
    "needs an installation of the Go operator; test_coming_from_the_go_operator.py plays what it leaves"
)
_OTHER_CLUSTER: Final = "the cluster of a command that is not played"


@dataclass(frozen=True)
class NotPlayed:
    """A row of the table of exceptions.

    ``page``: a name below docs, or README.md; ``*``: all. ``command``: a pattern of the whole command.
    """

    page: str
    command: str
    reason: str

    def matches(self, page: str, command: str) -> bool:
        return self.page in ("*", page) and re.fullmatch(self.command, command, re.DOTALL) is not None


NOT_PLAYED: Final = (
    NotPlayed("*", r"git clone .*", "needs the address of a repository"),
    NotPlayed("*", r"(BOBRAPET_E2E_KUBECONFIG=\S+ )?make .*", "installs, builds, measures or tests for minutes"),
    NotPlayed("*", r"kubectl -n bobrapet-system (get|port-forward|logs|exec) .*", _REAL_CLUSTER),
    NotPlayed("start-from-a-schedule.md", r"kubectl exec .*", "the embedded cluster has no exec, as the page says"),
    NotPlayed("*", r"bobrapet manager .*|\.venv/bin/bobrapet manager .*", _ENDLESS),
    NotPlayed("*", r"kubectl apply --server-side -f manifests/crds", "the embedded cluster has these definitions"),
    NotPlayed("coming-from-the-go-operator.md", r"(?!make).*", _GO_OPERATOR),
    NotPlayed("debugging.md", r"curl -s 'localhost:8081/.*", _REAL_CLUSTER),
    NotPlayed("debugging.md", r"bobrapet debug .* debugpy .*", "waits for an editor; debugpy is not installed"),
    NotPlayed("debugging.md", r"tail -f .*", "shows new lines until a person stops it"),
    NotPlayed("debugging.md", r"\.venv/bin/python -m localcluster .*", _ENDLESS),
    NotPlayed("debugging.md", r"export KUBECONFIG=/tmp/cluster/.*", _OTHER_CLUSTER),
    NotPlayed("debugging.md", r"PYTHONHASHSEED=0 .* -m pytest .*", "takes minutes, or needs a case that failed"),
    NotPlayed("debugging.md", r".*fuzz\.expressions .*", "needs Go, and a case that failed"),
    NotPlayed("debugging.md", r"py-spy .*", "py-spy is not installed, and needs root"),
    NotPlayed("embedded-cluster.md", r"bobrapet up --ephemeral .*", _ENDLESS),
    NotPlayed("hub.md", r"bobrapet hub (?!.*--print-tokens).*", _ENDLESS),
    NotPlayed("helm.md", r".*", "needs helm and a real API server; test_helm_release.py plays the page"),
    NotPlayed("install.md", r"bobrapet submit hello --context kind-.*", "needs kind and containers"),
    NotPlayed("install.md", r"kubectl apply --server-side -k \.", _REAL_CLUSTER),
    NotPlayed("install.md", r"kubectl delete -k manifests/crds .*", "takes the definitions from the pages that follow"),
    NotPlayed("realtime-stories.md", r"bobrapet (get|list|graph|why|stream) .*", _COUNTS),
    NotPlayed("story-v1beta1.md", r"kubectl patch crd .*", "takes v1beta1 from the pages that follow"),
    NotPlayed("testing-on-a-real-cluster.md", r"kind .*", "needs kind and containers"),
    NotPlayed("testing-on-a-real-cluster.md", r".* tools\.control_plane up .*", _ENDLESS),
    NotPlayed("testing-on-a-real-cluster.md", r"export KUBECONFIG=/tmp/plane/.*", _OTHER_CLUSTER),
    NotPlayed(
        "when-admission-is-down.md", r"kubectl delete validating.*", "this object is built into the embedded cluster"
    ),
    NotPlayed("when-admission-is-down.md", r"kubectl (replace|apply) .*", "takes v1beta1 from the pages that follow"),
)


@dataclass(frozen=True)
class Until:
    """Wait until the output of the command has a part of this pattern."""

    command: str
    pattern: str


@dataclass(frozen=True)
class Page:
    """How a page is played.

    Attributes:
        namespace: of its commands; empty: one of its own.
        is_up: whether the cluster is up before the first command.
        words: values for the placeholders of its commands, such as ``RUN``.
        replaced: other texts of its commands, and what is played instead.
        files: files that the page does not print.
        first: commands before the first one of the page.
        before: commands before the one with this beginning.
        asks: commands that ask a question, by their beginning; ``--yes`` answers.
        typed: what a person types while a command runs, by its beginning.
        is_terminal: whether a person reads standard output.
    """

    namespace: str = ""
    is_up: bool = True
    words: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    first: tuple[str | Until, ...] = ()
    before: Mapping[str, tuple[str | Until, ...]] = field(default_factory=dict)
    asks: tuple[str, ...] = ()
    typed: Mapping[str, str] = field(default_factory=dict)
    is_terminal: bool = False


def _definitions(name: str) -> str:
    """The EngramTemplate and the Engram of a program that an image map names ``pages/<name>:1``."""
    return f"""\
apiVersion: catalog.bubustack.io/v1alpha1
kind: EngramTemplate
metadata: {{name: {name}}}
spec: {{version: 1.0.0, supportedModes: [job], image: "pages/{name}:1"}}
---
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {{name: {name}}}
spec: {{templateRef: {{name: {name}}}}}
---
"""


_LOADED: Final = {
    "images.yaml": """\
images:
  "pages/load:1": {command: ["$(PYTHON)", step.py]}
""",
    "step.py": """\
from bubu_sdk import Context, engram


@engram
def main(ctx: Context) -> dict:
    return {"rows": 7}


if __name__ == "__main__":
    main.run()
""",
    "nightly.yaml": _definitions("load")
    + """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: nightly}
spec:
  steps:
    - {name: load, ref: {name: load}}
    - {name: publish, needs: [load], image: busybox, run: "echo no such table; exit 3"}
""",
}
"""A Story with a step of an Engram, and one that fails."""

_RENDERED: Final = {
    "story.yaml": """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: fetch}
spec:
  steps:
    - {name: fetch, ref: {name: http}, with: {url: "https://example.org/{{ inputs.city }}"}}
    - name: store
      ref: {name: store}
      if: steps.fetch.output.count > 0
      with: {items: "{{ steps.fetch.output.items }}"}
""",
    "outputs.json": '{"fetch": {"count": 1, "items": ["a"]}}',
}
_TRAINED: Final = """\
apiVersion: v1
kind: Namespace
metadata: {name: team-a}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: train-settings, namespace: team-a}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: models, namespace: team-a}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
---
apiVersion: catalog.bubustack.io/v1alpha1
kind: EngramTemplate
metadata: {name: train}
spec:
  version: v1
  supportedModes: [job]
  image: registry.example/train:2
  execution:
    resources: {recommendedCpuLimit: "8", recommendedMemoryLimit: 64Gi, extended: {nvidia.com/gpu: 1}}
    sharedMemory: 16Gi
    runtimeClassName: nvidia
    volumes:
      - {name: scratch, mountPath: /scratch, emptyDir: {sizeLimit: 100Gi}}
---
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {name: train, namespace: team-a}
spec:
  templateRef: {name: train}
  overrides:
    imagePullSecrets: [registry]
    volumes:
      - {name: models, mountPath: /models, readOnly: true, persistentVolumeClaim: {claimName: models}}
      - {name: settings, mountPath: /settings, configMap: {name: train-settings}}
---
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: nightly, namespace: team-a}
spec:
  policy: {timeouts: {step: 4h}}
  steps:
    - name: train
      ref: {name: train}
      execution:
        resources: {memoryLimit: 128Gi, extended: {nvidia.com/gpu: 4}}
        priorityClassName: batch-low
        placement: {nodeSelector: {accelerator: a100}}
"""
_MORE_MEMORY: Final = 'kubectl patch engram train --type=merge -p \'{"spec": {"overrides": {"sharedMemory": "32Gi"}}}\''
_HOOK: Final = """\
apiVersion: catalog.bubustack.io/v1alpha1
kind: ImpulseTemplate
metadata: {name: hook}
spec: {version: 1.0.0, supportedModes: [deployment], image: busybox}
---
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: hooked}
spec: {steps: [{name: pause, sleep: {duration: 1s}}]}
---
apiVersion: bubustack.io/v1alpha1
kind: Impulse
metadata: {name: hook}
spec: {templateRef: {name: hook}, storyRef: {name: hooked}}
"""

_WIDE: Final = {
    "images.yaml": """\
images:
  "pages/each:1": {command: ["$(PYTHON)", each.py]}
""",
    "each.py": """\
import time
from dataclasses import dataclass
from pathlib import Path

from bubu_sdk import Context, engram


@dataclass
class Inputs:
    number: int


@engram
def main(ctx: Context, inputs: Inputs) -> None:
    ctx.logger.info("working", extra={"number": inputs.number})
    if inputs.number == 7:
        raise LookupError("no such table")
    while inputs.number == 11 and not Path("go").exists():
        time.sleep(0.1)


if __name__ == "__main__":
    main.run()
""",
    "wide.yaml": _definitions("each")
    + """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: nightly}
spec:
  steps:
    - name: each
      parallel:
        forEach: "{{ until 12 }}"
        steps:
          - {name: work, ref: {name: each}, with: {number: "{{ item }}"}}
""",
    "release.yaml": """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: deploy}
spec:
  steps:
    - {name: go, gate: {}}
---
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: release}
spec:
  policy: {timeouts: {story: 30m}}
  steps:
    - {name: fetch, image: busybox, run: "true"}
    - name: fan
      needs: [fetch]
      parallel:
        steps:
          - {name: slow-a, image: busybox, run: sleep 1}
          - {name: legal, gate: {timeout: 24h, onTimeout: skip}}
    - {name: approve, gate: {timeout: 24h, onTimeout: skip}}
    - {name: sub, needs: [fetch], executeStory: {storyRef: {name: deploy}}}
    - {name: publish, needs: [approve, fan], image: busybox, run: "true"}
""",
}
"""A Story with a wide step, whose last branch waits for the file ``go``, and one with gates, which it reaches in the
order of the page.
"""

_PULL_REQUEST: Final = '{"action": "opened", "pull_request": {"number": 7}, "repository": {"full_name": "ada/engine"}}'
_FREE_PORT: Final = 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'
_ON_PORT: Final = 'sed -i "s|  with:|  with:\\n    port: $PORT|" pull-requests.yaml'
_TRIGGERED: Final = """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: orders}
spec: {steps: [{name: pause, sleep: {duration: 1s}}]}
---
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: reports}
spec: {steps: [{name: pause, sleep: {duration: 1s}}]}
"""
_REQUEST: Final = """\
apiVersion: runs.bubustack.io/v1alpha1
kind: StoryTrigger
metadata: {name: reports-trigger-2696eb474e01d459}
spec:
  storyRef: {name: reports}
  impulseRef: {name: mailbox}
  deliveryIdentity: {mode: none, submissionId: report-1}
"""


PAGES: Final[Mapping[str, Page]] = {
    "README.md": Page(namespace="default", is_up=False, first=("python -m examples.weather.run",)),
    "contract/triggers.md": Page(files={"hook.yaml": _HOOK}, first=("kubectl apply -f hook.yaml",)),
    "debugging.md": Page(
        words={"RUN": "nightly-1", "NS": "page-debugging", "STEP": "load"},
        files=_LOADED,
        first=(
            "bobrapet up --image-map images.yaml",
            "kubectl apply -f nightly.yaml",
            "bobrapet submit nightly --name nightly-1 --watch || true",
        ),
        typed={"bobrapet debug nightly-1/load --": "c\nc\nc\n"},
    ),
    "output-cache.md": Page(asks=("bobrapet cache clear",)),
    "expressions.md": Page(files=_RENDERED),
    "resources.md": Page(
        namespace="team-a",
        files={"train.yaml": _TRAINED},
        first=(
            "kubectl apply -f train.yaml",
            "bobrapet submit nightly --name nightly-1",
            Until("bobrapet explain step nightly-1/train", "its Job exists"),
            _MORE_MEMORY,
            Until("bobrapet explain step nightly-1/train", "32Gi"),
        ),
    ),
    "reasons.md": Page(
        words={"RUN": "nightly-1"},
        files=_LOADED,
        first=(
            "kubectl apply -f nightly.yaml",
            "bobrapet submit nightly --name nightly-1",
        ),
    ),
    "start-from-a-schedule.md": Page(namespace="default"),
    "start-from-a-webhook.md": Page(
        namespace="default",
        replaced={
            "impulses/manifests/webhook.yaml": "webhook.yaml",
            "https://hooks.example.com": "http://127.0.0.1:$PORT",
        },
        first=(
            f"PORT=$(python -c '{_FREE_PORT}')",
            'sed "s/8080/$PORT/; s/8081/$((PORT + 1))/" impulses/manifests/webhook.yaml > webhook.yaml',
        ),
        before={
            "kubectl apply -f pull-requests.yaml": (_ON_PORT,),
            "sign()": (
                "SECRET=…",
                f"BODY='{_PULL_REQUEST}'",
                Until("curl -s http://127.0.0.1:$PORT/readyz -o /dev/null -w '%{http_code}'", "200"),
            ),
            'curl -H "X-Hub-Signature-256: sha256=$(sign /triggers/$NAME)"': (
                "NAME=$(kubectl get storytriggers -o name | grep review | cut -d/ -f2)",
            ),
        },
    ),
    "stored-data.md": Page(
        files={"key.json": "{}"},
        first=("kubectl get namespace bobrapet-system || kubectl create namespace bobrapet-system",),
        asks=("bobrapet storage sweep --delete",),
    ),
    "storytriggers.md": Page(
        namespace="default",
        files={"stories.yaml": _TRIGGERED, "request.yaml": _REQUEST},
        first=(
            "kubectl delete impulses,storytriggers --all",
            "kubectl apply -f stories.yaml",
            "kubectl apply -f request.yaml",
            Until("bobrapet triggers", "Pending"),
            "sleep 1",  # the list is in order of age, in whole seconds
        ),
    ),
    "runs-under-way.md": Page(
        namespace="default",  # the width of its name decides where lines break
        files=_WIDE,
        first=(
            "bobrapet up --image-map images.yaml",
            "kubectl apply -f wide.yaml -f release.yaml",
            "bobrapet submit nightly --name nightly-x7k2p",
            "bobrapet submit release --name release-n2nr6",
            Until("bobrapet get nightly-x7k2p", "11/12 done, 1 failed"),
            Until("bobrapet gates -o name", "release-n2nr6-sub/go"),
            Until("bobrapet get release-n2nr6", "slow-a.*Succeeded"),
        ),
        is_terminal=True,
    ),
    "story-v1beta1.md": Page(
        files={
            "story.yaml": """\
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: nap}
spec:
  steps:
    - {name: pause, type: sleep, with: {duration: 1s}}   # short
"""
        }
    ),
}
