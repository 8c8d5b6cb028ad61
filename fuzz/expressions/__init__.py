"""Compares templates with Go: random templates, and the recorded conformance table.

``choices`` (replayable decisions), ``pools`` and ``signatures`` (useful arguments of functions), ``data`` and
``grammar`` (random variables, and templates that use them), ``oracle`` (the Go program of ``fuzz/oracle``),
``comparison`` (our answer compared with Go's), ``differences`` (where ours may differ, and why), ``laws`` (rules that
hold for every template), ``coverage`` (the constructs that templates use), ``campaign`` (many cases, and the simplest
form of those that disagree), ``table`` (the recorded cases). ``python -m fuzz.expressions --cases 100000`` runs many
cases.
"""
