"""The operator's configuration, and the layers that decide how one workload runs.

``settings`` (frozen values and their defaults), ``config`` (the operator ConfigMap → settings, with ``config_keys`` and
``config_values``), ``sources`` and ``layers`` (template, Engram, Story, step and StepRun over the settings, with
provenance), ``timing`` and ``retry`` (timeouts and retries), ``references`` (references between namespaces).
"""
