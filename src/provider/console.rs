//! Prints the message instead of sending it: for trying smsotp out, and for development without an account.

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::{Delivery, Outgoing, Provider, RemoteMessage};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::message::State;
use crate::phone::Phone;

/// Shows each message to the person who started the program. Showing code and number is its purpose.
pub struct Console {
    from: String,
    show: Box<dyn Fn(&str) + Send + Sync>,
}

impl Console {
    /// A console that shows messages as coming from `from` and hands each, as a block of lines, to `show`.
    pub fn new(from: impl Into<String>, show: impl Fn(&str) + Send + Sync + 'static) -> Console {
        Console { from: from.into(), show: Box::new(show) }
    }
}

#[async_trait]
impl Provider for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    async fn send(&self, message: &Outgoing) -> Delivery {
        let body = visible(message.body.expose_secret());
        let indented: Vec<String> = body.lines().map(|line| format!("  {line}")).collect();
        let from = visible(&self.from);
        (self.show)(&format!("To:   {}\nFrom: {from}\n\n{}\n", message.to.as_str(), indented.join("\n")));
        Delivery::Accepted { provider_id: format!("console-{}", message.message_id), state: State::Accepted }
    }

    async fn fetch(&self, provider_id: &str) -> Result<Option<RemoteMessage>> {
        Ok(provider_id.strip_prefix("console-").and_then(|id| id.parse::<i64>().ok()).map(|_| RemoteMessage {
            provider_id: provider_id.to_owned(),
            state: State::Delivered,
            error_code: None,
            price: None,
            segments: None,
            body: SecretString::from(""),
            created_at: None,
        }))
    }

    async fn find(&self, _to: &Phone, _since: Timestamp) -> Result<Option<Vec<RemoteMessage>>> {
        Ok(None)
    }

    fn is_local(&self) -> bool {
        true
    }
}

/// The text keeps its lines; other control characters become visible, so that nothing controls the terminal.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' => '\n',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn a_message_is_shown_whole_and_counts_as_delivered() {
        let shown = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&shown);
        let console = Console::new("ACME", move |text| sink.lock().unwrap().push_str(text));
        let message = Outgoing {
            message_id: 7,
            to: Phone::from_e164("+447400123456").unwrap(),
            body: "Your ACME code is 123456.\n@example.com #123456\u{1b}[2J".into(),
            validity_seconds: Some(600),
        };
        let delivery = console.send(&message).await;
        assert_eq!(delivery, Delivery::Accepted { provider_id: "console-7".to_owned(), state: State::Accepted });
        assert_eq!(
            *shown.lock().unwrap(),
            "To:   +447400123456\nFrom: ACME\n\n  Your ACME code is 123456.\n  @example.com #123456\u{fffd}[2J\n"
        );
        assert_eq!(console.fetch("console-7").await.unwrap().unwrap().state, State::Delivered);
        assert!(console.fetch("SM123").await.unwrap().is_none());
        assert!(console.find(&message.to, Timestamp(0)).await.unwrap().is_none());
        assert!(console.is_local());
    }
}
