"""Templates held against Go: random ones, and the recorded conformance table.

``choices`` (replayable decisions), ``pools`` and ``signatures`` (what functions are worth being given), ``data`` and
``grammar`` (random variables and templates over them), ``oracle`` (the Go program of ``fuzz/oracle``), ``comparison``
(our answer against Go's), ``differences`` (where ours may be another, and why), ``laws`` (what holds for every
template), ``coverage`` (what templates use), ``campaign`` (many cases, and the simplest form of those that disagree),
``table`` (the recorded cases). ``python -m fuzz.expressions --cases 100000`` runs it for long.
"""
