//! `smsotp token`: access to the REST API.

use clap::builder::PossibleValuesParser;
use serde::Serialize;

use super::{Call, given};
use crate::app::{OpenMode, os_caller};
use crate::clock::Timestamp;
use crate::engine::{NewToken, Whose};
use crate::error::{Class, Code, Error, Result};
use crate::output::{Item, Layout, List, Output, Render, Table, View};
use crate::token::{RATE_MAX, Scope, Scopes, Token};

/// Manage access tokens for the REST API of `serve`
///
/// A token is shown once, when it is created; the database keeps only its hash. With --user it speaks for that user; with
/// --service for any user, whom each request names.
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp token create --user ada --scope send,verify,test\n  \
    $ smsotp token create --service --name shop --scope send,verify --expires 90d --json\n  \
    $ smsotp token revoke 1")]
pub enum Verb {
    Create(Create),
    /// List the tokens, without the tokens themselves
    #[command(after_long_help = "Examples:\n  $ smsotp token list\n  $ smsotp token list --json")]
    List,
    Revoke(RevokeArgs),
}

/// Create a token and show it, once
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp token create --user ada --scope send,verify,test\n  \
    $ smsotp token create --service --name shop --scope send,verify --json\n  \
    $ smsotp token create --service --name prometheus --scope read --expires 365d")]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["user", "service"]))]
pub struct Create {
    /// The one user that it speaks for
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// It speaks for any user: for an application's server
    #[arg(long)]
    pub service: bool,
    /// What its bearer may do, separated by commas
    #[arg(long, value_name = "SCOPES", required = true, value_delimiter = ',', value_parser = scopes())]
    pub scope: Vec<String>,
    /// What to call it
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
    /// Until when: a date, RFC 3339, or a span from now [default: no end]
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// How many requests it may make in a second, of each server [default: 10 with --user, 200 with --service]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    pub rate: Option<u32>,
    /// Whether its bearer says that codes were entered, by verifying them here: `unknown` where it never does
    #[arg(long, value_name = "WHAT", value_parser = ["reported", "unknown"], default_value = "reported")]
    pub conversion: String,
}

/// Revoke a token for good
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp token revoke 1")]
pub struct RevokeArgs {
    /// The token's id, as `token list` shows it
    pub id: i64,
}

/// One token.
#[derive(Clone, Debug, Serialize)]
pub struct TokenRow {
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// The user that it speaks for; none for a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    pub service: bool,
    pub scopes: Scopes,
    /// How many requests it may make in a second, of each server.
    pub rate: u32,
    /// `reported`, or `unknown` where its bearer never says whether a code was entered.
    pub conversion: &'static str,
    /// `live`, `expired` or `revoked`.
    pub state: &'static str,
    pub created_at: Timestamp,
    pub created_by: String,
    /// From then on it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// A new token, with the token itself.
#[derive(Serialize)]
struct Created {
    /// What requests send as `Authorization: Bearer ...`.
    token: String,
    #[serde(flatten)]
    row: TokenRow,
}

impl Item for TokenRow {
    const KIND: &'static str = "token";
    const COLUMNS: &'static [&'static str] = &["id", "name", "for", "scopes", "rate", "state", "created", "expires"];
    const SPARE: &'static [&'static str] = &["created", "rate", "expires"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![
            self.id.clone(),
            view.text_if(Some(&self.name)),
            self.user.clone().unwrap_or_else(|| "(service)".to_owned()),
            self.scopes.to_string(),
            format!("{}/s", self.rate),
            self.state.to_owned(),
            view.time(self.created_at),
            view.time_if(self.expires_at),
        ]
    }
}

impl Render for Created {
    const KIND: &'static str = "token_created";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![("id", self.row.id.clone()), ("token", self.token.clone())])
    }

    fn layout(&self, view: &View) -> Layout {
        let whom = self.row.user.as_deref().unwrap_or("any user, named in each request");
        Layout::new()
            .text(&self.token)
            .field("id", &self.row.id)
            .field("speaks for", whom)
            .field("scopes", self.row.scopes.to_string())
            .field("rate", format!("{} requests a second", self.row.rate))
            .field("conversion", self.row.conversion)
            .field_if("expires", self.row.expires_at.map(|at| view.time(at)))
    }
}

impl Render for TokenRow {
    const KIND: &'static str = "token_revoked";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![("id", self.id.clone()), ("state", self.state.to_owned())])
    }

    fn layout(&self, _: &View) -> Layout {
        Layout::new().text(format!("Token {} is revoked: it is refused from now on.", self.id))
    }
}

fn scopes() -> PossibleValuesParser {
    PossibleValuesParser::new(Scope::ALL.iter().map(|scope| scope.as_str()))
}

/// Creates, lists or revokes.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::Create(args) => create(args, call, out),
        Verb::List => list(call, out),
        Verb::Revoke(args) => revoke(&args, call, out),
    }
}

fn create(args: Create, call: &Call, out: &mut Output) -> Result<Class> {
    let now = out.view().now;
    let whose = match &args.user {
        Some(user) => Whose::User(given::user(Some(user))?),
        None => Whose::Service,
    };
    let new = NewToken {
        name: args.name,
        scopes: Scopes::parse(&args.scope.join(","))?,
        whose,
        expires_at: args
            .expires
            .as_deref()
            .map(|when| given::moment("--expires", when, |span| now + span))
            .transpose()?,
        rate: args.rate,
        conversion_unknown: args.conversion == "unknown",
    };
    let app = call.open(OpenMode::MayCreate, out)?;
    let (token, secret) = app.run(app.engine().create_token(&os_caller(), new))?;
    out.show(&Created { token: secret.expose().to_owned(), row: TokenRow::of(&token, now) })?;
    out.inform("This is the only time it is shown; keep it like a password.");
    Ok(Class::Done)
}

fn list(call: &Call, out: &mut Output) -> Result<Class> {
    let app = call.open(OpenMode::Reading, out)?;
    let now = out.view().now;
    let rows = app.run(app.engine().tokens())?.iter().map(|token| TokenRow::of(token, now)).collect();
    out.list(&List::whole(rows, "No tokens."))
}

fn revoke(args: &RevokeArgs, call: &Call, out: &mut Output) -> Result<Class> {
    let app = call.open(OpenMode::Existing, out)?;
    let revoked = app.run(app.engine().revoke_token(&os_caller(), args.id))?;
    let token = revoked.ok_or_else(|| {
        Error::new(Code::NOT_FOUND, format!("there is no token {}", args.id)).hint("`smsotp token list` shows them.")
    })?;
    out.show(&TokenRow::of(&token, out.view().now))
}

impl TokenRow {
    fn of(token: &Token, now: Timestamp) -> TokenRow {
        TokenRow {
            id: token.id.to_string(),
            name: token.name.clone(),
            user: token.user.as_ref().map(|user| user.as_str().to_owned()),
            service: token.service,
            scopes: token.scopes,
            rate: token.rate,
            conversion: if token.conversion_unknown { "unknown" } else { "reported" },
            state: token.state(now),
            created_at: token.created_at,
            created_by: token.created_by.clone(),
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        }
    }
}
