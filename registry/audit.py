"""The audit trail: who changed what, when, and what it was before. Written with the change itself, or not at all."""

from collections.abc import Iterable
from typing import Any

import msgspec

from registry.draft import Change
from registry.model import Entry, secret_fields
from schemas.ids import new_id

CREATED, CHANGED, REMOVED = "created", "changed", "removed"
SET, REPLACED = "(set)", "(set anew)"


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one object. `actor` is who made it, e.g. `api-key:<id>` or `cli:<user>@<host>`.

    `before` and `after` are the object's fields as JSON text, empty where there was nothing. Of secrets they say only whether
    there is one and whether it is a new one.
    """

    id: str
    at_us: int
    actor: str
    action: str
    kind: str
    object_id: str
    tenant_id: str
    version: int
    before: str
    after: str


def audit_records(changes: Iterable[Change], actor: str, at_us: int) -> list[AuditRecord]:
    """Describe changes that are about to be committed."""
    return [_record(change, actor, at_us) for change in changes]


def _record(change: Change, actor: str, at_us: int) -> AuditRecord:
    before, after = change.before, change.after
    entry = after or before
    assert entry is not None
    action = CREATED if before is None else REMOVED if after is None else CHANGED
    return AuditRecord(
        id=new_id(),
        at_us=at_us,
        actor=actor,
        action=action,
        kind=entry.KIND,
        object_id=entry.id,
        tenant_id=getattr(entry, "tenant_id", entry.id),
        version=entry.version,
        before=_shown(before, None),
        after=_shown(after, before),
    )


def _shown(entry: Entry | None, before: Entry | None) -> str:
    if entry is None:
        return ""
    fields: dict[str, Any] = msgspec.to_builtins(entry)
    for name in secret_fields(entry):
        value = fields.get(name)
        replaced = bool(before) and value != getattr(before, name)
        fields[name] = (REPLACED if replaced else SET) if value else ""
    return msgspec.json.encode(fields).decode()
