//! The server's metrics, in Prometheus' text format. No label holds a phone, a user, a token, or a path that a client made up.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::engine::{Alarm, Waited, Worked};

/// The content type of what [`Metrics::text`] writes.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters of one server. Make it before the engine, which is metered by it.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabel, Histogram>,
    sends: Family<OutcomeLabel, Counter>,
    verifications: Family<OutcomeLabel, Counter>,
    refusals: Family<CodeLabel, Counter>,
    callbacks: Family<CallbackLabels, Counter>,
    provider_seconds: Family<OutcomeLabel, Histogram>,
    store_seconds: Histogram,
    worker: Family<OutcomeLabel, Counter>,
    purged: Counter,
    forged: Counter,
    unreadable: Counter,
    connections: Gauge,
    connections_waited: Counter,
    turned_away: Family<OutcomeLabel, Counter>,
    alarms: Family<AlarmLabels, Gauge>,
    due: Gauge,
    sends_under_way: Gauge,
    uptime: Gauge<f64, AtomicU64>,
    begun: std::time::Instant,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AlarmLabels {
    kind: &'static str,
    /// Empty: all of them.
    country: String,
    acknowledged: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallbackLabels {
    kind: &'static str,
    outcome: &'static str,
}

/// A quarter of a millisecond to eight seconds.
fn fine() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

/// Ten milliseconds to forty seconds.
fn coarse() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 13))
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("smsotp"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(fine),
            sends: Family::default(),
            verifications: Family::default(),
            refusals: Family::default(),
            callbacks: Family::default(),
            provider_seconds: Family::new_with_constructor(coarse),
            store_seconds: fine(),
            worker: Family::default(),
            purged: Counter::default(),
            forged: Counter::default(),
            unreadable: Counter::default(),
            connections: Gauge::default(),
            connections_waited: Counter::default(),
            turned_away: Family::default(),
            alarms: Family::default(),
            due: Gauge::default(),
            sends_under_way: Gauge::default(),
            uptime: Gauge::default(),
            begun: std::time::Instant::now(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("http_requests", "Requests by route, method and status", self.requests.clone());
        registry.register_with_unit(
            "http_request",
            "How long requests took",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register("sends", "Codes asked for, by what became of their message", self.sends.clone());
        registry.register("verifications", "Codes checked, by answer", self.verifications.clone());
        registry.register("refusals", "Requests refused, by code", self.refusals.clone());
        registry.register("callbacks", "Callbacks by kind and what they changed", self.callbacks.clone());
        registry.register_with_unit(
            "provider",
            "How long the provider took",
            Unit::Seconds,
            self.provider_seconds.clone(),
        );
        registry.register_with_unit(
            "store",
            "How long operations took, commit included",
            Unit::Seconds,
            self.store_seconds.clone(),
        );
        registry.register("worker_messages", "Messages that the worker dealt with, by outcome", self.worker.clone());
        registry.register("purged_rows", "Rows that the worker purged", self.purged.clone());
        registry.register(
            "forged_forwards",
            "Requests that named another client, of a peer that is no trusted proxy",
            self.forged.clone(),
        );
        registry.register(
            "unreadable_forwards",
            "Requests of which a trusted proxy named no client, or not readably",
            self.unreadable.clone(),
        );
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connections_waited",
            "Connections that waited because all places were taken",
            self.connections_waited.clone(),
        );
        registry.register(
            "connections_turned_away",
            "Connections closed because they were idle or slow (timeout), or one too many of their address",
            self.turned_away.clone(),
        );
        registry.register(
            "alarms",
            "Alarms that stand, by kind, country and whether somebody acknowledged them",
            self.alarms.clone(),
        );
        registry.register("queue_due", "Messages that wait for the worker, up to 1000", self.due.clone());
        registry.register("sends_under_way", "Sends that wait for the provider", self.sends_under_way.clone());
        registry.register_with_unit("uptime", "Since the server began", Unit::Seconds, self.uptime.clone());
    }

    /// For [`crate::engine::Engine::on_wait`].
    pub fn waited(&self, what: Waited, took: Duration) {
        match what {
            Waited::Store => self.store_seconds.observe(took.as_secs_f64()),
            Waited::Provider(outcome) => {
                let outcome = OutcomeLabel { outcome: outcome.to_owned() };
                self.provider_seconds.get_or_create(&outcome).observe(took.as_secs_f64());
            }
        }
    }

    /// What the worker did.
    pub fn worked(&self, done: &Worked) {
        match done {
            Worked::Step(step) => {
                let outcomes = [
                    ("sent", step.sent),
                    ("found", step.found),
                    ("failed", step.failed),
                    ("open", step.open),
                    ("error", step.errors),
                ];
                for (outcome, count) in outcomes.into_iter().filter(|(_, count)| *count > 0) {
                    self.worker.get_or_create(&OutcomeLabel { outcome: outcome.to_owned() }).inc_by(u64::from(count));
                }
            }
            Worked::Purge(report) => {
                self.purged.inc_by(report.purged.total());
            }
        }
    }

    pub(super) fn answered(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { route: route.to_owned(), method, status }).inc();
        self.request_seconds.get_or_create(&RouteLabel { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    pub(super) fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&CodeLabel { code }).inc();
    }

    pub(super) fn sent(&self, outcome: &str) {
        self.sends.get_or_create(&OutcomeLabel { outcome: outcome.to_owned() }).inc();
    }

    pub(super) fn verified(&self, outcome: &str) {
        self.verifications.get_or_create(&OutcomeLabel { outcome: outcome.to_owned() }).inc();
    }

    pub(super) fn called_back(&self, kind: &'static str, outcome: &'static str) {
        self.callbacks.get_or_create(&CallbackLabels { kind, outcome }).inc();
    }

    pub(super) fn forged(&self) {
        self.forged.inc();
    }

    pub(super) fn unreadable(&self) {
        self.unreadable.inc();
    }

    pub(super) fn connection_waited(&self) {
        self.connections_waited.inc();
    }

    pub(super) fn connection_turned_away(&self, why: &str) {
        self.turned_away.get_or_create(&OutcomeLabel { outcome: why.to_owned() }).inc();
    }

    /// Everything as text. What is not counted but looked at comes in: alarms that stand and messages due (`None`: not known), sends
    /// under way, and open connections.
    pub(super) fn text(
        &self,
        alarms: Option<&[Alarm]>,
        due: Option<u32>,
        sends_under_way: usize,
        connections: usize,
    ) -> Result<String, std::fmt::Error> {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        if let Some(alarms) = alarms {
            self.alarms.clear();
            for alarm in alarms {
                let acknowledged = if alarm.acked_at.is_some() { "true" } else { "false" };
                let labels = AlarmLabels { kind: alarm.kind.as_str(), country: alarm.about.clone(), acknowledged };
                self.alarms.get_or_create(&labels).set(1);
            }
        }
        self.due.set(due.map_or(-1, i64::from));
        self.sends_under_way.set(count(sends_under_way));
        self.connections.set(count(connections));
        self.uptime.set(self.begun.elapsed().as_secs_f64());
        let mut written = String::new();
        text::encode(&mut written, &self.registry)?;
        Ok(written)
    }
}
