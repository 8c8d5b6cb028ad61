"""The Secrets that a Story needs and that do not exist."""

from __future__ import annotations

from typing import Any

import pytest

from cli.lintcluster import cluster_world
from cli.linting import check, read_documents
from cli.secretnames import warn_of_missing
from cli.session import Session
from core.api.objects import Object
from core.api.resource import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ENGRAM, ENGRAM_TEMPLATE, SECRET, STORY, Resource
from tests.unit.cli.conftest import Server

PLACE = "default"
MAIL = "Secret 'smtp', which step 'send' needs, does not exist in namespace default"
OTHER = "Secret 'other', which step 'last' needs, does not exist in namespace default"
CREATE = "kubectl create secret generic smtp --namespace default --from-literal=user=… --from-literal=password=…"
STEPS: list[Object] = [
    {"name": "first", "type": "sleep", "with": {"duration": "1s"}},
    {"name": "both", "type": "parallel", "with": {"steps": [{"name": "send", "ref": {"name": "mailer"}}]}},
    {"name": "last", "ref": {"name": "mailer"}, "secrets": {"mail": "other", "undeclared": "nothing"}},
]
STORY_FILE = """\
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: report}
spec:
  steps:
    - {name: send, ref: {name: mailer}}
"""


async def put(session: Session, resource: Resource, name: str, **fields: Any) -> Object:
    written = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, **fields}
    return await session.client.create(resource, written, namespace=PLACE if resource.namespaced else None)


async def a_story(session: Session, **secrets: str) -> Object:
    schema = {"mail": {"required": True, "expectedKeys": ["user", "password"]}, "proxy": {}}
    spec = {"version": "v1", "supportedModes": ["job"], "image": "i", "secretSchema": schema}
    await put(session, ENGRAM_TEMPLATE, "mail", spec=spec)
    await put(session, ENGRAM, "mailer", spec={"templateRef": {"name": "mail"}, "secrets": secrets})
    return await put(session, STORY, "report", spec={"steps": STEPS})


async def test_a_missing_secret_of_any_step_is_noted_before_the_run(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    story = await a_story(session, mail="smtp")

    await warn_of_missing(session, story)

    assert capsys.readouterr().err.splitlines() == [
        f"warning: {MAIL} (create it: {CREATE})",
        f"warning: {OTHER} (create it: {CREATE.replace('smtp', 'other')})",
    ]


def calls(name: str, story: str) -> Object:
    return {"name": name, "type": "executeStory", "with": {"storyRef": {"name": story}}}


async def test_a_missing_secret_of_a_called_story_is_noted_once(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_story(session, mail="smtp")
    await put(session, STORY, "middle", spec={"steps": [calls("on", "report"), calls("gone", "absent")]})
    branches = {"name": "both", "type": "parallel", "with": {"steps": [calls("branch", "middle")]}}
    top = await put(session, STORY, "top", spec={"steps": [branches, calls("again", "report"), calls("self", "top")]})

    await warn_of_missing(session, top)

    send, last = (
        text.replace(f"step '{step}'", f"step '{step}' of Story default/report")
        for text, step in ((MAIL, "send"), (OTHER, "last"))
    )
    assert capsys.readouterr().err.splitlines() == [
        f"warning: {send} (create it: {CREATE})",
        f"warning: {last} (create it: {CREATE.replace('smtp', 'other')})",
    ]


async def test_a_chain_of_calls_is_followed_as_deep_as_runs_go(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_story(session, mail="smtp")
    await put(session, STORY, "call-1", spec={"steps": [calls("on", "report")]})
    for number in range(2, 12):
        await put(session, STORY, f"call-{number}", spec={"steps": [calls("on", f"call-{number - 1}")]})
    noted = []
    for number in (9, 10):
        await warn_of_missing(session, await session.client.get(STORY, f"call-{number}", PLACE))
        noted.append(len(capsys.readouterr().err.splitlines()))

    assert noted == [2, 0]


async def test_secrets_that_exist_need_no_note(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    story = await a_story(session, mail="smtp")
    for name in ("smtp", "other"):
        await put(session, SECRET, name, data={})

    await warn_of_missing(session, story)

    assert capsys.readouterr().err == ""


async def test_a_required_secret_that_nothing_names_is_noted(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    story = await a_story(session)
    await put(session, SECRET, "other", data={})

    await warn_of_missing(session, story)

    assert capsys.readouterr().err == (
        "warning: step 'send' needs a Secret for 'mail', and neither its Engram nor the step names one "
        "(name one: secrets: {mail: NAME})\n"
    )


async def test_a_user_who_may_not_read_secrets_gets_no_note(
    server: Server, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    story = await a_story(session, mail="smtp")
    rule = {"apiGroups": [ENGRAM.group, ENGRAM_TEMPLATE.group], "resources": ["*"], "verbs": ["get"]}
    await session.client.create(CLUSTER_ROLE, {"metadata": {"name": "ann"}, "rules": [rule]})
    subject = {"kind": "User", "apiGroup": CLUSTER_ROLE.group, "name": "ann"}
    bound = {"roleRef": {"apiGroup": CLUSTER_ROLE.group, "kind": "ClusterRole", "name": "ann"}, "subjects": [subject]}
    await session.client.create(CLUSTER_ROLE_BINDING, {"metadata": {"name": "ann"}, **bound})

    async with server.session_as("ann") as hers:
        assert await hers.client.get(ENGRAM, "mailer", PLACE)
        await warn_of_missing(hers, story)

    assert capsys.readouterr().err == ""


async def test_lint_with_the_cluster_names_the_step_and_its_missing_secret(session: Session) -> None:
    await a_story(session, mail="smtp")
    documents, _ = read_documents([("story.yaml", STORY_FILE)])

    async def found() -> list[tuple[int, str, str]]:
        world = await cluster_world(session, documents)
        return [(each.place[0], each.finding.rule.id, each.finding.message) for each in check(documents, world, PLACE)]

    assert await found() == [(6, "cluster/secret-missing", MAIL)]
    await put(session, SECRET, "smtp", data={})
    assert await found() == []


async def test_lint_with_the_cluster_names_the_missing_secret_of_an_engram(session: Session) -> None:
    await a_story(session, mail="smtp")
    engram = """\
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {name: new}
spec: {templateRef: {name: mail}, secrets: {mail: gone}}
"""
    documents, _ = read_documents([("engram.yaml", engram)])

    located = check(documents, await cluster_world(session, documents), PLACE)

    assert [each.finding.rule.id for each in located] == ["definition/secret-missing"]
