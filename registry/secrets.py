"""Secrets of senders: made once, shown once, kept only as their SHA-256."""

import secrets
from hashlib import sha256

_ENTROPY_BYTES = 32


def new_secret() -> str:
    """Make a secret of 256 random bits in URL-safe characters: it may stand in a header, a path or a query.

    It begins with a letter or a digit: a dash would make it an option in a shell, and a formula in a spreadsheet.
    """
    while True:
        made = secrets.token_urlsafe(_ENTROPY_BYTES)
        if made[0].isalnum():
            return made


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret as 64 hex digits. Takes any text, lone surrogates of a hostile header included."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
