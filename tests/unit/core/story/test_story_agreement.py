"""What a Story says is said twice here: by whoever draws it, step by step, and by the reader. They agree.

The draw keeps a list of its own while it writes the steps. So does each reader of steps that follows from the one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.api.objects import Object
from core.engine.plan import StoryPlan, parse_story
from core.story.choices import choosing_steps
from core.story.kinds import StepKind
from core.story.story import read_story, with_branches
from views.step_layout import declared_steps
from webhooks.conversion.story import V1BETA1, converted
from webhooks.validate import gates

ENGRAM = {"name": "worker"}
WORK: dict[str, Object] = {
    "engram": {"ref": ENGRAM},
    "script": {"run": "ls", "image": "busybox"},
    "condition": {"type": "condition"},
    "sleep": {"type": "sleep", "with": {"duration": "1s"}},
    "stop": {"type": "stop"},
    "wait": {"type": "wait", "with": {"until": "inputs.x"}},
    "gate": {"type": "gate"},
    "executeStory": {"type": "executeStory", "with": {"storyRef": {"name": "child"}}},
    "loop": {
        "type": "executeStory",
        "with": {"storyRef": {"name": "child"}, "until": "previous.done", "maxIterations": 3},
    },
}
KINDS = {name: name for name in WORK} | {"script": "engram", "loop": "executeStory", "parallel": "parallel"}


@dataclass(frozen=True)
class Said:
    """One step, as it was drawn."""

    place: str
    typed_place: str
    path: str
    word: str
    group: str
    realtime: bool

    @property
    def kind(self) -> str:
        return KINDS[self.word]

    @property
    def is_in_run(self) -> bool:
        """Whether a run has a state of it: the hub carries out the others, for each packet."""
        return not self.realtime or (self.word == "engram" and "/" not in self.path)


@dataclass
class Drawing:
    draw: Any
    said: list[Said] = field(default_factory=list)
    names: int = 0

    def story(self) -> Object:
        realtime = self.draw(st.booleans())
        spec: Object = {"pattern": "realtime"} if realtime else {}
        for group in ("steps", "compensations", "finally"):
            count = self.draw(st.integers(1 if group == "steps" else 0, 3))
            if count:
                spec[group] = self.steps(
                    count, f"spec.{group}", f"spec.{group}", "", group, realtime and group == "steps"
                )
        return {"apiVersion": "bubustack.io/v1alpha1", "kind": "Story", "metadata": {"name": "s"}, "spec": spec}

    def steps(
        self, count: int, place: str, typed_place: str, around: str, group: str, realtime: bool, *, items: bool = False
    ) -> list[Object]:
        written = []
        for index in range(count):
            self.names += 1
            name = f"s{self.names}"
            path = f"{around}{'*' if items else name}"
            deep = place.count("[") >= 3
            word = self.draw(st.sampled_from([*WORK, *([] if deep else ["parallel", "parallel"])]))
            here, typed = f"{place}[{index}]", f"{typed_place}[{index}]"
            self.said.append(Said(here, typed, path, word, group, realtime))
            step: Object = {"name": name, **WORK.get(word, {})}
            if word == "parallel":
                for_each = self.draw(st.booleans())
                inside = (f"{here}.with.steps", f"{typed}.parallel.steps", f"{path}/", group, realtime)
                branches = self.steps(1 if for_each else self.draw(st.integers(1, 3)), *inside, items=for_each)
                step |= {"type": "parallel", "with": {"steps": branches, **({"forEach": [1]} if for_each else {})}}
            written.append(step)
        return written


@st.composite
def drawings(draw: Any) -> tuple[Object, list[Said]]:
    drawing = Drawing(draw)
    story = drawing.story()
    return story, drawing.said


@settings(max_examples=150, deadline=None)
@given(drawings())
def test_the_reader_says_of_each_step_what_was_drawn(drawn: tuple[Object, list[Said]]) -> None:
    story, said = drawn
    read = read_story(story)
    every = list(read.every_step())

    assert [(step.place, step.path, step.kind, step.group, step.realtime) for step in every] == [
        (each.place, each.path, each.kind, each.group, each.realtime) for each in said
    ]
    assert [step.depth for step in every] == [each.path.count("/") for each in said]
    assert [step.place for step in read.top()] == [each.place for each in said if "/" not in each.path]
    for step, each in zip(every, said, strict=True):
        assert read.find(each.path.replace("*", "7")) == step
        below = [other.place for other in said if other.place.startswith(f"{each.place}.")]
        assert [other.place for other in with_branches(step)] == [each.place, *below]


@settings(max_examples=150, deadline=None)
@given(drawings())
def test_all_who_read_steps_see_the_same_ones(drawn: tuple[Object, list[Said]]) -> None:
    story, said = drawn

    assert [(step.place, step.stored_place) for step in choosing_steps(converted(story, V1BETA1))] == [
        (each.typed_place, each.place) for each in said
    ]
    assert [gates.in_words(gate) for gate in gates.of_story(story)] == [
        each.path.replace("*", "<number>") for each in said if each.kind == "gate"
    ]
    in_run = [(each.path.replace("*", "7"), each) for each in said if each.is_in_run]
    assert [(step.name, step.kind, step.list_name) for step in declared_steps(story, dict(in_run))] == [
        (name, each.kind, each.group) for name, each in in_run
    ]
    plan = parse_story(story)
    if isinstance(plan, StoryPlan):
        for name, each in in_run:
            planned = plan.find(name)
            assert planned is not None
            assert (planned.name, planned.kind) == (name, StepKind(each.kind))
