"""What the expressions of a run can see, and their values.

``variables`` holds inputs and outputs; ``stored_data`` fetches what is in object storage; ``schema`` says why a
document does not fit. Not here: how an expression is evaluated (``core.evaluation``), and how a step waits until what
it reads can no longer change (``core.engine.primitives.settle``).
"""
