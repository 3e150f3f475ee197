"""A tenant's devices as a file that can be imported again. Nothing secret is in a device, and nothing else is written."""

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from registry.errors import RegistryRefused
from registry.exchange.cells import inert
from registry.exchange.columns import ATTRIBUTE, COLUMNS, GATEWAY, ID, NAME, NAMED, PARENT
from registry.exchange.csv_rows import MOST_COLUMNS
from registry.exchange.reading import Format
from registry.model import Device

if TYPE_CHECKING:
    from registry.view import RegistryView

PAGE = 2_000
_BOM = "\ufeff"
_NAMED_ATTRIBUTES = frozenset(NAMED.values())


def export_devices(view: "RegistryView", tenant_id: str, form: Format, *, bom: bool = False) -> Iterator[bytes]:
    """Write a tenant's devices in pieces of some hundred kilobytes: gateways first, then all others, each by id.

    So a row's parent stands before it. Imported into an empty registry it makes the same devices. `bom` begins a CSV with a byte
    order mark, without which some spreadsheets take UTF-8 for something else.

    Raises RegistryRefused before the first piece when a CSV would have more columns than an import takes; and in the middle
    when a device has got an attribute that has no column since the export began.
    """
    return _csv(view, tenant_id, bom=bom) if form == "csv" else _ndjson(view, tenant_id)


def _pages(view: "RegistryView", tenant_id: str) -> Iterator[list[Device]]:
    after = ""
    while page := view.page(Device, tenant_id, after, PAGE):
        yield page
        after = page[-1].id


def _parents_first(view: "RegistryView", tenant_id: str) -> Iterator[list[Device]]:
    for gateways in (True, False):
        for page in _pages(view, tenant_id):
            yield [device for device in page if device.gateway is gateways]


def _ndjson(view: "RegistryView", tenant_id: str) -> Iterator[bytes]:
    encode = msgspec.json.Encoder().encode
    for page in _parents_first(view, tenant_id):
        if page:
            yield b"".join(encode(_object(device)) + b"\n" for device in page)


def _object(device: Device) -> dict[str, object]:
    said: dict[str, object] = {ID: device.id, NAME: device.name}
    attributes = dict(device.attributes)
    for column, name in NAMED.items():
        if name in attributes:
            said[column] = attributes.pop(name)
    said[GATEWAY] = device.gateway
    if device.parent_id:
        said[PARENT] = device.parent_id
    if attributes:
        said["attributes"] = attributes
    return said


def _csv(view: "RegistryView", tenant_id: str, *, bom: bool) -> Iterator[bytes]:
    found = {name for page in _pages(view, tenant_id) for device in page for name in device.attributes}
    others = sorted(found - _NAMED_ATTRIBUTES)
    if len(others) + len(COLUMNS) > MOST_COLUMNS:
        raise RegistryRefused(f"the devices have {len(others)} different attributes, too many for columns; take NDJSON")
    heading = [*COLUMNS, *(ATTRIBUTE + name for name in others)]
    yield ((_BOM if bom else "") + _lines([heading])).encode()
    columns = {name: position for position, name in enumerate((*NAMED.values(), *others))}
    for page in _parents_first(view, tenant_id):
        if page:
            yield _lines([_cells(device, columns) for device in page]).encode()


def _cells(device: Device, columns: dict[str, int]) -> list[str]:
    values = [""] * len(columns)
    for name, value in device.attributes.items():
        position = columns.get(name)
        if position is None:
            raise RegistryRefused("the devices have got other attributes while they were exported; export them again")
        values[position] = inert(value)
    named, others = values[: len(NAMED)], values[len(NAMED) :]
    gateway = "true" if device.gateway else "false"
    return [inert(device.id), inert(device.name), *named, gateway, inert(device.parent_id), *others]


def _lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
