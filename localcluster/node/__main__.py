"""``python -m localcluster.node``: the process of a node. ``localcluster.launch`` starts it, a user never does."""

import sys

from process.lean_imports import collecting_rarely
from process.lean_records import compile_methods_when_called

if __name__ == "__main__":
    compile_methods_when_called()
    with collecting_rarely():
        from localcluster.node.child import main

    sys.exit(main())
