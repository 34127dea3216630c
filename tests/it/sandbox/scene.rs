//! The scene: a client over raw HTTP, and a web server that receives callbacks.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha1::Sha1;
use smsotp::sandbox::{Options, Sandbox};
use tokio::sync::mpsc;

/// A phone that nobody has: 555-01xx is reserved for examples.
pub(crate) const PHONE: &str = "+12025550123";

pub(crate) fn start(options: Options) -> Sandbox {
    Sandbox::start(options).unwrap()
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) sid: String,
    pub(crate) user: String,
    pub(crate) secret: String,
    pub(crate) from: String,
}

/// What a client sees of an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Answer(u16),
    Code(u16, u64),
    Text(u16, &'static str),
    Timeout,
    Broken,
}

impl Client {
    pub(crate) fn new(sandbox: &Sandbox) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Client {
            http,
            url: sandbox.url(),
            sid: sandbox.account_sid().to_owned(),
            user: sandbox.account_sid().to_owned(),
            secret: sandbox.auth_token().to_owned(),
            from: sandbox.phone_number(),
        }
    }

    pub(crate) fn with_credentials(&self, user: &str, secret: &str) -> Client {
        Client { user: user.to_owned(), secret: secret.to_owned(), ..self.clone() }
    }

    pub(crate) fn api(&self, path: &str) -> String {
        format!("{}/2010-04-01/Accounts/{}{path}", self.url, self.sid)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.answer(self.http.get(self.api(path))).await
    }

    pub(crate) async fn get_at(&self, path: &str) -> (u16, Value) {
        self.answer(self.http.get(format!("{}{path}", self.url))).await
    }

    pub(crate) async fn delete_at(&self, path: &str) -> u16 {
        self.answer(self.http.delete(format!("{}{path}", self.url))).await.0
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        self.answer(self.http.post(self.api(path)).form(form)).await
    }

    pub(crate) async fn post_at(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        self.answer(self.http.post(format!("{}{path}", self.url)).form(form)).await
    }

    pub(crate) async fn send(&self, to: &str, body: &str) -> (u16, Value) {
        self.send_with(to, body, &[]).await
    }

    pub(crate) async fn send_with(&self, to: &str, body: &str, more: &[(&str, &str)]) -> (u16, Value) {
        let form = [&[("To", to), ("From", self.from.as_str()), ("Body", body)], more].concat();
        self.post("/Messages.json", &form).await
    }

    pub(crate) async fn answer(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.basic_auth(&self.user, Some(&self.secret)).send().await.unwrap();
        assert!(answer.headers().contains_key("twilio-request-id") && answer.headers().contains_key("date"));
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    pub(crate) async fn see(&self, to: &str, limit_millis: u64) -> Seen {
        let form = [("To", to), ("From", self.from.as_str()), ("Body", "hi")];
        let request = self.http.post(self.api("/Messages.json")).basic_auth(&self.user, Some(&self.secret)).form(&form);
        let broken = |e: reqwest::Error| if e.is_timeout() { Seen::Timeout } else { Seen::Broken };
        let answer = match request.timeout(Duration::from_millis(limit_millis)).send().await {
            Ok(answer) => answer,
            Err(e) => return broken(e),
        };
        let status = answer.status().as_u16();
        let text = match answer.text().await {
            Ok(text) => text,
            Err(e) => return broken(e),
        };
        match serde_json::from_str::<Value>(&text) {
            Ok(body) if status < 300 && body["status"] == "queued" => Seen::Answer(status),
            Ok(body) => Seen::Code(status, body["code"].as_u64().unwrap_or_default()),
            Err(_) => Seen::Text(status, text.leak()),
        }
    }

    /// Fetches a message until it has a status.
    pub(crate) async fn until(&self, sid: &str, status: &str) -> Value {
        let path = format!("/Messages/{sid}.json");
        for _ in 0..2000 {
            let (_, message) = self.get(&path).await;
            if message["status"] == status {
                return message;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the message never became {status}");
    }
}

/// A web server on loopback that keeps the callbacks that it received. At `/fails` it answers 500.
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: mpsc::UnboundedReceiver<ReceivedCallback>,
}

/// The signature and the parameters.
pub(crate) type ReceivedCallback = (String, Vec<(String, String)>);

impl Receiver {
    pub(crate) async fn start() -> Receiver {
        let (keep, received) = mpsc::unbounded_channel::<ReceivedCallback>();
        let receive = |status: StatusCode| {
            post(
                move |State(keep): State<mpsc::UnboundedSender<ReceivedCallback>>, headers: HeaderMap, body: String| async move {
                    let signature = headers["x-twilio-signature"].to_str().unwrap().to_owned();
                    keep.send((signature, url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()))
                        .unwrap();
                    status
                },
            )
        };
        let router = axum::Router::new()
            .route("/fails", receive(StatusCode::INTERNAL_SERVER_ERROR))
            .fallback(receive(StatusCode::NO_CONTENT))
            .with_state(keep);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver { url, received }
    }

    pub(crate) async fn next(&mut self) -> ReceivedCallback {
        tokio::time::timeout(Duration::from_secs(30), self.received.recv()).await.expect("a callback").unwrap()
    }

    pub(crate) async fn statuses(&mut self, count: usize) -> Vec<String> {
        let mut statuses = Vec::new();
        for _ in 0..count {
            let (_, params) = self.next().await;
            statuses.extend(params.into_iter().find(|(n, _)| n == "MessageStatus").map(|(_, v)| v));
        }
        statuses
    }
}

/// Twilio's signature, computed from the rule and not with the product's code.
pub(crate) fn signature_of(token: &str, url: &str, params: &[(String, String)]) -> String {
    let mut sorted = params.to_vec();
    sorted.sort();
    let text = sorted.iter().fold(url.to_owned(), |text, (name, value)| text + name + value);
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

pub(crate) async fn eventually<T>(find: impl Fn() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = find() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never happened");
}

#[track_caller]
pub(crate) fn assert_includes(whole: &Value, part: &Value) {
    for (name, value) in part.as_object().unwrap() {
        assert_eq!(&whole[name], value, "{name} of {whole}");
    }
}
