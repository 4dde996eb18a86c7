"""Boundary: counts the queries of a client that lie near a decision boundary.

Source      none of its own. Thieves who choose inputs by margin: Scheffer, Decomain, Wrobel, "Active hidden Markov models
            for information extraction" (IDA 2001), as in ActiveThief; who walk along the boundary: Tramer, Zhang, Juels,
            Reiter, Ristenpart, "Stealing machine learning models via prediction APIs" (USENIX Security 2016)
Equations   flagged iff y_(1) - y_(2) < t, with t the fpr quantile on benign inputs; otherwise that of detectors/ood_share.py
Assumes     posteriors; a victim that answers labels alone has margin 1 everywhere, and nothing is flagged
Deviations  none
Keeps       as detectors/ood_share.py

Evidence rather than proof: hard honest inputs lie near boundaries too.
"""

from dataclasses import dataclass

from gamekeeper.detectors.ood import Margin
from gamekeeper.detectors.ood_share import FlagCount, flag_count, need_share
from gamekeeper.types import Model, Owner


@dataclass(frozen=True)
class Boundary:
    """Counts queries whose two most likely classes are almost equally likely.

    fpr  the share of benign queries that may be flagged
    """

    fpr: float = 0.01

    def __post_init__(self) -> None:
        need_share("Boundary", self.fpr)

    def arm(self, victim: Model, owner: Owner, seed: int) -> FlagCount:
        """Raises Unsuited if the victim has no two classes, or the owner too few inputs for the threshold."""
        return flag_count(Margin(), self.fpr, victim, owner, seed)
