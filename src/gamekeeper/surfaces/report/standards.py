"""What this report says in the terms of MITRE ATLAS, OWASP ML Top 10 and OWASP AISVS.

Keyed by id, since names change between ATLAS releases; `VERSIONS` says which content was read. An audit gives evidence
for a few entries only, and the table says for which it gives none.
"""

from dataclasses import dataclass
from typing import Literal

VERSIONS = (
    "MITRE ATLAS data 5.6.0 (May 2026)",
    "OWASP Machine Learning Security Top 10, 2023 (draft)",
    "OWASP AISVS 1.0",
)
"""The content that ENTRIES was written from. Later releases may rename entries; the ids stay."""


@dataclass(frozen=True)
class Entry:
    """subject is ours, not the standard's wording; here says what this report has to do with it."""

    id: str
    source: Literal["ATLAS", "OWASP ML", "AISVS"]
    subject: str
    evidence: Literal["measured", "informs", "not covered"]
    here: str


ENTRIES = (
    Entry(
        "AML.T0024.002",
        "ATLAS",
        "Extraction of a model through its inference API",
        "measured",
        "Carried out under a query budget: the price-to-steal curve and the table of thieves.",
    ),
    Entry(
        "AML.M0002",
        "ATLAS",
        "Mitigation: altering what the model publishes",
        "measured",
        "Each defense in the table, scored against the strongest thief and by its cost to honest users.",
    ),
    Entry(
        "AML.M0004",
        "ATLAS",
        "Mitigation: restricting the number of queries",
        "informs",
        "A limit must lie below the price to steal, over all accounts of a thief together. No limit was tested.",
    ),
    Entry(
        "AML.M0024",
        "ATLAS",
        "Mitigation: telemetry logging",
        "not covered",
        "An audit records its own thieves' queries. It does not look at live traffic.",
    ),
    Entry(
        "ML05:2023",
        "OWASP ML",
        "Model theft",
        "measured",
        "The list speaks of stolen parameters; here the theft is by querying and retraining.",
    ),
    Entry(
        "C11.5.1",
        "AISVS",
        "Rate limits sized to the extraction threat model (level 1)",
        "informs",
        "The price to steal is that threat model's number for this target and these thieves.",
    ),
    Entry(
        "C11.5.2",
        "AISVS",
        "Extraction alerts that carry the offending queries' metadata (level 2)",
        "not covered",
        "No detector was run.",
    ),
    Entry(
        "C11.5.3",
        "AISVS",
        "Query-pattern analysis feeding an automated detector (level 2)",
        "not covered",
        "No detector was run.",
    ),
    Entry(
        "C11.5.4",
        "AISVS",
        "Watermarks or fingerprints that identify copies (level 3)",
        "not covered",
        "No ownership claim was made or verified.",
    ),
)
