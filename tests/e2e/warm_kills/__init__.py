"""Steps in warm workers while their processes, the operator and servers are killed with ``kill -9``."""
