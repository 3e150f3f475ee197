"""What only those need who list: ids in order, children of gateways, credentials of devices. Built when first asked for.

Not safe for several threads.
"""

from collections.abc import Callable, Collection, Iterable

from registry.order import SortedIds

CHILDREN = "children"
BOUND = "bound"
To = tuple[int, str]
"""(tenant, id of the device that others belong to)."""


class Listing:
    """Kept up to date from the first question on; until then it costs nothing."""

    def __init__(self) -> None:
        self._orders: dict[str, dict[int, SortedIds]] = {}
        self._relations: dict[str, dict[To, set[str]]] = {}

    def entered(self, kind: str, tenant: int, entry_id: str) -> None:
        """Take in an id that a tenant did not have."""
        order = self._orders.get(kind)
        if order is not None:
            order.setdefault(tenant, SortedIds()).add(entry_id)

    def left(self, kind: str, tenant: int, entry_id: str) -> None:
        """Strike an id that a tenant had."""
        order = self._orders.get(kind)
        if order is not None:
            order[tenant].remove(entry_id)
            if not order[tenant]:
                del order[tenant]

    def keeps(self, relation: str) -> bool:
        """Tell whether anybody has asked for a relation, so that it must be kept up to date."""
        return relation in self._relations

    def related(self, relation: str, former: To | None, present: To | None, entry_id: str) -> None:
        """Take in that something belongs to another device than before."""
        known = self._relations[relation]
        if former == present:
            return
        if former is not None:
            known[former].discard(entry_id)
            if not known[former]:
                del known[former]
        if present is not None:
            known.setdefault(present, set()).add(entry_id)

    def order(self, kind: str, tenant: int, every: Callable[[], Iterable[tuple[int, str]]]) -> SortedIds:
        """Return a tenant's ids of a kind; `every` gives tenant and id of all there are, for the first time."""
        if kind not in self._orders:
            ids: dict[int, list[str]] = {}
            for owner, entry_id in every():
                ids.setdefault(owner, []).append(entry_id)
            self._orders[kind] = {owner: SortedIds(found) for owner, found in ids.items()}
        return self._orders[kind].get(tenant) or SortedIds()

    def of(self, relation: str, device: To, every: Callable[[], Iterable[tuple[To | None, str]]]) -> Collection[str]:
        """Return the ids of what belongs to a device; `every` gives all there are, for the first time."""
        if relation not in self._relations:
            known: dict[To, set[str]] = {}
            for belongs_to, entry_id in every():
                if belongs_to is not None:
                    known.setdefault(belongs_to, set()).add(entry_id)
            self._relations[relation] = known
        return self._relations[relation].get(device, ())
