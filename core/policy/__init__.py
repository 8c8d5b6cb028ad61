"""What the operator was told: its configuration, and the layers that decide how one workload runs.

``settings`` (frozen values and their defaults), ``config`` (the operator ConfigMap → settings, by way of
``config_keys`` and ``config_values``), ``sources`` and ``layers`` (template, Engram, Story, step and StepRun over the
settings, with provenance), ``timing`` and ``retry`` (how long, how often), ``references`` (who may refer to whom).
"""
