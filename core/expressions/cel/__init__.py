"""Conditions without braces: CEL, by a library that is kept at arm's length.

Read ``condition`` first; then ``library`` (why this one), ``tree`` and ``reading`` (what an expression refers to),
``binding`` (what data it gets), ``cost`` (whether it may run on an event loop), ``blame`` and ``compilation`` (why
there is no value, in the author's words).
"""
