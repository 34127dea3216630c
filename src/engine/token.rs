//! Access tokens: created, revoked, and found again by what their bearer shows. The token itself is shown once and never kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::context::{Caller, Context};
use crate::abuse::CEILINGS_HINT;
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::keys::{IndexKey, fill_random};
use crate::otp::User;
use crate::store::{Change, Decision, Needs};
use crate::token::{RATE_MAX, RATE_OF_SERVICE, RATE_OF_USER, Scopes, Token};

/// What every token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "smsotp_";

/// The longest name, in characters.
const NAME_MAX: usize = 100;

/// How long a shown token may be; ours has 50 characters.
const SHOWN_MAX: usize = 128;

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What to call it.
    pub name: String,
    /// What its bearer may do.
    pub scopes: Scopes,
    /// For whom.
    pub whose: Whose,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// How many requests it may make in a second, 1 to [`RATE_MAX`]; `None`: [`RATE_OF_USER`] or [`RATE_OF_SERVICE`].
    pub rate: Option<u32>,
    /// Its bearer never says whether a code was entered.
    pub conversion_unknown: bool,
}

/// For whom a token speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// For one user alone.
    User(User),
    /// For a service, which names the user in each request.
    Service,
}

/// A token as its bearer shows it. It cannot be read from the database again.
pub struct Secret(SecretString);

impl Secret {
    /// The token, to be shown once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Makes a token of 256 random bits.
pub(super) async fn create(ctx: &Context, caller: &Caller, new: NewToken) -> Result<(Token, Secret)> {
    if let Some(why) = ctx.policy.guard.conversion_unknown_needs().filter(|_| new.conversion_unknown) {
        return Err(
            Error::new(Code::CONFIG_INVALID, format!("a token whose conversion is unknown {why}")).hint(CEILINGS_HINT)
        );
    }
    if new.name.chars().count() > NAME_MAX || new.name.chars().any(char::is_control) {
        return Err(Error::new(
            Code::VALUE_INVALID,
            format!("a token's name has at most {NAME_MAX} visible characters"),
        ));
    }
    if new.whose == Whose::User(User::default()) {
        return Err(Error::new(Code::VALUE_INVALID, "the user of a token is empty")
            .hint("Name the user with --user, or make a token for a service with --service."));
    }
    let rate = new.rate.unwrap_or(match new.whose {
        Whose::User(_) => RATE_OF_USER,
        Whose::Service => RATE_OF_SERVICE,
    });
    if !(1..=RATE_MAX).contains(&rate) {
        let what = format!("a token may make 1 to {RATE_MAX} requests in a second, and not {rate}");
        return Err(Error::new(Code::VALUE_INVALID, what));
    }
    let mut bytes = Zeroizing::new([0u8; 32]);
    fill_random(&mut *bytes)?;
    let text = Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(*bytes)));
    let index = ctx.store.operations.keys().index.clone();
    let (tag, actor) = (tag(&index, &text), caller.actor.clone());
    let needs = Needs { ids: true, ..Needs::default() };
    let token = ctx
        .operate(needs, move |facts| {
            if new.expires_at.is_some_and(|end| end <= facts.now) {
                return Err(Error::new(Code::VALUE_INVALID, "the token would have expired already")
                    .hint("Give a moment ahead, like --expires 90d."));
            }
            let (user, service) = match &new.whose {
                Whose::User(user) => (Some(user.clone()), false),
                Whose::Service => (None, true),
            };
            let mut token = Token {
                id: facts.next_token_id,
                name: new.name.clone(),
                tag,
                scopes: new.scopes,
                rate,
                conversion_unknown: new.conversion_unknown,
                user,
                service,
                created_at: facts.now,
                expires_at: new.expires_at,
                revoked_at: None,
                created_by: actor.to_string(),
                seal: [0; 32],
            };
            token.seal = seal(&index, &token);
            let details = Details::new()
                .number("token", token.id)
                .note("scopes", &token.scopes.to_string())
                .flag("service", service)
                .number("rate", i64::from(rate))
                .flag("conversion_unknown", new.conversion_unknown);
            let event = Event::new(facts.now, actor.clone(), "token.create", "done").details(details);
            Ok(Decision::Write { changes: vec![Change::NewToken(token.clone())], event, answer: token })
        })
        .await?;
    Ok((token, Secret(SecretString::from(text.as_str()))))
}

/// Revokes a token for good. `None`: there is none with this id. A token that was revoked before stays as it is.
pub(super) async fn revoke(ctx: &Context, caller: &Caller, id: i64) -> Result<Option<Token>> {
    let needs = Needs { token: Some(id), ..Needs::default() };
    let (actor, index) = (caller.actor.clone(), ctx.store.operations.keys().index.clone());
    ctx.operate(needs, move |facts| {
        let Some(mut token) = facts.token.clone() else { return Ok(Decision::Nothing(None)) };
        if token.revoked_at.is_some() {
            return Ok(Decision::Nothing(Some(token)));
        }
        // What somebody changed by hand is not sealed: it opens nothing, revoked or not.
        let sealed = is_sealed(&index, &token);
        token.revoked_at = Some(facts.now);
        if sealed {
            token.seal = seal(&index, &token);
        }
        let details = Details::new().number("token", id);
        let event = Event::new(facts.now, actor.clone(), "token.revoke", "done").details(details);
        Ok(Decision::Write { changes: vec![Change::PutToken(token.clone())], event, answer: Some(token) })
    })
    .await
}

/// All tokens, the newest first.
pub(super) async fn list(ctx: &Context) -> Result<Vec<Token>> {
    ctx.reads().tokens().await
}

/// Every token that somebody inserted or changed by hand, in words: it opens nothing.
pub(super) async fn forged(ctx: &Context) -> Result<Vec<String>> {
    let index = &ctx.store.operations.keys().index;
    let tokens = ctx.reads().tokens().await?;
    let forged = tokens.iter().filter(|token| !is_sealed(index, token));
    Ok(forged.map(|token| format!("token {} was inserted or changed by hand: it opens nothing", token.id)).collect())
}

/// The token that a bearer shows, if it is accepted now, with the time of now. What is shown is turned into a tag before it is looked for, so
/// the time of the look-up reveals nothing about tokens that exist.
pub(super) async fn bearer(ctx: &Context, shown: &str) -> Result<Option<(Token, Timestamp)>> {
    if shown.len() > SHOWN_MAX || !shown.starts_with(PREFIX) {
        return Ok(None);
    }
    let index = &ctx.store.operations.keys().index;
    let Some(token) = ctx.reads().token(tag(index, shown)).await? else { return Ok(None) };
    let now = ctx.reads().now().await?;
    Ok((is_sealed(index, &token) && token.is_live(now)).then_some((token, now)))
}

fn tag(index: &IndexKey, token: &str) -> [u8; 32] {
    index.tag("token", token.as_bytes())
}

fn seal(index: &IndexKey, token: &Token) -> [u8; 32] {
    index.tag("token-seal", &token.sealed_value())
}

fn is_sealed(index: &IndexKey, token: &Token) -> bool {
    index.is_tag_of(&token.seal, "token-seal", &token.sealed_value())
}
