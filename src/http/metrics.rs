//! What is counted, in Prometheus' text format. No label ever holds a phone, a user, a path that was typed or a token.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::engine::{Waited, Worked};

/// The content type of what [`Metrics::text`] writes.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters of one server. Make it before the engine, which is metered by it.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    request_seconds: Family<Route, Histogram>,
    sends: Family<Outcome, Counter>,
    verifications: Family<Outcome, Counter>,
    refusals: Family<Refusal, Counter>,
    callbacks: Family<Callback, Counter>,
    provider_seconds: Family<Outcome, Histogram>,
    store_seconds: Histogram,
    worker: Family<Outcome, Counter>,
    purged: Counter,
    forged: Counter,
    connections: Gauge,
    turned_away: Family<Outcome, Counter>,
    due: Gauge,
    under_way: Gauge,
    uptime: Gauge<f64, AtomicU64>,
    begun: std::time::Instant,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refusal {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Callback {
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
            connections: Gauge::default(),
            turned_away: Family::default(),
            due: Gauge::default(),
            under_way: Gauge::default(),
            uptime: Gauge::default(),
            begun: std::time::Instant::now(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let it = &mut self.registry;
        it.register("http_requests", "Requests by route, method and status", self.requests.clone());
        it.register_with_unit("http_request", "How long requests took", Unit::Seconds, self.request_seconds.clone());
        it.register("sends", "Codes asked for, by what became of their message", self.sends.clone());
        it.register("verifications", "Codes checked, by answer", self.verifications.clone());
        it.register("refusals", "Requests refused, by code", self.refusals.clone());
        it.register("callbacks", "Callbacks by kind and what they changed", self.callbacks.clone());
        it.register_with_unit("provider", "How long the provider took", Unit::Seconds, self.provider_seconds.clone());
        it.register_with_unit(
            "store",
            "How long operations took, commit included",
            Unit::Seconds,
            self.store_seconds.clone(),
        );
        it.register("worker_messages", "Messages that the worker looked at, by fate", self.worker.clone());
        it.register("purged_rows", "Rows that the worker purged", self.purged.clone());
        it.register(
            "forged_forwards",
            "Requests whose peer may not speak for a client, and tried",
            self.forged.clone(),
        );
        it.register("connections", "Open connections", self.connections.clone());
        it.register(
            "connections_turned_away",
            "Connections closed for want of a place, or for being slow",
            self.turned_away.clone(),
        );
        it.register("queue_due", "Messages that wait for the worker, up to 1000", self.due.clone());
        it.register("sends_under_way", "Sends that wait for the provider", self.under_way.clone());
        it.register_with_unit("uptime", "Since the server began", Unit::Seconds, self.uptime.clone());
    }

    /// For [`crate::engine::Engine::on_wait`].
    pub fn waited(&self, what: Waited, took: Duration) {
        match what {
            Waited::Store => self.store_seconds.observe(took.as_secs_f64()),
            Waited::Provider(outcome) => {
                let outcome = Outcome { outcome: outcome.to_owned() };
                self.provider_seconds.get_or_create(&outcome).observe(took.as_secs_f64());
            }
        }
    }

    /// What the worker did.
    pub fn worked(&self, done: &Worked) {
        match done {
            Worked::Step(step) => {
                let fates = [
                    ("sent", step.sent),
                    ("found", step.found),
                    ("failed", step.failed),
                    ("open", step.open),
                    ("error", step.errors),
                ];
                for (fate, count) in fates.into_iter().filter(|(_, count)| *count > 0) {
                    self.worker.get_or_create(&Outcome { outcome: fate.to_owned() }).inc_by(u64::from(count));
                }
            }
            Worked::Purge(report) => {
                self.purged.inc_by(report.purged.total());
            }
        }
    }

    pub(super) fn answered(&self, (route, method): (&'static str, &'static str), status: u16, took: Duration) {
        self.requests.get_or_create(&Request { route, method, status }).inc();
        self.request_seconds.get_or_create(&Route { route }).observe(took.as_secs_f64());
    }

    pub(super) fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&Refusal { code }).inc();
    }

    pub(super) fn sent(&self, outcome: &str) {
        self.sends.get_or_create(&Outcome { outcome: outcome.to_owned() }).inc();
    }

    pub(super) fn verified(&self, outcome: &str) {
        self.verifications.get_or_create(&Outcome { outcome: outcome.to_owned() }).inc();
    }

    pub(super) fn called_back(&self, kind: &'static str, outcome: &'static str) {
        self.callbacks.get_or_create(&Callback { kind, outcome }).inc();
    }

    pub(super) fn forged(&self) {
        self.forged.inc();
    }

    pub(super) fn connected(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    pub(super) fn turned_away(&self, why: &str) {
        self.turned_away.get_or_create(&Outcome { outcome: why.to_owned() }).inc();
    }

    /// Everything as text.
    pub(super) fn text(&self, due: Option<u32>, under_way: usize) -> Result<String, std::fmt::Error> {
        self.due.set(due.map_or(-1, i64::from));
        self.under_way.set(i64::try_from(under_way).unwrap_or(i64::MAX));
        self.uptime.set(self.begun.elapsed().as_secs_f64());
        let mut written = String::new();
        text::encode(&mut written, &self.registry)?;
        Ok(written)
    }
}
