"""``python -m localcluster.node``: the process of a node. ``localcluster.launch`` starts it, a user never does."""

import sys

from localcluster.node.child import main

if __name__ == "__main__":
    sys.exit(main())
