"""Writes `docs/settings.md` from `fleetline.settings`: every setting, its default and what stands below it.

And the table of permissions in `docs/kafka-security.md`, from `fleetline.kafka_acls`.

Run with `make docs`.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from fleetline import settings
from fleetline.secret_files import SUFFIX, may_come_from_file, variables

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "settings.md"
SECURITY_PAGE = ROOT / "docs" / "kafka-security.md"
_BEGIN = "<!-- written by `make docs` from fleetline/kafka_acls.py -->\n"
_END = "<!-- end -->\n"
_HEAD = """# Settings

Written by `make docs` from [`fleetline/settings.py`](../fleetline/settings.py). Do not edit.

Settings are environment variables, read once when a process starts; their case does not matter. Lists and maps are JSON:
`FLEETLINE_PATH_MAP='{"/": "autopi"}'`. A component that cannot read a setting says which and does not start.

| variable | default | what it does |
|---|---|---|
"""
_FILES = """
Secrets can be files, as Kubernetes and Docker mount them: {secrets} name the file the setting is in.
A newline at its end does not count. A file is read once, when the process starts; setting a secret both ways is refused.
"""
_TAIL = """
Elsewhere: a pull connector has settings of its own, see [BikeTrax's](biketrax-pull.md#setting-it-up). `FLEETLINE_CACHE` is
where the local stack's broker is kept once it is fetched, `~/.cache/fleetline` unless set. `FLEETLINE_INSTANCE_ID` gives a
`serve processors` a lasting name in its consumer group: restarted within `FLEETLINE_KAFKA_SESSION_TIMEOUT_MS` it gets its
partitions back, and no other has to move.
"""


def page() -> str:
    """Return the whole page."""
    meanings = docstrings()
    rows = [
        f"| {_names(name, field)} | {_default(field)} | {_choices(field)}{_cell(meanings.get(name, ''))} |"
        for name, field in settings.Settings.model_fields.items()
    ]
    return _HEAD + "\n".join(rows) + "\n" + _FILES.format(secrets=", ".join(_secrets())) + _TAIL


def _secrets() -> Iterator[str]:
    for name, field in settings.Settings.model_fields.items():
        if may_come_from_file(field):
            yield f"`{variables(name, field, 'FLEETLINE_')[0]}{SUFFIX}`"


def docstrings() -> dict[str, str]:
    """Return what stands below each setting in the source, by name."""
    return dict(_below(ast.parse(inspect.getsource(settings.Settings)).body[0]))


def _below(definition: ast.stmt) -> Iterator[tuple[str, str]]:
    assert isinstance(definition, ast.ClassDef)
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            yield field.target.id, inspect.cleandoc(str(below.value.value))


def _names(name: str, field: FieldInfo) -> str:
    """Return the variables that set a field: the first one, and the one with our prefix where that is another."""
    return " or ".join(f"`{each}`" for each in variables(name, field, "FLEETLINE_"))


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, int) and value >= settings.MIB and value % settings.MIB == 0:
        return f"`{value}` ({value // settings.MIB} MiB)"
    if isinstance(value, int | float):
        return f"`{value}`"
    return f"`{value}`" if value else ""


def _choices(field: FieldInfo) -> str:
    if get_origin(field.annotation) is not Literal:
        return ""
    return ", ".join(f"`{each}`" for each in get_args(field.annotation)) + ". "


def _cell(text: str) -> str:
    """Return a docstring as it stands in a table; other settings in it get the names they are set by."""
    for name in sorted(settings.Settings.model_fields, key=len, reverse=True):
        text = text.replace(f"`{name}`", f"`FLEETLINE_{name.upper()}`")
    return " ".join(text.split()).replace("|", "\\|")


def security_page() -> str:
    """Return the page about Kafka's security with the table of permissions as the code has it."""
    from fleetline.kafka_acls import table

    before, begin, rest = SECURITY_PAGE.read_text("utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    return f"{before}{begin}{table()}{end}{after}"


def main() -> None:
    """Write the pages."""
    PAGE.write_text(page(), "utf-8")
    SECURITY_PAGE.write_text(security_page(), "utf-8")


if __name__ == "__main__":
    main()
