"""The real kubectl of the tests: ``$BOBRAPET_KUBECTL``, or the one on PATH. Without one, the tests say so."""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest

KUBECTL: Final = os.environ.get("BOBRAPET_KUBECTL") or shutil.which("kubectl")

OLDEST_KUBECTL: Final = "1.32"
"""What the project's machines have. ``tests/e2e`` uses the one of the newest Kubernetes."""

needs_kubectl = pytest.mark.skipif(
    KUBECTL is None, reason="no kubectl on PATH; install one or name it in BOBRAPET_KUBECTL"
)
