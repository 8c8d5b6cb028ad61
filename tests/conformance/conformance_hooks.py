"""Admission webhooks of one test. They are configured for its namespace only, and removed with it."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import trio

from core.api.objects import Object
from tests.conformance.conformance_api import Api
from tests.integration.webhookserver import WebhookServer

VALIDATING = "validatingwebhookconfigurations"
MUTATING = "mutatingwebhookconfigurations"


class Hooks:
    """Webhooks that the server calls for one namespace only. They are removed with the test."""

    def __init__(self, api: Api, server: WebhookServer, *, writes_from_cache: bool) -> None:
        self.api = api
        self.server = server
        self.writes_from_cache = writes_from_cache
        """The server calls again if its cache was out of date. Only the last review counts then."""
        self.configured: list[tuple[str, str]] = []

    @property
    def asked(self) -> list[Object]:
        """The reviews that this test caused, without those of controllers and probes."""
        return [request for _, request in self._asked()]

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self._asked()]

    def _asked(self) -> list[tuple[str, Object]]:
        others = ("kube-root-ca.crt",)
        mine = [(path, found) for path, found in self.server.asked if path != "/probe" and found["name"] not in others]
        if not self.writes_from_cache:
            return mine
        return [one for one, later in zip_longest(mine, mine[1:]) if not _is_asked_again(one, later)]

    def hook(self, path: str = "/allow", *, name: str = "a.example.com", **fields: Any) -> Object:
        rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["configmaps"]}
        return {
            "name": name,
            "clientConfig": self.server.client_config(path),
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.api.namespace}},
            **fields,
        }

    def body(self, *hooks: Object) -> Object:
        return {"metadata": {"name": f"{self.api.namespace}-{len(self.configured)}"}, "webhooks": list(hooks)}

    async def configure(self, plural: str, *hooks: Object) -> None:
        """Install the webhooks, and return once the server calls them."""
        body = self.body(*hooks)
        await self.api.create(plural, body)
        self.configured.append((plural, body["metadata"]["name"]))
        await self._until_asked(plural, body["metadata"]["name"])

    async def _until_asked(self, plural: str, name: str) -> None:
        """The real server uses new configurations a moment later.

        A probe in the same configuration shows when it does.
        """
        rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"]}
        probe = self.hook("/probe", name="probe.example.com", rules=[rule])
        current = await self.api.read(plural, name)
        current["webhooks"].append(probe)
        assert (await self.api.put(plural, current)).code == 200
        with trio.fail_after(20):
            while not any(path == "/probe" for path, _ in self.server.asked):
                await self.api.post("secrets", {"metadata": {"generateName": "probe-"}}, dryRun="All")
        self.server.asked.clear()

    async def remove(self) -> None:
        for plural, name in self.configured:
            await self.api.delete(plural, name)


def _is_asked_again(one: tuple[str, Object], later: tuple[str, Object] | None) -> bool:
    """Whether both reviews are of one write. No test changes or deletes an object twice with the same webhook."""
    if later is None or one[1]["operation"] not in ("UPDATE", "DELETE"):
        return False
    return (one[0], _target(one[1])) == (later[0], _target(later[1]))


def _target(review: Object) -> tuple[object, ...]:
    return tuple(review.get(field) for field in ("operation", "kind", "name", "namespace", "subResource", "dryRun"))


async def allow(_: Object) -> Object:
    return {"allowed": True}


def answering(hooks: Hooks, path: str, answer: Object) -> None:
    async def handler(_: Object) -> Object:
        return answer

    hooks.server.handlers[path] = handler
