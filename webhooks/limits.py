"""Limits of the admission server, in one table. Source: admission contract 1.2; docs/admission-webhooks.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReviewLimits:
    """The limits. A review is checked on the event loop, or in a process of its own, which is called worker here.

    Attributes:
        review_bytes: size of an AdmissionReview: two objects as large as etcd allows, and the data around them.
        drained_bytes: part of a body that is too large which is read and dropped before the review is denied.
        convert_bytes: size of a ConversionReview, in which the API server sends a whole page of objects.
        values: numbers, strings, lists and objects in a body; each takes memory once it is read.
        held_bytes: total size of the bodies in memory, over all requests.
        requests: requests that are read or processed at the same time.
        seconds: time for one request, from its first byte; the webhook configurations let API servers wait for five.
        waiting: reviews that wait for their turn: of all callers, and of one.
        waiting_large: the same for reviews that a worker checks.
        loop_bytes, loop_templates: size and templates up to which a review is checked on the event loop.
        loop_seconds: processor time after which such a review starts again in a worker.
        worker_seconds, worker_bytes: processor time and address space for one review in a worker.
        workers: number of workers.
        patience_seconds: time to wait until the caches have objects that were created a moment before.
        patient: reviews that wait for such objects.
        secrets: Secrets of one object about which the API server is asked; the others cause no warning.
    """

    review_bytes: int = (3 << 20) + (256 << 10)
    drained_bytes: int = 32 << 20
    convert_bytes: int = 32 << 20
    values: int = 400_000
    held_bytes: int = 64 << 20
    requests: int = 200
    seconds: float = 4.0
    waiting: int = 150
    waiting_of_one: int = 100
    waiting_large: int = 16
    waiting_large_of_one: int = 8
    loop_bytes: int = 32 << 10
    loop_templates: int = 150
    loop_seconds: float = 0.02
    worker_seconds: float = 3.0
    worker_bytes: int = 256 << 20
    workers: int = 2
    patience_seconds: float = 1.0
    patient: int = 50
    secrets: int = 32


DEFAULT_LIMITS = ReviewLimits()
