"""Errors of certificates.

CertificateError
└── UnusableError    *user*: certificate or key that cannot be served; lists every reason
"""

from __future__ import annotations

from collections.abc import Sequence


class CertificateError(Exception):
    """Base of the errors of this package."""


class UnusableError(CertificateError):
    """A certificate and key that must not be served. ``problems`` never contain key material."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))
