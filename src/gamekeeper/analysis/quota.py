"""From an audit's price curve to a quota: what one account may ask so that all accounts of a thief together copy too little.

Source  OWASP AISVS 1.0, C11.5.1: rate limits sized to the extraction threat model
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gamekeeper.analysis.summary import UNDEFENDED, DefenseSummary, Price, Stolen, Summary
from gamekeeper.errors import BadConfig, Unsuited


@dataclass(frozen=True)
class SizedQuota:
    """What one account may ask.

    queries   the whole part of the price over the accounts
    price     queries to a share of the victim's accuracy, under the strongest thief at each budget
    defense   behind which; accounts: how many the thief is believed to have
    before, after  the measured points of the curve between which the price lies; None: there is no such point
    thieves   measured behind this defense; missing: those without a result at the largest common budget
    adaptive  whether one of them knows the defense
    """

    queries: int
    price: Price
    defense: str
    accounts: int
    before: Stolen | None
    after: Stolen | None
    thieves: tuple[str, ...]
    missing: tuple[str, ...]
    adaptive: bool
    seeds: tuple[int, ...]

    def of(self, price: float) -> int:
        """The quota at another price."""
        return math.floor(price / self.accounts)


def sized_quota(summary: Summary, defense: str, share: float, accounts: int) -> SizedQuota:
    """The quota of one account. Raises BadConfig for a defense or share that was not measured, Unsuited where none helps.

    share  of the victim's accuracy that the thief must not reach, one of `LEVELS`
    """
    line = defended_by(summary, defense)
    price = next((each for each in line.prices if math.isclose(each.level, share)), None)
    if price is None:
        raise BadConfig(
            f"a quota is sized by one of {', '.join(f'{each.level:g}' for each in line.prices)} of the victim's accuracy."
            f" Got {share:g}."
        )
    if price.queries.queries == 0:
        larger = [f"--share {each.level:g}" for each in line.prices if each.queries.queries > 0]
        raise Unsuited(
            f"no quota keeps thieves from {100 * share:.0f} % of this model's accuracy: a copy gets there without any query."
            + (f" Size it by {' or '.join(larger)}." if larger else "")
        )
    queries = math.floor(price.queries.queries / accounts)
    if queries < 1:
        raise Unsuited(
            f"{accounts:,} accounts reach {100 * share:.0f} % with less than a query each. A quota for each key cannot help;"
            " give the tenant one ([quota.tenant]), or look at what an account costs a thief."
        )
    before, after = around(line.curve, price)
    return SizedQuota(
        queries,
        price,
        defense,
        accounts,
        before,
        after,
        tuple(one.attack for one in line.thieves),
        line.missing,
        line.faced,
        summary.seeds,
    )


def defended_by(summary: Summary, defense: str) -> DefenseSummary:
    """The line of a defense. Raises BadConfig unless thieves were measured against it."""
    if summary.void:
        raise BadConfig(f"nothing follows from this run ({', '.join(summary.void)}): see its report.")
    measured = [line for line in summary.lines if line.prices]
    line = next((line for line in measured if line.defense == defense), None)
    if line is None:
        names = ", ".join(line.defense for line in measured) or "none"
        raise BadConfig(
            f"no thief was measured behind the defense '{defense}' in this run. Measured: {names}."
            + ("" if defense == UNDEFENDED else " Name what your gateway answers an ordinary client with (--defense).")
        )
    return line


def around(curve: Sequence[Stolen], price: Price) -> tuple[Stolen | None, Stolen | None]:
    """The measured points next to the price."""
    after = next((one for one in curve if one.accuracy.value >= price.accuracy), None)
    before = (
        curve[-1] if after is None else next((a for a, b in zip(curve, curve[1:], strict=False) if b is after), None)
    )
    return before, after
