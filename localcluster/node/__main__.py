"""``python -m localcluster.node``: the process of a node. ``localcluster.launch`` starts it, a user never does."""

import sys

from process.lean_imports import collecting_rarely

if __name__ == "__main__":
    with collecting_rarely():
        from localcluster.node.child import main

    sys.exit(main())
