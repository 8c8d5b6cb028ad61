"""The admission chain: built-in plugins, policies, webhooks; all of them mutate before any of them validates.

Source: kube-apiserver's order of plugins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from localcluster.server.types import Object
from localcluster.server.writeport import Admission, AdmissionRequest


class AdmissionChain:
    """Several admissions that act as one, in order."""

    def __init__(self, links: Sequence[Admission]) -> None:
        self._links = tuple(links)

    async def mutate(self, request: AdmissionRequest) -> Object | None:
        """The object after every admission has changed it.

        Raises:
            StatusError: an admission refused it.
        """
        obj = request.obj
        for link in self._links:
            obj = await link.mutate(request if obj is request.obj else replace(request, obj=obj))
        return obj

    async def validate(self, request: AdmissionRequest) -> None:
        """Return when every admission allows the write.

        Raises:
            StatusError: an admission refused it.
        """
        for link in self._links:
            await link.validate(request)
