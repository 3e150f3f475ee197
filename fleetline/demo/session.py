"""One demo from start to end: stack up, plan, post, settle, report, stack down."""

import asyncio
import signal
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fleetline.demo.plan import Plan, make_plan
from fleetline.demo.receiver import Receiver, listening
from fleetline.demo.report import show_account, show_quarantine, show_rows, show_sent, show_webhooks
from fleetline.demo.run import Account, canonical_rows, close_account, post_all, quarantined_rows, settle, wait_accepted
from fleetline.local.stack import Stack, with_free_ports
from fleetline.local.table import health_table
from fleetline.local_settings import settings_of_environment
from fleetline.settings import Settings
from registry.store import RegistryStore
from sinks.clickhouse.connection import connect

_WIDTH_OF_A_LOG = 150


async def run_demo(data: Path | None, *, keep: bool, as_json: bool) -> bool:
    """Run the demo and return whether the account closes. Whatever happens, the stack is stopped at the end."""
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console = Console(stderr=as_json, width=_WIDTH_OF_A_LOG)
    base = settings_of_environment()
    settings = with_free_ports(base.model_copy(update={"data_dir": data or base.data_dir}), only_taken=True)
    with Stack(settings, notify=console.print) as stack:
        async with listening() as receiver:
            closes = await _demonstrate(console, stack, receiver, as_json=as_json)
            if keep:
                await _until_interrupted(console, stack)
    return closes


async def _demonstrate(console: Console, stack: Stack, receiver: Receiver, *, as_json: bool) -> bool:
    plan = make_plan(stack.settings, receiver.url)
    receiver.psk = plan.psk
    await asyncio.to_thread(_register, stack.settings, plan)
    await wait_accepted(plan, stack.ingress_url)
    client = await asyncio.to_thread(connect, stack.settings)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with bar:
        sending = bar.add_task("sending requests", total=len(plan.postings))
        arriving = bar.add_task("arriving in ClickHouse", total=plan.records + plan.quarantined)
        sent = await post_all(plan, stack.ingress_url, lambda done, _: bar.update(sending, completed=done))
        found = await settle(plan, client, receiver, lambda done, _: bar.update(arriving, completed=done))
    account = close_account(plan, found, receiver)
    statuses_right = all(status == posting.sample.status for posting, status in sent)
    if as_json:
        _print_json(sent_ok=statuses_right, account=account)
    else:
        show_sent(console, sent)
        show_rows(console, await asyncio.to_thread(canonical_rows, client, plan.tenant.id))
        show_webhooks(console, receiver)
        show_quarantine(console, await asyncio.to_thread(quarantined_rows, client, plan.tenant.id))
        show_account(console, account)
        closes = account.closes and statuses_right
        console.print(
            "[bold green]The account closes: nothing lost, nothing counted twice.[/]"
            if closes
            else "[bold red]The account does not close.[/] Look at the lines marked ✗ and at the logs in "
            f"{stack.settings.data_dir / 'logs'}"
        )
    client.close()
    return account.closes and statuses_right


def _register(settings: Settings, plan: Plan) -> None:
    with RegistryStore(settings) as store:
        store.put(plan.entries)


def _print_json(*, sent_ok: bool, account: Account) -> None:
    import sys

    import orjson

    lines = [{"what": what, "promised": promised, "found": found} for what, promised, found in account.lines]
    out = {"statuses_as_expected": sent_ok, "account": lines, "closes": account.closes and sent_ok}
    sys.stdout.write(orjson.dumps(out, option=orjson.OPT_APPEND_NEWLINE).decode())


async def _until_interrupted(console: Console, stack: Stack) -> None:
    console.print(health_table(stack))
    console.print(
        "The stack stays up; Ctrl-C stops it. Look around: fleetline sql, fleetline tail (in another terminal)"
    )
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
