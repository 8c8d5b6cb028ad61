from __future__ import annotations

from core.api.errors import FieldError, ManifestError


def test_a_finding_reads_where_what_and_remedy() -> None:
    assert (
        str(FieldError("spec.steps[0].name", "is required", "add name")) == "spec.steps[0].name: is required (add name)"
    )
    assert str(FieldError("spec", "is required")) == "spec: is required"
    assert (
        str(FieldError("", "must be an object", "start with apiVersion")) == "must be an object (start with apiVersion)"
    )


def test_a_manifest_error_lists_all_findings() -> None:
    findings = [FieldError("a", "is required"), FieldError("b", "unknown field", "remove it")]
    error = ManifestError(findings)
    assert error.errors == tuple(findings)
    assert str(error) == "a: is required; b: unknown field (remove it)"
