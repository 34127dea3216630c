//! The limits: exact sliding windows over small logs, one log per subject and kind.
//!
//! A log is a list of moments; a window of `max` per `per` is full while `max` of them are younger than `per`. So there are
//! never more than `max` in *any* window, and what a check costs is bounded by `max`, not by the tables.

use std::time::Duration;

/// At most `max` events in any span of `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many.
    pub max: u32,
    /// In how long.
    pub per: Duration,
}

impl Window {
    /// `max` in any span of `seconds`.
    pub const fn new(max: u32, seconds: u64) -> Window {
        Window { max, per: Duration::from_secs(seconds) }
    }
}

/// Every limit that an operator may set. Defaults: see each field.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Pause after the 1st, 2nd, ... message to the same phone for the same purpose: 30, 60, 120, 300, 600, 1800 s.
    pub cooldown: Vec<Duration>,
    /// Messages per phone, all purposes: 3 in 10 min, 5 in 1 h, 10 in 24 h.
    pub phone: Vec<Window>,
    /// Messages per user: 5 in 1 h, 10 in 24 h.
    pub user: Vec<Window>,
    /// Distinct phones per user: 3 in 24 h.
    pub user_phones: Window,
    /// Messages per client address (IPv4 whole, IPv6 by /64): 10 in 1 h, 30 in 24 h.
    pub ip: Vec<Window>,
    /// Distinct phones per client address: 5 in 1 h.
    pub ip_phones: Window,
    /// Messages per client network (IPv4 /24, IPv6 /48): 50 in 1 h, 150 in 24 h. May refuse a little early, never late.
    pub network: Vec<Window>,
    /// Messages in all: 1000 in 1 h, 10000 in 24 h. May refuse a little early, never late.
    pub everything: Vec<Window>,
    /// Refusals by the provider, per phone: 5 in 1 h.
    pub refused_phone: Window,
    /// Refusals by the provider, per user, client address or token: 20 in 1 h.
    pub refused_other: Window,
    /// Wrong guesses that one code survives: 5.
    pub guesses_per_otp: u32,
    /// Wrong guesses per phone and purpose across codes; full, it stops new codes: 15 in 24 h.
    pub guesses_per_phone: Window,
    /// Wrong guesses per client address: 30 in 1 h.
    pub guesses_per_ip: Window,
    /// Wrong guesses in a row without one success per user and phone, after which only `limits reset` opens it: 100
    /// (NIST SP 800-63B-4 §3.2.2).
    pub guesses_in_a_row: u32,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        Limits {
            cooldown: [30, 60, 120, 300, 600, 1800].map(Duration::from_secs).to_vec(),
            phone: vec![Window::new(3, 600), Window::new(5, HOUR), Window::new(10, DAY)],
            user: vec![Window::new(5, HOUR), Window::new(10, DAY)],
            user_phones: Window::new(3, DAY),
            ip: vec![Window::new(10, HOUR), Window::new(30, DAY)],
            ip_phones: Window::new(5, HOUR),
            network: vec![Window::new(50, HOUR), Window::new(150, DAY)],
            everything: vec![Window::new(1000, HOUR), Window::new(10_000, DAY)],
            refused_phone: Window::new(5, HOUR),
            refused_other: Window::new(20, HOUR),
            guesses_per_otp: 5,
            guesses_per_phone: Window::new(15, DAY),
            guesses_per_ip: Window::new(30, HOUR),
            guesses_in_a_row: 100,
        }
    }
}
