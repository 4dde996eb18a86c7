"""Tables of results/bench.json, for docs/speed.md, and of results/tables.json, for docs/worst-case.md."""

import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from statistics import fmean, median
from typing import Any

from committed import RESULTS, table

from gamekeeper.analysis.checks import grouped
from gamekeeper.results import Results


@cache
def clone_metrics() -> dict[str, Any]:
    return json.loads((RESULTS / "bench.json").read_text())


def stamp(name: str = "") -> str:
    """What the results were measured with; of a benchmark that ran alone, what it was."""
    about = clone_metrics().get(name, {}).get("about") or clone_metrics()["about"]
    return f"`results/bench.json`, gamekeeper {about['version']}, torch {about['torch']}, {about['date']}. `make bench`"


def detectors() -> str:
    if "detectors" not in clone_metrics():
        return missing("detectors")
    seen = clone_metrics()["detectors"]["prada"]
    rows = [
        [
            f"requests of {row['batch']}{', with the floor for near repeats' if row['floor'] else ''}",
            f"{row['us']} µs",
            str(row["ratio"]),
            "–" if row["floor"] else f"{row['aim']:g}",
        ]
        for row in seen["rows"]
    ]
    below = (
        f"After {seen['history']:,} queries, {seen['growing']:,} of them in growing sets; the published loop takes"
        f" {seen['published_us']:,} µs, and W differs from its by {seen['largest_difference_of_w']:.0e}. The client's memory"
        f" has {seen['bytes'] / 1e6:.0f} MB."
    )
    return table(["PRADA", "a query", "times as fast as the loop", "aim"], rows, f"{below} {stamp('detectors')}")


def watching() -> str:
    if "watching" not in clone_metrics():
        return missing("watching")
    seen = clone_metrics()["watching"]
    names = {"noting": "features noted", "lookout": "the lookout, and colder caches"}
    rows = [
        [
            names.get(part, f"`{part}`"),
            *(f"{row['shares'][part]:.2f}" for row in seen["rows"]),
            f"{seen['bytes'][part]:,}" if part in seen["bytes"] else "–",
        ]
        for part in seen["rows"][0]["shares"]
    ]
    rows.append(
        ["**all together**", *(f"**{row['all']:.2f}**" for row in seen["rows"]), f"{sum(seen['bytes'].values()):,}"]
    )
    rows.append(["aim", *(f"{row['aim']:g}" for row in seen["rows"]), "–"])
    head = ["further LeNet answers", *(f"requests of {row['batch']}" for row in seen["rows"]), "bytes of a client"]
    answers = ", ".join(f"{row['plain_us']} µs" for row in seen["rows"])
    below = (
        f"CPU time over that of the plain answer ({answers} a query), for a client who sends {seen['queries']} digits; bytes"
        f" after {seen['window']} new queries, which is the most but for hashes of later ones, 8 bytes each."
    )
    return table(head, rows, f"{below} {stamp('watching')}")


def replay() -> str:
    if "replay" not in clone_metrics():
        return missing("replay")
    seen = clone_metrics()["replay"]
    names = {
        "volume": "who and when: volume and rate",
        "hashes": "and a hash of each input: exact repeats",
        "no pass": "inputs and answers: repeats and PRADA, no pass of the model",
        "detectors": "the same, all default detectors, what was learnt, links; a pass of the model for each input",
    }
    rows = [[names[what], f"{rate:,}"] for what, rate in seen["rows_per_second"].items()]
    below = f"{seen['clients']} clients with {seen['queries']:,} queries each; the aim is {seen['aim']:,} without a pass of the model."
    return table(["what a row of the log holds", "rows per second of CPU time"], rows, f"{below} {stamp('replay')}")


def crowd() -> str:
    if "crowd" not in clone_metrics():
        return missing("crowd")
    seen = clone_metrics()["crowd"]
    return (
        f"A log of {seen['rows']:,} rows by {seen['clients']:,} clients, with hashes of inputs, takes {seen['seconds']:,} s of CPU"
        f" time and {seen['peak'] / 1e6:,.0f} MB at most, {seen['before'] / 1e6:,.0f} MB of which were there before it began."
        f" {stamp('crowd')}\n"
    )


def wire() -> str:
    if "wire" not in clone_metrics():
        return missing("wire")
    seen = clone_metrics()["wire"]
    rows = [
        [
            "x".join(map(str, row["shape"])),
            row["road"],
            f"{row['us']:,} µs",
            f"{row['bare_us']:,} µs",
            str(row["ratio"]),
        ]
        for row in seen["rows"]
    ]
    head = ["input", "request", "read, checked and answered", "orjson and numpy alone", "ratio"]
    return table(head, rows, f"One input, an answer of {seen['classes']} numbers. {stamp('wire')}")


def server() -> str:
    """What the gateway's server costs beside a bare one, and how long clients wait at both."""
    if "server" not in clone_metrics():
        return missing("server")
    seen = clone_metrics()["server"]["rows"]
    cpu = [[row["road"], f"{row['us']:,.0f} µs", f"{row['bare_us']:,.0f} µs", str(row["ratio"])] for row in seen]
    waits: list[list[str]] = []
    for row in seen:
        lines = {(line["connections"], line["server"]): line for line in row["latency"]}
        for n in dict.fromkeys(line["connections"] for line in row["latency"]):
            cells = [f"{lines[n, who][key]:,} ms" for key in ("p50_ms", "p99_ms") for who in ("ours", "bare")]
            waits.append([row["road"], str(n), *cells])
    head = ["request", "CPU of the gateway's server", "of a bare one", "ratio"]
    columns = ["request", "connections", "median wait", "at a bare one", "99th percentile", "at a bare one"]
    return f"{table(head, cpu, '')}\n{table(columns, waits, stamp('server'))}"


def whole() -> str:
    """How long clients wait at the whole gateway, beside a bare server with the same model."""
    if "whole" not in clone_metrics():
        return missing("whole")
    lines = {(line["connections"], line["server"]): line for line in clone_metrics()["whole"]["rows"]}
    rows = [
        [
            str(n),
            *(f"{lines[n, who][key]:,}" for key in ("p50_ms", "p99_ms", "per_second") for who in ("gateway", "bare")),
        ]
        for n in dict.fromkeys(n for n, _ in lines)
    ]
    head = [
        "connections",
        *(
            name
            for what in ("median wait, ms", "99th percentile, ms", "requests a second")
            for name in (what, "at a bare one")
        ),
    ]
    return table(head, rows, stamp("whole"))


def missing(name: str) -> str:
    return f"Not in `results/bench.json` yet: `python -m benchmarks {name}` measures it.\n"


def mad() -> str:
    rows = [
        [
            row["victim"],
            str(row["classes"]),
            str(row["batch"]),
            row["surrogate"],
            f"{row['ratio']:.2f}",
            str(row["aim"]),
        ]
        for row in clone_metrics()["mad"]["service"]
    ]
    solve = "; ".join(
        f"{row['us_per_row']:.2f} ({row['surrogate']}, {row['classes']} classes, batch {row['batch']})"
        for row in clone_metrics()["mad"]["solve"]
    )
    head = ["victim", "classes", "batch", "surrogate", "defended / plain answer", "aim"]
    return table(head, rows, f"The solve alone, microseconds per row: {solve}. {stamp()}")


def training() -> str:
    found = clone_metrics()["training"]
    names = {
        "ours": "gamekeeper",
        "plain": "plain PyTorch loop",
        "constant": "plain loop, constant rate",
        "art": "ART KnockoffNets (constant rate)",
    }
    ours = found["cpu_seconds"]["ours"]
    rows = [
        [names[name], f"{seconds / ours:.2f}", f"{found['accuracy'][name]:.3f}"]
        for name, seconds in found["cpu_seconds"].items()
    ]
    below = f"LeNet, {found['budget']:,} answers, {found['epochs']} epochs, one thread. {stamp()}"
    return table(["thief's training", "time / ours", "clone accuracy"], rows, below)


def memory() -> str:
    if "memory" not in clone_metrics():
        return missing("memory")
    found = clone_metrics()["memory"]
    rows = [[when, f"{most / 1e6:,.0f} MB"] for when, most in found["bytes"].items() if most]
    below = f"{found['budget']:,} answers; the aim is to stay below {found['aim_bytes'] / 1e9:.0f} GB. {stamp()}"
    return table(["a big theft", "resident memory"], rows, below)


def querying() -> str:
    if "querying" not in clone_metrics():
        return missing("querying")
    picks, rounds = clone_metrics()["querying"]["k_center"], clone_metrics()["querying"]["jbda"]
    what = f"k-center, {picks['picks']} of {picks['points']:,} points: plain loop / ours"
    rows = [
        [what, f"{picks['ratio']:,}", f"at least {picks['aim']:g}"],
        [f"JBDA round of {rounds['rows']:,}: ours / gradients alone", str(rounds["ratio"]), f"at most {rounds['aim']}"],
    ]
    return table(["choosing what to ask", "ratio", "aim"], rows, stamp())


def ensemble() -> str:
    if "ensemble" not in clone_metrics():
        return missing("ensemble")
    found = clone_metrics()["ensemble"]
    full = found["full_over_soft"]
    rows = [
        ["`worst`", str(found["thieves"]), str(found["ratio"]), f"at most {found['aim']:g}"],
        ["`worst:full`", thieves_of_the_full_ensemble(), whole_ensemble() if full is None else str(full), "stated"],
    ]
    below = f"No defense, {found['budget']:,} queries, the built-in digit classifier, with the control. {stamp()}"
    return table(["ensemble", "thieves", "its time / the soft thief's", "aim"], rows, below)


def thieves_of_the_full_ensemble() -> str:
    """Thieves of the committed run, each network counted, and the control."""
    return str(len({row.attack for row in Results(RESULTS / "worst-mnist").read()}))


def whole_ensemble() -> str:
    """The full ensemble's training seconds over the soft thief's, no defense, from the committed runs."""
    ratios: list[float] = []
    for name in ("worst-mnist", "worst-fashion"):
        rows = [row for row in Results(RESULTS / name).read() if row.defense == "none" and row.seconds]
        for own in grouped(rows, lambda row: row.seed).values():
            seconds = {row.attack: row.seconds.thief for row in own if row.seconds}
            ratios.append(sum(seconds.values()) / seconds["knockoff"])
    runs = (
        f"{len(ratios)} runs of `results/worst-*` ({min(ratios):.0f} to {max(ratios):.0f}: other jobs ran beside them)"
    )
    return f"{median(ratios):.0f}, rehearsals in both; median of {runs}"


def perturbing() -> str:
    """Linear programs against HiGHS, MAD's rows against one backward pass per class, the Gram matrix against the Jacobian."""
    if "perturbing" not in clone_metrics():
        return missing("perturbing")
    found = clone_metrics()["perturbing"]
    rows = [
        [f"{row['defense']}, {row['classes']} classes, per row, against HiGHS", f"{row['us_per_row']:g} us (aim {row['aim']:g})",
         f"{row['ratio']:g}", str(row["ratio_aim"])]
        for row in found["programs"]
    ] + [
        [f"{row['defense']}, {row['network']}, {row['classes']} classes, per answer, against one backward pass per class",
         f"{row['ours_ms']:g} ms", f"{row['ratio']:g}", "–" if row["aim"] is None else str(row["aim"])]
        for row in found["loops"]
    ] + [
        [f"all weights' Gram matrix, {row['network']}, per answer, against the explicit Jacobian", f"{row['ours_ms']:g} ms",
         f"{row['ratio']:g}", str(row["aim"])]
        for row in found["jacobians"]
    ]  # fmt: skip
    big = found["jacobians"][-1]
    below = f"On {big['network']} the Gram matrix takes {big['ours_mb']:,} MB beside the network, the Jacobian {big['explicit_mb']:,}: {big['memory_ratio']:g} times (aim 10)."
    return table(["what", "ours", "times as fast", "aim"], rows, f"{below} {stamp()}")


def deep_defense() -> str:
    """DeepDefense's modes against a loop over queries, and its cost on a larger network."""
    if "deep_defense" not in clone_metrics():
        return missing("deep_defense")
    found = clone_metrics()["deep_defense"]
    rows = [
        [f"{row['network']}, {row['way']}", f"{row['ms']:g} ms", f"{row['ratio']:g}" if "ratio" in row else "1",
         str(row["aim"]) if row.get("aim") else "–", f"{row['cosine']:g}"]
        for row in found["lenet"]
    ]  # fmt: skip
    rows += [
        [
            one["network"],
            f"{one['seconds']:g} s" + (f" (aim {one['aim']:g} s)" if one["aim"] else ""),
            "–",
            "–",
            f"{one['cosine']:g}",
        ]
        for one in found["resnet"]
    ]
    below = f"{found['steps']} steps, batch {found['batch']}; ResNet18 {found['resnet'][0]['steps']} steps. {stamp()}"
    return table(["network, what moves", "per query", "times as fast as the loop", "aim", "mean cosine"], rows, below)


def recovery() -> str:
    if "recovery" not in clone_metrics():
        return missing("recovery")
    found = clone_metrics()["recovery"]
    rows = [
        [
            "of the answer's top class" if row["top class only"] else "all",
            f"{row['plain_over_ours']:.1f}",
            "–" if row["extra_mb"] is None else f"{row['extra_mb']:,} MB",
            f"{row['all_at_once_mb']:,} MB",
            f"{row['l1_given']} → {row['l1_recovered']}",
        ]
        for row in found["rows"]
    ]
    head = [
        "candidates looked through",
        "plain loop / ours",
        "extra memory",
        "all distances at once",
        "L1 to the clean answer",
    ]
    below = (
        f"{found['answers']:,} answers, {found['candidates']:,} candidates; the aim is {found['aim_mb']} MB. {stamp()}"
    )
    return table(head, rows, below)


def ledger() -> str:
    found = clone_metrics()["ledger"]
    rows = [
        [f"size of {found['rows']:,} answers over {found['classes']} classes", f"{found['bytes'] / 1e6:.1f} MB"],
        ["written in batches of 256 / one by one", f"{found['batch_256_over_batch_1']} times as fast"],
        ["rows per second in batches of 256", f"{found['rows_per_second_batch_256']:,}"],
        ["rows per second one by one", f"{found['rows_per_second_batch_1']:,}"],
        ["rows per second read back", f"{found['reread_rows_per_second']:,}"],
    ]
    return table(["ledger", "measured"], rows, stamp())


def tables(name: str = "tables") -> str:
    """One line per data set and number of queries: the mean over its models."""
    found = json.loads((RESULTS / "tables.json").read_text())
    measured = found[name]
    about = measured.get("about", found["about"])
    groups = grouped(measured["rows"], lambda row: (family(row["victim"]), row["budget"]))
    rows: list[list[str]] = []
    for (target, budget), group in groups.items():
        pairs = [row["pairs"]["strongest"] for row in group]
        ours, plain = (100 * fmean(pair[side] for pair in pairs) for side in ("ours", "plain"))
        ahead, behind = sum(pair["low"] > 0 for pair in pairs), sum(pair["high"] < 0 for pair in pairs)
        rows.append([target, str(len(group)), f"{budget:,}", f"{plain:.1f}", f"{ours:.1f}", str(ahead), str(behind)])
    head = ["target", "models", "queries", "plain, %", "gamekeeper, %", "clearly better", "clearly worse"]
    below = (
        f"{len(measured['below'])} of {measured['compared']} comparisons, thief by thief, are clearly worse.\n`results/tables.json`,"
        f" gamekeeper {about['version']}, {measured['seeds']} seeds, {about['date']}."
        f" `python -m benchmarks {name} --json results/tables.json`"
    )
    return table(head, rows, below)


def family(victim: str) -> str:
    """`bc-svc` -> models of bc; the built-in targets are themselves."""
    if victim in BUILT_IN:
        return f"`{victim}`"
    return f"{NAMES[victim.split('-')[0]]}"


BUILT_IN = ("breast-cancer", "wine")
NAMES = {"bc": "breast cancer", "wine": "wine", "digits": "digits"}

TABLES: Mapping[str, Callable[[], str]] = {
    "bench-mad": mad,
    "bench-training": training,
    "bench-ledger": ledger,
    "bench-memory": memory,
    "bench-querying": querying,
    "bench-recovery": recovery,
    "bench-ensemble": ensemble,
    "bench-perturbing": perturbing,
    "bench-detectors": detectors,
    "bench-watching": watching,
    "bench-replay": replay,
    "bench-crowd": crowd,
    "bench-wire": wire,
    "bench-server": server,
    "bench-whole": whole,
    "bench-deep-defense": deep_defense,
    "bench-tables": tables,
    "bench-tables-http": partial(tables, "tables_http"),
}
