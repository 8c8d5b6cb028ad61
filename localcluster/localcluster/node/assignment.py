"""The configuration of a node process: one line of JSON on its standard input, which no other process can read.

It contains credentials, so it is neither on the command line nor in the environment, and no container inherits it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from localcluster.keypair import KeyPair
from localcluster.log import LogForm
from localcluster.node.settings import NodeSettings


@dataclass(frozen=True, slots=True)
class Assignment:
    """The settings of one node, and the keys and certificates that it and its API server use."""

    settings: NodeSettings
    token: str
    """The node's token for the API server."""
    ca_pem: str
    """The authority whose certificates the node accepts: that of the API server, and those of readers of logs."""
    serving: KeyPair
    """The certificate of the log endpoint."""
    log_form: LogForm

    def to_line(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_line(cls, line: str) -> Assignment:
        content = json.loads(line)
        settings = content["settings"]
        paths = {name: Path(settings[name]) for name in ("data_dir", "image_map")}
        return cls(
            settings=NodeSettings(**{**settings, **paths}),
            token=content["token"],
            ca_pem=content["ca_pem"],
            serving=KeyPair(**content["serving"]),
            log_form=LogForm(content["log_form"]),
        )
