"""The report in the terms of MITRE ATLAS, OWASP ML Top 10 and OWASP AISVS.

Keyed by id, since names change between ATLAS releases; `VERSIONS` says which releases were read. An audit gives evidence
for only a few entries; the table marks those it does not cover.
"""

from dataclasses import dataclass
from typing import Literal

VERSIONS = (
    "MITRE ATLAS data 5.6.0 (May 2026)",
    "OWASP Machine Learning Security Top 10, 2023 (draft)",
    "OWASP AISVS 1.0",
)
"""The releases that ENTRIES is based on. Later ones may rename entries; the ids stay."""


@dataclass(frozen=True)
class Entry:
    """subject is our wording, not the standard's; here says what this report has to do with it."""

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
        "Mitigation: altering the answers that the model publishes",
        "measured",
        "Each defense in the table, scored against the strongest thief and by its cost to honest users.",
    ),
    Entry(
        "AML.M0004",
        "ATLAS",
        "Mitigation: restricting the number of queries",
        "informs",
        "A limit must lie below the price to steal, counted over all accounts of a thief. No limit was tested.",
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
        "The list describes stolen parameters; here a copy is trained on the answers to queries.",
    ),
    Entry(
        "C11.5.1",
        "AISVS",
        "Rate limits sized to the extraction threat model (level 1)",
        "informs",
        "The price to steal is the number that threat model needs, for this target and these thieves.",
    ),
    Entry(
        "C11.5.2",
        "AISVS",
        "Extraction alerts with the metadata of the suspicious queries (level 2)",
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

REPLAY_ENTRIES = (
    Entry(
        "AML.T0024.002",
        "ATLAS",
        "Extraction of a model through its inference API",
        "informs",
        "Who in this log may have done that, and how much they may have learnt. A thief whose inputs are like your users' is not noticed.",
    ),
    Entry(
        "AML.M0024",
        "ATLAS",
        "Mitigation: telemetry logging",
        "measured",
        "What can be told from the log that you keep; detectors that lacked something in it are named, with what they lacked.",
    ),
    Entry(
        "C11.5.2",
        "AISVS",
        "Extraction alerts with the metadata of the suspicious queries (level 2)",
        "measured",
        "Each alarm has the principal, the volume, the rate, repeats and statistics of the inputs; `gamekeeper alarms` gives them to a SIEM.",
    ),
    Entry(
        "C11.5.3",
        "AISVS",
        "Query-pattern analysis feeding an automated detector (level 2)",
        "measured",
        "The detectors above, with what their limits rest on.",
    ),
    Entry(
        "C11.5.1",
        "AISVS",
        "Rate limits sized to the extraction threat model (level 1)",
        "informs",
        "What each client sent, and how much they may have learnt from it. No limit was tested.",
    ),
    Entry(
        "C11.5.4",
        "AISVS",
        "Watermarks or fingerprints that identify copies (level 3)",
        "not covered",
        "No ownership claim was made or verified.",
    ),
)
