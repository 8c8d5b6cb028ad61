"""Repeatable measurements: ``make bench``, or ``python -m bench NAME…``; the README quotes their tables."""
