"""Validators: pure functions from objects to findings, one module per kind, the same at admission and offline.

Read ``admission`` (the one limited), then a kind. Beside the kinds stand the checks they share: ``reference``,
``payload``, ``schema``, ``duration``, ``streaming``, ``name``.
"""
