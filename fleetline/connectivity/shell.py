"""Words of a command line that can be pasted, whatever stands in them, with or without the secret itself."""

import re
import shlex

SECRET = "\0"  # noqa: S105  no secret
"""Stands for the secret in texts that become words: no shell word can hold it otherwise."""
VARIABLE = "FLEETLINE_TOKEN"
"""The shell variable that stands in commands for a secret nobody can show any more."""
_PLAIN_IN_QUOTES = re.compile(r"[^\"\\$`!\n]*")
_GOES_ON = re.compile(r"[A-Za-z0-9_]")


def filled(text: str, secret: str | None) -> str:
    """Return a text to be read or entered, not to be pasted into a shell, with the secret or the variable's name."""
    return text.replace(SECRET, f"${VARIABLE}" if secret is None else secret)


def word(text: str, secret: str | None) -> str:
    """Quote one word for a POSIX shell. Without a secret the variable is expanded where it belongs, and nothing else is."""
    if secret is not None:
        return shlex.quote(text.replace(SECRET, secret))
    parts = text.split(SECRET)
    if len(parts) == 1:
        return shlex.quote(text)
    if all(_PLAIN_IN_QUOTES.fullmatch(part) for part in parts):
        follows = any(_GOES_ON.match(part) for part in parts[1:])
        return '"' + (f"${{{VARIABLE}}}" if follows else f"${VARIABLE}").join(parts) + '"'
    return f'"${VARIABLE}"'.join(shlex.quote(part) if part else "" for part in parts)


def line(words: list[str], secret: str | None) -> str:
    """Join words to a command; options and their values are given as they are to be read."""
    return " ".join(word(each, secret) for each in words)
