"""Evaluation on the event loop, within bounds.

``evaluator`` is the only entry point. ``pool`` keeps processes for evaluations whose cost has no bound, ``worker`` is
the program of these processes; ``validation`` and ``schema`` handle JSON Schemas.
"""
