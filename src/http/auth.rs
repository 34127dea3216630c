//! Bearer tokens: who asks, for whom, and what they may.

use axum::http::{HeaderMap, header};

use super::problem::Problem;
use super::{Shared, client::Client};
use crate::audit::Actor;
use crate::engine::Caller;
use crate::error::Code;
use crate::otp::User;
use crate::token::{Scope, Token};

/// What a request says about its user, its client and its circumstances.
#[derive(Default)]
pub(super) struct Claims<'a> {
    pub user: Option<&'a str>,
    pub client_ip: Option<&'a str>,
    pub known: Option<bool>,
    pub challenge: Option<&'a str>,
}

/// The bearer of a request, if the token is accepted and allows this.
pub(super) async fn bearer(shared: &Shared, headers: &HeaderMap, scope: Scope) -> Result<Token, Problem> {
    let token = any_bearer(shared, headers).await?;
    if token.scopes.allows(scope) {
        return Ok(token);
    }
    Err(Problem::new(Code::FORBIDDEN, format!("the token does not have the scope {}", scope.as_str())))
}

async fn any_bearer(shared: &Shared, headers: &HeaderMap) -> Result<Token, Problem> {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (shown.next(), shown.next()) else { return Err(Problem::unauthorized()) };
    let value = value.to_str().map_err(|_| Problem::unauthorized())?;
    let (kind, token) = value.split_once(' ').ok_or_else(Problem::unauthorized)?;
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(Problem::unauthorized());
    }
    shared.engine.bearer(token.trim()).await?.ok_or_else(Problem::unauthorized)
}

/// For whom the bearer speaks, and as which caller the operation is done.
///
/// A token of a user speaks for that user alone. A service names the user, and may vouch for what it knows.
pub(super) fn on_behalf(token: &Token, claims: &Claims<'_>, client: Client) -> Result<(User, Caller), Problem> {
    let actor = Actor::Token(token.id);
    if let Some(own) = &token.user {
        if claims.user.is_some_and(|user| user != own.as_str()) {
            return Err(Problem::new(Code::FORBIDDEN, "the token speaks for another user"));
        }
        if claims.client_ip.is_some() || claims.known.is_some() || claims.challenge.is_some() {
            return Err(Problem::new(Code::FORBIDDEN, "client_ip, known and challenge are for tokens of services"));
        }
        return Ok((own.clone(), Caller { actor, ip: client.ip, known: false }));
    }
    let user = match claims.user {
        Some(user) if !user.is_empty() => User::parse(user).map_err(Problem::from)?,
        _ => return Err(Problem::new(Code::VALUE_INVALID, "user is missing: the token is a service's")),
    };
    let ip = claims
        .client_ip
        .map(|ip| ip.parse().map_err(|_| Problem::new(Code::VALUE_INVALID, "client_ip is not an IP address")));
    if claims.challenge.is_some_and(|challenge| challenge != "passed") {
        return Err(Problem::new(Code::VALUE_INVALID, "challenge can only be \"passed\""));
    }
    Ok((user, Caller { actor, ip: ip.transpose()?, known: claims.known == Some(true) }))
}
