"""Evaluation on the event loop, bounded.

``evaluator`` is the one door. ``pool`` keeps the processes for what cannot be bounded, ``worker`` is their program;
``validation`` and ``schema`` are about JSON Schemas.
"""
