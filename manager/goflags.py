"""Flags as Go programs take them: one dash or two, booleans with or without a value.

Source: operator contract 1.1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def normalised(arguments: Sequence[str], booleans: Collection[str]) -> list[str]:
    """The same flags in the form that our parser accepts: ``-leader-elect`` becomes ``--leader-elect=true``.

    Args:
        booleans: names of flags, without dashes, that need no value.
    """
    result = []
    for argument in arguments:
        if argument.startswith("-") and not argument.startswith("--") and len(argument) > 2:
            argument = f"-{argument}"
        name = argument.removeprefix("--")
        result.append(f"{argument}=true" if argument.startswith("--") and name in booleans else argument)
    return result


def boolean(flag: str, text: str) -> bool:
    """The boolean of a word that Go accepts as one.

    Raises:
        ValueError: another word.
    """
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(f"--{flag} must be true or false, not {text!r}")
