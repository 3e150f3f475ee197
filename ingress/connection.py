"""One HTTP connection: uvicorn's, except that a sender who has finished sending still gets its answer."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Connection(HttpToolsProtocol):
    """Keeps the way back open when the sender closes its own half (RFC 9112 9.6 lets it).

    Closing both at once would leave it without its 200, so that it repeats what is stored already, and would turn a body
    that is too short into silence instead of a 400.
    """

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's contract: true keeps it
        """Answer what is complete, refuse what breaks off. Returns whether the connection stays open for the answer."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or self.pipeline:
            return False
        cycle.keep_alive = False
        if cycle.more_body and not cycle.response_started:
            self.send_400_response("the body is shorter than announced")
        return True
