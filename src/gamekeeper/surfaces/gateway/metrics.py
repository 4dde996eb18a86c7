"""What the gateway counts, for Prometheus, on an address of its own.

Labels are few and fixed: a client's name, a path or a message is never one.
"""

from collections.abc import Callable, Iterable
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from gamekeeper.surfaces.gateway.refusals import OUTCOMES

PROTOCOLS = ("v1", "v2", "mlflow", "none")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OTHER = "other"
"""Label of what was not announced."""


class Metrics:
    """Counts in a registry of their own. Threads may share it.

    detectors, levels  the names that alarms and levels may be labelled by
    """

    def __init__(self, detectors: Iterable[str] = (), levels: Iterable[str] = ()) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        requests = Counter("gamekeeper_requests", "Requests answered", ["protocol", "outcome"], registry=registry)
        self._requests = {(p, o): requests.labels(p, o) for p in PROTOCOLS for o in OUTCOMES}
        self._rows = Counter("gamekeeper_rows", "Inputs in requests that were read", registry=registry)
        seconds = Histogram(
            "gamekeeper_request_seconds", "From headers to answer", ["protocol"], buckets=SECONDS, registry=registry
        )
        self._seconds = {protocol: seconds.labels(protocol) for protocol in PROTOCOLS}
        self._under_way = Gauge("gamekeeper_requests_under_way", "Waiting or being answered", registry=registry)
        self._model = Histogram("gamekeeper_model_seconds", "Passes of the model", buckets=SECONDS, registry=registry)
        self._passes = Counter("gamekeeper_model_rows", "Inputs given to the model", registry=registry)
        self._places = Counter("gamekeeper_model_places", "Rows of the passes, padding included", registry=registry)
        self._journal = Counter("gamekeeper_journal_errors", "Answers that were not written down", registry=registry)
        alarms = Counter("gamekeeper_alarms", "Alarms", ["detector"], registry=registry)
        changes = Counter("gamekeeper_level_changes", "Clients put on a level", ["level"], registry=registry)
        self._alarms = {name: alarms.labels(name) for name in (*detectors, OTHER)}
        self._levels = {name: changes.labels(name) for name in (*levels, OTHER)}

    def visited(self, protocol: str, outcome: str, rows: int, seconds: float) -> None:
        """A request was answered."""
        self._requests[protocol, outcome].inc()
        self._seconds[protocol].observe(seconds)
        if rows:
            self._rows.inc(rows)
        if outcome == "no journal":
            self._journal.inc()

    def passed(self, rows: int, places: int, seconds: float) -> None:
        """The model answered `rows` inputs in a pass of `places` rows."""
        self._model.observe(seconds)
        self._passes.inc(rows)
        self._places.inc(places)

    def alarmed(self, detector: str) -> None:
        """A detector raised an alarm."""
        self._alarms.get(detector, self._alarms[OTHER]).inc()

    def levelled(self, level: str) -> None:
        """A client was put on another level."""
        self._levels.get(level, self._levels[OTHER]).inc()

    def watch(self, under_way: Callable[[], int]) -> None:
        """Where the number of requests under way is read."""
        self._under_way.set_function(under_way)

    def serve(self, host: str, port: int) -> WSGIServer:
        """Serves the metrics by HTTP, without keys, in a daemon thread. Raises OSError for an address in use."""
        return start_http_server(port, addr=host, registry=self.registry)[0]
