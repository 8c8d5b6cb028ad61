"""``python -m embedded``: the process of ``bobrapet up``. See ``embedded.cluster``."""

from process.lean_imports import collecting_rarely, do_without_extras
from process.lean_records import compile_methods_when_called

if __name__ == "__main__":
    do_without_extras()
    compile_methods_when_called()
    with collecting_rarely():
        from embedded.cluster import main

        main()
