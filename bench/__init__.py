"""Repeatable measurements: ``make bench``, or ``python -m bench NAME…``; docs/figures.md quotes their tables."""
