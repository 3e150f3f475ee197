"""What a connector must remember when it is started again: until when all is fetched, and each device's latest fix."""

import msgspec

from schemas.times import EARLIEST_US


class PullState(msgspec.Struct, frozen=True, kw_only=True):
    """`until_us`: everything the server knew before it is in the raw topic. `fixes`: device -> its latest fix there, µs.

    The fixes find positions that a bike kept while it had no network: their fix is older than `until_us`, but never
    older than the last one that arrived.
    """

    until_us: int
    fixes: dict[int, int] = {}


def encode_state(state: PullState) -> bytes:
    """Return the state as it stands in Kafka."""
    return msgspec.json.encode(state)


def decode_state(stored: bytes, otherwise_us: int) -> PullState:
    """Read a state back; without one, or with one nobody can read, begin at `otherwise_us`."""
    try:
        state = msgspec.json.decode(stored, type=PullState)
    except msgspec.DecodeError:
        return PullState(until_us=otherwise_us)
    return state if state.until_us > EARLIEST_US else PullState(until_us=otherwise_us)
