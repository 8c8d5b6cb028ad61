"""A topology file is read whole, or refused by field. (hub/topology_file.py)"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from core.api.objects import NamespacedName
from core.story.kinds import StepKind
from hub.settings import Ordering
from hub.topology import BoundStep, Place
from hub.topology_file import TopologyFile, TopologyFileError, parse_topology

FILE = """
runs:
  - namespace: team
    name: run-1
    story: voice
    steps:
      - {name: emit, binding: {name: run-1-emit-transport, uid: u1}}
      - name: sink
        needs: [emit]
        binding: {name: run-1-sink-transport, uid: u2, generation: 3}
        channelBuffer: 64
        redeliverAfter: 5s
        maxAttempts: 0
        streaming: {delivery: {semantics: at_least_once}, backpressure: {buffer: {maxMessages: 7}}}
"""
RUN = NamespacedName("team", "run-1")


def test_a_file_is_runs_steps_and_bindings() -> None:
    topology = parse_topology(FILE)

    routes = topology.runs[RUN]
    assert (routes.story, routes.targets) == ("voice", {"emit": ("sink",), "sink": ()})
    assert topology.bindings == {
        NamespacedName("team", "run-1-emit-transport"): BoundStep(Place(RUN, "emit"), "u1", 1),
        NamespacedName("team", "run-1-sink-transport"): BoundStep(Place(RUN, "sink"), "u2", 3),
    }
    delivery = routes.steps["sink"].delivery
    assert (delivery.window_messages, delivery.max_messages, delivery.redeliver_seconds) == (7, 7, 5.0)
    assert (delivery.max_attempts, delivery.ordering) == (None, Ordering.PER_STREAM)
    assert routes.steps["emit"].delivery.window_messages == 16


EVALUATED = """
runs:
  - namespace: team
    name: run-1
    story: voice
    inputs: {name: Ada}
    steps:
      - name: emit
        binding: {name: run-1-emit-transport, uid: u1}
        outputSchema: {type: object}
        streaming: {routing: {rules: [{when: packet.n > 1}]}}
      - name: late
        type: sleep
        needs: [emit]
        if: packet.n > 2
        with: {duration: 5s}
      - name: sink
        needs: [late]
        binding: {name: run-1-sink-transport, uid: u2}
        runtime: {text: "{{ packet.text }}"}
        inputSchema: {properties: {text: {type: string}}}
"""


def test_a_file_says_what_is_evaluated() -> None:
    topology = parse_topology(EVALUATED)

    routes = topology.runs[RUN]
    emit, late, sink = routes.steps.values()
    assert routes.inputs == {"name": "Ada"}
    assert (emit.output_schema, emit.delivery.rules[0].when) == ({"type": "object"}, "packet.n > 1")
    assert (late.kind, late.condition, late.parameters) == (StepKind.SLEEP, "packet.n > 2", {"duration": "5s"})
    assert sink.runtime == {"text": "{{ packet.text }}"}
    assert sink.input_schema == {"properties": {"text": {"type": "string"}}}
    assert {name.name for name in topology.bindings} == {"run-1-emit-transport", "run-1-sink-transport"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("type: sleep", "type: wait", r"^runs\[0\]\.steps\[1\]\.type: 'wait' is not possible"),
        ("type: sleep", "type: gate", r"^runs\[0\]\.steps\[1\]\.type: 'gate' is not possible"),
        ("type: sleep", "type: engram", r"^runs\[0\]\.steps\[1\]\.type: "),
        ("type: sleep", "type: executeStory", r"^runs\[0\]\.steps\[1\]\.type: executeStory needs a cluster"),
        ("type: sleep", "binding: {name: x, uid: u}\n        type: sleep", r"steps\[1\]\.binding: a primitive"),
        ("type: sleep", "", r"steps\[1\]\.binding: a step with a client"),
        ("with: {duration: 5s}", "with: {for: 5s}", r"steps\[1\]\.with\.duration: "),
        ("with: {duration: 5s}", "with: {}", r"steps\[1\]\.with\.duration: "),
        ("if: packet.n > 2", "if: packet.n >", r"^runs\[0\]\.steps\[1\]\.if: "),
        ("if: packet.n > 2", "if: item.n > 2", r"^runs\[0\]\.steps\[1\]\.if: "),
        ("{{ packet.text }}", "{{ packet.text", r"^runs\[0\]\.steps\[2\]\.runtime\.text: "),
        ("duration: 5s", 'duration: "{{ packet.d }}"', r"^runs\[0\]\.steps\[1\]\.with\.duration: "),
        ("when: packet.n > 1", "when: nothing.n > 1", r"steps\[0\]\.streaming\.routing\.rules\[0\]\.when: "),
        ("outputSchema: {type: object}", 'outputSchema: {$ref: "http://x"}', r"steps\[0\]\.outputSchema: "),
        ("needs: [emit]", "needs: []", r"it has no needs"),
        ("needs: [late]", "needs: [late]\n        with: {a: 1}", r"steps\[2\]\.with: .* but runtime is; remove"),
    ],
)
def test_what_is_wrong_with_what_is_evaluated_is_named(old: str, new: str, problem: str) -> None:
    assert old in EVALUATED
    with pytest.raises(TopologyFileError, match=problem):
        parse_topology(EVALUATED.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("story: voice", "", r"^runs\[0\]\.story: "),
        ("story: voice", "storey: voice", r"^runs\[0\]\.(story|storey): "),
        ("namespace: team", "namespace: Te am", r"^runs\[0\]\.namespace: "),
        ("channelBuffer: 64", "channelBuffer: 0", r"^runs\[0\]\.steps\[1\]\.channelBuffer: "),
        ("channelBuffer: 64", "channelBuffer: '64'", r"^runs\[0\]\.steps\[1\]\.channelBuffer: "),
        ("redeliverAfter: 5s", "redeliverAfter: soon", r"^runs\[0\]\.steps\[1\]\.redeliverAfter: "),
        ("redeliverAfter: 5s", "redeliverAfter: 0s", r"redeliverAfter: .*positive"),
        ("needs: [emit]", "needs: [emitter]", r"^runs\[0\]\.steps: .*emitter"),
        ("name: sink", "name: emit", r"same name"),
        ("run-1-sink-transport", "run-1-emit-transport", r"^runs\[0\]\.steps\[1\]\.binding\.name: "),
        ("semantics: at_least_once", "replay: {mode: durable}", r"^runs\[0\]\.steps\[1\]\.streaming\.delivery\.replay"),
        ("semantics: at_least_once", "semantics: never", r"^runs\[0\]\.steps\[1\]\.streaming\.delivery\.semantics: "),
        ("runs:", "runs: [", r"must be YAML or JSON"),
        (FILE, "", r"^the file: "),
        (FILE, "- 1", r"^the file: "),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, problem: str) -> None:
    assert old in FILE
    with pytest.raises(TopologyFileError, match=problem):
        parse_topology(FILE.replace(old, new))


async def test_a_file_that_is_read_again_wakes_the_hub_and_a_broken_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    path.write_text(FILE)
    port = TopologyFile(path)
    first = await port.changed(None)
    seen = []

    async def follow() -> None:
        seen.append(await port.changed(first))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        path.write_text("runs: 1")
        with pytest.raises(TopologyFileError, match=f"^{path}: runs: "):
            port.reload()
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        path.write_text("runs: []")
        port.reload()
    assert [topology.runs for topology in seen] == [{}]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(TopologyFileError, match=f"^{missing}: No such file"):
        TopologyFile(missing)
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(TopologyFileError, match="must be UTF-8"):
        TopologyFile(tmp_path / "latin")
