"""Lists of any length, in parts: each part says how to go on, so that a million devices do not flood a terminal."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from fleetline.errors import FleetlineError

if TYPE_CHECKING:
    from registry.model import Owned
    from registry.view import RegistryView

O = TypeVar("O", bound="Owned")  # noqa: E741  O for owned
Command = Callable[..., Any]
PAGE = 100
_CHUNK = 1_000


class Part(msgspec.Struct, frozen=True):
    """Which part of a list: at most `limit` after the object with the id `after`; or everything."""

    after: str = ""
    limit: int = PAGE
    whole: bool = False


def page_options(command: Command) -> Command:
    """Add `--limit`, `--after` and `--all`, passed as `limit`, `after` and `whole`."""
    limit = click.option("--limit", type=click.IntRange(1), default=PAGE, show_default=True, help="At most so many.")
    after = click.option(
        "--after", default="", metavar="ID", help="Go on behind this one: the last of the part before."
    )
    whole = click.option("--all", "whole", is_flag=True, help="List all there are, however many.")
    return limit(after(whole(command)))


def listed(view: "RegistryView", kind: type[O], tenant_ids: Sequence[str], part: Part) -> tuple[list[O], bool]:
    """Return a part of what several tenants have of one kind, tenant by tenant, and whether there is more."""
    found: list[O] = []
    for each in _from(view, kind, tenant_ids, part.after):
        if not part.whole and len(found) == part.limit:
            return found, True
        found.append(each)
    return found, False


def _from(view: "RegistryView", kind: type[O], tenant_ids: Sequence[str], after: str) -> Iterator[O]:
    first = _owner_of(view, kind, tenant_ids, after) if after else 0
    for number, tenant_id in enumerate(tenant_ids[first:]):
        last = after if number == 0 else ""
        while page := view.page(kind, tenant_id, last, _CHUNK):
            yield from page
            last = page[-1].id


def _owner_of(view: "RegistryView", kind: type[O], tenant_ids: Sequence[str], after: str) -> int:
    """Return which tenant's object a part ended with. With one tenant it may be gone by now."""
    if len(tenant_ids) == 1:
        return 0
    last = view.get(kind, after)
    if last is None or last.tenant_id not in tenant_ids:
        raise FleetlineError(f"--after: there is no {kind.KIND} {after!r}; with --tenant it need not be there any more")
    return tenant_ids.index(last.tenant_id)


def say_how_to_go_on(command: str, options: Mapping[str, Any], last: "Owned", total: int) -> None:
    """Print, beside the list, that there is more and the command that shows it."""
    given = {**{name: value for name, value in options.items() if value is not None}, "after": last.id}
    words = (f"--{name} {shlex.quote(str(value))}" for name, value in given.items())
    click.echo(f"there are more ({total:,} in all); go on with: {command} {' '.join(words)}", err=True)
