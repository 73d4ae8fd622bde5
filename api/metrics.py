"""What this process counts, in Prometheus' format; one registry per application."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.gc_collector import GCCollector

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The instruments; labels are bounded: route templates, never paths, tenants or people."""

    def __init__(self) -> None:
        """A registry of its own, so that several applications can live in one process."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = Histogram(
            "http_server_request_duration_seconds",
            "Duration of HTTP server requests (OpenTelemetry: http.server.request.duration).",
            ("http_request_method", "http_route", "http_response_status_code"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.webhooks = Counter(
            "visitnow_webhooks",
            "Webhooks of the payment gateway by outcome: stored, duplicate, passed_on, deferred, forged, malformed.",
            ("outcome",),
            registry=self.registry,
        )
        self.webhook_lag = Histogram(
            "visitnow_webhook_lag_seconds",
            "From an event at the payment gateway to its webhook's arrival.",
            buckets=(0.1, 0.5, 1, 5, 30, 60, 600, 3600, 86_400),
            registry=self.registry,
        )
        self.placements = Counter(
            "visitnow_placements",
            "Requests to book by outcome: placed, repeated, or the code of the refusal.",
            ("outcome",),
            registry=self.registry,
        )
        self.streams = Gauge("visitnow_event_streams", "Open streams of server-sent events.", registry=self.registry)
        self.slot_lists = Counter(
            "visitnow_slot_lists",
            "Lists of free times by source: cache or computed.",
            ("source",),
            registry=self.registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def exposition(self) -> bytes:
        """Everything, as `/metrics` answers."""
        return generate_latest(self.registry)
