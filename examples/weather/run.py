"""The main job: run the Story of this folder on the embedded cluster and print where the report is.

python -m examples.weather.run
"""

from __future__ import annotations

import os
from pathlib import Path

from cli.main import main

HERE = Path(__file__).parent
REPORT = Path(os.environ.get("BOBRAPET_REPORT", HERE.parent.parent / "report"))

if __name__ == "__main__":
    main(
        [
            "run",
            str(HERE / "manifests.yaml"),
            f"--image-map={HERE / 'images.yaml'}",
            f"--input=data={HERE / 'data'}",
            f"--input=report={REPORT}",
        ]
    )
