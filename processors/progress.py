"""What of one partition may be committed: everything before the first record that was not worked on, whatever Faust dropped."""

from collections import deque


class Progress:
    """The chunks of a partition since it was assigned: handed to the agent in order, acknowledged in order, or lost on the way.

    Faust drops chunks around a rebalance: fetched while its flow stands still, cleared from a stream's queue, of an earlier
    generation. It then goes back to the committed offset, but not where nothing was ever committed, and not always after
    the last drop. So nothing is believed here: a partition begins with `must_rewind`, what is dropped sets it, and an
    acknowledged chunk counts only when it joins on to what is done. A rewind costs records read twice; a gap would cost them.
    """

    __slots__ = ("_acknowledged", "_begins", "_handed", "_rewinds", "done", "must_rewind")

    def __init__(self) -> None:
        self.done = -1
        """The offset before which everything was acknowledged, from where the reading began; -1 before the first chunk."""
        self.must_rewind = True
        """Go back to the committed offset before the next chunk is handed over."""
        self._begins = True
        self._rewinds = 0
        self._handed: deque[tuple[int, int, int]] = deque()
        """(first offset, last offset, number of rewinds before it), in the order of the stream."""
        self._acknowledged: list[tuple[int, int]] = []

    def rewound(self) -> None:
        """Note that the next chunk is the one at the committed offset."""
        self.must_rewind = False
        self._begins = True
        self._rewinds += 1

    def hand(self, first: int, last: int) -> None:
        """Note a chunk that goes to the agent."""
        if self._begins:  # before it there is nothing to be done, also if the log has been cut off there
            self.done = first
            self._begins = False
        self._handed.append((first, last, self._rewinds))

    def acknowledge(self, last: int) -> None:
        """Note that the chunk ending here is durable. One that was not handed out since the assignment changes nothing."""
        if not any(each[1] == last for each in self._handed):
            return
        while True:  # the stream keeps the order, so those before it will never be acknowledged
            first, ends, rewinds = self._handed.popleft()
            if ends == last:
                break
        self._acknowledged.append((first, last))
        self._advance()
        if self._acknowledged and rewinds == self._rewinds:
            self.must_rewind = True

    def _advance(self) -> None:
        for first, last in sorted(self._acknowledged):
            if first > self.done:
                break
            self.done = max(self.done, last + 1)
        self._acknowledged = [each for each in self._acknowledged if each[1] >= self.done]
