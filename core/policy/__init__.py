"""What the operator was told: its configuration, and the layers that decide how one workload runs.

``settings`` (frozen values and their defaults), ``config`` (the operator ConfigMap → settings), ``layers`` (template,
Engram, Story, step and StepRun over the settings, with provenance), ``retry``, ``references`` (who may refer to whom).
"""
