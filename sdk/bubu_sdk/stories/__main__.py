"""``python -m bubu_sdk.stories FILE``: see ``program``."""

import sys

from bubu_sdk.stories import program

sys.exit(program.main(sys.argv))
