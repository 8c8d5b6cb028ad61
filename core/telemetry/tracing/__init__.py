"""Traces of runs, as pure data: who is in which trace, and what a span is. Nothing here imports a library."""
