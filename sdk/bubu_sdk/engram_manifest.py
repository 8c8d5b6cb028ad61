"""The EngramTemplate and the Engram that describe a function: its schemas come from its types."""

from __future__ import annotations

import inspect
import sys
import typing
from typing import Any, Final

from bubu_sdk import naming, typeschema
from bubu_sdk.engram_function import EngramFunction
from bubu_sdk.errors import Object

CATALOG_VERSION: Final = "catalog.bubustack.io/v1alpha1"
ENGRAMS_VERSION: Final = "bubustack.io/v1alpha1"


def documents_of(engram: EngramFunction[Any], image: str | None = None) -> list[Object]:
    """EngramTemplate and Engram; ``image`` wins over that of the engram.

    Raises:
        TypeError, NameError, ValueError: the function's signature or its name cannot be used.
    """
    name = engram.name
    spec: Object = {
        "version": engram.version,
        "supportedModes": ["job", "worker"],
        "image": image or image_of(engram),
        **_described(engram),
        **_schemas(engram),
    }
    template: Object = {
        "apiVersion": CATALOG_VERSION,
        "kind": "EngramTemplate",
        "metadata": {"name": name},
        "spec": spec,
    }
    use: Object = {"templateRef": {"name": name}}
    if engram.secrets:
        spec["secretSchema"] = {
            logical: {"required": True, "expectedKeys": list(keys)} for logical, keys in engram.secrets.items()
        }
        use["secrets"] = {logical: logical for logical in engram.secrets}
    return [template, {"apiVersion": ENGRAMS_VERSION, "kind": "Engram", "metadata": {"name": name}, "spec": use}]


def image_of(engram: EngramFunction[Any]) -> str:
    """The image of its containers."""
    return engram.image or f"{engram.name}:{engram.version}"


def output_type(engram: EngramFunction[Any]) -> Any:
    """The annotation of what the function returns; ``Any`` if there is none."""
    hints = typing.get_type_hints(engram.function, include_extras=True)
    return hints.get("return", Any)


def _described(engram: EngramFunction[Any]) -> Object:
    """The first paragraph of the function's docstring; for ``main`` also that of its file."""
    text = inspect.getdoc(engram.function)
    if not text and engram.__name__ == naming.ENTRY:
        module = sys.modules.get(engram.function.__module__)
        text = inspect.cleandoc((module.__doc__ if module else "") or "")
    first = " ".join((text or "").partition("\n\n")[0].split())
    return {"description": first} if first else {}


def _schemas(engram: EngramFunction[Any]) -> Object:
    signature = engram.signature()
    inputs = typeschema.inputs_schema(signature.read_types())
    returned = output_type(engram)
    output = typeschema.schema_of(returned) if typeschema.fields_of(returned) is not None else {}
    optional = typeschema.bare(returned) is not returned and type(None) in typing.get_args(returned)
    return {
        **({"inputSchema": inputs} if inputs else {}),
        **({"outputSchema": output} if output and not optional else {}),
    }
