"""What is recorded of a step, and what the engine decides from it. Pure.

``state`` is an entry of ``stepStates``, ``verdict`` how a step or a run ended, ``endings`` why a run ends before its
steps have ended, ``timers`` the instants that steps wait for. For an Engram step: ``manifest`` is its StepRun as it is
created, ``record`` what the operator writes into its status, ``outcome`` what to do next, ``pending_reason`` what keeps
its container from starting. Not here: what each kind of step does (``core.engine.primitives``), and which step is next
(``core.engine.run``).
"""
