"""What a run waits for, or why it failed, as a list of causes.

``cause`` has the records, ``explanation`` the whole answer, ``causes`` those of steps, ``workload`` those of
containers, ``effects`` those of effects, ``document`` the answer as JSON. Pure: ``cli.facts`` fetches the facts,
``cli.render.why`` shows the answer.
"""
