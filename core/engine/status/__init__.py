"""The status of a run: ``state`` is what is true of it, pure; ``writer`` is the one that stores it.

``evaluation_wait`` words what waits for its turn to be evaluated.
"""
