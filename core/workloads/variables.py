"""Names of environment variables that a Secret may not set, because they control which code a program runs.

A Secret's keys are data. As ``PATH``, ``LD_PRELOAD`` or ``PYTHONPATH`` they would replace the program of a template by
another one; as ``BUBU_…`` they would replace values that the operator sets for the container. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAX_VARIABLE_BYTES: Final = 128 * 1024 - 1
"""Size of ``NAME=value``: with its final NUL, it is the longest string that Linux passes to a process
(``MAX_ARG_STRLEN``).
"""

_PREFIXES: Final = (
    "LD_",
    "DYLD_",
    "PYTHON",
    "GIT_",
    "BASH_FUNC_",
    "BUBU_",
    "KUBERNETES_",
    "COR_",
    "CORECLR_",
    "DOTNET_STARTUP_HOOKS",
    "GLIBC_",
)
_NAMES: Final = frozenset(
    {
        # Shells, and the variables that they read.
        *("PATH", "BASH_ENV", "ENV", "IFS", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND", "CDPATH", "HOME"),
        *("SHELL", "EDITOR", "VISUAL", "PAGER", "ZDOTDIR"),
        # Interpreters.
        *("NODE_OPTIONS", "NODE_PATH", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH"),
        *("RUBYOPT", "RUBYLIB", "PERL5OPT", "PERL5LIB", "PERL5DB", "PERLLIB", "LUA_INIT", "LUA_PATH", "LUA_CPATH"),
        *("PHPRC", "PHP_INI_SCAN_DIR", "R_PROFILE", "R_ENVIRON", "ERL_FLAGS", "ERL_AFLAGS", "ERL_ZFLAGS"),
        # The C library and the libraries that programs load with it.
        *("GCONV_PATH", "LOCPATH", "NLSPATH", "HOSTALIASES", "LOCALDOMAIN", "RESOLV_HOST_CONF"),
        *("OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES"),
    }
)
_CREDENTIALS_OF_GIT: Final = frozenset({"GIT_TOKEN", "GIT_USER", "GIT_USERNAME", "GIT_PASSWORD"})
"""Common names that git itself does not read."""


def is_reserved(name: str) -> bool:
    """Whether no Secret may set the variable ``name``."""
    if name in _CREDENTIALS_OF_GIT:
        return False
    return name in _NAMES or name.startswith(_PREFIXES)


def reserved_among(prefix: str, keys: Iterable[str]) -> list[str]:
    """The variables ``prefix + key`` that no Secret may set, in order."""
    return sorted(name for key in keys if is_reserved(name := f"{prefix}{key}"))


def can_only_be_reserved(prefix: str) -> bool:
    """Whether a prefix makes (nearly) every key a reserved variable, so that it is useless."""
    return prefix.startswith(_PREFIXES) and prefix != "GIT_"
