"""Limits of the admission server, in one table. Source: admission contract 1.2; docs/admission-webhooks.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReviewLimits:
    """Attributes:

    review_bytes: of an AdmissionReview: two objects of the size that etcd stores, and what is said about them.
    drained_bytes: of a body that is too large, which are read and dropped before it is denied.
    convert_bytes: of a ConversionReview, in which the API server sends a whole page of objects.
    values: numbers, texts, lists and objects in a body; each takes memory once it is read.
    held_bytes: of bodies in memory, over all requests.
    requests: read or worked on at the same time.
    seconds: for one request, from its first byte; API servers are told to wait for five.
    waiting: reviews that wait for their turn; over all callers, and for one.
    waiting_large: the same of reviews that a process of its own looks at.
    loop_bytes, loop_templates: up to which a review is looked at between two others.
    loop_seconds: after which it starts again in a process of its own.
    worker_seconds, worker_bytes: of processor time and address space for one review there.
    workers: such processes.
    patience_seconds: for objects that were created a moment before, until the caches have seen them.
    patient: reviews that wait for such.
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


DEFAULT_LIMITS = ReviewLimits()
