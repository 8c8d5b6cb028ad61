from __future__ import annotations

import subprocess
import sys

from core.api import kinds
from core.api.resource import OUR_RESOURCES


def test_every_resource_of_the_contract_has_a_kind_in_the_same_order() -> None:
    assert tuple(kind.resource for kind in kinds.KINDS) == OUR_RESOURCES


def test_the_vocabulary_does_not_load_the_models() -> None:
    modules = ("conditions", "errors", "keys", "phases", "quantity", "resource")
    imports = "; ".join(f"import core.api.{module}" for module in modules)
    script = f"import sys; {imports}; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
