"""What the expressions of a run can see, and their values.

``variables`` holds inputs and outputs; ``settle`` waits until what is read can no longer change; ``stored_data``
fetches what is in object storage; ``schema`` says why a document does not fit. Not here: how an expression is evaluated
(``core.evaluation``).
"""
