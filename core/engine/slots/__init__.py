"""Slots for Engram steps: how many run at a time, which is next, and why the others wait.

Steps wait at ``slots``; ``queueing`` decides, with ``queue_heads`` and ``queue_positions``; ``scheduling`` gives the
queue and the priority of a run. Not here: which *run* of a Story may start (``core.engine.concurrency``).
"""
