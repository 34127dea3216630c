//! Bearer tokens: who asks, for whom, and what they may do.

use axum::http::{HeaderMap, header};

use super::ServerState;
use super::client::Client;
use super::problem::Problem;
use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::engine::Caller;
use crate::error::Code;
use crate::otp::User;
use crate::token::{Scope, Token};

/// What a request says about the person whom it is about.
pub(super) struct Claims<'a> {
    pub user: Option<&'a str>,
    pub client_ip: Option<&'a str>,
    pub known: Option<bool>,
}

/// The bearer of a request, if the token is accepted and allows this.
pub(super) async fn bearer(state: &ServerState, headers: &HeaderMap, scope: Scope) -> Result<Token, Problem> {
    let token = any_bearer(state, headers).await?;
    if token.scopes.allows(scope) {
        return Ok(token);
    }
    Err(Problem::new(Code::FORBIDDEN, format!("the token does not have the scope {}", scope.as_str())))
}

async fn any_bearer(state: &ServerState, headers: &HeaderMap) -> Result<Token, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Err(Problem::unauthorized()) };
    let value = value.to_str().map_err(|_| Problem::unauthorized())?;
    let (kind, token) = value.split_once(' ').ok_or_else(Problem::unauthorized)?;
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(Problem::unauthorized());
    }
    let (token, now) = state.engine.bearer(token.trim()).await?.ok_or_else(Problem::unauthorized)?;
    let now = now.since(Timestamp::default());
    let over = |wait| Problem::too_often(format!("this token may ask {} times a second", token.rate), wait);
    state.bearers.take(token.id, token.rate, now).map_err(over)?;
    Ok(token)
}

/// The user whom a request is about, and the caller of the operation.
///
/// A token of a user speaks for that user alone. A service names the user, and may say what it knows of the person.
pub(super) fn on_behalf(token: &Token, claims: &Claims<'_>, client: Client) -> Result<(User, Caller), Problem> {
    let actor = Actor::Token(token.id);
    if let Some(own) = &token.user {
        if claims.user.map(User::parse).transpose()?.is_some_and(|user| user != *own) {
            return Err(Problem::new(Code::FORBIDDEN, "the token speaks for another user"));
        }
        if claims.client_ip.is_some() || claims.known.is_some() {
            return Err(Problem::new(Code::FORBIDDEN, "client_ip and known are for tokens of services"));
        }
        let conversion_unknown = token.conversion_unknown;
        let caller = Caller { ip: client.ip, user_token: Some(token.id), conversion_unknown, ..Caller::new(actor) };
        return Ok((own.clone(), caller));
    }
    let user = match claims.user.map(User::parse).transpose()? {
        Some(user) if !user.is_empty() => user,
        _ => return Err(Problem::new(Code::VALUE_INVALID, "user is missing: the token is a service's")),
    };
    let ip = claims
        .client_ip
        .map(|ip| ip.parse().map_err(|_| Problem::new(Code::VALUE_INVALID, "client_ip is not an IP address")));
    let (ip, known, conversion_unknown) = (ip.transpose()?, claims.known == Some(true), token.conversion_unknown);
    Ok((user, Caller { ip, known, conversion_unknown, ..Caller::new(actor) }))
}
