"""The engine's ports on an API server behind informers.

``world`` and ``watched_kind`` (the informers), ``permissions`` (what the adapters ask for), ``translation`` (client
errors → port errors), ``writes`` (with preconditions, visible at once), ``run_store``, ``child_runs``, ``pinned_story``
and ``story_revisions`` (what a run executes), ``binding`` (Engram, template, policy), ``ordered_workload``,
``lent_rights``, ``secret_check``, ``observation`` (what Job and Pods say), ``job_executor``, ``runner`` (run RBAC),
``event_sink``.
"""
