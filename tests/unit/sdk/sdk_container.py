"""A live API server over HTTP for subprocesses, and the subprocess that stands for a container."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bubu_sdk.kube import StatusError
from bubu_sdk.testing import EngramEnvironment, ImpulseEnvironment, InMemoryCluster

ROOT = Path(__file__).resolve().parents[3]


class LiveApi:
    """The in-memory cluster of an environment, served over HTTP on the loopback interface."""

    def __init__(self, cluster: InMemoryCluster, kubeconfig: Path) -> None:
        self.cluster = cluster
        self.authorizations: list[str] = []
        self.hold: threading.Event | None = None
        """While this holds an event, status patches wait for it."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.kubeconfig = kubeconfig
        kubeconfig.write_text(
            json.dumps(
                {
                    "current-context": "test",
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                    "clusters": [{"name": "test", "cluster": {"server": self.url}}],
                    "users": [{"name": "test", "user": {"token": "secret-token"}}],
                }
            )
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                api.authorizations.append(self.headers.get("Authorization", ""))
                if api.hold is not None and self.command == "PATCH":
                    api.hold.wait(10)
                content_type = self.headers.get("Content-Type") or ""
                try:
                    code = 200
                    document = api.cluster.request(self.command, self.path, body, content_type=content_type)
                except StatusError as error:
                    code, document = (
                        error.code,
                        {"kind": "Status", "message": str(error), "details": dict(error.details)},
                    )
                content = json.dumps(document).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815 - the names http.server looks for

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


class Container:
    """A Python program that runs as the container of a StepRun, or of an Impulse, in an environment."""

    def __init__(self, environment: EngramEnvironment | ImpulseEnvironment, api: LiveApi, folder: Path) -> None:
        self.environment = environment
        self.api = api
        self._folder = folder

    def start(self, source: str, **environ: str) -> subprocess.Popen[str]:
        program = self._folder / "main.py"
        program.write_text(textwrap.dedent(source))
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.Popen(
            [sys.executable, str(program)],
            env={
                **inherited,
                **self.environment.environ,
                "KUBECONFIG": str(self.api.kubeconfig),
                "PYTHONPATH": str(ROOT / "sdk"),
                **environ,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, source: str, **environ: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        with self.start(source, **environ) as process:
            stdout, stderr = process.communicate(timeout=30)
        return process.returncode, stdout, stderr

    def run_and_signal(self, source: str, *, number: int = signal.SIGTERM, **environ: str) -> int:
        """Signal the program as soon as it has printed ``ready``; returns its exit code."""
        with self.start(source, **environ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "ready" in line:
                    break
            process.send_signal(number)
            process.communicate(timeout=30)
        return process.returncode
