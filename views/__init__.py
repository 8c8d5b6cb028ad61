"""The read model for people: a StoryRun and its objects as records that a terminal or a page can draw.

``run_view`` is a run with its steps, ``timeline`` where its time went, ``why`` what it waits for or why it failed,
``graph`` the DAG, ``gates`` its approvals, ``rerun`` what a retry would do. All modules are pure: objects in, records
out. The code that fetches objects, and that draws on a terminal, is in ``cli``.
"""
