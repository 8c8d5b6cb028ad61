"""The admission chain: built-in plugins first, then webhooks; mutation of all before validation of any.

Source: kube-apiserver's order of plugins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from localcluster.server.types import Object
from localcluster.server.writeport import Admission, AdmissionRequest


class AdmissionChain:
    """Several admissions as one, asked in order."""

    def __init__(self, links: Sequence[Admission]) -> None:
        self._links = tuple(links)

    async def mutate(self, request: AdmissionRequest) -> Object | None:
        """The object after every link had its say.

        Raises:
            StatusError: a link refused.
        """
        obj = request.obj
        for link in self._links:
            obj = await link.mutate(request if obj is request.obj else replace(request, obj=obj))
        return obj

    async def validate(self, request: AdmissionRequest) -> None:
        """Return when every link allows the write.

        Raises:
            StatusError: a link refused.
        """
        for link in self._links:
            await link.validate(request)
