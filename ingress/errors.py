"""What can keep a request from becoming durable, each with the status the sender gets.

* RejectedRequest
  - Unauthorized (401)     wrong or missing credential; nothing is stored
  - Truncated (400)        fewer bytes than announced, or a compressed stream that breaks off
  - TooLarge (413)         over the limit, before or after decompression
  - UnknownEncoding (415)  a content encoding nobody here can undo
  - TooManyRequests (429)  over the credential's or the tenant's rate; it says when to come again
  - NotDurable (503)       Kafka did not acknowledge in time; the sender keeps its data and comes again

`sources.errors.Refused` brings its own status. Everything else is a mistake of ours: 500, logged, nothing stored.
"""

import math

from sources.errors import Refused

RETRY_AFTER_S = 5


class RejectedRequest(Exception):
    """Base: the request is answered with `status` and nothing of it counts as accepted."""

    status = 400
    retry_after_s = 0
    """When to come again; 0 says nothing about it."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail


class Unauthorized(RejectedRequest):
    """Wrong or missing credential."""

    status = 401


class Truncated(RejectedRequest):
    """The body is not complete."""

    status = 400


class TooLarge(RejectedRequest):
    """The body is over the limit."""

    status = 413


class UnknownEncoding(RejectedRequest):
    """The content encoding is unknown."""

    status = 415


class TooManyRequests(RejectedRequest):
    """Over the rate limit."""

    status = 429

    def __init__(self, wait_s: float) -> None:
        super().__init__("over the rate limit")
        self.retry_after_s = math.ceil(wait_s)


class NotDurable(RejectedRequest):
    """Kafka did not acknowledge in time."""

    status = 503
    retry_after_s = RETRY_AFTER_S


def status_and_detail(error: Exception) -> tuple[int, str]:
    """Turn an outcome into a status: the only place that does."""
    if isinstance(error, RejectedRequest | Refused):
        return error.status, error.detail
    return 500, "internal error"
