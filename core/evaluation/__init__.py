"""Evaluation on the event loop, bounded.

``evaluator`` is the one door; ``schema`` is what it knows about JSON Schemas, ``worker`` the process it may start.
"""
