"""What an operator can set for one stream, in the query of the URL it posts to: `/in/flespi?ident_prefix=flespi-`.

The query is stored with every raw record, so a replay reads it the same way and the normalizer needs no configuration.
"""

from functools import lru_cache

import msgspec

from sources.contract import Request
from sources.credentials import Place, presented_in

NOTATIONS = ("dots", "pascal", "camel", "snake")


class Options(msgspec.Struct, frozen=True, gc=False):
    """The settings of one stream; the defaults suit a stream as flespi creates it."""

    ident_prefix: str = ""
    """Taken off idents that begin with it: what the ident mask `flespi-%ident%` put there (FL-a09)."""
    notation: str = ""
    """One of `NOTATIONS`; empty: recognised by the keys (FL-a13)."""
    messages: str = ""
    """Dotted path to the array inside an object (FL-a21); empty: found if there is only one that can be meant."""
    rename: tuple[tuple[str, str], ...] = ()
    """Pairs of a field's name and the name to read it under, e.g. `vehicle_id:ident` (FL-a21)."""


DEFAULT = Options()


def options_of(request: Request) -> Options:
    """Read the settings out of the URL. What is not understood counts as not set: the data is worth more."""
    query = request.query
    if not query:
        return DEFAULT
    get = query.get
    return _options(get("ident_prefix", ""), get("notation", ""), get("messages", ""), get("rename", ""))


@lru_cache(maxsize=1024)
def _options(ident_prefix: str, notation: str, messages: str, rename: str) -> Options:
    known = notation.strip().lower()
    pairs = (pair.partition(":") for pair in rename.split(","))
    return Options(
        ident_prefix=ident_prefix,
        notation=known if known in NOTATIONS else "",
        messages=messages.strip("."),
        rename=tuple((old.strip(), new.strip()) for old, _, new in pairs if old.strip() and new.strip()),
    )


@presented_in(Place("header", "{auth_header}"))
def named_header(request: Request) -> str:
    """Take the secret out of the header that `auth_header` in the URL names: a stream can send any (FL-a11)."""
    name = request.query.get("auth_header", "").lower()
    try:
        return request.headers[name].strip() if name else ""
    except KeyError:
        return ""
