"""A request of an audit is sent again until an answer comes, since what was paid for would be lost otherwise. See `http.py`."""

import itertools
import logging
import math
import random
import time
from collections.abc import Callable, Mapping

from gamekeeper.errors import Unreachable
from gamekeeper.targets.http_sender import Answer, Sender, shown

BACKOFF, LONGEST_BACKOFF = 0.5, 30.0  # seconds
log = logging.getLogger(__name__)


class Retrying:
    """Sends until a readable answer comes, no faster than `requests_per_second`. For one thread."""

    def __init__(
        self,
        sender: Sender,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        seed: int = 0,
    ) -> None:
        self.sender, self.config = sender, sender.config
        self._sleep, self._clock = sleep, clock
        self._random = random.Random(seed)  # noqa: S311 - spreads retries, guards nothing
        self._next = -math.inf

    def __call__(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Sends until a readable answer comes. Raises Unreachable when the retries are used up."""
        started = self._clock()
        attempts = self.config.retries + 1
        for attempt in itertools.count(1):
            self._pace()
            result = self.sender.attempt(method, url, content, headers)
            if isinstance(result, Answer):
                return result
            if result.wait > self.config.retry_after_max:
                raise Unreachable(
                    f"{shown(url)}: {result.what}; the server asks to wait {result.wait:.0f} s, more than"
                    f" retry_after_max ({self.config.retry_after_max:g} s). Run again later: answered queries are not"
                    " sent twice."
                )
            if attempt == attempts:
                raise result.error(
                    f"{shown(url)}: {result.what} ({attempts} attempt{'s' * (attempts > 1)} in"
                    f" {self._clock() - started:.0f} s). Check that the API is up and not too slow or too busy"
                    " (`timeout`, `batch`, `requests_per_second`), and run again: answered queries are not sent twice."
                )
            backoff = min(LONGEST_BACKOFF, BACKOFF * 2.0 ** min(attempt - 1, 16))
            wait = max(result.wait, self._random.uniform(0, backoff))
            log.warning("%s: %s; attempt %d of %d in %.1f s", shown(url), result.what, attempt + 1, attempts, wait)
            self._sleep(wait)
        raise AssertionError  # the loop above ends by itself

    def _pace(self) -> None:
        if self.config.requests_per_second is None:
            return
        wait = self._next - self._clock()
        if wait > 0:
            self._sleep(wait)
        self._next = max(self._next, self._clock()) + 1 / self.config.requests_per_second
