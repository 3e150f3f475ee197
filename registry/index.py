"""Who may be found under which value: one plain dict per kind of identity, with every claim remembered."""

import heapq


class Index:
    """Value to claimant. When several claim a value the first by id wins, whatever order they came in.

    `winners` is the plain dict that lookups read; it is never replaced, so it may be held on to.
    """

    __slots__ = ("_contested", "winners")

    def __init__(self) -> None:
        self.winners: dict[str, str] = {}
        self._contested: dict[str, _Claims] = {}

    def claim(self, value: str, claimant: str) -> str:
        """Add a claim. Return the other claimant when this value has just become contested, else nothing."""
        winner = self.winners.setdefault(value, claimant)
        if winner == claimant:
            return ""
        claims = self._contested.get(value)
        if claims is not None:
            claims.add(claimant)
            self.winners[value] = claims.first()
            return ""
        self._contested[value] = _Claims(winner, claimant)
        self.winners[value] = min(winner, claimant)
        return winner

    def release(self, value: str, claimant: str) -> None:
        """Take a claim back; the next claimant, if there is one, is found from now on."""
        claims = self._contested.get(value)
        if claims is None:
            if self.winners.get(value) == claimant:
                del self.winners[value]
            return
        claims.discard(claimant)
        self.winners[value] = claims.first()
        if len(claims) == 1:
            del self._contested[value]

    def claimants(self, value: str) -> tuple[str, ...]:
        """List all who claim a value, the winner first."""
        claims = self._contested.get(value)
        if claims is not None:
            return claims.all()
        winner = self.winners.get(value)
        return () if winner is None else (winner,)


class _Claims:
    """The claimants of one contested value: the first one is known at once however many there are."""

    __slots__ = ("_heap", "_present")

    def __init__(self, *claimants: str) -> None:
        self._present = set(claimants)
        self._heap = sorted(claimants)

    def __len__(self) -> int:
        return len(self._present)

    def add(self, claimant: str) -> None:
        if claimant not in self._present:
            self._present.add(claimant)
            heapq.heappush(self._heap, claimant)
            if len(self._heap) > 2 * len(self._present) + 8:  # those who left and came back stand in it twice
                self._heap = sorted(self._present)

    def discard(self, claimant: str) -> None:
        self._present.discard(claimant)

    def first(self) -> str:
        while self._heap[0] not in self._present:
            heapq.heappop(self._heap)
        return self._heap[0]

    def all(self) -> tuple[str, ...]:
        return tuple(sorted(self._present))
