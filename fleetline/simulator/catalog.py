"""Finds the sender profiles: every module in `profiles/` that declares `PROFILE`."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from fleetline.errors import FleetlineError
from fleetline.simulator.profile import Profile

FOLDER = Path(__file__).parent / "profiles"
ALL = "all"


def profile_names() -> tuple[str, ...]:
    """List the modules, sorted, without importing any."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"))


@cache
def load_profiles() -> Mapping[str, Profile]:
    """Import all of them, by name."""
    profiles = map(_load, profile_names())
    return MappingProxyType({profile.name: profile for profile in profiles})


def chosen_profiles(wanted: str) -> tuple[Profile, ...]:
    """Return the profile of that name, or all of them. Raises FleetlineError that names the known ones."""
    profiles = load_profiles()
    if wanted == ALL:
        return tuple(profiles.values())
    if wanted not in profiles:
        raise FleetlineError(f"no sender {wanted!r} to simulate; there are: {', '.join(profiles)}, {ALL}")
    return (profiles[wanted],)


def _load(name: str) -> Profile:
    declared = getattr(import_module(f"fleetline.simulator.profiles.{name}"), "PROFILE", None)
    if not isinstance(declared, Profile) or declared.name.replace("-", "_") != name:
        raise TypeError(f"fleetline/simulator/profiles/{name}.py must declare PROFILE, a Profile of that name")
    return declared
