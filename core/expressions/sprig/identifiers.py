"""Random identifiers. Source: templating contract 10.7."""

from __future__ import annotations

import uuid
from typing import Final

from core.expressions.template.functions import Context, FunctionTable

FUNCTIONS: Final = FunctionTable()


@FUNCTIONS.add("uuidv4", with_context=True, deterministic=False)
def _uuidv4(context: Context) -> str:
    return str(uuid.UUID(int=context.random.getrandbits(128), version=4))
