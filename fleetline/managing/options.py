"""Options of the commands that change things: versions, overlaps, attributes, and asking before something is gone."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from fleetline.durations import Duration

Command = Callable[..., Any]
DAY_S = 86_400.0


def of_tenant_option(command: Command) -> Command:
    """Add `--tenant` to a command that looks at all of them, passed as `tenant`."""
    return click.option("--tenant", metavar="ID|NAME", help="Look at this one's only.")(command)


def version_option(command: Command) -> Command:
    """Add `--version`, passed as `version`."""
    return click.option(
        "--version",
        type=click.IntRange(0),
        help="The version the change was made from: refused when somebody has changed it since [default: whatever it is now].",
    )(command)


def overlap_option(command: Command) -> Command:
    """Add `--overlap`, passed as `overlap_s`; None where it was not given."""
    return click.option(
        "--overlap",
        "overlap_s",
        type=Duration(),
        metavar="TIME",
        help="How long the former secret goes on opening, e.g. 30m, 24h, 7d; 0 ends it at once [default: 24h].",
    )(command)


def yes_option(command: Command) -> Command:
    """Add `--yes`, passed as `yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


def attribute_options(command: Command) -> Command:
    """Add `--set` and `--unset`, passed as `given` and `removed`."""
    given = click.option(
        "--set", "given", multiple=True, metavar="NAME=VALUE", help="Set an attribute; may be repeated."
    )
    removed = click.option(
        "--unset", "removed", multiple=True, metavar="NAME", help="Remove an attribute; may be repeated."
    )
    return given(removed(command))


def attributes_from(given: Sequence[str], removed: Sequence[str] = ()) -> dict[str, str | None]:
    """Read `--set` and `--unset`; None is to be removed."""
    wanted: dict[str, str | None] = {}
    for each in given:
        name, found, value = each.partition("=")
        if not found or not name.strip():
            raise click.UsageError(f"--set {each!r} is not of the form NAME=VALUE")
        set_once(wanted, name.strip(), value)
    for each in removed:
        set_once(wanted, each.strip(), None)
    return wanted


def set_once(wanted: dict[str, str | None], name: str, value: str | None) -> None:
    """Add an attribute; refuse one that was given twice."""
    if name in wanted:
        raise click.UsageError(f"the attribute {name!r} is given twice")
    wanted[name] = value


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the error stream, where it does not mix with JSON; anything but a yes ends with exit status 1."""
    if not yes:
        click.confirm(question, err=True, abort=True)


def counted(number: int, what: str) -> str:
    """Say how many: `1 device`, `1,234 devices`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def together(parts: Sequence[str]) -> str:
    """Join what there is: `2 credentials and 1 key`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
