"""Bundles are written only where they differ."""

from __future__ import annotations

import base64

from cryptography import x509

from certs.authority import issue_authority
from certs.inject import MUTATING, Publisher, Target, changes_for
from certs.material import pem_of
from tests.unit.certs.certs_world import HOST, LIFETIMES, START, open_model_world

ONE, TWO = (issue_authority((HOST,), START, LIFETIMES).certificate for _ in range(2))


def encoded(*certificates: x509.Certificate) -> str:
    return base64.b64encode(pem_of(certificates)).decode()


def hooks(*bundles: str | None) -> dict[str, object]:
    configs = [{"url": "x"} if bundle is None else {"caBundle": bundle} for bundle in bundles]
    return {"metadata": {"resourceVersion": "4"}, "webhooks": [{"clientConfig": config} for config in configs]}


def test_only_what_differs_is_patched_and_on_the_version_that_was_read() -> None:
    assert changes_for(hooks(encoded(ONE), "bad", None), pem_of((ONE,))) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "4"},
        {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": encoded(ONE)},
        {"op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": encoded(ONE)},
    ]
    assert changes_for(hooks(encoded(ONE)), pem_of((ONE,))) == []


def test_a_definition_is_told_in_its_conversion_and_left_alone_without_one() -> None:
    metadata = {"resourceVersion": "4"}
    converting = {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "x"}}}

    (_, change) = changes_for({"metadata": metadata, "spec": {"conversion": converting}}, pem_of((ONE,)))

    assert change["path"] == "/spec/conversion/webhook/clientConfig/caBundle"
    assert changes_for({"metadata": metadata, "spec": {"conversion": {"strategy": "None"}}}, pem_of((ONE,))) == []
    assert changes_for({"metadata": metadata, "spec": {}}, pem_of((ONE,))) == []


def test_beside_others_valid_authorities_stay_and_settle() -> None:
    bundle = pem_of((ONE,))
    (_, change) = changes_for(hooks(encoded(TWO)), bundle, beside_others_at=START)
    assert change["value"] == encoded(ONE, TWO)

    assert changes_for(hooks(encoded(ONE, TWO)), bundle, beside_others_at=START) == []
    assert changes_for(hooks(encoded(TWO, ONE)), bundle, beside_others_at=START) == []
    expired = START + LIFETIMES.authority
    (_, change) = changes_for(hooks(encoded(ONE, TWO)), bundle, beside_others_at=expired)
    assert change["value"] == encoded(ONE)
    (_, change) = changes_for(hooks("garbage"), bundle, beside_others_at=START)
    assert change["value"] == encoded(ONE)


async def test_what_is_not_installed_is_no_failure_and_one_conflict_is_tried_again() -> None:
    async with open_model_world() as world:
        disturbed: list[str] = []

        async def disturb(label: str) -> None:
            if label == "PATCH m" and not disturbed:
                disturbed.append(label)
                world.api.put("m", world.api.objects["m"])

        world.api.before = disturb
        publisher = Publisher(world.client, [Target(MUTATING, "m"), Target(MUTATING, "absent")])

        publication = await publisher.publish(pem_of((ONE,)))

        assert publication.complete
        assert publication.repaired == (Target(MUTATING, "m"),)
        assert world.api.requests.count("PATCH m") == 2
        assert world.api.bundles()[0] == pem_of((ONE,))


async def test_targets_of_cert_managers_injector_are_left_to_it_when_the_secret_is_not_ours() -> None:
    async with open_model_world() as world:
        config = world.api.objects["m"]
        config["metadata"]["annotations"] = {"cert-manager.io/inject-ca-from": "a/b"}
        publisher = Publisher(world.client, [Target(MUTATING, "m")])

        await publisher.publish(pem_of((ONE,)), beside_others_at=START)
        assert world.api.bundles()[0] == b""

        await publisher.publish(pem_of((ONE,)))
        assert world.api.bundles()[0] == pem_of((ONE,))
