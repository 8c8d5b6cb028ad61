"""The status of a run: ``state`` is what is true of it, pure; ``writer`` stores it, and nothing else does.

``evaluation_wait`` has the messages for expressions that wait for their turn to be evaluated.
"""
