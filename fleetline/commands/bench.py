"""`fleetline bench`: measure one thing against the bare thing doing the same work, in the same run."""

import click


@click.command("bench")
@click.argument("name", required=False)
@click.option("--list", "list_names", is_flag=True, help="List the benchmarks.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(name: str | None, list_names: bool, as_json: bool) -> None:
    """Measure NAME: it starts what it needs, and stops it.

    `limit` is the bare thing doing the same work in the same run, `ratio` is value / limit, `peers` are others doing it.
    Run one at a time on an idle machine; benchmarks/RESULTS.md holds the figures and what they mean.
    """
    import importlib
    from pathlib import Path

    import benchmarks

    folder = Path(benchmarks.__file__).parent
    names = sorted(path.stem for path in folder.glob("*.py") if "\ndef run() ->" in path.read_text(encoding="utf-8"))
    if list_names:
        click.echo("\n".join(names))
        return
    if name not in names:
        raise click.UsageError(
            f"no benchmark {name!r}; there are: {', '.join(names)}" if name else "name a benchmark, or --list"
        )
    result = importlib.import_module(f"benchmarks.{name}").run()
    if as_json:
        import orjson

        click.echo(orjson.dumps(result).decode())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result['name']} ({result['unit']})", title_justify="left")
    table.add_column("")
    table.add_column("figure", justify="right")
    table.add_column("Fleetline / it", justify="right")
    table.add_row("Fleetline", f"{result['value']:,.1f}", "")
    table.add_row("limit: the bare thing", f"{result['limit']:,.1f}", f"{result['ratio']:.2f}")
    for peer, figure in result["peers"].items():
        table.add_row(peer, f"{figure:,.1f}", f"{result['value'] / figure:.2f}" if figure else "")
    for extra, figure in result.items():
        if extra not in {"name", "value", "unit", "limit", "ratio", "peers"}:
            table.add_row(extra, f"{figure:,.2f}" if isinstance(figure, float) else str(figure), "")
    Console().print(table)
