"""The types of records each sender makes, with an example of each, out of the bundled samples; writes `docs/record-types.md`.

Run with `make docs`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import orjson

from sources.catalog import load_sources
from sources.contract import Reading, Request, Source
from sources.routes import match
from sources.samples import load_samples

PAGE = Path(__file__).parent.parent.parent / "docs" / "record-types.md"
_HEAD = """# Record types

Written by `make docs` from the bundled samples. Do not edit.

What each sender's records are, as it names them, with a payload of each and what becomes of it. A record of a type that is not
here is kept all the same: its fields stand under `<source>.<their name>`.
"""


class RecordType(msgspec.Struct, frozen=True):
    """One type: its plainest payload among the samples, and the canonical columns and names it fills."""

    name: str
    example: Any
    becomes: tuple[str, ...]
    event: str
    """The type of the event it is, if it is one."""


def record_types(source: Source) -> list[RecordType]:
    """Return the types of a source by name; what an item calls itself (`type_key`), else what its readings are called."""
    found: dict[str, RecordType] = {}
    for item, readings in _items(source):
        stated = item.get(source.type_key) if source.type_key and isinstance(item, dict) else None
        for reading in readings:
            name = str(stated or (reading.type if reading.type not in {"event", ""} else reading.event_type))
            shown = RecordType(name, item, tuple(_becomes(reading)), reading.event_type)
            if name not in found or _worth(shown) > _worth(found[name]):
                found[name] = shown
    return [found[name] for name in sorted(found)]


def as_json(source: Source) -> dict[str, Any]:
    """Return the types of a source as a JSON object: name to payload."""
    return {each.name: orjson.loads(_written(each.example)) for each in record_types(source)}


def page() -> str:
    """Return the whole page."""
    return _HEAD + "".join(_section(source) for source in load_sources().values())


def _section(source: Source) -> str:
    lines = [f"\n## {source.title}\n"]
    if source.type_key:
        lines.append(f"The type stands in `{source.type_key}`.\n")
    lines += ["| type | becomes | payload |", "|---|---|---|"]
    for each in record_types(source):
        becomes = [f"event `{each.event}`"] if each.event else []
        becomes += [f"`{name}`" for name in each.becomes if not name.startswith(f"{source.name}.")]
        if len(becomes) < len(each.becomes) + bool(each.event):
            becomes.append(f"`{source.name}.…`")
        payload = _written(each.example).decode().replace("|", "\\|")
        lines.append(f"| `{each.name}` | {', '.join(becomes)} | ``{payload}`` |")
    return "\n".join(lines) + "\n"


def _worth(shown: RecordType) -> tuple[bool, int]:
    """Prefer an example with a position, then the shortest."""
    return "latitude" in shown.becomes, -len(_written(shown.example))


def _items(source: Source) -> Iterator[tuple[Any, list[Reading]]]:
    for sample in load_samples(source.name).values():
        path, query, headers = sample.filled("secret", "tenant")
        route, parts = match(source, path)
        request = Request(
            method=sample.request.method,
            path=route,
            path_params=parts,
            query=dict(parse_qsl(query)),
            headers=headers,
            content_type=headers.get("content-type", ""),
            body=sample.request.body_bytes(),
            device_id="device" if sample.credential else "",
        )
        try:
            items = source.split(request)
        except Exception:  # noqa: BLE001, S112  a sample that shows a defect has no type
            continue
        for item in items:
            try:
                readings = list(source.read(item, request))
                _written(item)
            except Exception:  # noqa: BLE001, S112  nor has such an item
                continue
            yield item, readings


def _becomes(reading: Reading) -> Iterator[str]:
    columns = ("latitude", "longitude", "altitude_m", "speed_kmh", "course_deg", "accuracy_m", "hdop", "pdop")
    yield from (name for name in columns if getattr(reading, name) == getattr(reading, name))
    if reading.satellites >= 0:
        yield "satellites"
    if reading.fix_valid >= 0:
        yield "fix_valid"
    names: list[Mapping[str, Any]] = [reading.numbers, reading.booleans, reading.texts]
    yield from (name for group in names for name in group)


def _written(item: Any) -> bytes:
    return orjson.dumps(item)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
