"""The decorator that makes a function a Story.

The function is called once, with placeholders, to build the manifest. The manifest is the program: nothing of the
function runs when the Story does, except its engrams, each in its container.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, cast, overload

from bubu_sdk import engram_manifest, naming, typeschema
from bubu_sdk.engram_function import EngramFunction, building, in_container
from bubu_sdk.errors import Object
from bubu_sdk.stories.building import SECTIONS, StoryBuilder
from bubu_sdk.stories.place import StoryBuildError, Written, refusal
from bubu_sdk.stories.placeholder import Placeholder

if TYPE_CHECKING:  # a type checker knows this module even if it is not installed
    from typing_extensions import TypeVar

    ResultT = TypeVar("ResultT", default=Any)
else:
    from typing import TypeVar

    ResultT = TypeVar("ResultT")

STORY_VERSION: Final = "bubustack.io/v1beta1"


@dataclass(frozen=True)
class BuiltStory:
    """What a function says.

    Attributes:
        document: the Story.
        places: where its steps are written, by field path; the empty path is the function.
        engrams: the functions that its steps run, by name.
        stories: the other Stories that it runs, by name.
    """

    document: Object
    places: Mapping[str, Written]
    engrams: Mapping[str, EngramFunction[Any]]
    stories: Mapping[str, Story[Any]]


class Story(Generic[ResultT]):
    """A function whose calls are the steps of a Story.

    Attributes:
        name: of the Story.
        image: of the engrams that have none of their own.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        timeout: str | None = None,
        step_timeout: str | None = None,
        image: str | None = None,
        policy: Mapping[str, Any] | None = None,
    ) -> None:
        self.function = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self.name = naming.checked(name) if name is not None else naming.name_of(function)
        self.image = image
        self._timeouts = {"story": timeout, "step": step_timeout}
        self._policy = dict(policy or {})
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(f"{self.__name__}: a Story is a plain function; its engrams may be async")
        self._parameter = _parameter_of(function)

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise refusal(
            f"{self.__name__} is a Story and is not called; start it with `bobrapet run FILE`, or in another Story "
            f"with run_story({self.__name__}, {{…}})"
        )

    def output_type(self) -> Any:
        """The annotation of what the function returns."""
        return self._hints.get("return", Any)

    @functools.cached_property
    def built(self) -> BuiltStory:
        """The Story that the function describes.

        Raises:
            StoryBuildError: it uses what no Story can do, or what the function's types do not have.
        """
        builder = StoryBuilder(self.name)
        arguments: dict[str, Any] = {}
        inputs = self._hints.get(self._parameter, Any) if self._parameter else Any
        if self._parameter is not None:
            arguments[self._parameter] = Placeholder(("inputs",), inputs, builder)
        code = self.function.__code__
        place = Written(code.co_filename, code.co_firstlineno, self.__name__)
        previous = building.set(builder)
        try:
            output = self._output(builder, self.function(**arguments), place)
        finally:
            building.reset(previous)
        if not builder.sections["steps"]:
            raise StoryBuildError("a Story needs a step; call an engram in it", place)
        spec: Object = {**self._schema("inputsSchema", inputs), **self._schema("outputsSchema", self.output_type())}
        policy = self._whole_policy()
        if policy:
            spec["policy"] = policy
        spec |= {section: builder.sections[section] for section in SECTIONS if builder.sections[section]}
        if output:
            spec["output"] = output
        document: Object = {
            "apiVersion": STORY_VERSION,
            "kind": "Story",
            "metadata": {"name": self.name},
            "spec": spec,
        }
        places = {"": place, **{f"spec.{path}": written for path, written in builder.places.items()}}
        return BuiltStory(document, places, builder.engrams, cast("dict[str, Story[Any]]", builder.stories))

    def manifests(self) -> list[Object]:
        """EngramTemplates and Engrams of its functions, and the Story; also those of the Stories that it runs.

        Raises:
            StoryBuildError: see ``built``.
        """
        return [document for document, _ in manifests_of([self])]

    def run(self) -> NoReturn:
        """Be the program of its file: in a container, run the engram of the container; else print with --manifest."""
        from bubu_sdk.stories import serving  # it needs the code of containers

        if in_container(os.environ):
            serving.run_container(engrams_by_name([self]))
        sys.exit(serving.story_command(self.name, self.manifests, sys.argv))

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        return typing.get_type_hints(self.function, include_extras=True)

    def _whole_policy(self) -> Object:
        policy = dict(self._policy)
        timeouts = {key: value for key, value in self._timeouts.items() if value is not None}
        if timeouts:
            policy["timeouts"] = {**policy.get("timeouts", {}), **timeouts}
        return policy

    def _output(self, builder: StoryBuilder, returned: Any, place: Written) -> Object:
        if returned is None:
            return {}
        try:
            plain = builder.plain(returned, "output")
        except StoryBuildError as error:
            raise StoryBuildError(error.message, place) from None
        if not isinstance(plain, dict):
            raise StoryBuildError('a Story returns a dict or a dataclass, as in {"report": report.file}', place)
        return plain

    def _schema(self, field: str, hint: Any) -> Object:
        described = typeschema.inputs_schema([hint]) if field == "inputsSchema" else typeschema.schema_of(hint)
        return {field: described} if typeschema.fields_of(hint) is not None else {}


@overload
def story(function: Callable[..., ResultT], /) -> Story[ResultT]: ...
@overload
def story(
    *,
    name: str | None = None,
    timeout: str | None = None,
    step_timeout: str | None = None,
    image: str | None = None,
    policy: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., ResultT]], Story[ResultT]]: ...
def story(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    timeout: str | None = None,
    step_timeout: str | None = None,
    image: str | None = None,
    policy: Mapping[str, Any] | None = None,
) -> Any:
    """Make a function a Story.

    Args:
        name: of the Story; default: that of the function, with dashes.
        timeout: of a run, a Go duration.
        step_timeout: of each step that has none of its own.
        image: of the engrams that have none of their own.
        policy: further fields of ``spec.policy``, such as ``retries`` and ``concurrency``.
    Raises:
        TypeError: the function is async, or has more than one parameter.
        ValueError: the name is none that an object can have.
    """

    def decorated(given: Callable[..., Any]) -> Story[Any]:
        return Story(given, name=name, timeout=timeout, step_timeout=step_timeout, image=image, policy=policy)

    return decorated if function is None else decorated(function)


def manifests_of(stories: list[Story[Any]]) -> list[tuple[Object, Mapping[str, Written]]]:
    """The documents of several Stories, each once, with the places of their parts.

    Raises:
        StoryBuildError: two functions or Stories have the same name, or one cannot be built.
    """
    found = all_stories(stories)
    documents: list[tuple[Object, Mapping[str, Written]]] = []
    for engram, image in engrams_of(found):
        code = engram.function.__code__
        places = {"": Written(code.co_filename, code.co_firstlineno, engram.__name__)}
        documents += [(document, places) for document in engram_manifest.documents_of(engram, engram.image or image)]
    documents.sort(key=lambda each: each[0]["kind"] != "EngramTemplate")
    return documents + [(one.built.document, one.built.places) for one in found]


def all_stories(stories: list[Story[Any]]) -> list[Story[Any]]:
    """The Stories and those that they run, each once."""
    found: dict[str, Story[Any]] = {}
    pending = list(reversed(stories))
    while pending:
        one = pending.pop()
        if found.setdefault(one.name, one) is not one:
            raise StoryBuildError(f'two Stories are called {one.name!r}; name one: @story(name="…")')
        pending += [other for name, other in one.built.stories.items() if found.get(name) is not other]
    return list(found.values())


def engrams_of(stories: list[Story[Any]]) -> list[tuple[EngramFunction[Any], str | None]]:
    """The engrams of Stories, each once, with the image of the Story."""
    found: dict[str, tuple[EngramFunction[Any], str | None]] = {}
    for one in stories:
        for name, engram in one.built.engrams.items():
            if found.setdefault(name, (engram, one.image))[0] is not engram:
                raise StoryBuildError(f'two functions are called {name!r}; name one: @engram(name="…")')
    return list(found.values())


def engrams_by_name(stories: list[Story[Any]]) -> dict[str, EngramFunction[Any]]:
    """All engrams of the Stories and of those that they run.

    Raises:
        StoryBuildError: see ``manifests_of``.
    """
    return {engram.name: engram for engram, _ in engrams_of(all_stories(stories))}


def _parameter_of(function: Callable[..., Any]) -> str | None:
    parameters = list(inspect.signature(function).parameters.values())
    single = len(parameters) == 1 and parameters[0].kind not in (
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    )
    if parameters and not single:
        raise TypeError(f"{function.__name__}: a Story takes one parameter, a model with all inputs")
    return parameters[0].name if parameters else None
