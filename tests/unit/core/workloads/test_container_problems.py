"""The rules are in the table of admission (``rules/engramtemplate.yaml``); here: that all of them come at once."""

from __future__ import annotations

from typing import Any

from core.workloads.container_problems import container_problems, container_warnings

WRONG: dict[str, Any] = {
    "supportedModes": ["job", "deployment"],
    "container": {
        "args": ["{{ inputs.a", "{{ step.name }}{{ steps.a }}"],
        "env": [{"name": "PATH", "value": "/x"}, {"name": "A B", "value": "{{ packet.x }}"}],
        "inputsFile": "in.json",
        "result": {"from": "stdout", "path": "/etc/../x"},
        "exitCodes": {"retry": [0, 300, 7], "terminal": [7]},
    },
}


def test_all_problems_are_reported_at_once_and_each_has_a_remedy() -> None:
    found = container_problems(WRONG)

    assert [each.path.removeprefix("spec.container.") for each in found] == [
        "spec.supportedModes[1]",
        "args[0]",
        "args[1]",
        "env[1].value",
        "env[0].name",
        "env[1].name",
        "inputsFile",
        "result.path",
        "result.path",
        "exitCodes.retry[0]",
        "exitCodes.retry[1]",
        "exitCodes.terminal[0]",
    ]
    assert all(each.remedy for each in found)


def test_a_template_with_an_sdk_has_none() -> None:
    assert container_problems({"supportedModes": ["deployment"]}) == []
    assert container_warnings({"supportedModes": ["deployment"]}) == []


def test_a_value_in_the_program_of_a_shell_is_doubtful() -> None:
    def warned(**container: Any) -> list[str]:
        return [each.path for each in container_warnings({"container": container})]

    assert warned(command=["sh", "-c"], args=["echo {{ inputs.x }}"]) == ["spec.container.args[0]"]
    assert warned(args=["/bin/bash", "-ec", "echo {{ inputs.x }}"]) == ["spec.container.args[2]"]
    assert warned(command=["sh", "-c", "echo $X"], args=["{{ inputs.x }}"]) == []
    assert warned(command=["python3", "-c"], args=["{{ inputs.x }}"]) == []
    assert warned(args=["{{ inputs.x }}"]) == []
