"""Texts people give: ids, names, values. Refused with RegistryRefused and a text for the operator when they cannot be stored."""

import re
from collections.abc import Mapping

from registry.errors import RegistryRefused
from schemas.ids import new_id

LONGEST_ID = 200
LONGEST_TEXT = 1_000
MOST_ATTRIBUTES = 100
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Unicode's categories Cc and Cs: an expression, because an import of devices asks for every value of every row."""


def clean_text(text: str, what: str) -> str:
    """Return the text without surrounding space. Refuses control characters, what is no UTF-8, and what is very long."""
    stripped = text.strip()
    if len(stripped) > LONGEST_TEXT:
        raise RegistryRefused(f"{what} is longer than {LONGEST_TEXT} characters")
    if has_control(stripped):
        raise RegistryRefused(f"{what} holds control characters")
    return stripped


def has_control(text: str) -> bool:
    """Tell whether a text holds control characters (CR and LF among them) or lone surrogates."""
    return _CONTROL.search(text) is not None


def clean_id(wanted: str | None) -> str:
    """Return the id asked for, or a new one. Refuses white space and slashes: ids stand in keys and paths."""
    if wanted is None:
        return new_id()
    text = clean_text(wanted, "the id")
    if not text or len(text) > LONGEST_ID or any(character in "/?#%" or character.isspace() for character in text):
        raise RegistryRefused(f"{wanted!r} cannot be an id: 1 to {LONGEST_ID} characters without spaces and /?#%")
    if text in (".", ".."):
        raise RegistryRefused(f"{wanted!r} cannot be an id: it means something else in a path")
    return text


def required(text: str, what: str) -> str:
    """Return the clean text. Refuses an empty one."""
    stripped = clean_text(text, what)
    if not stripped:
        raise RegistryRefused(f"{what} is empty")
    return stripped


def clean_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes with clean names and values; empty values are left out."""
    if len(attributes) > MOST_ATTRIBUTES:
        raise RegistryRefused(f"more than {MOST_ATTRIBUTES} attributes")
    named = {required(name, "an attribute's name"): clean_text(value, name) for name, value in attributes.items()}
    return {name: value for name, value in named.items() if value}
