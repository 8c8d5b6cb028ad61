"""Validators: pure functions from objects to findings, one module per kind, the same at admission and offline.

Start with ``admission`` (the entry point), then read a kind. Modules with checks that several kinds share:
``reference``, ``payload``, ``schema``, ``duration``, ``streaming``, ``naming``.
"""
