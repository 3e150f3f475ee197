"""What all shapes share."""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from schemas.times import format_us

T = TypeVar("T")

LARGEST_PAGE = 1_000
Text = Annotated[str, Field(max_length=1_000)]
Version = Annotated[
    int,
    Field(
        ge=1, le=2**53, description="The version the change was made from: refused with 409 when it is another by now."
    ),
]


class Given(BaseModel):
    """Something sent in. Unknown fields are refused: a misspelt one would be lost silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Shown(BaseModel):
    """Something sent out."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)  # some hold a new secret


class Page(BaseModel, Generic[T]):
    """A part of a list. `next` is to be given as `after` for the following part; null at the end."""

    items: list[T]
    next: str | None = None


def moment(ticks: int) -> str | None:
    """Show a time in µs; 0 is none."""
    return format_us(ticks) if ticks else None
