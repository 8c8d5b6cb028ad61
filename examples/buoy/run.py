"""Replay a buoy on the embedded cluster, and draw a page that grows: report/buoy.html.

``python -m examples.buoy.run``; ``BOBRAPET_REPORT=FOLDER`` names another folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cli.main import main

HERE = Path(__file__).parent
REPORT = Path(os.environ.get("BOBRAPET_REPORT", HERE.parent.parent / "report"))

if __name__ == "__main__":
    print(f"open {REPORT / 'buoy.html'} in a browser; it grows while this runs", file=sys.stderr)
    main(
        [
            "run",
            str(HERE / "manifests.yaml"),
            f"--image-map={HERE / 'images.yaml'}",
            f"--input=report={REPORT}",
        ]
    )
