from __future__ import annotations

import pytest
import trio

from core.api.crd import custom_resource_definition
from core.api.kind import Kind
from core.api.kinds import KINDS
from core.api.resource import CUSTOM_RESOURCE_DEFINITION
from core.kube.client import open_client
from core.kube.config import ClusterConfig
from core.kube.credentials import bearer_token
from deployment import crds
from deployment.crds import NotEstablishedError, install_crds, packaged_crds
from localcluster.server import schema_structure
from localcluster.server.cluster import open_api_server
from localcluster.server.schema_structure import structural_problems
from localcluster.transport import ASGIStreamingTransport


async def test_every_kind_is_served_once_they_are_installed_and_again_changes_nothing() -> None:
    async with trio.open_nursery() as nursery, open_api_server() as server:
        transport = ASGIStreamingTransport(server.app, nursery)
        config = ClusterConfig("http://cluster", bearer_token(server.admin_token))
        async with open_client(config, transport=transport) as client:
            await install_crds(client)
            first = (await client.list(CUSTOM_RESOURCE_DEFINITION)).items
            for kind in KINDS:
                assert (await client.list(kind.resource)).items == []
            await install_crds(client)
            second = (await client.list(CUSTOM_RESOURCE_DEFINITION)).items
        nursery.cancel_scope.cancel()

    assert [crd["metadata"]["name"] for crd in first] == sorted(crd["metadata"]["name"] for crd in packaged_crds())
    assert [crd["metadata"]["generation"] for crd in second] == [crd["metadata"]["generation"] for crd in first]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource.kind)
def test_without_conversion_a_definition_has_the_stored_version_only(kind: Kind) -> None:
    name = f"{kind.resource.plural}.{kind.resource.group}"
    plain, converted = (
        next(crd for crd in packaged_crds(converted=wanted) if crd["metadata"]["name"] == name)
        for wanted in (False, True)
    )

    assert plain == custom_resource_definition(kind)
    assert [version["name"] for version in converted["spec"]["versions"]] == [each.name for each in kind.versions]
    assert (converted["spec"]["conversion"]["strategy"] == "Webhook") is (len(kind.versions) > 1)


class NeverEstablished:
    """A server that stores definitions but never establishes them."""

    async def apply(self, _: object, crd: dict[str, object], **__: object) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        return crd

    async def get(self, *_: object) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        return {"status": {"conditions": [{"type": "Established", "status": "False"}]}}


async def test_a_definition_that_is_not_established_in_time_is_named(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ExceptionGroup) as failed:
        await install_crds(NeverEstablished())  # type: ignore[arg-type]  # the two verbs that are used

    names = {crd["metadata"]["name"] for crd in packaged_crds()}
    first = failed.value.exceptions[0]
    assert isinstance(first, NotEstablishedError)
    assert str(first).split()[0] in names
    assert trio.current_time() == pytest.approx(crds.ESTABLISH_DEADLINE_SECONDS, abs=1)


def test_the_definitions_of_this_project_need_no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded cluster installs them at each start without one."""
    monkeypatch.setattr(schema_structure, "_flawless", set())
    for definition in packaged_crds(converted=True):
        for version in definition["spec"]["versions"]:
            assert structural_problems(version["schema"]["openAPIV3Schema"], version["name"]) == []
