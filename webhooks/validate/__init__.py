"""Validators: pure functions from objects to field errors, one module per kind, the same at admission and offline."""
