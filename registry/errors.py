"""What can go wrong with the registry.

* RegistryError
  - RegistryUnavailable   the broker cannot be reached or did not take the change: nothing is known to be stored
  - RegistryRefused       the change breaks a rule: nothing was sent
  - SealingError          a sealed value cannot be opened, or the key to seal with is unusable
"""


class RegistryError(Exception):
    """Base of everything the registry raises on purpose. Its text is meant for the operator."""


class RegistryUnavailable(RegistryError):
    """The broker cannot be reached, or did not acknowledge the change within its time."""


class RegistryRefused(RegistryError, ValueError):
    """The change breaks a rule of the registry (an unknown tenant, a device id already taken, a gateway below a gateway)."""


class SealingError(RegistryError):
    """A sealed value cannot be opened with this key, or the key itself is unusable."""
