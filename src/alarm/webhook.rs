//! What a webhook is sent: the body in the shape that it takes, and the signature.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::Sha256;
use url::{Host, Url};

use super::Alarm;
use crate::clock::Timestamp;

/// The header that holds [`Webhook::signature`].
pub const SIGNATURE: &str = "smsotp-signature";

/// Discord takes at most so many characters.
const CONTENT_MAX: usize = 2000;

/// Where alarms go.
#[derive(Clone)]
pub struct Webhook {
    /// https, or http on this machine. A chat's address is a secret: whoever knows it can write there.
    pub url: Url,
    /// What the body is signed with.
    pub secret: Option<SecretString>,
    /// The shape of the body.
    pub template: Template,
    /// The name that a chat shows.
    pub app_name: String,
}

/// The shape of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Template {
    /// The alarm as JSON, for a program.
    #[default]
    Json,
    /// One text, for Slack and what is compatible with it.
    Slack,
    /// One text, for Discord.
    Discord,
    /// A card, for a workflow of Microsoft Teams.
    Teams,
}

impl Template {
    /// All of them.
    pub const ALL: &[Template] = <Template as strum::VariantArray>::VARIANTS;

    /// The word in the settings.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Whether an address is neither https nor http on this machine: what an alarm says is nobody else's business.
pub fn refused(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        None => return true,
    };
    !(url.scheme() == "https" || url.scheme() == "http" && loopback)
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({} for {})", self.template.as_str(), self.place())
    }
}

impl Webhook {
    /// Where it goes, without what may be secret in the address.
    pub fn place(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The body for an alarm. The same alarm has the same id in each attempt.
    pub fn body(&self, alarm: &Alarm, now: Timestamp) -> String {
        let text = alarm.text(&self.app_name);
        match self.template {
            Template::Json => {
                json!({ "schema_version": 1, "kind": "alarm", "app": self.app_name, "alarm": alarm.facts(now) })
            }
            // `&`, `<` and `>` begin links and mentions there.
            Template::Slack => {
                json!({ "text": text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;") })
            }
            Template::Discord => json!({
                "content": text.chars().take(CONTENT_MAX).collect::<String>(),
                "allowed_mentions": { "parse": [] },
            }),
            Template::Teams => json!({
                "type": "message",
                "attachments": [{
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "content": {
                        "type": "AdaptiveCard",
                        "version": "1.4",
                        "body": text.lines().map(|line| json!({ "type": "TextBlock", "text": line, "wrap": true })).collect::<Vec<_>>(),
                    },
                }],
            }),
        }
        .to_string()
    }

    /// `t=SECONDS,v1=HEX`: the time of the attempt, and HMAC-SHA-256 with the secret over `SECONDS.BODY`. `None` without a
    /// secret.
    pub fn signature(&self, body: &str, now: Timestamp) -> Option<String> {
        let seconds = now.millis().div_euclid(1000);
        let secret = self.secret.as_ref()?.expose_secret();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        mac.update(format!("{seconds}.{body}").as_bytes());
        Some(format!("t={seconds},v1={}", base16ct::lower::encode_string(&mac.finalize().into_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::raised;
    use super::*;
    use crate::alarm::Raised;

    const NOW: Timestamp = Timestamp(1_800_000_000_999);

    fn webhook(template: Template) -> Webhook {
        let url = "https://hooks.example.com/services/T0/B0/secret".parse().unwrap();
        let secret = Some(SecretString::from("0123456789abcdef"));
        Webhook { url, secret, template, app_name: "ACME".to_owned() }
    }

    fn alarm() -> Alarm {
        Alarm { id: 17, ..Alarm::new(&raised(), NOW) }
    }

    #[test]
    fn the_signature_covers_time_and_body() {
        let hook = webhook(Template::Json);
        let signature = hook.signature("{}", NOW).unwrap();
        // printf '1800000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let known = "1313ae9c874eb1a0868ad0b65f841c4243c23fdcfad69a3ada227726fad9960e";
        assert_eq!(signature, format!("t=1800000000,v1={known}"));
        assert_ne!(hook.signature("{ }", NOW).unwrap(), signature);
        assert_ne!(hook.signature("{}", Timestamp(NOW.millis() + 1)).unwrap(), signature);
        assert_eq!(Webhook { secret: None, ..hook }.signature("{}", NOW), None);
    }

    #[test]
    fn a_chat_gets_text_that_mentions_nobody_and_is_short_enough() {
        let words = format!("<!channel> & @everyone {}", "x".repeat(3000));
        let alarm = Alarm { id: 17, ..Alarm::new(&Raised { words, ..raised() }, NOW) };
        let body = |template| serde_json::from_str::<serde_json::Value>(&webhook(template).body(&alarm, NOW)).unwrap();

        let slack = body(Template::Slack)["text"].as_str().unwrap().to_owned();
        assert!(slack.contains("&lt;!channel&gt; &amp; @everyone") && !slack.contains('<'), "{slack}");
        let discord = body(Template::Discord);
        assert!(discord["content"].as_str().unwrap().chars().count() <= CONTENT_MAX);
        assert_eq!(discord["allowed_mentions"]["parse"], json!([]));
        let teams = body(Template::Teams);
        assert_eq!(teams["attachments"][0]["content"]["body"][0]["text"], "ACME: alarm 17, possible SMS pumping, TJ");
    }

    #[test]
    fn json_has_the_whole_alarm_under_a_stable_id() {
        let body: serde_json::Value = serde_json::from_str(&webhook(Template::Json).body(&alarm(), NOW)).unwrap();
        assert_eq!((&body["kind"], &body["app"]), (&json!("alarm"), &json!("ACME")));
        assert_eq!(body["alarm"]["id"], "17");
        assert_eq!(body["alarm"]["alarm"], "detector");
        assert_eq!(body["alarm"]["country"], "TJ");
        assert_eq!(body["alarm"]["cost_usd"], 5.6);
        assert_eq!(body["alarm"]["undo"], "smsotp block allow TJ --for 2h --reason TEXT");
    }

    #[test]
    fn only_https_and_this_machine_are_called() {
        for good in ["https://example.com/x", "http://127.0.0.1:9/x", "http://localhost:9", "http://[::1]:9/"] {
            assert!(!refused(&good.parse().unwrap()), "{good}");
        }
        for bad in
            ["http://example.com/", "http://localhost.example.com/", "ftp://127.0.0.1/", "http://10.0.0.1/", "data:x"]
        {
            assert!(refused(&bad.parse().unwrap()), "{bad}");
        }
    }

    #[test]
    fn neither_secret_nor_path_is_shown() {
        let hook = webhook(Template::Slack);
        assert_eq!(hook.place(), "hooks.example.com");
        assert_eq!(format!("{hook:?}"), "Webhook(slack for hooks.example.com)");
    }
}
