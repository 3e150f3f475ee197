"""The columns of a device in a file: how they may be called, and what a cell makes of the field."""

import re
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import UNSET, UnsetType

from registry.errors import RegistryRefused
from registry.model import DEV_EUI, EXTERNAL_ID
from registry.rules.texts import has_control

ID, NAME, GATEWAY, PARENT = "id", "name", "gateway", "parent"
ATTRIBUTE = "attributes."
"""What stands before the name of an attribute that has no column of its own: `attributes.colour`."""
NAMED: Mapping[str, str] = {
    "external_id": EXTERNAL_ID,
    "dev_eui": DEV_EUI,
    **{name: name for name in ("imei", "serial", "iccid", "custom1", "custom2", "custom3")},
}
"""Column: attribute of the device."""
COLUMNS = (ID, NAME, *NAMED, GATEWAY, PARENT)

Target = tuple[str, str]
"""What a column fills: (field, "") or ("attributes.", the attribute's name)."""
NOTHING: Target = ("", "no name")
"""What a column without a heading fills."""
_IGNORED: Target = ("", "")
_FIELDS: dict[str, Target] = {
    **{name: (name, "") for name in (ID, NAME, GATEWAY, PARENT)},
    **{re.sub("_", "", column): (ATTRIBUTE, attribute) for column, attribute in NAMED.items()},
    **{re.sub("_", "", attribute): (ATTRIBUTE, attribute) for attribute in (EXTERNAL_ID, DEV_EUI)},
    "parentid": (PARENT, ""),
    "serialnumber": (ATTRIBUTE, "serial"),
    # What listings say beside: the tenant is the one that is imported to, a version counts changes made here.
    "tenantid": _IGNORED,
    "version": _IGNORED,
}
_LOOSE = re.compile(r"[\s_-]+")
_BREAKS = re.compile(r"[\r\n\t]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NAMED_ATTRIBUTES = frozenset(NAMED.values())
_YES = frozenset(("true", "yes", "y", "1", "x"))
_NO = frozenset(("false", "no", "n", "0"))
_LONGEST_SAID = 500


class DeviceRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one row says of a device. UNSET is not said; `attributes` with an empty text, and `parent` None, take away.

    `line` is where it stands in the file, counted from 1; `size` how many bytes it took.
    """

    line: int
    size: int = 0
    id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    gateway: bool | UnsetType = UNSET
    parent: str | UnsetType | None = UNSET
    attributes: dict[str, str] = msgspec.field(default_factory=dict)


def target_of(heading: str) -> Target:
    """Return what a column fills: known ones by any case and spacing, `attributes.<name>`, and others by their own name.

    Raises RegistryRefused for a name that cannot be one.
    """
    name = _BREAKS.sub(" ", heading.strip())
    if has_control(name):
        raise RegistryRefused(f"the column {shown(name)} holds control characters")
    known = _FIELDS.get(_LOOSE.sub("", name).lower())
    if known is not None:
        return known
    if name[: len(ATTRIBUTE)].lower() == ATTRIBUTE:
        name = name[len(ATTRIBUTE) :].strip()
    elif name.lower() == ATTRIBUTE[:-1]:
        raise RegistryRefused("a column `attributes` is an object, which only NDJSON has: write attributes.<name>")
    if not name:
        raise RegistryRefused("a column has no name")
    return ATTRIBUTE, name


def is_known(target: Target) -> bool:
    """Tell whether a column is one that every device may have, rather than an attribute of the file's own."""
    return target[0] != ATTRIBUTE or target[1] in _NAMED_ATTRIBUTES


def device_row(line: int, size: int, said: Iterable[tuple[Target, str | None]]) -> DeviceRow:
    """Put together what the cells of a row say; None takes away what is there. Raises RegistryRefused.

    The same may be said twice (`imei` and `attributes.imei`), but not two different things.
    """
    fields: dict[str, str | None] = {}
    attributes: dict[str, str] = {}
    for (field, name), value in said:
        text = None if value is None else value.strip()
        if text and has_control(text):
            raise RegistryRefused(f"{shown(name or field)} holds control characters, a line break perhaps")
        if field == ATTRIBUTE:
            if attributes.setdefault(name, text or "") != (text or ""):
                raise RegistryRefused(f"{shown(name)} is given twice, and differs")
        elif field and fields.setdefault(field, text) != text:
            raise RegistryRefused(f"{field} is given twice, and differs")
    return DeviceRow(
        line=line,
        size=size,
        id=fields.get(ID) or UNSET,
        name=fields.get(NAME) or UNSET,
        gateway=_truth(fields.get(GATEWAY)),
        parent=(fields[PARENT] or None) if PARENT in fields else UNSET,
        attributes=attributes,
    )


def _truth(text: str | None) -> bool | UnsetType:
    if not text:
        return UNSET
    lower = text.lower()
    if lower in _YES:
        return True
    if lower in _NO:
        return False
    raise RegistryRefused(f"gateway is {shown(text)}; write true or false")


def shown(text: str) -> str:
    """Return a stranger's text fit for a message: quoted, without control characters, not long."""
    return repr(text if len(text) <= 80 else f"{text[:79]}…")


def said_plainly(reason: str) -> str:
    """Return a reason that can be printed and stored, whatever it quotes: on one line, and valid as UTF-8."""
    cut = reason if len(reason) <= _LONGEST_SAID else f"{reason[: _LONGEST_SAID - 1]}…"
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", cut)
