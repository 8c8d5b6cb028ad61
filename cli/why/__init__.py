"""``why``: what a run waits for, or why it failed.

``reading`` fetches what is known of a run and its child runs, ``explanation`` makes of it a list of causes (``causes``
of steps, ``workload`` of containers), ``text`` and ``document`` show them. Everything but ``reading`` is pure.
"""
