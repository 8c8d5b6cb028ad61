"""``python -m embedded``: the process of ``bobrapet up``. See ``embedded.cluster``."""

from process.lean_imports import collecting_rarely, do_without_extras

if __name__ == "__main__":
    do_without_extras()
    with collecting_rarely():
        from embedded.cluster import main

        main()
