"""Secrets are compared with ``hmac.compare_digest`` only: ``==`` ends at the first letter that is wrong.

A test by the clock would prove nothing on a busy machine, so this one reads the code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

import pytest

from tests.packages import PACKAGES, ROOT, folder_of

MODULES: Final = {
    "core/workloads/binding_token.py": {"signature", "_signature", "expected"},
    "hub/console_grants.py": {"digest", "sha256", "key"},
    "impulses/bubu_impulses/webhook/authentication.py": {
        "shown",
        "signatures",
        "expected",
        "one",
        "secret",
        "secrets",
        "_digest",
        "signature",
        "_signature",
    },
    "localcluster/localcluster/server/authn.py": {"known", "token"},
}
"""Modules that compare a secret, or what is made of one, with the names that have it there."""
BY_VALUE: Final = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)


def names_in(node: ast.expr) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} | {
        each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)
    }


def comparisons(source: str, secrets: set[str]) -> Iterator[str]:
    """Those of a secret by value, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Compare)
            and any(isinstance(op, BY_VALUE) for op in node.ops)
            and names_in(node) & secrets
        ):
            yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_knows_secrets_compares_them_in_constant_time_only(module: str) -> None:
    source = (ROOT / module).read_text()
    assert list(comparisons(source, MODULES[module])) == []
    assert "hmac.compare_digest(" in source


def test_every_module_that_compares_in_constant_time_is_in_the_list() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in map(folder_of, PACKAGES)
        for path in folder.rglob("*.py")
        if "compare_digest" in path.read_text()
    }
    assert found == set(MODULES)


@pytest.mark.parametrize(
    "wrong", ["genuine |= expected == identity.signature", "genuine = identity.signature in found", "a != expected[:4]"]
)
def test_another_comparison_would_be_found(wrong: str) -> None:
    assert list(comparisons(wrong, MODULES["core/workloads/binding_token.py"])) != []
