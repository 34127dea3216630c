//! The alert rules and the dashboard name metrics and labels that a server has.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use smsotp::alarm::AlarmKind;
use smsotp::engine::Work;
use smsotp::http::ServerSettings;

use crate::alarming::{raise, raised};
use crate::window::{SEND, STATUS, VERIFY, Window, service_token, settings};
use crate::world::{World, block_on};

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let starts = text.match_indices("smsotp_").map(|(at, _)| at);
    starts.map(|at| text[at..].split(|c| !is_of_name(c)).next().unwrap_or_default()).collect()
}

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/packaging/monitoring/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn rules_and_dashboard_name_what_a_server_measures() {
    let world = World::new();
    let token = service_token(&world.engine(), "send,verify");
    let engine = world.engine();
    block_on(raise(engine.store(), vec![raised(AlarmKind::Detector, "TJ")]));
    let work = Work { every: Duration::from_millis(5), purge_every: None };
    let window = Window::with(&world, engine, ServerSettings { work: Some(work), ..settings() });
    assert_eq!(window.post(STATUS, "", "{}").status, 403, "a callback without a signature");
    let ask = json!({"phone_number": "+14155550101", "purpose": "login", "user": "ada"}).to_string();
    let guess =
        json!({"phone_number": "+14155550101", "purpose": "login", "user": "ada", "otp_code": "000000"}).to_string();
    assert_eq!(window.post(SEND, &token, &ask).status, 200);
    assert_eq!(window.post(SEND, &token, &ask).status, 429);
    assert_ne!(window.post(VERIFY, &token, &guess).status, 500);
    let metrics = window.get("/metrics", "").body.to_string();
    let has = |name: &str| {
        let family = name.strip_suffix("_bucket").or_else(|| name.strip_suffix("_total")).unwrap_or(name);
        metrics.lines().any(|line| line.starts_with(&format!("# TYPE {family} ")))
    };

    for of in ["smsotp.rules.yml", "smsotp.rules.test.yml", "dashboard.json"] {
        let text = file(of);
        let missing: Vec<_> = names(&text).into_iter().filter(|name| !has(name)).collect();
        assert!(missing.is_empty(), "{of} names {missing:?}, which no server has: {metrics}");
        assert!(names(&text).len() > 5, "{of}");
    }
    for label in [
        "smsotp_sends_total{outcome=\"accepted\"}",
        "smsotp_sends_total{outcome=\"refused\"}",
        "outcome=\"wrong_code\"",
    ] {
        assert!(metrics.contains(label), "no {label} in {metrics}");
    }
    let dashboard: Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
}
