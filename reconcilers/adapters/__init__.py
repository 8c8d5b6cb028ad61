"""The engine's ports on an API server behind informers.

``world`` (the informers), ``translation`` (client errors → port errors), ``run_store``, ``observation`` (what Job and
Pods say), ``binding`` (Engram, template, policy), ``job_executor``, ``runner`` (run RBAC), ``event_sink``.
"""
