"""The audit trail as it is read: changes from ClickHouse, and what each of them changed."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_CALLED = "JSONExtractString(after, 'name') = {%s:String} OR JSONExtractString(before, 'name') = {%s:String}"
_CONDITIONS = {
    "tenant": "(tenant_id = {tenant:String} OR tenant_id IN (SELECT object_id FROM audit WHERE kind = 'tenant' AND ("  # noqa: S608
    f"{_CALLED.replace('%s', 'tenant')})))",
    "kind": "kind = {kind:String}",
    "object": "(object_id = {object:String} OR object_id IN (SELECT object_id FROM audit WHERE "  # noqa: S608
    f"{_CALLED.replace('%s', 'object')}))",
    "actor": "startsWith(actor, {actor:String})",
    "since_us": "at >= fromUnixTimestamp64Micro({since_us:Int64})",
    "beyond": "position > {beyond:Int64}",
}
_COLUMNS = "id, toUnixTimestamp64Micro(at) AS at_us, actor, action, kind, object_id, tenant_id, version, before, after, position"
_SAME = {"id", "tenant_id", "version", "type"}
"""Fields that say nothing about a change."""


class AuditFilter(msgspec.Struct, frozen=True):
    """Which changes: what is empty counts for all. `tenant` and `object` are ids, or names they have or had.

    `actor` is how the actor begins (`cli:`, `api-key:`). `beyond`: only what was made after that position.
    """

    tenant: str = ""
    kind: str = ""
    object: str = ""
    actor: str = ""
    since_us: int = 0
    beyond: int = -1

    def where(self) -> tuple[str, dict[str, Any]]:
        """Return the condition and its parameters."""
        default = AuditFilter()
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value != getattr(default, name)}
        return " AND ".join(_CONDITIONS[name] for name in given) or "1", given


def last_changes(client: "Client", wanted: AuditFilter, limit: int) -> list[dict[str, Any]]:
    """Return the latest changes, the oldest of them first. Raises clickhouse_connect's errors."""
    condition, parameters = wanted.where()
    query = f"SELECT {_COLUMNS} FROM audit WHERE {condition} ORDER BY at DESC, position DESC LIMIT {limit:d}"  # noqa: S608
    return [_change(row) for row in reversed(list(client.query(query, parameters=parameters).named_results()))]


def later_changes(client: "Client", wanted: AuditFilter) -> list[dict[str, Any]]:
    """Return all changes beyond a position, in the order they were made. Raises clickhouse_connect's errors."""
    condition, parameters = wanted.where()
    query = f"SELECT {_COLUMNS} FROM audit WHERE {condition} ORDER BY position"  # noqa: S608  conditions of ours only
    return [_change(row) for row in client.query(query, parameters=parameters).named_results()]


def last_position(client: "Client") -> int:
    """Return the position of the latest change, -1 without any."""
    return int(client.query("SELECT if(count() = 0, -1, max(position)) FROM audit").result_rows[0][0])


def _change(row: Mapping[str, Any]) -> dict[str, Any]:
    from schemas.times import format_us

    before, after = _object(row["before"]), _object(row["after"])
    return {
        "id": row["id"],
        "at": format_us(row["at_us"]),
        "actor": row["actor"],
        "action": row["action"],
        "kind": row["kind"],
        "object_id": row["object_id"],
        "tenant_id": row["tenant_id"],
        "version": row["version"],
        "before": before,
        "after": after,
        "changes": field_changes(before, after),
        "position": row["position"],
    }


def _object(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return {"unreadable": text}


def field_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, list[Any]]:
    """Return [before, after] of each field that differs, nested ones by their path; None where it was not there.

    Of an object that was created or removed, what was empty is left out.
    """
    old, new = dict(_flat(before or {}, "")), dict(_flat(after or {}, ""))
    changed = before is not None and after is not None
    names = (name for name in {**old, **new} if name not in _SAME and old.get(name) != new.get(name))
    found = {name: [old.get(name), new.get(name)] for name in names}
    return {name: pair for name, pair in found.items() if changed or any(pair)}


def _flat(fields: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def diff_lines(change: Mapping[str, Any]) -> list[str]:
    """Describe a change for a person, a line for each field: `name: Van → Vän`; `+` and `-` what was added and removed."""
    whole = change["before"] is None or change["after"] is None
    return [_diff_line(plain(name), old, new, whole=whole) for name, (old, new) in change["changes"].items()]


def _diff_line(name: str, old: Any, new: Any, *, whole: bool) -> str:
    if whole:
        return f"{name}: {plain(old if new is None else new)}"
    if old in _EMPTY:
        return f"+ {name}: {plain(new)}"
    if new in _EMPTY:
        return f"- {name}: {plain(old)}"
    return f"{name}: {plain(old)} → {plain(new)}"


_EMPTY: tuple[Any, ...] = (None, "", [])
_LONGEST = 200


def name_of(change: Mapping[str, Any]) -> str:
    """Return what the changed object is called; nothing if it has no name."""
    return plain((change["after"] or change["before"] or {}).get("name") or "")


def plain(value: Any) -> str:
    """Show a value on one line, whatever is in it."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    shown = "".join(character if character.isprintable() else "·" for character in text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
