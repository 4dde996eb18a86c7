"""What `gamekeeper serve` says before it answers anybody: where, to whom, what is watched, what is done, what to do next."""

import math
import shlex
from collections.abc import Mapping

from gamekeeper.detectors.limits import Limits
from gamekeeper.policy import Policy
from gamekeeper.surfaces.calibrate import promise
from gamekeeper.surfaces.ready_gateway import EVERYBODY, Ready
from gamekeeper.surfaces.report.words import plain
from gamekeeper.types import Box
from gamekeeper.version import __version__


def opening(ready: Ready, keys: bool, held: int = 0) -> list[str]:
    """keys: whether any API key was issued; held: how many clients a policy has above the lowest level."""
    return [*where(ready), *watched(ready), *done(ready, held), *first_request(ready, keys), *read(ready)]


def where(ready: Ready) -> list[str]:
    config, settings = ready.folder.config, ready.settings
    lines = [f"gamekeeper {__version__} serves {plain(config.target)} at {address(ready)} as `{ready.folder.model}`."]
    if settings.exposed:
        lines.append(
            "  Other machines reach it without TLS: keys and inputs cross the network as they are. Give [tls]."
        )
    if config.tenant:
        lines.append(f"  Tenants: {', '.join(config.tenants)}.")
    if config.batch > 1 and ready.batch is None:
        reason = (
            "an upstream batches by itself" if ready.scene.target.remote else "its answers depend on who shares a batch"
        )
        lines.append(f"  No batches of {config.batch}: {reason}.")
    quotas = config.quotas
    for what, quota in (("key", quotas.key), ("tenant", quotas.tenant), ("network", quotas.network)):
        if quota is not None:
            span = "ever" if math.isinf(quota.seconds) else f"in {quota.seconds:,.0f} seconds"
            lines.append(f"  Each {what} may ask {quota.queries:,} queries {span}.")
    if quotas.key is quotas.tenant is quotas.network is None:
        lines.append(
            "  No quotas: whoever has a key may ask as much as they like. gamekeeper quota sizes one by an audit."
        )
    if config.metrics:
        lines.append(f"  Metrics: http://{config.metrics}/metrics")
    return lines


def address(ready: Ready) -> str:
    """With a scheme; a Unix socket as its path."""
    if ready.address.socket:
        return f"the Unix socket {ready.settings.unix}"
    return f"{'http' if ready.folder.config.tls is None else 'https'}://{ready.address}"


def watched(ready: Ready) -> list[str]:
    """The detectors, and what their limits rest on."""
    lines: list[str] = []
    for tenant, here in ready.watching.items():
        whose = f" of tenant {tenant}" if tenant != EVERYBODY else ""
        lines.append(f"Detectors that raise alarms{whose}: {', '.join(here.limits) or 'none yet'}.")
        lines += [f"  {rests_on(each)}{of(names, here.limits)}." for each, names in alike(here.limits)]
        lines += [f"  {promise(here.limits)}"] if here.limits else []
        folder = shlex.quote(str(ready.folder.path))
        silent = together({name: reason.replace("FOLDER", folder) for name, reason in here.silent.items()})
        lines += [f"  Without alarms: {names}, since {reason}" for reason, names in silent]
        lines += [f"  Left out: {names}. {reason}" for reason, names in together(here.left_out)]
    return lines


def alike(limits: Mapping[str, Limits]) -> list[tuple[Limits, list[str]]]:
    """Limits that promise the same on the same grounds once, with the detectors whose they are."""
    groups: dict[str, tuple[Limits, list[str]]] = {}
    for name, each in limits.items():
        groups.setdefault(rests_on(each), (each, []))[1].append(name)
    return list(groups.values())


def rests_on(limits: Limits) -> str:
    """What one detector aims at, and what says so."""
    held, looks = limits.backing, limits.null.looks
    plural = "" if held.clients == 1 else "s"
    whose = f"real client{plural}" if held.kind == "clients" else f"stream{plural} of natural inputs"
    return (
        f"Each aims at {1_000 * limits.alpha:.3g} false alarms per 1,000 honest clients"
        f"{f' within {looks[-1]:,} new queries' if looks else ''}; of {held.clients:,} {whose} {held.alarmed:,} alarmed"
    )


def of(names: list[str], limits: Mapping[str, Limits]) -> str:
    return "" if len(names) == len(limits) else f" ({', '.join(names)})"


def together(reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each reason once, with all whose it is."""
    return [
        (reason, ", ".join(name for name, other in reasons.items() if other == reason))
        for reason in dict.fromkeys(reasons.values())
    ]


def done(ready: Ready, held: int) -> list[str]:
    """What follows from an alarm."""
    folder = shlex.quote(str(ready.folder.path))
    already = [f"  Clients above level log already: {held:,}. See gamekeeper clients {folder}"] if held else []
    return [*(of_tenant(tenant, rules.policy) for tenant, rules in ready.rules.items()), *already]


def of_tenant(tenant: str, policy: Policy) -> str:
    return f"Policy{f' of tenant {tenant}' if tenant != EVERYBODY else ''}: {in_words(policy)}"


def in_words(policy: Policy) -> str:
    if not policy.rules:
        return "no rules. Alarms are written down, and nothing follows from them: no answer is changed, nobody is slowed or refused."
    rules = ", ".join(f"{plain(rule.when)} -> {rule.then}" for rule in policy.rules)
    if policy.shadow:
        return f"in shadow ({rules}). What would be done is written down; nothing is done, and no answer changes."
    return f"at work ({rules}). A client stays at a level until somebody releases them."


def first_request(ready: Ready, keys: bool) -> list[str]:
    """A command to try it with."""
    folder = shlex.quote(str(ready.folder.path))
    issue = (
        []
        if keys
        else ["A client needs an API key, and none was issued yet:", f"  KEY=$(gamekeeper keys {folder} --new ACCOUNT)"]
    )
    return [*issue, "A first request, from another terminal where KEY is such a key:", f"  {curl(ready)}"]


def curl(ready: Ready) -> str:
    """The Open Inference Protocol with an input from the model's domain: of an image, black."""
    served, settings = ready.served, ready.settings
    if isinstance(served.domain, Box):
        data = f"[{served.domain.low}] * {served.values}"
    else:
        data = str(served.domain.uniform(1, 0).flatten().tolist())
    body = (
        f'{{"inputs": [{{"name": "{served.input}", "shape": {[1, *served.domain.shape]}, "datatype": "FP32",'
        f' "data": {data}}}]}}'
    )
    socket = f" --unix-socket {shlex.quote(str(settings.unix))}" if settings.unix else ""
    root = "http://localhost" if settings.unix else address(ready).replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    return (
        f"python3 -c 'import json; print(json.dumps({body}))' | curl -s{socket} -H \"Authorization: Bearer $KEY\""
        f" --data @- {root}/v2/models/{served.name}/infer"
    )


def read(ready: Ready) -> list[str]:
    folder = shlex.quote(str(ready.folder.path))
    return [
        f"Clients: gamekeeper clients {folder}   Alarms: gamekeeper review {folder}   Keys: gamekeeper keys {folder}",
        f"After some weeks: gamekeeper calibrate --journal {folder}   Policy changed: send SIGHUP   Stop: Ctrl-C",
    ]
