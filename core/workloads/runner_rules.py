"""Decides which requested rules of templates, Engrams and Impulses containers get. Pure.

Containers get no rules for resources without a namespace and no wildcards; from the own rules of an Engram or Impulse
they get only reads of named ConfigMaps and Secrets, and an Impulse also itself, and its status (StepRun contract 16,
Trigger contract 6.5). It may not change its spec, though, which names accounts and Secrets
(``webhooks.validate.author``).
Containers also get no rule with which a container could gain more permissions, even if the operator has it for its own
work: in that case the API server would not refuse. The API server refuses rules that the operator does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from core.api.objects import Object
from core.api.resource import IMPULSE
from core.policy import borrowed

Rule = Mapping[str, Any]

_RBAC: Final = "rbac.authorization.k8s.io"
_RIGHTS_TO_RIGHTS: Final = frozenset({"escalate", "bind", "impersonate"})
_READ: Final = frozenset({"get", "list", "watch"})
_NAMED_DATA: Final = frozenset({"configmaps", "secrets"})
_TENANTS: Final = ("Engram", "Impulse")
"""Kinds that belong to a namespace, whose authors get less than those of templates."""
OWN_OBJECT: Final = {IMPULSE.plural: ("get", "list", "watch", "patch"), f"{IMPULSE.plural}/status": ("get", "patch")}
"""What an Impulse may ask for on itself, by resource."""
_FIELDS: Final = ("apiGroups", "resources", "resourceNames", "verbs", "nonResourceURLs")


def extra_rules(template: Object, engram: Object, namespace: str = "") -> list[Rule]:
    """The rules in ``spec.execution.rbac.rules`` and ``spec.overrides.rbac.rules`` that containers in ``namespace``
    get.
    """
    return [rule for _, rule, refused in _asked_for(template, engram, namespace) if not refused]


def refusals(template: Object, engram: Object, namespace: str = "") -> list[str]:
    """For each rule that containers do not get: its place, and the reason."""
    return [f"{place}: {refused}" for place, _, refused in _asked_for(template, engram, namespace) if refused]


def extra_rules_of_impulse(template: Object, impulse: Object) -> tuple[list[Rule], list[str]]:
    """The rules in ``spec.execution.rbac.rules`` of both that the container of a listener gets; and for each rule that
    it does not get, its place and the reason.
    """
    asked = [*_rules_of(template, "ImpulseTemplate", "execution"), *_rules_of(impulse, "Impulse", "execution")]
    granted = [rule for _, rule, refused in asked if not refused]
    return granted, [f"{place}: {refused}" for place, _, refused in asked if refused]


def complete_rules(base: Iterable[Rule], extras: Iterable[Rule]) -> list[Object]:
    """The rules of a Role: the base rules in their order; with extra rules, all of them sorted and without duplicates.

    They have the form that the API server stores, without empty lists, so that equal rules compare equal later.
    """
    rules, extras = list(base), list(extras)
    if extras:
        rules = list({_sort_key(rule): rule for rule in (*rules, *extras)}.values())
        rules.sort(key=_sort_key)
    return [{field: list(rule[field]) for field in _FIELDS if rule.get(field)} for rule in rules]


def why_not(rule: Rule, *, by_tenant: bool = False, impulse: str = "") -> str:
    """Why containers do not get this rule of a template, or of an Engram or Impulse; empty when they get it.

    Args:
        impulse: the name of the Impulse that asks; empty for others.
    """
    return _why_not_of_tenant(rule, impulse) if by_tenant else _why_not_of_template(rule)


def only_possible(kind: str) -> str:
    """What the rules of an Engram or Impulse are limited to, as a sentence for its author."""
    itself = (
        f"; on itself, by its name, {', '.join(OWN_OBJECT[IMPULSE.plural])} of {IMPULSE.plural}, "
        f"{', '.join(OWN_OBJECT[f'{IMPULSE.plural}/status'])} of {IMPULSE.plural}/status"
    )
    return f"an {kind} may only request get on ConfigMaps and Secrets, by resourceNames" + (
        itself if kind == IMPULSE.kind else ""
    )


def _asked_for(template: Object, engram: Object, namespace: str) -> Iterator[tuple[str, Rule, str]]:
    """Place, rule, and the reason for refusing it; empty when it is not refused.

    An Engram may request ConfigMaps and Secrets by name: those of its own namespace.
    """
    elsewhere = borrowed.WHY if borrowed.is_foreign(engram, namespace) else ""
    yield from _rules_of(template, "EngramTemplate", "execution")
    for place, rule, refused in _rules_of(engram, "Engram", "overrides"):
        yield place, rule, refused or elsewhere


def _rules_of(owner: Object, kind: str, part: str) -> Iterator[tuple[str, Rule, str]]:
    settings = (owner.get("spec") or {}).get(part) or {}
    name = (owner.get("metadata") or {}).get("name", "")
    own = name if kind == IMPULSE.kind else ""
    for index, rule in enumerate((settings.get("rbac") or {}).get("rules") or ()):
        refused = why_not(rule, by_tenant=kind in _TENANTS, impulse=own)
        yield f"{kind} {name} spec.{part}.rbac.rules[{index}]", rule, refused


def _why_not_of_template(rule: Rule) -> str:
    groups, resources, verbs = (list(rule.get(key) or ()) for key in ("apiGroups", "resources", "verbs"))
    names = list(rule.get("resourceNames") or ())
    if rule.get("nonResourceURLs"):
        return "nonResourceURLs do not exist inside a namespace"
    if not (groups and resources and verbs):
        return "apiGroups, resources and verbs must name something"
    words = [*resources, *verbs, *names]
    if not all(words) or any("*" in word for word in (*groups, *words)):
        return "wildcards and empty strings are not allowed"
    return _why_dangerous(groups, resources, verbs, names)


def _why_dangerous(groups: list[str], resources: list[str], verbs: list[str], names: list[str]) -> str:
    """Why the rule would lead to permissions that it does not name; empty when it would not."""
    if _RBAC in groups or _RIGHTS_TO_RIGHTS & set(verbs):
        return "containers never get permissions to grant permissions"
    if "" not in groups:
        return ""
    if "secrets" in resources and (set(verbs) != {"get"} or not names):
        return "on Secrets, containers only get the verb get, by resourceNames"
    accounts = [resource for resource in resources if resource.partition("/")[0] == "serviceaccounts"]
    if accounts and (set(verbs) - _READ or accounts != ["serviceaccounts"]):
        return "containers never get access to ServiceAccounts and their tokens"
    return ""


def _why_not_of_tenant(rule: Rule, impulse: str) -> str:
    refused = _why_not_of_template(rule)
    if refused or (impulse and _is_about_itself(rule, impulse)):
        return refused
    named = bool(rule.get("resourceNames"))
    if (
        named
        and set(rule["apiGroups"]) == {""}
        and set(rule["resources"]) <= _NAMED_DATA
        and set(rule["verbs"]) == {"get"}
    ):
        return ""
    return only_possible(IMPULSE.kind if impulse else "Engram or Impulse")


def _is_about_itself(rule: Rule, impulse: str) -> bool:
    return (
        set(rule["apiGroups"]) == {IMPULSE.group}
        and list(rule.get("resourceNames") or ()) == [impulse]
        and all(set(rule["verbs"]) <= set(OWN_OBJECT.get(each, ())) for each in rule["resources"])
    )


def _sort_key(rule: Rule) -> str:
    return "|".join(",".join(sorted(rule.get(field) or ())) for field in _FIELDS)
