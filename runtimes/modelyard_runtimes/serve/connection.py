"""A connection that answers most predictions on the spot.

A prediction whose whole request arrives in one read, as small ones do, is answered before the read
is over: no task, no ASGI messages, and no other request between. Everything else, from a body in
parts to a connection that is to be closed, is uvicorn's as ever. So uvicorn parses and bounds all
of HTTP, and the spot is only a shorter way from its parser to the same handlers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from modelyard_runtimes.serve.admission import LARGE_BODY

if TYPE_CHECKING:
    from modelyard_runtimes.serve.application import Application


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with the short way. The callbacks are those of the parser llhttp."""

    app: Application
    _body: bytes | None = None
    """What has arrived of the body of a request that may be answered on the spot."""

    def data_received(self, data: bytes) -> None:
        """Take a read; what is not whole by its end is uvicorn's."""
        super().data_received(data)
        if self._body is not None:
            if self.transport.is_closing():
                self._body = None
            else:
                self._leave_to_uvicorn(self._body)

    def on_headers_complete(self) -> None:
        """Hold a request that may be answered on the spot back from uvicorn."""
        if self._may_be_answered_on_the_spot():
            self._body = b""
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Answer the request, if it is not too large."""
        body = self._body
        if body is not None and len(body) < LARGE_BODY:
            self._body = None
            answer = self.app.answer(self.url, self.headers, body)
            self.transport.write(answer.to_http(self.server_state.default_headers))
            self.on_response_complete()
            return
        if body is not None:
            self._leave_to_uvicorn(body)
        super().on_message_complete()

    def _may_be_answered_on_the_spot(self) -> bool:
        parser = self.parser
        return (
            self.url in self.app.predictions
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and not self.app.draining
            and not self.flow.write_paused
            and (self.cycle is None or self.cycle.response_complete)
        )

    def _leave_to_uvicorn(self, body: bytes) -> None:
        self._body = None
        super().on_headers_complete()
        if body:
            super().on_body(body)
