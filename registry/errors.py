"""What can go wrong with the registry.

* RegistryError
  - RegistryUnavailable   the broker cannot be reached or did not take the change: nothing is known to be stored
  - RegistryRefused       the change breaks a rule: nothing was sent
    . NotFound            what it is about does not exist, or is another tenant's
    . Conflict            it needs what somebody else has
      . Stale             it was made from an older version of the object
  - SealingError          a sealed value cannot be opened, or the key to seal with is unusable
"""


class RegistryError(Exception):
    """Base of everything the registry raises on purpose. Its text is meant for the operator."""


class RegistryUnavailable(RegistryError):
    """The broker cannot be reached, or did not acknowledge the change within its time."""


class RegistryRefused(RegistryError, ValueError):
    """The change breaks a rule of the registry (an unknown tenant, a device id already taken, a gateway below a gateway)."""


class NotFound(RegistryRefused):
    """What the change is about does not exist; another tenant's objects do not exist either."""


class Conflict(RegistryRefused):
    """An id, a name or a DevEUI is taken, or something still depends on what is to be removed."""


class Stale(Conflict):
    """The change was made from an older version. `current` is the version that stands: read it, decide again."""

    def __init__(self, what: str, given: int, current: int) -> None:
        super().__init__(f"{what} is at version {current} by now, not {given}: read it again, then repeat the change")
        self.current = current


class SealingError(RegistryError):
    """A sealed value cannot be opened with this key, or the key itself is unusable."""
