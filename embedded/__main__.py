"""``python -m embedded``: the process of ``bobrapet up``. See ``embedded.cluster``."""

from process.lean_imports import do_without_extras

if __name__ == "__main__":
    do_without_extras()
    from embedded.cluster import main

    main()
