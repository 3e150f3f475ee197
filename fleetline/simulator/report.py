"""Shows a person what was sent, what was acknowledged, and whether it is all there once."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from fleetline.simulator.catalog import load_profiles
from fleetline.simulator.profile import Profile
from fleetline.simulator.reconcile import Verdict

_COLUMNS = (
    "sender", "readings", "acknowledged", "stored once", "not ackn.", "stored, not ackn.", "sent again",
    "missing", "duplicated", "unexpected", "ack ms p50 / p99",
)  # fmt: skip


def show_profiles(console: Console) -> None:
    """Show the senders and how they behave."""
    table = Table(title="Senders that can be simulated", title_justify="left")
    for name in ("sender", "batch", "requests in flight", "timeout", "success", "what it does without a success"):
        table.add_column(name, overflow="fold")
    for profile in load_profiles().values():
        table.add_row(*profile_row(profile).values())
    console.print(table)
    console.print("[dim]`all` plays every one of them at once[/]")


def profile_row(profile: Profile) -> dict[str, str]:
    """Describe a sender's behaviour."""
    behaviour = profile.behaviour
    per = "the stream" if behaviour.one_stream else "each device"
    return {
        "sender": profile.name,
        "batch": str(behaviour.batch),
        "in_flight": f"{behaviour.in_flight} for {per}",
        "timeout": f"{behaviour.timeout_s:g} s",
        "success": behaviour.acknowledgement or _codes(behaviour.success),
        "without_success": profile.says,
    }


def _codes(codes: frozenset[int]) -> str:
    low, high = min(codes), max(codes)
    return f"{low}–{high}" if high - low >= 3 else ", ".join(str(code) for code in sorted(codes))


def show_account(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Show the account, a line per sender and their sum."""
    table = Table(title="The account", title_justify="left", show_footer=len(verdicts) > 1)
    sums = [sum(column) for column in zip(*(_counts(verdict) for verdict in verdicts), strict=True)]
    footers = ["all", *(str(each) for each in sums), ""]
    for name, footer in zip(_COLUMNS, footers, strict=True):
        table.add_column(
            name, footer, justify="left" if name == "sender" else "right", overflow="fold", no_wrap=name == "sender"
        )
    for verdict in verdicts:
        mark = "[green]✓[/]" if verdict.holds else "[red]✗[/]"
        counts = [str(each) for each in _counts(verdict)]
        counts[-3:] = [f"[red]{each}[/]" if each != "0" else each for each in counts[-3:]]
        table.add_row(f"{mark} {verdict.sender}", *counts, _latency(verdict))
    console.print(table)
    for verdict in verdicts:
        _show_details(console, verdict)


def _counts(verdict: Verdict) -> tuple[int, ...]:
    return (
        verdict.readings, verdict.acknowledged, verdict.stored_once, verdict.unacknowledged,
        verdict.stored_unacknowledged, verdict.sent_again, verdict.missing, verdict.duplicated, verdict.unexpected,
    )  # fmt: skip


def _show_details(console: Console, verdict: Verdict) -> None:
    answers = ", ".join(f"{count} × {what}" for what, count in sorted(verdict.answers.items()))
    said = [f"{verdict.requests} requests ({answers})"]
    if verdict.dropped:
        said.append(f"{verdict.dropped} readings dropped by the sender, as it really would")
    if verdict.held:
        said.append(f"{verdict.held} readings still in the sender's buffer")
    if verdict.copies_collapsed:
        said.append(f"{verdict.copies_collapsed} further copies of the same records, shown once")
    if verdict.unmapped:
        said.append(f"{verdict.unmapped} stored as unmapped")
    if verdict.quarantined:
        said.append(f"{verdict.quarantined} pieces in quarantine")
    if verdict.events_missing:
        said.append(f"[red]{verdict.events_missing} of {verdict.events} events missing[/]")
    console.print(f"  {verdict.sender}: {'; '.join(said)}", highlight=False)
    for what in ("missing", "duplicated", "unexpected"):
        ids = getattr(verdict, f"{what}_ids")
        if ids:
            console.print(f"  [red]{verdict.sender}, {what}:[/] {', '.join(ids)}")


def _latency(verdict: Verdict) -> str:
    if verdict.p50_ms is None or verdict.p99_ms is None:
        return ""
    return f"{verdict.p50_ms:.1f} / {verdict.p99_ms:.1f}"
