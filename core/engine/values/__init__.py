"""The values that the expressions of a run can read, and the results of expressions.

``variables`` holds inputs and outputs; ``stored_data`` fetches data from object storage; ``schema`` says why a document
does not match. Not here: how an expression is evaluated (``core.evaluation``), and how a step waits until what it reads
can no longer change (``core.engine.primitives.settle``).
"""
