"""`fleetline reset`: remove the local stack's state."""

from pathlib import Path

import click


@click.command("reset")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="State folder [default: .fleetline].")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(data: Path | None, yes: bool) -> None:
    """Remove every topic, table, tenant and log of the local stack. What was fetched from the network stays."""
    import fcntl
    import shutil

    from fleetline.errors import FleetlineError
    from fleetline.local_settings import settings_of_environment

    folder = data or settings_of_environment().data_dir
    if not folder.exists():
        click.echo(f"{folder} does not exist; nothing to remove")
        return
    if not (folder / "run").is_dir():
        raise FleetlineError(f"{folder} does not look like a state folder of Fleetline (it has no `run`); not touched")
    lock_file = folder / "run" / "lock"
    lock_file.touch()
    with lock_file.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FleetlineError(f"a stack runs on {folder}; stop it first (Ctrl-C where it runs)") from None
        if not yes:
            click.confirm(f"Remove {folder.absolute()} with everything in it?", abort=True)
        shutil.rmtree(folder)
    click.echo(f"removed {folder}")
