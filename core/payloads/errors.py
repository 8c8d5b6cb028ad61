"""Errors of reading a payload. No text contains the content of a payload, or a credential.

PayloadError            user    the same call fails again: a person must change the reference, the object or a limit
StoreUnavailableError   retry   the same call may succeed later, perhaps after the store was repaired
"""

from __future__ import annotations

from bubu_contract.references import shown


class PayloadError(Exception):
    """The reference or the object behind it is not valid; names the field, the key and the remedy."""


class ObjectMissingError(PayloadError):
    """There is no such object."""


class StoreUnavailableError(Exception):
    """The store did not answer, or refused access; names the store and the cause."""


def object_missing(key: str) -> ObjectMissingError:
    text = f"the stored object {shown(key)} does not exist; run the step again that wrote the reference"
    return ObjectMissingError(text)


def object_too_large(key: str, limit_bytes: int) -> PayloadError:
    return PayloadError(
        f"the stored object {shown(key)} is larger than {limit_bytes:,} bytes; "
        "process it in a step, and output only what is needed here"
    )
