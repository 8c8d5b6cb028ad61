"""The data that a user gives when approving a gate, ``--data key=text``. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cli.problem import UsageError
from core.api.gatedata import KEY_RULE, MAX_CHARACTERS, MAX_KEYS, is_key


def parse_data(pairs: Sequence[str]) -> dict[str, str]:
    """Values by key; the part after the first ``=`` is always a string.

    Raises:
        UsageError: pairs are not valid; the message has all errors.
    """
    problems = list(_problems(pairs))
    if problems:
        remedy = f"write for example --data ticket=OPS-17; keys are {KEY_RULE}"
        raise UsageError("\n".join(problems), remedy=remedy)
    return {key: text for key, _, text in (pair.partition("=") for pair in pairs)}


def no_data(pairs: Sequence[str]) -> dict[str, str]:
    """The data of a rejection: none.

    Raises:
        UsageError: data is given.
    """
    if pairs:
        raise UsageError("--data is an option of approve only", remedy="give a reason: -m TEXT")
    return {}


def _problems(pairs: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            yield f"--data {pair!r} must be key=text"
            continue
        if not is_key(key):
            yield f"--data {key!r}: templates cannot read this key"
        if key in seen:
            yield f"--data {key!r}: must be given only once"
        seen.add(key)
        if len(text) > MAX_CHARACTERS:
            yield f"--data {key!r}: has {len(text)} characters, the maximum is {MAX_CHARACTERS}"
        if any("\ud800" <= letter <= "\udfff" for letter in text):  # Python's form of bytes that are not UTF-8
            yield f"--data {key!r}: is not UTF-8 text"
    if len(seen) > MAX_KEYS:
        yield f"--data: has {len(seen)} keys, the maximum is {MAX_KEYS}"
