"""Each key has an effect or is listed as without effect, and each setting has a key."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from core.policy.config_keys import ACCEPTED_WITHOUT_EFFECT, KEYS
from core.policy.settings import OperatorSettings

ROOT: Final = Path(__file__).parents[4]
PRODUCTION: Final = ("core", "reconcilers", "webhooks", "certs", "manager")
"""Packages of the operator's process. The command and the embedded cluster do not count."""
CARRIERS: Final = (
    *("core.policy.settings", "core.workloads.step_workload", "core.workloads.stream_workload"),
    *("reconcilers.registration", "webhooks.cluster_view"),
)
"""Modules whose types contain the settings, or pass them on."""
OWN: Final = {f"core/policy/{name}.py" for name in ("config", "config_keys", "config_values", "settings/operator")}
"""Modules that create settings. Reading a setting there does not count as a use."""
KEYS_WITH_A_NAME: Final = {("runs", "queues"), ("runs", "max_priorities")}
"""Fields that ``storyrun.queue.<name>.*`` and ``storyrun.namespace.<name>.*`` set."""


def attributes_read() -> Iterator[str]:
    """Each attribute name that is read in a module that imports a type with settings."""
    for path in (path for folder in PRODUCTION for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.relative_to(ROOT).as_posix() in OWN or not any(
            f"from {carrier} import" in text for carrier in CARRIERS
        ):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                yield node.attr


READ: Final = frozenset(attributes_read())


def fields_of(settings: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from fields_of(value, (*path, field.name))
        else:
            yield (*path, field.name)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_each_key_is_read_by_the_operator(key: str) -> None:
    group, *rest = KEYS[key].path
    if group != "controllers":  # a common value is copied to each controller whose own value is zero
        assert group in READ, f"nothing reads settings.{group}: use it, or list {key} as without effect"
    assert set(rest) <= READ, f"nothing reads {group}.{rest[0]}: use it, or list {key} as without effect"


def test_no_key_both_has_an_effect_and_has_none() -> None:
    assert KEYS.keys() & ACCEPTED_WITHOUT_EFFECT == set()


def test_each_setting_has_a_key() -> None:
    assert set(fields_of(OperatorSettings())) == {key.path for key in KEYS.values()} | KEYS_WITH_A_NAME
