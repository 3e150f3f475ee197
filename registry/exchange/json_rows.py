"""NDJSON: one JSON object per line."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from registry.errors import RegistryRefused
from registry.exchange.columns import ATTRIBUTE, DeviceRow, Target, device_row, shown, target_of
from registry.exchange.lines import split_lines
from registry.exchange.reading import Read, Unreadable

_BOM = b"\xef\xbb\xbf"
_MOST_KEYS = 1_000
"""Of one object; and so many keys are remembered: a file with new ones in every line must not fill the memory."""
_Said = tuple[Target, str | None]


class _Object(list[tuple[str, Any]]):
    """A JSON object with all its keys, the repeated ones too."""


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


# Numbers stay as they are written: 20 digits of an ICCID are more than a double or an int64 holds.
_decode = json.JSONDecoder(object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=_not_json).decode


def read_ndjson(source: Iterable[bytes], longest: int) -> Iterator[Read]:
    """Read lines; empty ones are none."""
    targets: dict[str, Target] = {}
    for number, line in split_lines(source, longest):
        if line is None:
            yield Unreadable(line=number, size=longest, reason=f"the line is longer than {longest} bytes")
            continue
        text = line.removeprefix(_BOM) if number == 1 else line
        if not text.strip():
            continue
        try:
            yield _row(number, text, targets)
        except RegistryRefused as error:
            yield Unreadable(line=number, size=len(line), reason=str(error))


def _row(number: int, line: bytes, targets: dict[str, Target]) -> DeviceRow:
    try:
        said = _decode(line.decode())
    except UnicodeDecodeError as error:
        raise RegistryRefused(f"no UTF-8 at byte {error.start + 1} of the line") from None
    except RecursionError:
        raise RegistryRefused("the JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise RegistryRefused(f"no JSON: {error.msg} at character {error.pos + 1}") from None
    except ValueError as error:
        raise RegistryRefused(f"no JSON: {error}") from None
    if not isinstance(said, _Object):
        raise RegistryRefused("the line is no JSON object; NDJSON is one object per line, without brackets around all")
    if len(said) > _MOST_KEYS:
        raise RegistryRefused(f"more than {_MOST_KEYS} keys")
    return device_row(number, len(line), _said(said, targets))


def _said(pairs: _Object, targets: dict[str, Target]) -> Iterator[_Said]:
    for key, value in pairs:
        if key == ATTRIBUTE[:-1]:
            yield from _attributes(value)
            continue
        target = targets.get(key)
        if target is None:
            target = target_of(key)
            if len(targets) < _MOST_KEYS:
                targets[key] = target
        if target[0]:
            yield target, _text(key, value)


def _attributes(value: Any) -> Iterator[_Said]:
    if value is None:
        return
    if not isinstance(value, _Object):
        raise RegistryRefused("attributes is no JSON object")
    for name, text in value:
        yield (ATTRIBUTE, name.strip()), _text(name, text)


def _text(key: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    raise RegistryRefused(f"{shown(key)} is {'an object' if isinstance(value, _Object) else 'a list'}, not a text")
