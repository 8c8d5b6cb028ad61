"""An assistant that greets when its stream is complete: containers of the SDK and a hub, each a process."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

from tests.integration.stream_line import StreamLine, open_line, until

TOPOLOGY: Final = """
runs:
  - namespace: team
    name: run-1
    story: voice
    steps:
      - name: ingress
        binding: {name: ingress, uid: a}
      - name: greet
        needs: [ingress]
        if: '{{ eq (default "" packet.type) "storyrun.ready" }}'
        runtime: {userPrompt: "Greet the caller."}
        binding: {name: greet, uid: b}
      - name: respond
        needs: [ingress]
        if: '{{ eq (default "" packet.type) "speech.transcript.v1" }}'
        runtime: {userPrompt: "{{ packet.text }}"}
        binding: {name: respond, uid: c}
      - name: speak
        needs: [greet, respond]
        binding: {name: speak, uid: d}
"""
INGRESS: Final = """
    import os, time
    from bubu_sdk import stream

    @stream
    def main():
        said = 0
        while True:
            said += 1
            yield {"type": "speech.transcript.v1", "text": f"{os.environ['CALLER']} {said}"}
            time.sleep(0.05)

    main.run()
"""
ASSISTANT: Final = """
    from bubu_sdk import Messages, stream

    @stream
    def main(messages: Messages):
        for message in messages:
            yield {"answer": message.data["userPrompt"], "to": message.payload["type"], "kind": message.kind}

    main.run()
"""
SPEAK: Final = """
    import json, os
    from bubu_sdk import Messages, stream

    @stream
    def main(messages: Messages):
        with open(os.environ["KEPT"], "a", buffering=1) as file:
            for message in messages:
                print(json.dumps(message.data), file=file)

    main.run()
"""
GREETING: Final = {"answer": "Greet the caller.", "to": "storyrun.ready", "kind": "hook"}


def spoken(line: StreamLine) -> list[dict[str, Any]]:
    texts = line.kept.read_text().splitlines() if line.kept.exists() else []
    return [json.loads(text) for text in texts if text]


def answered(line: StreamLine, caller: str) -> bool:
    return any(each["answer"].startswith(caller) for each in spoken(line))


async def test_an_assistant_greets_once_when_all_steps_are_connected(tmp_path: Path) -> None:
    commands = {}
    for step, text in (("ingress", INGRESS), ("greet", ASSISTANT), ("respond", ASSISTANT), ("speak", SPEAK)):
        (tmp_path / f"{step}.py").write_text(textwrap.dedent(text))
        commands[step] = [sys.executable, str(tmp_path / f"{step}.py")]
    async with open_line(tmp_path, commands, topology=TOPOLOGY) as line:
        for step in ("respond", "speak", "ingress"):
            await line.begin(step, CALLER="Ada")
        await until(lambda: answered(line, "Ada"))
        assert GREETING not in spoken(line), "one step is not connected yet"
        await line.begin("greet")
        await until(lambda: GREETING in spoken(line))

        await line.kill("ingress")
        await line.begin("ingress", CALLER="Bob")
        await until(lambda: answered(line, "Bob"))
        await line.kill("hub")
        await line.begin_hub()
        await line.kill("ingress")
        await line.begin("ingress", CALLER="Eve")
        await until(lambda: answered(line, "Eve"))

        assert spoken(line).count(GREETING) == 1, "a packet that comes again has the same message id"
        assert {each["to"] for each in spoken(line)} == {"storyrun.ready", "speech.transcript.v1"}
