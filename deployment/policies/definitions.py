"""Definitions never lose fields that stored objects may have: policy ``definitions``.

An API server drops fields that a definition does not have, without a message. ``helm rollback``, and ``kubectl apply``
of older manifests, would write such definitions. A newer definition serves older operators, too, so it stays. The
revision is part of the schema (``core.api.crd``): an older schema brings its older revision, with every tool.
"""

from __future__ import annotations

from typing import Final

from core.api.crd import REVISION_TITLE
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, OUR_RESOURCES
from deployment.permissions.roles import Installation
from deployment.policies.exemptions import MatchCondition
from deployment.policies.policy import UPDATE, Check, Policy

_OURS: Final = MatchCondition(
    "definition-of-ours", f"object.metadata.name in {[f'{each.plural}.{each.group}' for each in OUR_RESOURCES]}"
)
_REMEDY: Final = (
    "keep the newer definition, which older operators can use, too: helm upgrade to the older chart with"
    " --set crds.install=false instead of helm rollback; or apply everything but the definitions"
)
_PROBLEM: Final = "the API server would drop fields that stored objects may have"


def policy(_: Installation) -> Policy:
    """It binds administrators, too: they are the users who roll back."""
    return Policy(
        "definitions",
        "A definition is never replaced by an older one, which lacks fields that stored objects may have.",
        (
            Check(
                CUSTOM_RESOURCE_DEFINITION,
                "variables.now >= variables.before",
                f"spec.versions: an older definition: {_PROBLEM} ({_REMEDY})",
                (),
                (UPDATE,),
                "'spec.versions: revision ' + string(variables.now) + ' of a definition may not replace revision '"
                f" + string(variables.before) + ': {_PROBLEM} ({_REMEDY})'",
            ),
        ),
        (_OURS,),
        {"now": _revision("object"), "before": _revision("oldObject")},
    )


def _revision(of: str) -> str:
    """The revision in the schema of the stored version; 0 where there is none, as in definitions of the reference."""
    schema = "v.schema.openAPIV3Schema"
    title = f"has(v.schema) && has(v.schema.openAPIV3Schema) && has({schema}.title) ? {schema}.title : ''"
    texts = f"{of}.spec.versions.filter(v, v.storage).map(v, {title})"
    shown = f"{texts}.filter(t, t.matches('^{REVISION_TITLE}[0-9]{{1,9}}$'))"
    return f"({shown}.map(t, int(t.substring({len(REVISION_TITLE)}))) + [0])[0]"
