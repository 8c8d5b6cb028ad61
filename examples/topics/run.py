"""Find the topics of this project's own documents on the embedded cluster.

``python -m examples.topics.run``; ``BOBRAPET_DOCUMENTS=FOLDER`` names other documents.
"""

from __future__ import annotations

import os
from pathlib import Path

from cli.main import main

HERE = Path(__file__).parent
DOCUMENTS = Path(os.environ.get("BOBRAPET_DOCUMENTS", HERE.parent.parent / "docs"))

if __name__ == "__main__":
    main(
        [
            "run",
            str(HERE.parent / "store.yaml"),
            str(HERE / "manifests.yaml"),
            f"--image-map={HERE / 'images.yaml'}",
            f"--input=documents={DOCUMENTS}",
            "--story=topics",
        ]
    )
