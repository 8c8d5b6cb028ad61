"""ConversionReviews of the API server. Source: apiextensions.k8s.io/v1, ConversionReview.

A review is answered as a whole: if one object cannot be converted, no object is. The message names each object that
cannot be converted. Pure; does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from webhooks.conversion.story import ConversionError, converted

API_VERSION: Final = "apiextensions.k8s.io/v1"
KIND: Final = "ConversionReview"

_NAMED: Final = 10  # objects in one message
_CHARACTERS: Final = 253  # of a name in a message


class BadReviewError(ValueError):
    """The body is not a ConversionReview; the answer is 400."""


def answer(review: Any) -> dict[str, Any]:
    """The review with its ``response``: all objects in the requested version, in order, or the reason why not.

    Raises:
        BadReviewError: ``review`` is not a ConversionReview of v1 with a request.
    """
    request = _request(review)
    converted_objects: list[Any] = []
    problems: list[str] = []
    for index, obj in enumerate(request["objects"]):
        try:
            converted_objects.append(converted(obj, request["desiredAPIVersion"]))
        except ConversionError as error:
            problems.append(f"{_name(obj, index)}: {error}")
    if problems:
        further = [f"and {len(problems) - _NAMED} more"] if len(problems) > _NAMED else []
        message = f"cannot convert to {_cut(request['desiredAPIVersion'])}: " + "; ".join(problems[:_NAMED] + further)
        return _response(request["uid"], [], {"status": "Failure", "message": message, "reason": "Invalid"})
    return _response(request["uid"], converted_objects, {"status": "Success"})


def _request(review: Any) -> Mapping[str, Any]:
    if not isinstance(review, Mapping):
        raise BadReviewError("the body must be a JSON object; send a ConversionReview")
    if (review.get("apiVersion"), review.get("kind")) != (API_VERSION, KIND):
        raise BadReviewError(f"the body must be a {KIND} of {API_VERSION}; list v1 in conversionReviewVersions")
    request = review.get("request")
    if not isinstance(request, Mapping):
        raise BadReviewError("request: must be an object")
    for field, type_, word in (("uid", str, "string"), ("desiredAPIVersion", str, "string"), ("objects", list, "list")):
        if not isinstance(request.get(field), type_):
            raise BadReviewError(f"request.{field}: must be a {word}")
    return request


def _response(uid: str, objects: list[Any], result: dict[str, Any]) -> dict[str, Any]:
    response = {"uid": uid, "result": result, "convertedObjects": objects}
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def _name(obj: Any, index: int) -> str:
    """The name of an object for people: kind, namespace and name, as far as it has them."""
    if not isinstance(obj, Mapping):
        return f"objects[{index}]"
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name = "/".join(filter(None, (_cut(metadata.get(key)) for key in ("namespace", "name"))))
    return f"{_cut(obj.get('kind')) or 'object'} {name or f'objects[{index}]'}"


def _cut(text: Any) -> str:
    """The text, shortened; empty for a value that is not a string."""
    if not isinstance(text, str):
        return ""
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + "…"
