"""Packed rows of one kind, found by id and by every claim they make: the first by id wins, whatever order they came in.

Written by one thread, read by any number. The row decides and the index proposes: an update first adds the new claims to the
index, then exchanges the row, then removes the old claims, so every lookup sees the row before or after, in one step.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

import msgspec

from registry.index import Claimants, Index
from registry.packing import DeviceRow, Key


class Row(Protocol):
    """What a shelf needs to know of its rows."""

    @property
    def id(self) -> str: ...  # noqa: D102
    def holds(self, key: Key, /) -> bool: ...  # noqa: D102
    def claims(self) -> list[Key]: ...  # noqa: D102


R = TypeVar("R", bound=Row)
_pack = msgspec.msgpack.Encoder().encode


class Shelf(Generic[R]):
    """The rows of one kind, each in a place of its own that is given to another only after it is gone."""

    def __init__(self, decode: Callable[[bytes], R], told: Callable[[Key, str, str], None]) -> None:
        """`told` is called with the key and both ids when a value that had one claimant has two."""
        self._decode = decode
        self._told = told
        self._rows: list[bytes | None] = [None]  # numbers begin at 1
        self._free: list[int] = []
        self._index = Index()
        self.contested: dict[Key, Claimants] = {}
        """Keys that several rows claim; for others to look at."""

    def __len__(self) -> int:
        return len(self._rows) - 1 - len(self._free)

    def __iter__(self) -> Iterator[R]:
        """Go through all rows, in no order; what changes meanwhile is seen before or after."""
        for packed in self._rows:
            if packed is not None:
                yield self._decode(packed)

    # --- reading -----------------------------------------------------------------------------------------------------

    def find(self, key: Key) -> R | None:
        """Return the row a key means; of several the first by id."""
        number = self._index.first(key)
        if not number:
            return None
        packed = self._rows[number]
        if packed is not None:
            row = self._decode(packed)
            if row.holds(key):
                return row
        return self._search(key)

    def _search(self, key: Key) -> R | None:
        """Find a row whose hash is not the only one of its kind, or that is being changed by the writer."""
        while True:
            candidates = self._index.candidates(key)
            for number in candidates:
                packed = self._rows[number]
                row = None if packed is None else self._decode(packed)
                if row is not None and row.holds(key):
                    return row
            for other in self._others(key):
                return other
            if self._index.candidates(key) == candidates:  # else the writer was here meanwhile
                return None

    def all(self, key: Key) -> tuple[R, ...]:
        """List all rows a key means, the first by id first."""
        several = tuple(self._others(key))
        if several:
            return several
        row = self.find(key)
        return () if row is None else (row,)

    def _others(self, key: Key) -> Iterator[R]:
        claimants = self.contested.get(key)
        for each in () if claimants is None else claimants.all():
            row = self.find(each)
            if row is not None and row.holds(key):
                yield row

    # --- writing -----------------------------------------------------------------------------------------------------

    def put(self, row: R) -> R | None:
        """Add or replace a row, and return the one it replaces."""
        packed = _pack(row)
        number = self._place(row.id)
        if not number:
            number = self._new_place()
            self._claim_all([row.id, *row.claims()], row.id, number)
            self._rows[number] = packed
            return None
        before = self._rows[number]
        assert before is not None  # the index is exact for the thread that writes
        former = self._decode(before)
        if packed != before:
            new, old = set(row.claims()), set(former.claims())
            self._claim_all(new - old, row.id, number)
            self._rows[number] = packed
            for key in old - new:
                self._release(key, row.id, number)
        return former

    def drop(self, row_id: str) -> R | None:
        """Remove a row and return it."""
        number = self._place(row_id)
        if not number:
            return None
        packed = self._rows[number]
        assert packed is not None
        former = self._decode(packed)
        self._rows[number] = None
        for key in former.claims():
            self._release(key, row_id, number)
        self._index.remove(row_id, number)
        self._free.append(number)
        return former

    def _place(self, row_id: str) -> int:
        if not self._index.first(row_id):
            return 0
        for number in self._index.candidates(row_id):
            packed = self._rows[number]
            if packed is not None and self._decode(packed).id == row_id:
                return number
        return 0

    def _new_place(self) -> int:
        if self._free:
            return self._free.pop()
        self._rows.append(None)
        return len(self._rows) - 1

    def _claim_all(self, keys: Iterable[Key], row_id: str, number: int) -> None:
        taken = self._index.add_all(keys, number)
        for key in taken:
            self._claim_too(key, row_id, number)

    def _claim_too(self, key: Key, row_id: str, number: int) -> None:
        """Add a claim where there is one with the same hash, most often because it is the same claim."""
        claimants = self.contested.get(key)
        if claimants is not None:
            first = claimants.first()
            claimants.add(row_id)
            if row_id < first:
                self._index.replace(key, self._place(first), number)
            return
        for other in self._index.candidates(key):
            packed = self._rows[other]
            row = None if packed is None else self._decode(packed)
            if row is not None and row.holds(key):
                self.contested[key] = Claimants(row.id, row_id)
                if row_id < row.id:
                    self._index.replace(key, other, number)
                self._told(key, row.id, row_id)
                return
        self._index.add(key, number)

    def _release(self, key: Key, row_id: str, number: int) -> None:
        claimants = self.contested.get(key)
        if claimants is None:
            self._index.remove(key, number)
            return
        was_first = claimants.first() == row_id
        claimants.discard(row_id)
        if was_first:
            self._index.replace(key, number, self._place(claimants.first()))
        if len(claimants) == 1:
            del self.contested[key]


class DeviceShelf(Shelf[DeviceRow]):
    """The devices; `named` is `find` for what is asked for every record."""

    def named(self, tenant: int, kind: str, value: str) -> DeviceRow | None:
        """Return the device of a tenant that claims a value; of several the first by id."""
        key = (tenant, kind, value)
        number = self._index.first(key)
        if not (number and value):
            return None
        packed = self._rows[number]
        if packed is not None:
            row = self._decode(packed)
            if row.tenant == tenant:
                if kind == "imei":
                    same = row.imei == value
                elif kind == "dev_eui":
                    same = row.dev_eui == value or row.value(kind) == value
                else:
                    same = row.value(kind) == value
                if same:
                    return row
        return self._search(key)

    def owned(self, tenant: int, device_id: str) -> DeviceRow | None:
        """Return the device with an id if it is the tenant's."""
        row: DeviceRow | None = None
        number = self._index.first(device_id)
        packed = self._rows[number]
        if packed is not None:
            row = self._decode(packed)
            if row.id != device_id:
                row = self._search(device_id)
        elif number:
            row = self._search(device_id)
        return row if row is not None and row.tenant == tenant else None
