"""The engine's ports, implemented with an API server and informers.

``world`` and ``watched_kind`` (the informers), ``permissions`` (of the adapters), ``translation`` (client errors → port
errors), ``writes`` (with preconditions, visible at once), ``run_store``, ``child_runs`` and
``story_revisions`` (the Story that a run executes), ``binding`` (Engram, template, policy), ``ordered_workload``,
``lent_rights``, ``secret_check``, ``observation`` (the state in Job and Pods), ``job_executor``, ``runner`` (run RBAC),
``event_sink``. Of realtime steps: ``stream_definitions`` (their Transports), ``ordered_stream``, ``stream_objects``,
``stream_authority``, ``stream_look``, ``stream_observation``, ``stream_ending``, ``stream_ends``, ``stream_executor``.
"""
