"""What the steps of one run share while they are at work.

``progress`` tells who still works, ``access`` ensures what containers need. Not here: the world that all runs share
(``core.engine.engine_context``).
"""
