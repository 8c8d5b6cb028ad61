"""Slots for engram steps: how many are at work at a time, which is next, and why the others wait.

``slots`` is what steps wait at; ``queueing`` decides, with ``queue_heads`` and ``queue_positions``; ``scheduling``
says in which queue a run is, and with which priority. Not here: which *run* of a Story may begin
(``core.engine.concurrency``).
"""
