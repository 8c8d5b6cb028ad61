"""What CustomResourceDefinitions and webhook configurations refuse, in the words of a real API server (1.37)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from localcluster.server import schema
from localcluster.server.builtin import BUILTIN
from localcluster.server.types import Object
from localcluster_tests.server.schema_samples import crd_of

DEFINITIONS = next(rtype for rtype in BUILTIN if rtype.kind == "CustomResourceDefinition")
WEBHOOKS = next(rtype for rtype in BUILTIN if rtype.kind == "ValidatingWebhookConfiguration")
PLAIN = {"type": "object"}
NAMES = {"plural": "widgets", "kind": "Widget"}


def causes(crd: Object, old: Object | None = None) -> list[str]:
    found = copy.deepcopy(crd)
    schema.apply_defaults(found, DEFINITIONS)
    return [str(cause) for cause in schema.validate(found, old, DEFINITIONS)]


def changed(**spec: Any) -> Object:
    crd = crd_of(PLAIN)
    crd["spec"] |= spec
    return crd


def version(**fields: Any) -> Object:
    return {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": PLAIN}, **fields}


SPECS: list[tuple[Object, list[str]]] = [
    ({}, []),
    ({"scope": "Galaxy"}, ['spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"']),
    ({"scope": ""}, ["spec.scope: Required value"]),
    (
        {"group": "nodots"},
        [
            'metadata.name: Invalid value: "widgets.test.example.com": must be spec.names.plural+"."+spec.group',
            'spec.group: Invalid value: "nodots": should be a domain with at least one dot',
        ],
    ),
    (
        {"names": {**NAMES, "listKind": "Widget"}},
        ['spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same'],
    ),
    (
        {"versions": [version(storage=False)]},
        ['spec.versions: Invalid value: ["v1"]: must have exactly one version marked as storage version'],
    ),
    (
        {"versions": [version(), version(storage=False)]},
        ['spec.versions: Invalid value: ["v1","v1"]: must contain unique version names'],
    ),
    ({"versions": [version(schema=None)]}, ["spec.versions[0].schema.openAPIV3Schema: Required value"]),
    (
        {"versions": [version(schema={"openAPIV3Schema": {"type": "object", "properties": {"a": {}}}})]},
        [
            (
                "spec.validation.openAPIV3Schema.properties[a].type: Required value: "
                "must not be empty for specified object fields"
            )
        ],
    ),
    (
        {"versions": [version(additionalPrinterColumns=[{"name": "a", "type": "banana", "jsonPath": "spec["}])]},
        [
            (
                'spec.additionalPrinterColumns[0].type: Invalid value: "banana": '
                "must be one of boolean,date,integer,number,string"
            ),
            (
                'spec.additionalPrinterColumns[0].jsonPath: Invalid value: "spec[": '
                "must be a simple json path starting with ."
            ),
        ],
    ),
    (
        {"versions": [version(selectableFields=[{"jsonPath": ".spec.q"}])]},
        [
            (
                'spec.selectableFields[0].jsonPath: Invalid value: ".spec.q": '
                "is an invalid path: does not refer to a valid field"
            )
        ],
    ),
    (
        {"versions": [version(subresources={"scale": {"specReplicasPath": "x"}})]},
        [
            (
                'spec.subresources.scale.specReplicasPath: Invalid value: "x": '
                "must be a simple json path starting with ."
            ),
            "spec.subresources.scale.statusReplicasPath: Required value",
        ],
    ),
    (
        {"conversion": {"strategy": "Webhook"}},
        [
            "spec.conversion.webhook.clientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.webhook.conversionReviewVersions: Required value",
        ],
    ),
    (
        {"conversion": {"strategy": "Magic"}},
        ['spec.conversion.strategy: Unsupported value: "Magic": supported values: "None", "Webhook"'],
    ),
    (
        {"preserveUnknownFields": True},
        [
            (
                "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set "
                "x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
            )
        ],
    ),
]


@pytest.mark.parametrize(("spec", "expected"), SPECS)
def test_a_definition_is_refused_with_its_reasons(spec: Object, expected: list[str]) -> None:
    assert causes(changed(**spec)) == expected


def test_a_protected_group_needs_approval() -> None:
    crd = changed(group="test.k8s.io")
    crd["metadata"]["name"] = "widgets.test.k8s.io"
    (told,) = causes(crd)
    assert told.startswith("metadata.annotations[api-approved.kubernetes.io]: Required value")


def test_an_established_definition_keeps_its_scope_names_and_stored_versions() -> None:
    old = crd_of(PLAIN)
    old["status"] = {"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v0", "v1"]}
    told = causes(changed(scope="Cluster", names={**NAMES, "kind": "Gadget"}), old)
    assert told == [
        'spec.scope: Invalid value: "Cluster": field is immutable',
        'spec.names.kind: Invalid value: "Gadget": field is immutable',
        'status.storedVersions[0]: Invalid value: "v0": missing from spec.versions',
    ]


WEBHOOK_CASES: list[tuple[Object, list[str]]] = [
    ({}, []),
    (
        {"name": "abc"},
        ['.name: Invalid value: "abc": should be a domain with at least three segments separated by dots'],
    ),
    (
        {"sideEffects": "Some"},
        ['.sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"'],
    ),
    (
        {"admissionReviewVersions": []},
        [".admissionReviewVersions: Required value: must specify one of v1, v1beta1"],
    ),
    (
        {"admissionReviewVersions": ["v9"]},
        ['.admissionReviewVersions: Invalid value: ["v9"]: must include at least one of v1, v1beta1'],
    ),
    ({"clientConfig": {}}, [".clientConfig: Required value: exactly one of url or service is required"]),
    (
        {"clientConfig": {"url": "http://x"}},
        [
            (
                ".clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; "
                "desired format: https://host[/path]"
            )
        ],
    ),
    (
        {"timeoutSeconds": 40},
        [".timeoutSeconds: Invalid value: 40: the timeout value must be between 1 and 30 seconds"],
    ),
    (
        {"rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["X"], "resources": ["*"]}]},
        [
            (
                '.rules[0].operations[0]: Unsupported value: "X": supported values: '
                '"*", "CONNECT", "CREATE", "DELETE", "UPDATE"'
            )
        ],
    ),
    ({"failurePolicy": "X"}, ['.failurePolicy: Unsupported value: "X": supported values: "Fail", "Ignore"']),
]


@pytest.mark.parametrize(("fields", "expected"), WEBHOOK_CASES)
def test_a_webhook_is_refused_with_its_reasons(fields: Object, expected: list[str]) -> None:
    webhook = {
        "name": "a.b.c",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://x"},
        **fields,
    }
    configuration = {"metadata": {"name": "n"}, "webhooks": [webhook]}
    schema.apply_defaults(configuration, WEBHOOKS)
    found = [str(cause).removeprefix("webhooks[0]") for cause in schema.validate(configuration, None, WEBHOOKS)]
    assert found == expected
