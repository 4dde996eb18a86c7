"""The events of a request at the gateway. None holds an input, a name or an address."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gamekeeper.detectors.lookout import REPEATS, STANDING, Lookout
from gamekeeper.detectors.repeats import traffic
from gamekeeper.engine.gateway.client_memory import INPUTS
from gamekeeper.engine.gateway.request import Request
from gamekeeper.policy import Decision, Policy, Standing
from gamekeeper.service.journal.event import Event
from gamekeeper.service.memory import Memories
from gamekeeper.service.principals import Pseudonyms
from gamekeeper.types import Batch

SHADOW = "; only watched, since the policy is in shadow"


def input_hashes(x: Batch, tenant: str, pseudonyms: Pseudonyms) -> tuple[bytes, ...]:
    """Of each input: keyed hashes of its float32 values, -0 as 0, so that repeats can be recognised."""
    rows = np.ascontiguousarray((x.detach().float() + 0.0).cpu().numpy())
    return tuple(pseudonyms.hashed(tenant, row.astype("<f4", copy=False).tobytes()) for row in rows)


def answer_event(request: Request, hashes: tuple[bytes, ...], scores: Mapping[str, float], reason: str) -> Event:
    """`scores`: the last verdict of every detector; `reason`: what failed, "" if nothing did."""
    who = request.who
    return Event(
        who.tenant,
        who.client,
        "answer",
        request.at,
        n=len(request.x),
        inputs=hashes,
        scores=scores,
        reason=reason,
        trace=request.trace,
    )


def denied_event(request: Request, reason: str) -> Event:
    who = request.who
    return Event(who.tenant, who.client, "denied", request.at, n=len(request.x), reason=reason, trace=request.trace)


def under(event: Event, policy: Policy, standing: Standing) -> Event:
    """The event with the level that its client is held at, and the policy that says so."""
    return replace(event, level=str(standing.level), policy=policy.digest)


def last_scores(lookout: Lookout, memories: Memories) -> dict[str, float]:
    """The last verdict of every detector that gave one."""
    scores = zip(lookout.posts, memories[STANDING].score.tolist(), strict=True)
    return {name: score for name, score in scores if score == score}


def new_alarms(standing: Standing, alarms: Mapping[str, int]) -> dict[str, int]:
    """Alarms that the standing does not know, and after which query each was raised."""
    return {name: query for name, query in alarms.items() if standing.alarms.get(name) != query}


def alarm_event(request: Request, name: str, query: int, lookout: Lookout, memories: Memories) -> Event:
    """One detector's alarm, with the volume and the statistics of the client's inputs (OWASP AISVS C11.5.2)."""
    who, repeats = request.who, memories.get(REPEATS)
    scores = {
        "score": last_scores(lookout, memories).get(name, float("nan")),
        "p": lookout.p_values(memories).get(name, float("nan")),
        "query": float(query),
        **memories[INPUTS].as_scores(),
    }
    if repeats is not None:
        sent = traffic(repeats)
        scores |= {"exact repeats": sent.exact, "near repeats": sent.near, "busiest hour": float(sent.busiest)}
    reason = f"{name} raised an alarm after query {query:,}"
    return Event(who.tenant, who.client, "alarm", request.at, scores=scores, reason=reason, trace=request.trace)


def level_event(request: Request, decision: Decision) -> Event:
    """A client who climbs."""
    who = request.who
    reason = decision.reason + (SHADOW if decision.meant != decision.treatment else "")
    return Event(who.tenant, who.client, "level", request.at, reason=reason, trace=request.trace)
