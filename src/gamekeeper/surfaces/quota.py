"""`gamekeeper quota`: a quota for each API key, sized by what an audit measured, as lines for gateway.toml."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from gamekeeper.analysis.quota import SizedQuota, sized_quota
from gamekeeper.analysis.summary import UNDEFENDED, summarise
from gamekeeper.engine.gateway.folder import GatewayFolder
from gamekeeper.engine.gateway.gateway_config import QuotaTable
from gamekeeper.errors import BadConfig
from gamekeeper.surfaces.audit import finished
from gamekeeper.surfaces.report.words import between, count, plain, reached

DAY = 86_400
SHARE, DAYS = 0.8, 30.0
"""Where nobody says otherwise: of the model's accuracy, and how long a window is."""


def print_quota(run: Path, defense: str, share: float, accounts: int, days: float) -> None:
    """Prints what the quota rests on as comments, and the lines of TOML."""
    header, rows = finished(run)
    summary = summarise(header, rows)
    quota = sized_quota(summary, defense, share, accounts)
    notes = [*basis(quota), *cautions(quota, days), *unfinished(summary.done, summary.cells, len(summary.failed))]
    console = Console(highlight=False)
    for line in [*(f"# {note}" for note in notes), *toml(quota, days)]:
        console.print(line, soft_wrap=True, markup=False)


def with_quota_from(folder: GatewayFolder, run: Path, accounts: int) -> GatewayFolder:
    """The gateway with the quota of each key that an audit's undefended answers ask for, by 80 % and 30 days.

    Raises BadConfig if its file has one already.
    """
    if folder.config.quota.key is not None:
        raise BadConfig(f"{folder.path} has a [quota.key] in its file. Leave that out, or --quota-from.")
    header, rows = finished(run)
    quota = sized_quota(summarise(header, rows), UNDEFENDED, SHARE, accounts)
    table = QuotaTable(queries=quota.queries, seconds=DAYS * DAY)
    quotas = folder.config.quota.model_copy(update={"key": table})
    return replace(folder, config=folder.config.model_copy(update={"quota": quotas}))


def toml(quota: SizedQuota, days: float) -> list[str]:
    return ["[quota.key]", f"queries = {quota.queries}", f"seconds = {round(days * DAY)}"]


def basis(quota: SizedQuota) -> list[str]:
    """What was measured, and the sum."""
    price = quota.price
    range_ = between(price)
    behind = "without a defense" if quota.defense == "none" else f"behind '{plain(quota.defense)}'"
    return [
        f"{100 * price.level:.0f} % of the model's accuracy ({price.accuracy:.3f}) takes {reached(price.queries)} queries"
        f" {behind}{f', {range_} within the noise' if range_ else ''};"
        f" over {count(quota.accounts)} accounts that is {count(quota.queries)} each.",
        f"Rests on {where(quota)}; {count(len(quota.thieves))} thieves ({', '.join(map(plain, quota.thieves))}), the strongest at each"
        f" budget, and seeds {', '.join(map(str, quota.seeds))}.",
    ]


def where(quota: SizedQuota) -> str:
    """Between which measurements the price lies."""
    ends = [
        f"{plain(one.attack)} at {count(one.queries)} queries ({one.accuracy.value:.3f})"
        for one in (quota.before, quota.after)
        if one is not None
    ]
    if quota.price.queries.bound == "more than":
        return f"{ends[0]}, the largest budget: the true price lies beyond it and was not measured"
    if quota.price.queries.bound == "at most":
        return f"{ends[0]}, the smallest budget: fewer queries were not tried, and may do"
    return f"a line in log(queries) between {' and '.join(ends)}"


def cautions(quota: SizedQuota, days: float) -> list[str]:
    """What the number does not cover."""
    lines = [
        f"It holds for {days:g} days at a time: who waits may ask as much again, and twice as much across the end of a window."
        " Thieves with more accounts than that get further; who hands out accounts decides how many there are."
    ]
    low = quota.price.low.queries
    if quota.price.queries.bound == "at most":
        lines.append("Measure smaller budgets before you rely on it: gamekeeper audit --budget …")
    elif quota.of(low) < quota.queries:
        lines.append(f"At the lower end of the noise it would be {count(quota.of(low))} each.")
    if len(quota.seeds) == 1:
        lines.append("One seed shows nothing of a thief's luck: repeat the audit with --seeds 3.")
    if not quota.adaptive:
        lines.append("No thief who knows this defense was measured: one may need fewer queries (--attack worst).")
    if quota.missing:
        lines.append(f"Without a result at some budget: {', '.join(map(plain, quota.missing))}.")
    return lines


def unfinished(done: int, cells: int, failed: int) -> list[str]:
    lines = [f"The audit is not finished: {done} of {cells} cells are done."] if done < cells else []
    return [*lines, f"{failed} of its cells failed."] if failed else lines
