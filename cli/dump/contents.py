"""What a dump has collected: files by path, what could not be read, and what had no room. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cli.dump.redaction import Redaction
from core.api.objects import Object

MAX_TOTAL_BYTES: Final = 49 * 1024 * 1024
"""Of all files together, before they are compressed and without the manifest: with it, the dump has at most 50 MiB."""
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MANIFEST: Final = "manifest.json"


@dataclass
class DumpContents:
    """The files of one dump. Everything that is added has passed ``redaction``."""

    redaction: Redaction
    max_total_bytes: int = MAX_TOTAL_BYTES
    max_file_bytes: int = MAX_FILE_BYTES
    files: dict[str, str] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    """How many values were left out of a file; only files with some."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """What could not be read, and why."""
    shortened: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0

    def add_object(self, path: str, obj: Object) -> None:
        self.add_json(path, self.redaction.object(obj))

    def add_json(self, path: str, value: Any) -> None:
        """A value that has passed the redaction, or has nothing of the run in it."""
        self._add(path, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")

    def add_text(self, path: str, text: str) -> None:
        self._add(path, self.redaction.text(text))

    def has_room(self) -> bool:
        return self.size_bytes < self.max_total_bytes

    def _add(self, path: str, text: str) -> None:
        count = self.redaction.take_removed()
        size = len(text.encode())
        if size > self.max_file_bytes:
            self.shortened[path] = f"only the first {self.max_file_bytes} of {size} bytes"
            text = text.encode()[: self.max_file_bytes].decode(errors="ignore")
            size = self.max_file_bytes
        if self.size_bytes + size > self.max_total_bytes:
            self.shortened[path] = f"left out: the dump would be larger than {self.max_total_bytes} bytes"
            return
        self.size_bytes += size
        self.files[path] = text
        if count:
            self.removed[path] = self.removed.get(path, 0) + count

    def finished(self, head: Mapping[str, Any]) -> dict[str, bytes]:
        """All files, with the manifest. Secrets that were met anywhere are removed everywhere."""
        finished = {}
        for path, text in self.files.items():
            hidden, count = self.redaction.values.hide(text)
            if count:
                self.removed[path] = self.removed.get(path, 0) + count
            finished[path] = hidden.encode(errors="replace")
        manifest = {
            **head,
            "files": {path: {"bytes": len(content)} for path, content in sorted(finished.items())},
            "valuesLeftOut": dict(sorted(self.removed.items())),
            "notReadable": dict(sorted(self.unreadable.items())),
            "shortened": dict(sorted(self.shortened.items())),
            "neverRead": ["Secrets"],
        }
        text, _ = self.redaction.values.hide(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        return {MANIFEST: text.encode(errors="replace"), **finished}
