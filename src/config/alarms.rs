//! Where alarms go: the webhook, the secret that signs what it gets, and the shape of that.

use secrecy::ExposeSecret;
use url::Url;

use super::given::GivenValues;
use super::source::invalid;
use super::twilio::secret;
use crate::alarm::webhook::{SECRET_LEAST, Template, Webhook, refused};
use crate::error::Result;

/// Reads and checks them; `None`: no webhook is set.
pub(super) fn webhook(values: &GivenValues, app_name: &str, warnings: &mut Vec<String>) -> Result<Option<Webhook>> {
    let template = values.get("SMSOTP_ALARM_TEMPLATE").map(|given| {
        let known: Vec<&str> = Template::ALL.iter().map(|template| template.as_str()).collect();
        let unknown = |_| given.invalid("is no template").hint(format!("There are {}.", known.join(", ")));
        given.value.parse::<Template>().map_err(unknown)
    });
    let template = template.transpose()?.unwrap_or_default();
    let secret = secret(values, "SMSOTP_ALARM_SECRET", "SMSOTP_ALARM_SECRET_FILE", warnings)?.map(|given| given.secret);
    let Some(given) = values.get("SMSOTP_ALARM_WEBHOOK") else { return Ok(None) };
    let url: Url = given.value.parse().map_err(|_| given.invalid("is no URL"))?;
    if let Some(why) = refused(&url) {
        return Err(given.invalid(why).hint("Give an https:// address, or http:// on 127.0.0.1."));
    }
    if secret.is_none() && template == Template::Json {
        return Err(given
            .invalid("has no secret, so whoever receives alarms could not tell real ones from false ones")
            .hint("Set SMSOTP_ALARM_SECRET, for example to what `openssl rand -base64 32` prints; or, for a chat, alarm_template."));
    }
    if secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < SECRET_LEAST) {
        return Err(invalid("SMSOTP_ALARM_SECRET", &format!("is shorter than {SECRET_LEAST} characters"))
            .hint("Take what `openssl rand -base64 32` prints."));
    }
    Ok(Some(Webhook { url, secret, template, app_name: app_name.to_owned() }))
}
