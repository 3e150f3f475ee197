"""When mistakes of ours fill the quarantine, stopping loses nothing and going on hides everything (Arroyo's DLQ limits)."""

from dataclasses import dataclass

from sources.engine import NORMALIZER_ERROR


class TooManyDefects(RuntimeError):
    """A normalizer fails on too much. Deploy a fix; nothing was committed past this chunk, so nothing is lost."""


@dataclass(slots=True)
class DefectLimits:
    """Counts errors of our own code, never what senders get wrong: bad bytes must not stop the worker.

    `in_a_row` items failing one after the other, or more than `share` of the last `window` items, raise TooManyDefects.
    """

    in_a_row: int = 1_000
    share: float = 0.2
    window: int = 10_000
    _row: int = 0
    _seen: int = 0
    _failed: int = 0

    def readable(self, count: int) -> None:
        """Note items that were read."""
        self._row = 0
        self._advance(count, 0)

    def defect(self, reason: str) -> None:
        """Note one item that was not. Raises TooManyDefects."""
        if reason != NORMALIZER_ERROR:
            self._advance(1, 0)
            return
        self._row += 1
        self._advance(1, 1)
        if self._row >= self.in_a_row:
            raise TooManyDefects(f"{self._row} items in a row could not be normalized")
        if self._failed > self.share * self.window:
            raise TooManyDefects(f"{self._failed} of the last {self._seen} items could not be normalized")

    def _advance(self, seen: int, failed: int) -> None:
        self._seen += seen
        self._failed += failed
        if self._seen >= self.window:
            self._seen //= 2
            self._failed //= 2
