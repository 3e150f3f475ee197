"""Finds the sources: every folder here that declares `SOURCE`. Nothing is imported until `load_sources()` is called."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from sources.contract import Source

FOLDER = Path(__file__).parent


def source_names() -> tuple[str, ...]:
    """List the folders that hold a source, sorted, without importing any."""
    return tuple(sorted(folder.parent.name for folder in FOLDER.glob("*/__init__.py")))


@cache
def load_source(name: str) -> Source:
    """Import one source. Raises KeyError when there is no such folder, TypeError when its declaration is wrong."""
    if name not in source_names():
        raise KeyError(f"no source {name!r}; there are: {', '.join(source_names())}")
    declared = getattr(import_module(f"sources.{name}"), "SOURCE", None)
    if not isinstance(declared, Source):
        raise TypeError(f"sources/{name}/__init__.py must declare SOURCE = Source(...)")
    if declared.name != name:
        raise TypeError(f"sources/{name} declares the name {declared.name!r}; it must equal its folder")
    return declared


@cache
def load_sources() -> Mapping[str, Source]:
    """Import all of them, by name."""
    return MappingProxyType({name: load_source(name) for name in source_names()})
