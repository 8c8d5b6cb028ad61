from __future__ import annotations

from typing import Any

from manager.admission.draining import LastAnswers


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"x"})


async def _headers_of(app: LastAnswers, version: str) -> list[tuple[bytes, bytes]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    await app({"type": "http", "http_version": version}, receive, send)
    assert sent[1] == {"type": "http.response.body", "body": b"x"}
    return list(sent[0]["headers"])


async def test_answers_end_their_connections_once_the_process_was_told_to_stop() -> None:
    app = LastAnswers(_answer)
    before = await _headers_of(app, "1.1")
    app.begin()

    assert before == [(b"a", b"b")]
    assert await _headers_of(app, "1.1") == [(b"a", b"b"), (b"connection", b"close")]
    assert await _headers_of(app, "2") == [(b"a", b"b")]  # HTTP/2 has its own frames for that
