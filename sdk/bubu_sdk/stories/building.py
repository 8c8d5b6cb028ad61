"""Builds the manifest of a Story: takes the calls in its function, in order.

There is no other state: what is not in the manifest does not exist when the Story runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from bubu_sdk import encode, engram_manifest, naming, typeschema
from bubu_sdk.engram_function import EngramFunction, building
from bubu_sdk.errors import EngramError, Object
from bubu_sdk.stories.calls import EngramReference, StepSettings
from bubu_sdk.stories.place import StoryBuildError, Written, here, refusal
from bubu_sdk.stories.placeholder import (
    Condition,
    Expression,
    Placeholder,
    Segments,
    cel_text,
    condition_of,
    hint_of,
    owner_of,
    root_of,
    text_of,
)

_OF_ITEM: Final = "-item"
"""Ending of the name of a step that runs for each item; nothing refers to it, and no other step may have its name."""
SECTIONS: Final = ("steps", "compensations", "finally")


class CalledStory(Protocol):
    """A Story that another one runs."""

    name: str


class StoryBuilder:
    """The steps of one Story, while its function runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sections: dict[str, list[Object]] = {section: [] for section in SECTIONS}
        self.places: dict[str, Written] = {}
        """Where each step is written, by its path below ``spec``."""
        self.engrams: dict[str, EngramFunction[Any]] = {}
        self.stories: dict[str, CalledStory] = {}
        self._names: dict[str, Written] = {}
        self._section = SECTIONS[0]
        self._conditions: list[Condition] = []
        self._around_body: list[Condition] = []
        self._conditions_of: dict[str, list[Condition]] = {}
        """The conditions of each step: without them it has no output."""
        self._body: list[Object] | None = None

    @classmethod
    def current(cls, what: str) -> StoryBuilder:
        """The Story that is built.

        Raises:
            StoryBuildError: none is; ``what`` was called elsewhere.
        """
        builder = building.get()
        if not isinstance(builder, cls):
            raise refusal(f"{what} adds a step; call it in a function with @story")
        return builder

    def call(
        self,
        engram: EngramFunction[Any] | EngramReference,
        arguments: Sequence[Any],
        keywords: Mapping[str, Any],
        settings: StepSettings | None = None,
    ) -> Any:
        """Add a step that runs an engram."""
        if arguments:
            raise refusal(
                f"{engram.name} is a step here: give its inputs by name and leave the context out, as in "
                f"{engram.name.replace('-', '_')}(text=…)"
            )
        given = settings or StepSettings()
        inputs = self._inputs(engram, keywords)
        step: Object = {"ref": {"name": engram.name}, **({"with": inputs} if inputs else {})}
        if given.execution:
            step["execution"] = self.plain(given.execution, "execution")
        hint: Any = Any
        if isinstance(engram, EngramFunction):
            if self.engrams.setdefault(engram.name, engram) is not engram:
                raise refusal(f'two functions are called {engram.name!r}; name one: @engram(name="…")')
            hint = engram_manifest.output_type(engram)
        return self.add(given.name or engram.name, step, given, hint)

    def add(self, name: str, step: Object, settings: StepSettings, hint: Any) -> Placeholder:
        """Add a step; returns the placeholder of its output."""
        try:
            naming.checked(name)
        except ValueError as error:
            raise refusal(str(error)) from None
        if self._body is not None and self._body:
            raise refusal(
                "a for_each runs one step for each item; put several into a Story of their own and call it with "
                "run_story(…)"
            )
        place = here()
        needs = list(dict.fromkeys(self._step_of(output) for output in settings.after))
        full: Object = {
            "name": name,
            **({"needs": needs} if needs else {}),
            **self._if(),
            **({"allowFailure": True} if settings.allow_failure else {}),
            **step,
        }
        if self._body is not None:
            if needs:
                raise refusal("after has no effect on the step of a for_each; give it to the for_each")
            self._body.append(full)
            return Placeholder(("steps", name, "output"), hint, self)
        if name in self._names:
            raise refusal(
                f"a step {name!r} exists already (line {self._names[name].line}); name this one, as in "
                f'step.options(name="{name}-2")(…)'
            )
        self._names[name] = place
        self._conditions_of[name] = list(self._conditions)
        section = self.sections[self._section]
        self.places[f"{self._section}[{len(section)}]"] = place
        section.append(full)
        return Placeholder(("steps", name, "output"), hint, self)

    def for_each(
        self,
        items: Any,
        body: Callable[[Any], Any],
        *,
        name: str | None,
        max_concurrency: int | None,
        settings: StepSettings,
    ) -> Placeholder:
        """Add a step that runs the step of ``body`` for each item; returns the placeholder of the list of outputs."""
        if self._body is not None:
            raise refusal("a for_each cannot be in a for_each; put the inner one into a Story and use run_story(…)")
        if not isinstance(items, (Placeholder, list, tuple)):
            raise refusal(f"for_each takes a list or the output of a step, not {type(items).__name__}")
        of_items = typeschema.item_of(hint_of(items)) if isinstance(items, Placeholder) else Any
        self._around_body, self._conditions, self._body = self._conditions, [], []
        try:
            returned = body(Placeholder(("item",), of_items, self))
            steps = self._body
        finally:
            self._around_body, self._conditions, self._body = [], self._around_body, None
        if len(steps) != 1:
            raise refusal("the function of a for_each calls no step; call one for the item")
        inner = steps[0]
        if not isinstance(returned, Placeholder) or root_of(returned) != ("steps", inner["name"], "output"):
            raise refusal("the function of a for_each must return what its step returns, and nothing else")
        outer = name or inner["name"]
        inner["name"] = f"{outer[: naming.MAX_CHARACTERS - len(_OF_ITEM)]}{_OF_ITEM}"
        parallel: Object = {
            "forEach": self.plain(items, "items"),
            **({"maxConcurrency": max_concurrency} if max_concurrency is not None else {}),
            "steps": [inner],
        }
        added = self.add(outer, {"parallel": parallel}, settings, Any)
        hint = hint_of(returned)
        return Placeholder((*root_of(added), "items"), list[hint], self)  # type: ignore[valid-type]

    @contextmanager
    def only_if(self, condition: Any) -> Iterator[None]:
        """Steps of the block have the condition."""
        self._conditions.append(condition_of(condition))
        try:
            yield
        finally:
            self._conditions.pop()

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Steps of the block belong to another list."""
        if self._section != SECTIONS[0] or self._conditions or self._body is not None:
            raise refusal(f"{name} is a part of the Story: it cannot be inside another block")
        self._section = name
        try:
            yield
        finally:
            self._section = SECTIONS[0]

    def check_read(self, path: Segments) -> None:
        """Raise ``StoryBuildError`` if the value may be missing: its step has a condition that does not hold here."""
        if len(path) < 2 or path[0] != "steps":
            return
        here_too = [*self._around_body, *self._conditions]
        for condition in self._conditions_of.get(str(path[1]), ()):
            if not any(condition is other for other in here_too):
                raise refusal(
                    f"step {path[1]!r} has no output if `{cel_text(condition)}` is false; read it in the same "
                    "`with when(…):`, or as text: as_json(step, otherwise={}). To start after it, use after="
                )

    def plain(self, value: Any, path: str) -> Any:
        """``value`` as JSON, with a template for each placeholder.

        Raises:
            StoryBuildError: a part of it cannot be in a manifest.
        """
        if isinstance(value, Placeholder):
            if not isinstance(value, Expression) and owner_of(value) is not self:
                raise refusal(f"{path}: {text_of(value)} belongs to another Story")
            return str(value)
        if isinstance(value, Condition):
            raise refusal(f"{path}: {value!r} is not a value; pass it to when(…)")
        if isinstance(value, EngramFunction):
            raise refusal(f"{path}: {value.name} is an engram; call it, and pass what it returns")
        if isinstance(value, Mapping):
            return {str(key): self.plain(item, f"{path}.{key}") for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
        fields = typeschema.fields_of(type(value))
        if dataclasses.is_dataclass(value) and fields is not None:
            return {field.key: self.plain(getattr(value, name), f"{path}.{name}") for name, field in fields.items()}
        try:
            return encode.to_json(value, path)
        except EngramError as error:
            raise refusal(error.message) from None

    def _if(self) -> Object:
        if not self._conditions:
            return {}
        whole, *others = self._conditions
        for other in others:
            whole = whole & other
        return {"if": cel_text(whole)}

    def _step_of(self, output: Any) -> str:
        path = root_of(output) if isinstance(output, Placeholder) else ()
        if len(path) < 2 or path[0] != "steps":
            raise refusal(f"after takes what steps return, not {output!r}")
        return str(path[1])

    def _inputs(self, engram: EngramFunction[Any] | EngramReference, keywords: Mapping[str, Any]) -> Object:
        """The step's ``with``; all problems of the inputs are told together."""
        fields = _fields(engram)
        if fields is None:
            return {key: self.plain(value, key) for key, value in keywords.items()}
        problems = [
            f"{engram.name} has no input {key!r}{typeschema.nearest(key, list(fields))}"
            for key in keywords
            if key not in fields
        ]
        problems += [
            f"{engram.name} needs the input {key!r}"
            for key, field in fields.items()
            if field.required and key not in keywords
        ]
        if problems:
            raise refusal("; ".join(problems))
        return {fields[key].key: self.plain(value, key) for key, value in keywords.items()}


def _fields(engram: EngramFunction[Any] | EngramReference) -> Mapping[str, typeschema.ModelField] | None:
    """The inputs that an engram reads, by their names in Python; ``None`` if they are not known."""
    if isinstance(engram, EngramReference):
        return None
    try:
        signature = engram.signature()
    except (TypeError, NameError) as error:
        raise StoryBuildError(str(error), here()) from error
    inputs, config = (typeschema.fields_of(kind) for kind in (signature.inputs_type, signature.config_type))
    if signature.inputs is not None and inputs is None:
        return None
    if signature.inputs is None and signature.context is not None and config is None:
        return None
    return {**(inputs or {}), **(config or {})}
