"""Lists in parts: `?limit=&after=`, in the order of ids, so that a page stays right while objects come and go."""

from collections.abc import Callable, Sequence
from typing import Annotated, Protocol, TypeVar

from fastapi import Query

from admin.shapes.common import LARGEST_PAGE, Page


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=_HasId)
S = TypeVar("S")

After = Annotated[str, Query(description="`next` of the part before.", max_length=1_000)]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]


def page_of(found: Sequence[E], limit: int, shown: Callable[[E], S]) -> Page[S]:
    """Make a page of what was found, of which one more than `limit` tells that there is a next page."""
    kept = found[:limit]
    return Page(items=[shown(each) for each in kept], next=kept[-1].id if len(found) > limit else None)
