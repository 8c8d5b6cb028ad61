"""Why a request has failed, told without what the server or obstore has written."""

from __future__ import annotations

import pytest

from core.payloads.cloud_answers import CloudProvider, cause_of, code_of

AZURE = CloudProvider("Azure Blob Storage", "Azure", "container", metadata_path="/metadata/identity/")
BODY = "<Error><Code>%s</Code><Message>hunter2</Message></Error>"
ANSWERED = "Error performing GET https://host/?sig=hunter2 in 3ms - Server returned non-2xx status code: %s"
FACTS = "\n\nDebug source:\nGeneric { kind: Connect, ConnectionRefused, hunter2 }"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            ANSWERED % f"403 Forbidden: {BODY % 'AuthorizationFailure'}",
            "it answered 403 AuthorizationFailure; check the",
        ),
        (
            ANSWERED % f"400 Bad: {BODY % 'InvalidAuthenticationInfo'}",
            "it answered 400 InvalidAuthenticationInfo; check",
        ),
        (ANSWERED % f"503 Busy: {BODY % 'ServerBusy'}", "it answered 503 ServerBusy"),
        (ANSWERED % f"404 Not Found: {BODY % 'ContainerNotFound'}", "the container does not exist"),
        (
            "Bulk delete request failed for key a (code: 200)/b: no (code: 403)",
            "it answered 403; check the credentials",
        ),
        (
            f"Error performing token request: {ANSWERED % '401 Unauthorized: hunter2'}",
            "there is no token for its credentials (Azure answered 401); check them",
        ),
        (
            f"Error performing token request: error sending request{FACTS}",
            "there is no token for its credentials (the connection is refused); check them",
        ),
        (
            "Error performing token request: Error performing GET http://169.254.169.254/metadata/identity/oauth2/token",
            "the operator has no Azure credentials; name a Secret that holds some",
        ),
        (f"error sending request{FACTS}", "the connection is refused"),
        ("hunter2", "its answer cannot be parsed"),
    ],
)
def test_the_cause_has_status_code_and_remedy_only(text: str, cause: str) -> None:
    found = cause_of(RuntimeError(text), AZURE, "list the {place}")
    assert found.startswith(cause)
    assert "hunter2" not in found
    assert "{" not in found


def test_the_code_is_that_of_the_server() -> None:
    assert code_of(RuntimeError(BODY % " BlobNotFound ")) == "BlobNotFound"
    assert code_of(RuntimeError(BODY % "no code: <hunter2>")) == ""
