"""Conditions without braces: CEL, evaluated by a library behind a narrow interface.

Read ``condition`` first; then ``library`` (why this library), ``tree`` and ``reading`` (what an expression refers to),
``binding`` (which data it gets), ``cost`` (whether it may run on an event loop), ``blame`` and ``compilation`` (why
there is no value, in the author's terms).
"""
