"""What a source may say about bytes it cannot take.

* SourceError
  - Unreadable   a complete piece that cannot be read: quarantined with its reason, the rest of the batch goes on
  - Refused      an interactive client is told at once (400/413) and nothing is kept
  - PullStopped  a pull connector cannot go on until a person does something
"""


class SourceError(Exception):
    """Base of everything a source raises on purpose."""


class Unreadable(SourceError):
    """A body or one item of it cannot be read.

    `reason` is a stable code in snake_case that operators search and count by; `detail` is for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Refused(SourceError):
    """An interactive client's request is refused whole: nothing of it is kept."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class PullStopped(SourceError):
    """A pull connector cannot go on by itself. The text says what to do, and quotes no secret."""
