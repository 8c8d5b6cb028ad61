"""The move from the Go operator: what it left in a cluster, at many points of a run, is taken over and ends.

``recordings/`` has one file for each point. Release 0.1.12 of that operator ran our manifests on a real API server,
with its own definitions and admission, and was killed with SIGKILL; the file is what was stored then, without
``managedFields`` and the data of Secrets. Each recording has a namespace of its own, so one operator of ours takes over
all of them at once (``play``).
"""
