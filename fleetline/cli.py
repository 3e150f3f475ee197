"""The command line. A command is a file in `fleetline/commands/`, found by its name and imported when it is called.

`api_key.py` is `fleetline api-key`.
"""

import ast
import importlib
import logging
from pathlib import Path

import click

from fleetline import __version__

COMMANDS = Path(__file__).parent / "commands"


class CommandFolder(click.Group):
    """Commands by scanning a folder: nothing is imported to list them, and a broken one does not break the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """List the commands by file name."""
        return sorted(path.stem.replace("_", "-") for path in COMMANDS.glob("*.py") if path.stem != "__init__")

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one that is called."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = cmd_name.replace("-", "_")
        command = importlib.import_module(f"fleetline.commands.{module}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"fleetline/commands/{module}.py must define a click command called `command`")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show each command with the first line of its module, read without importing it."""
        rows = [(name, _summary(COMMANDS / f"{name.replace('-', '_')}.py")) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _summary(path: Path) -> str:
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except SyntaxError:
        return "(cannot be read)"
    first = text.splitlines()[0] if text else ""
    _, _, said = first.partition(": ")
    return (said or first).rstrip(".")


@click.command(cls=CommandFolder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fleetline")
@click.option("-v", "--verbose", count=True, help="Say more: -v information, -vv debugging.")
def main(verbose: int) -> None:
    """Telemetry from mixed fleets, kept in Kafka, understood once, delivered to ClickHouse and to your servers.

    `fleetline demo` shows it work; `fleetline up` starts the local stack; each command has --help.
    """
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
