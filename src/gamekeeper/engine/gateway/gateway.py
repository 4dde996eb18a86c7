"""The gateway: who asks what, and the answer they get. Everything is in the journal before anybody is told.

A request is reserved at every level that pays; answered by the victim; shown to the detectors, under the lock of its
client; and treated as the policy has it. Then the events and what is remembered of the client are written in one
transaction, and the answer is given. Whatever fails before that costs the client nothing.
"""

import logging
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gamekeeper.detectors.lookout import Lookout
from gamekeeper.engine.gateway import happenings
from gamekeeper.engine.gateway.client_cache import LATE, ClientCache, Held
from gamekeeper.engine.gateway.client_memory import ClientMemory, Known, stored
from gamekeeper.engine.gateway.denials import Denials
from gamekeeper.engine.gateway.request import Request
from gamekeeper.engine.gateway.rules import Rules
from gamekeeper.errors import BadConfig, Busy, Denied, JournalError, OracleError
from gamekeeper.policy import Decision, climbed
from gamekeeper.service.journal.event import Event, Stale
from gamekeeper.service.journal.journal import Journal
from gamekeeper.service.principals import Pseudonyms
from gamekeeper.service.quotas import Reservations
from gamekeeper.types import Model, Reply, answered

TRIES = 50
"""How often a request is begun again because another replica has answered its client meanwhile."""
FRESH = 1.0
"""Seconds for which a denial is believed without a look into the journal: so long a released client may still be denied."""
REFUSED = "requests of this client are refused. Ask whoever runs this service."
FAST = "this client may send {:g} queries a second, and has sent more. Wait, and send this again."
FAILED = "the request could not be examined, so it was not answered. Send it again later."
CROWDED = "other replicas are answering this client. Send the request again later."
log = logging.getLogger(__name__)


class Gateway:
    """Answers requests. Threads may share it; those of one client take turns once the victim has answered.

    victim    whose answers are clean; the lookout reads features that it noted, if it is `observed`
    rules     by tenant; those under "" are for all others
    allow_failures  where a detector or a defense fails: answer all the same, and write down why. Else nobody is answered
    clock     seconds since 1970; clocks of replicas should agree, since a slow client waits by them
    noticed   is told of every event of an answered request, once it is in the journal
    made_for  what detectors' memories depend on besides the detectors, such as `Scene.purpose`: others' begin anew
    """

    def __init__(
        self,
        victim: Model,
        lookout: Lookout,
        rules: Mapping[str, Rules],
        journal: Journal,
        pseudonyms: Pseudonyms,
        reservations: Reservations,
        allow_failures: bool = False,
        clock: Callable[[], float] = time.time,
        made_for: str = "",
        cache: ClientCache | None = None,
        noticed: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.victim, self.lookout, self.journal, self.pseudonyms = victim, lookout, journal, pseudonyms
        self.reservations, self.allow_failures, self.clock = reservations, allow_failures, clock
        self.memory = ClientMemory(lookout, made_for)
        self.denials = Denials(journal)
        self._cache, self._noticed = cache or ClientCache(), noticed
        self.take_rules(rules)

    def take_rules(self, rules: Mapping[str, Rules]) -> None:
        """From now on these rules hold; a request under way ends under those that it began with."""
        if "" not in rules:
            raise BadConfig('a gateway needs rules under "", for every tenant that has none of their own.')
        self._rules = dict(rules)

    def close(self) -> None:
        """Writes down what was denied, and gives back what was reserved ahead. The journal stays open."""
        self.denials.flush(self.clock())
        self.reservations.close()

    def answer(self, request: Request) -> Reply:
        """See `Answering`."""
        who = request.who
        try:
            lease = self.reservations.reserve(who, len(request.x), request.at)
        except Denied as denied:
            self.denials.note(happenings.denied_event(request, str(denied)))
            raise
        with lease:
            rules = self._rules.get(who.tenant) or self._rules[""]
            with self._cache.hold((who.tenant, who.client), request.deadline) as held:
                self._admit(request, held, rules)
            clean = self._clean(request)
            with self._cache.hold((who.tenant, who.client), request.deadline) as held:
                return self._answered(request, clean, held, rules)

    def _admit(self, request: Request, held: Held, rules: Rules) -> None:
        """Sees to it that the client is known. Raises Denied if they are refused or too fast; nothing changes by that."""
        if held.known is not None and held.known.defenses is not rules.defenses:
            held.known = None  # the rules are new: other defenses may have steps of theirs to see again
        known = held.known = held.known or self._read(request, rules)
        denied = self._denied(known, rules)
        if denied is not None and time.monotonic() - known.checked > FRESH:
            known = self._caught_up(request, held)
            denied = self._denied(known, rules)
        if denied is not None:
            event = happenings.denied_event(request, str(denied))
            self.denials.note(happenings.under(event, rules.policy, known.standing))
            raise denied

    def _read(self, request: Request, rules: Rules) -> Known:
        who = request.who
        remembered = self.journal.remembered(who.tenant, who.client)
        return self.memory.read(remembered, who.client, rules.defenses, time.monotonic())

    def _caught_up(self, request: Request, held: Held) -> Known:
        """What is known of the client, with what other replicas and people have done since."""
        who = (request.who.tenant, request.who.client)
        held.known = self.memory.catch_up(held.take(), self.journal, who, time.monotonic())
        return held.known

    def _denied(self, known: Known, rules: Rules) -> Denied | None:
        """Whether a client is denied as they stand. A level that only a new policy leads to needs a request to be written down."""
        decision = rules.policy.decide(known.standing)
        if decision.climbed:
            return None
        if decision.treatment.refuse:
            return Denied(REFUSED)
        pace = decision.treatment.per_second
        return Denied(FAST.format(pace), known.free_at) if pace is not None and self.clock() < known.free_at else None

    def _clean(self, request: Request) -> Reply:
        """The victim's own answer to every input."""
        in_time(request)
        clean = self.victim(request.x)
        n, rows = len(request.x), int(answered(clean).sum())
        if rows < n or len(clean) != n:
            raise OracleError(f"the model answered {rows} of {n} inputs. Nothing was charged; send the request again.")
        return clean

    def _answered(self, request: Request, clean: Reply, held: Held, rules: Rules) -> Reply:
        """The answer, once it is in the journal; begun again whenever another replica was faster."""
        for attempt in range(TRIES):
            if held.known is not None and held.known.shared:
                self._caught_up(request, held)
            self._admit(request, held, rules)
            known = held.take()
            known.shared |= attempt > 0
            try:
                outcome = self._treated(request, clean, known, rules)
            except Stale:
                continue
            held.known = known
            if isinstance(outcome, Denied):
                raise outcome
            return outcome
        raise Busy(CROWDED)

    def _treated(self, request: Request, clean: Reply, known: Known, rules: Rules) -> Reply | Denied:
        """What the policy makes of a request: the answer, or the refusal to which it led. It is in the journal. Raises Stale."""
        shown, at_looks, failure = self._looked(request, clean, known)
        memories = self.memory.watched(known) if shown else {}
        alarms = happenings.new_alarms(known.standing, self.lookout.alarms(memories)) if memories else {}
        standing = replace(known.standing, alarms={**known.standing.alarms, **alarms})
        decision = rules.policy.decide(standing)
        known.standing = climbed(standing, decision)
        outcome, text, second = self._outcome(request, clean, known, rules, decision)
        if isinstance(outcome, Denied):
            event = happenings.denied_event(request, str(outcome))
        else:
            hashes = happenings.input_hashes(request.x, request.who.tenant, self.pseudonyms)
            scores = happenings.last_scores(self.lookout, memories) if memories else {}
            event = happenings.answer_event(request, hashes, {**scores, **at_looks}, failure or second)
        others = [happenings.alarm_event(request, *alarm, self.lookout, memories) for alarm in alarms.items()]
        others += [happenings.level_event(request, decision)] if decision.climbed else []
        events = [happenings.under(each, rules.policy, known.standing) for each in (event, *others)]
        at = request.at if shown else None
        step = self.memory.step(request.x, clean, at, text) if shown or text else None
        if known.spoilt:
            self._mend(request, known, rules, step)
        self._append(request, known, step, events)
        return outcome

    def _mend(self, request: Request, known: Known, rules: Rules, step: bytes | None) -> None:
        """Reads memories anew that a failure has left half changed, and does what did not fail. Raises Stale."""
        again = self._read(request, rules)
        if again.version != known.version:
            raise Stale
        memories = self.memory.watched(again)
        if step is not None:
            self.memory.repeat(step, again, memories)
        known.watched, known.defended, known.packed = memories, again.defended, again.packed
        known.spoilt = False

    def _looked(self, request: Request, clean: Reply, known: Known) -> tuple[bool, Mapping[str, float], str]:
        """Shows a request to the detectors: whether they have seen it, what they say at looks, or what has failed."""
        try:
            return True, self.memory.show(request.x, clean, request.at, self.memory.watched(known)), ""
        except (JournalError, Busy):  # Busy is no failure: who fills the model's queue would pass unwatched
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the request was not examined
            known.spoilt = True
            return False, {}, self._failure("a detector", error)

    def _outcome(
        self, request: Request, clean: Reply, known: Known, rules: Rules, decision: Decision
    ) -> tuple[Reply | Denied, str, str]:
        """The answer to a client so treated, or the refusal; the text of the defense it is from; and what has failed."""
        treatment = decision.treatment
        if treatment.refuse:
            return Denied(REFUSED), "", ""
        if treatment.per_second is not None:
            known.free_at = self.clock() + len(request.x) / treatment.per_second
        if not (text := treatment.defense):
            return clean, "", ""
        try:
            return rules.defenses[text].respond(request.x, clean, self.memory.defended(known, text)), text, ""
        except (JournalError, Busy):  # Busy is no failure: who fills the model's queue would pass unwatched
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, there is no defended answer
            known.spoilt = True
            return clean, "", self._failure(f"the defense {text}", error)

    def _failure(self, what: str, error: Exception) -> str:
        """What is written down about a failure. Raises Busy where failures are not allowed."""
        message = f"{what} failed: {type(error).__name__}"
        log.error("%s in %s", message, place(error))
        if not self.allow_failures:
            raise Busy(FAILED) from error
        return message

    def _append(self, request: Request, known: Known, step: bytes | None, events: Sequence[Event]) -> None:
        """Writes down a request; waits no longer than its deadline for the transaction to begin. Raises Stale, Busy."""
        in_time(request)
        changes = self.memory.changes(known, step)
        future = self.journal.submit(events[0], changes, events[1:])
        try:
            version = future.result(
                None if math.isinf(request.deadline) else max(0, request.deadline - time.monotonic())
            )
        except TimeoutError:
            if future.cancel():
                raise Busy(LATE) from None
            version = future.result()
        stored(known, changes, version, time.monotonic())
        for event in events:
            self._noticed(event)


def place(error: Exception) -> str:
    """Where an error was raised. Its message may quote what a client sent."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def in_time(request: Request) -> None:
    """Raises Busy once the deadline is over."""
    if time.monotonic() > request.deadline:
        raise Busy(LATE)
