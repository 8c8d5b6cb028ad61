"""The read model for people: a StoryRun and what belongs to it as records that a terminal or a page can draw.

``run_view`` is a run with its steps, ``timeline`` where its time went, ``why`` what it waits for or why it failed,
``graph`` the DAG, ``gates`` its approvals, ``rerun`` what a retry would do. All of it is pure: objects in, records out.
What fetches the objects, and what draws on a terminal, is in ``cli``.
"""
