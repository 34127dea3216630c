//! The operations: each is one atomic step in the store, decided by the rules. This file is their table of contents; what
//! the command line and the REST API do, they do through here.

mod admission;
mod advance;
mod alarms;
mod audit_log;
mod balance;
mod context;
mod country;
mod deliver;
mod dispatch;
mod follow;
mod forget;
mod funnel;
mod guard;
mod idempotency;
mod inbound;
mod keys;
mod limit_status;
mod lists;
mod outcomes;
mod prices;
mod proven;
mod purge;
mod refresh;
mod request;
mod reserve;
mod reserve_message;
mod reset;
mod revoke;
mod samples;
mod send;
mod send_message;
mod sent;
mod settle;
mod show;
mod test_number;
mod text;
mod token;
mod verify;
mod worker;

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use crate::alarm::Alarm;
pub use crate::delivery::News;
pub use crate::store::export::{Transfer, Transferred};
pub use crate::store::{Filter, Page, Status, Subject, SubjectId, TestNumber};
pub use alarms::{Acked, Announced};
pub use audit_log::{Anchor, AuditFilter, AuditPage, AuditPlace, AuditRead, Audited};
pub use context::{Caller, Step, Waited};
pub use country::{BlockState, CountryState, RuleRefusal};
pub use dispatch::{Dispatch, Dispatched};
pub use forget::{Erased, Forget, Kept};
pub use inbound::{Inbound, InboundAnswer, InboundText};
pub use keys::KeyUse;
pub use limit_status::{LimitQuery, LimitStatus, limits_of_nobody};
pub use lists::{AddEntry, AddedEntry, OptedOut};
pub use prices::PricesRefreshed;
pub use proven::Proven;
pub use purge::{Purge, PurgeReport};
pub use request::{Content, Destination, Override, SendMessage, SendOtp};
pub use reset::{Forgotten, Reset};
pub use revoke::{Canceled, Revoke, Revoked, VERIFIED_OTHERWISE};
pub use samples::{Of, Sample, Samples, samples};
pub use send_message::{SEGMENTS_MAX, TEXT_MAX, check_booking, measure_message};
pub use sent::{Refusal, SendAnswer, Sent, SentMessage};
pub use settle::{Reported, StatusReport};
pub use show::{Listing, Timeline, TimelineStep, Wanted};
pub use test_number::AddTestNumber;
pub use text::wordings_too_long;
pub use token::{NewToken, Secret, Whose};
pub use verify::{Verdict, VerifyAnswer, VerifyOtp};
pub use worker::{Work, Worked};

use crate::abuse::Mode;
use crate::audit::Details;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::keys::Keyring;
use crate::lists::{ListEntry, Listed, Side};
use crate::message::Message;
use crate::money::{Money, Prices};
use crate::notify::Notify;
use crate::otp::Otp;
use crate::phone::Phone;
use crate::policy::Policy;
use crate::provider::Provider;
use crate::purpose::Purpose;
use crate::report::{Only, Report};
use crate::risk::History;
use crate::store::{Decision, Needs, Read, Store};
use crate::token::Token;
use context::{Context, KnownPrices};

/// The operations with all that they need: a store, a provider, the keys and the settings.
///
/// Cheap to clone; every clone works on the same database. Every operation may also fail with `STORE_*`; what else it may
/// fail with stands at each.
#[derive(Clone)]
pub struct Engine {
    context: Context,
}

/// Putting an engine together.
impl Engine {
    /// An engine without a provider: it does everything but send.
    pub fn new(store: impl Into<Store>, keyring: Arc<Keyring>, policy: Arc<Policy>) -> Engine {
        Engine {
            context: Context {
                store: store.into(),
                provider: None,
                notify: None,
                keyring,
                policy,
                on_step: None,
                on_wait: None,
                prices: KnownPrices::default(),
                test_numbers: true,
                poll_after: None,
            },
        }
    }

    /// Gives it a provider.
    #[must_use]
    pub fn with_provider(mut self, provider: Arc<dyn Provider>) -> Engine {
        if provider.costs_nothing() && self.context.policy.guard.mode.is_none() {
            Arc::make_mut(&mut self.context.policy).guard.mode = Some(Mode::Watch);
        }
        self.context.provider = Some(provider);
        self
    }

    /// Has alarms delivered.
    #[must_use]
    pub fn notifying(mut self, notify: Arc<dyn Notify>) -> Engine {
        self.context.notify = Some(notify);
        self
    }

    /// Calls `on_step` at every step of a send, before the next one begins.
    #[must_use]
    pub fn on_step(mut self, on_step: impl Fn(Step) + Send + Sync + 'static) -> Engine {
        self.context.on_step = Some(Arc::new(on_step));
        self
    }

    /// Calls `on_wait` with how long stores and providers were waited for.
    #[must_use]
    pub fn on_wait(mut self, on_wait: impl Fn(Waited, Duration) + Send + Sync + 'static) -> Engine {
        self.context.on_wait = Some(Arc::new(on_wait));
        self
    }

    /// Treats declared test numbers as any other: their fixed codes open nothing here.
    #[must_use]
    pub fn without_test_numbers(mut self) -> Engine {
        self.context.test_numbers = false;
        self
    }

    /// Has `dispatch` and the worker ask the provider what became of accepted messages, first so long after they were accepted.
    /// For providers that do not call back, and against lost callbacks.
    #[must_use]
    pub fn polling(mut self, after: Duration) -> Engine {
        self.context.poll_after = Some(after);
        self
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.context.store
    }

    /// The part of the store that answers questions.
    pub fn reads(&self) -> &dyn Read {
        self.context.reads()
    }

    /// The settings.
    pub fn policy(&self) -> &Policy {
        &self.context.policy
    }

    /// True where nothing that is sent leaves this machine: the console provider.
    pub fn is_local(&self) -> bool {
        self.context.provider.as_ref().is_some_and(|provider| provider.is_local())
    }

    /// What an unknown purpose is answered.
    pub fn unknown_purpose(&self, purpose: &Purpose) -> Error {
        self.context.unknown_purpose(purpose)
    }
}

/// Codes: sent, verified, revoked.
impl Engine {
    /// Sends a code: a new one, or the live one again.
    ///
    /// # Errors
    /// `TOO_MANY_SEGMENTS`, `PURPOSE_UNKNOWN`, `PHONE_INVALID`, `NO_PROVIDER`, `IN_PROGRESS`, `IDEMPOTENCY_MISMATCH`,
    /// `KEY_INVALID`, `CLOCK_WRONG`. After an error of the store while settling, the message stays `sending` and `dispatch`
    /// finds out what became of it.
    pub async fn send(&self, caller: &Caller, request: SendOtp) -> Result<SendAnswer> {
        send::send(&self.context, caller, request).await
    }

    /// Verifies a code: see [`Verdict`].
    ///
    /// # Errors
    /// `PURPOSE_UNKNOWN`, `CODE_INVALID`, `CLOCK_WRONG`, `KEY_INVALID` where the key of a live otp is missing; with a key
    /// `VALUE_INVALID`, `IDEMPOTENCY_MISMATCH`.
    pub async fn verify(&self, caller: &Caller, request: VerifyOtp) -> Result<VerifyAnswer> {
        verify::verify(&self.context, caller, request).await
    }

    /// Revokes what is live, and what waits to be sent for it. Answers what was revoked: nothing where nothing was live.
    ///
    /// # Errors
    /// `CLOCK_WRONG`.
    pub async fn revoke(&self, caller: &Caller, what: &Revoke, reason: &str) -> Result<Vec<Revoked>> {
        revoke::revoke(&self.context, caller, what, reason).await
    }

    /// One page of otps.
    pub async fn list(&self, filter: &Filter) -> Result<Listing> {
        show::list(&self.context, filter).await
    }

    /// One page of messages: by their own states ([`Filter::deliveries`]; [`Filter::states`] does not count) and times, by their phone,
    /// and by the user and purpose of their otps.
    pub async fn list_messages(&self, filter: &Filter) -> Result<Page<Message>> {
        show::list_messages(&self.context, filter).await
    }

    /// The otp that is meant, if it is there.
    pub async fn find(&self, wanted: &Wanted) -> Result<Option<Otp>> {
        show::find(&self.context, wanted).await
    }

    /// The timeline of an otp: its own operations, and the refusals that its phone met while it lived.
    pub async fn timeline(&self, otp: Otp) -> Result<Timeline> {
        show::timeline(&self.context, otp).await
    }
}

/// Messages: those without a code, and all of them after they were handed over.
impl Engine {
    /// Sends a message without a code.
    ///
    /// # Errors
    /// `VALUE_INVALID` for a text that cannot be sent, `TOO_MANY_SEGMENTS`, `COST_TOO_HIGH`, `PHONE_INVALID`, `NO_PROVIDER`,
    /// `IN_PROGRESS`, `IDEMPOTENCY_MISMATCH`, `CLOCK_WRONG`. After an error of the store while settling, the message stays `sending`
    /// and `dispatch` finds out what became of it.
    pub async fn send_message(&self, caller: &Caller, request: SendMessage) -> Result<SendAnswer<SentMessage>> {
        send_message::send_message(&self.context, caller, request).await
    }

    /// Cancels a message without a code that waits to be sent.
    ///
    /// # Errors
    /// `CLOCK_WRONG`.
    pub async fn cancel(&self, caller: &Caller, message_id: i64, reason: &str) -> Result<Canceled> {
        revoke::cancel(&self.context, caller, message_id, reason).await
    }

    /// The message without a code that is meant, if it is there.
    pub async fn find_message(&self, wanted: &Wanted) -> Result<Option<Message>> {
        show::find_message(&self.context, wanted).await
    }

    /// What happened to a message, oldest first.
    pub async fn steps_of(&self, message: &Message) -> Result<Vec<TimelineStep>> {
        show::steps_of(&self.context, message).await
    }

    /// The same as [`Engine::refresh`] for one message.
    pub async fn refresh_message(&self, caller: &Caller, message: &Message) -> Result<Option<Error>> {
        refresh::refresh_message(&self.context, caller, message).await
    }

    /// Takes a caller's word that the person whom an otp was sent to was proven in another way: it counts as if the code had been
    /// entered, and a live code is revoked.
    ///
    /// # Errors
    /// `CLOCK_WRONG`.
    pub async fn proven(&self, caller: &Caller, otp_id: i64) -> Result<Proven> {
        proven::proven(&self.context, caller, otp_id).await
    }

    /// Looks at messages that are due, the longest due first. The error of one message is passed to `on_error`, and the others go
    /// on. Trouble with the provider leaves messages open for the next run.
    ///
    /// # Errors
    /// `STORE_BUSY` where one message after the other finds the database locked.
    pub async fn dispatch(
        &self,
        caller: &Caller,
        what: Dispatch,
        on_error: impl FnMut(i64, &Error) + Send,
    ) -> Result<Dispatched> {
        dispatch::dispatch(&self.context, caller, what, on_error).await
    }

    /// Asks the provider what became of the messages of an otp. Nothing is sent. Answers the error of the provider where it could
    /// not be asked: what is known then is as old as it was.
    pub async fn refresh(&self, caller: &Caller, otp: &Otp) -> Result<Option<Error>> {
        refresh::refresh(&self.context, caller, otp).await
    }

    /// Works as `serve` does between requests, until its future is dropped: `dispatch` again and again, purge on a schedule.
    pub async fn work(&self, how: Work, on_work: impl FnMut(&Worked)) {
        worker::work(&self.context, how, on_work).await;
    }

    /// Records what the provider reports of a message: forward only, and the same news twice changes nothing.
    pub async fn report(&self, caller: &Caller, report: StatusReport) -> Result<Reported> {
        settle::report(&self.context, caller, report).await
    }

    /// Does what a recipient asked for by text: STOP and START change the opt-out at once.
    ///
    /// # Errors
    /// `CLOCK_WRONG`.
    pub async fn inbound(&self, caller: &Caller, text: InboundText<'_>) -> Result<InboundAnswer> {
        inbound::inbound(&self.context, caller, text).await
    }

    /// Follows a message for at most `within` and answers what the database then says of it.
    ///
    /// # Errors
    /// `NO_PROVIDER`, and the provider's where even the last question failed.
    pub async fn follow(&self, caller: &Caller, message_id: i64, within: Duration) -> Result<Message> {
        follow::follow(&self.context, caller, message_id, within).await
    }
}

/// Alarms.
impl Engine {
    /// The alarms that ask for somebody, or all that are kept; the newest first, at most 1000.
    pub async fn alarms(&self, all: bool) -> Result<Vec<Alarm>> {
        alarms::list(&self.context, all).await
    }

    /// The alarms that stand, acknowledged or not.
    pub async fn standing_alarms(&self) -> Result<Vec<Alarm>> {
        alarms::standing(&self.context).await
    }

    /// Acknowledges an alarm; `None`: there is none with this id. One that somebody acknowledged before stays as it is.
    pub async fn ack_alarm(&self, caller: &Caller, id: i64, reason: &str) -> Result<Option<Acked>> {
        alarms::ack(&self.context, caller, id, reason).await
    }

    /// Delivers the alarms that are due: each is in the log once, and goes to the webhook until that takes it, for a day at
    /// most. One that is not taken is no error.
    pub async fn announce(&self, caller: &Caller) -> Result<Announced> {
        alarms::announce(&self.context, caller).await
    }

    /// What became of the asks of whole hours, from the one that `since` is in to the one that `until` is in.
    pub async fn funnel(&self, since: Timestamp, until: Timestamp, only: &Only) -> Result<Report> {
        funnel::funnel(&self.context, since, until, only).await
    }

    /// What the guard did about a country, two letters: its alarms and its last refusals.
    pub async fn country(&self, country: &str) -> Result<CountryState> {
        country::country(&self.context, country).await
    }

    /// What the guard knows of the block of numbers that a phone is in, and its last refusals of it.
    pub async fn block_of(&self, phone: &Phone) -> Result<BlockState> {
        country::block(&self.context, phone).await
    }

    /// What the installation and its countries have proven, for what they may cost ([`crate::risk`]).
    pub async fn history(&self) -> Result<History> {
        country::history(&self.context).await
    }

    /// The guard's last refusals of a phone, the newest first.
    pub async fn refusals_of(&self, phone: &Phone) -> Result<Vec<RuleRefusal>> {
        country::refusals_of(&self.context, phone).await
    }

    /// What a day of codes costs at most, as far as that is known.
    pub fn day(&self) -> Option<Money> {
        self.context.day()
    }

    /// Asks the provider for its balance, where it is known what a day of codes costs and nobody asked within the last hour; less
    /// than that raises an alarm. Answers the balance as far as it is known.
    pub async fn check_balance(&self, caller: &Caller) -> Result<Option<Money>> {
        match self.context.day() {
            Some(day) => balance::check(&self.context, caller, day).await,
            None => Ok(None),
        }
    }
}

/// Limits, test numbers and access tokens.
impl Engine {
    /// How full the limits of someone are now.
    pub async fn limit_status(&self, whom: &LimitQuery) -> Result<Vec<LimitStatus>> {
        limit_status::limit_status(&self.context, whom).await
    }

    /// The prices in force: the operator's file over the provider's list over the shipped table. At most a minute old.
    pub async fn prices(&self) -> Result<Arc<Prices>> {
        self.context.prices().await
    }

    /// Asks the provider for the prices of these countries, or of all that may get messages, one after the other, and keeps what it
    /// answers. `progress` hears how many were asked for, and answers whether to go on.
    ///
    /// # Errors
    /// `NO_PROVIDER`, `VALUE_INVALID` where the provider has no price list, `PROVIDER_*` where not even its countries could be asked
    /// for. What one country fails with is part of the answer.
    pub async fn refresh_prices(
        &self,
        caller: &Caller,
        countries: Option<Vec<String>>,
        progress: impl FnMut(u64) -> bool + Send,
    ) -> Result<PricesRefreshed> {
        prices::refresh(&self.context, caller, countries, progress).await
    }

    /// Makes limits forget. The live code keeps its own spent guesses: a reset lets ask, it never lets guess more.
    pub async fn reset(&self, caller: &Caller, reset: Reset) -> Result<Forgotten> {
        reset::reset(&self.context, caller, reset).await
    }

    /// Adds an entry to the block or the allow list, or gives the one that is there another reason and end. It holds for every send
    /// that begins after it, and for messages that wait for another attempt. A code that is live can still be verified: a block stops
    /// messages alone.
    ///
    /// # Errors
    /// `VALUE_INVALID` where the end is past or there is no reason.
    pub async fn add_entry(&self, caller: &Caller, add: AddEntry) -> Result<AddedEntry> {
        lists::add(&self.context, caller, add).await
    }

    /// Takes an entry off its list; `None` where there was none that holds.
    pub async fn remove_entry(
        &self,
        caller: &Caller,
        (side, listed): (Side, &Listed),
        reason: &str,
    ) -> Result<Option<ListEntry>> {
        lists::remove(&self.context, caller, (side, listed), reason).await
    }

    /// Entries that hold, with their numbers, the newest first: of one list or both, those with a lower number than `before`.
    pub async fn entries(&self, side: Option<Side>, before: Option<i64>, limit: u32) -> Result<Vec<(i64, ListEntry)>> {
        lists::list(&self.context, side, before, limit).await
    }

    /// Records that a recipient opted out, or that they want messages again; false where that was known.
    ///
    /// # Errors
    /// `VALUE_INVALID` without a reason.
    pub async fn set_opt_out(&self, caller: &Caller, phone: (&Phone, bool), reason: &str) -> Result<bool> {
        lists::opt_out(&self.context, caller, phone, reason).await
    }

    /// Phones whose owners opted out, by STOP, by word of the provider or by staff.
    pub async fn opted_out(&self, after: Option<SubjectId>, limit: u32) -> Result<Vec<OptedOut>> {
        lists::opted_out(&self.context, after, limit).await
    }

    /// Declares a test number, or gives a declared one a new code and end.
    ///
    /// # Errors
    /// `VALUE_INVALID` where the end is past or more than 90 days ahead.
    pub async fn add_test_number(&self, caller: &Caller, add: AddTestNumber) -> Result<TestNumber> {
        test_number::add(&self.context, caller, add).await
    }

    /// All test numbers.
    pub async fn test_numbers(&self) -> Result<Vec<TestNumber>> {
        self.context.reads().test_numbers().await
    }

    /// Makes a test number an ordinary one again; false where it was none. Its live codes die with it.
    pub async fn remove_test_number(&self, caller: &Caller, phone: &Phone) -> Result<bool> {
        test_number::remove(&self.context, caller, phone).await
    }

    /// Makes a token of 256 random bits.
    ///
    /// # Errors
    /// `VALUE_INVALID` for a name that is too long, an end that is past, an empty user.
    pub async fn create_token(&self, caller: &Caller, new: NewToken) -> Result<(Token, Secret)> {
        token::create(&self.context, caller, new).await
    }

    /// Revokes a token for good. `None`: there is none with this id. A token that was revoked before stays as it is.
    pub async fn revoke_token(&self, caller: &Caller, id: i64) -> Result<Option<Token>> {
        token::revoke(&self.context, caller, id).await
    }

    /// All tokens, the newest first.
    pub async fn tokens(&self) -> Result<Vec<Token>> {
        token::list(&self.context).await
    }

    /// The token that a bearer shows, if it is accepted now; with the time of now.
    pub async fn bearer(&self, shown: &str) -> Result<Option<(Token, Timestamp)>> {
        token::bearer(&self.context, shown).await
    }
}

/// The database as a whole, its keys and the audit log.
impl Engine {
    /// Erases what is kept of a person, and the provider's copies of their messages. What is needed to find out what became of a
    /// message stays until that is known: running it again finishes it. Safe to run twice, and to be stopped at any point.
    ///
    /// # Errors
    /// `VALUE_INVALID` where nobody is named, or there is no reason; `CLOCK_WRONG`.
    pub async fn forget(
        &self,
        caller: &Caller,
        whom: &Forget,
        progress: impl FnMut(&Erased) -> bool + Send,
    ) -> Result<Erased> {
        forget::forget(&self.context, caller, whom, progress).await
    }

    /// Purges, passing to `progress` after each batch what was taken so far. `progress` answers whether to go on.
    ///
    /// # Errors
    /// `STORE_*`. What was taken before the error stays taken; running it again goes on.
    pub async fn purge(
        &self,
        caller: &Caller,
        how: &Purge,
        progress: impl FnMut(&PurgeReport) -> bool + Send,
    ) -> Result<PurgeReport> {
        purge::purge(&self.context, caller, how, progress).await
    }

    /// One page of the audit log.
    pub async fn audit_page(&self, filter: &AuditFilter) -> Result<AuditPage> {
        audit_log::page(&self.context, filter).await
    }

    /// Verifies every chain of the audit log from its first row to its last, a bounded batch at a time, and holds it
    /// against the heads of an anchor, if there are any.
    ///
    /// # Errors
    /// `VALUE_INVALID` for an anchor of another database.
    pub async fn audit_verify(&self, anchors: &[Anchor]) -> Result<Audited> {
        audit_log::verify(&self.context, anchors).await
    }

    /// The heads of all chains of the audit log, to be kept where who writes to the database cannot write.
    ///
    /// # Errors
    /// `STORE_CORRUPT` if a head is not as it was sealed.
    pub async fn audit_anchor(&self) -> Result<Vec<Anchor>> {
        audit_log::anchor(&self.context).await
    }

    /// Cuts the beginning of each chain of the audit log, up to the first row that is not older than `older_than`.
    /// Where it was cut is sealed, so that the rest is verified as before. Returns how many rows it cut.
    ///
    /// # Errors
    /// `STORE_CORRUPT` where a row that is old enough is not as it was written.
    pub async fn audit_prune(&self, caller: &Caller, older_than: Duration) -> Result<u64> {
        audit_log::prune(&self.context, caller, older_than).await
    }

    /// Writes an audit row for what changes nothing but must not go unnoticed.
    pub async fn record(&self, caller: &Caller, action: &'static str, details: Details) -> Result<()> {
        self.context.record(caller, action, details).await
    }

    /// Goes as far as `send` does before it decides anything: whoever could not send is refused here with the same error.
    ///
    /// # Errors
    /// `STORE_*` where the database cannot be written or has moved.
    pub async fn try_out(&self) -> Result<()> {
        self.context.operate(Needs::default(), |_| Ok(Decision::Nothing(()))).await
    }

    /// Every key that is in the ring or in use.
    pub async fn key_uses(&self) -> Result<Vec<KeyUse>> {
        keys::uses(&self.context).await
    }

    /// Wraps the database's keys under every key of `ring`, and under no other.
    pub async fn rewrap(&self, caller: &Caller, ring: &Keyring) -> Result<()> {
        self.context.store.maintenance.rewrap(ring, &caller.actor).await
    }

    /// Facts about the database.
    pub async fn status(&self) -> Result<Status> {
        self.context.reads().status().await
    }

    /// Looks for damage, for a schema that is not ours, and for access tokens that somebody inserted or changed; every
    /// finding in words. Empty: sound.
    pub async fn check_store(&self) -> Result<Vec<String>> {
        let mut findings = self.context.store.maintenance.check().await?;
        findings.extend(token::forged(&self.context).await?);
        Ok(findings)
    }

    /// Writes a copy of the database in which no code is live. Answers how many lived.
    ///
    /// # Errors
    /// `FILE_FAILED` where the file is there already.
    pub async fn backup(&self, caller: &Caller, to: &Path) -> Result<u64> {
        self.context.store.maintenance.backup(to, &caller.actor).await
    }

    /// Writes the database as lines, for either kind of store to read. As a copy no code in it is live; a move takes what
    /// lives along and seals this database.
    ///
    /// # Errors
    /// `FILE_FAILED` where the lines cannot be written.
    pub async fn export(
        &self,
        caller: &Caller,
        to: &mut (dyn Write + Send),
        transfer: Transfer,
    ) -> Result<Transferred> {
        self.context.store.maintenance.export(to, transfer, &caller.actor).await
    }

    /// Reads lines into an empty database, which has to be opened anew afterwards.
    ///
    /// # Errors
    /// `VALUE_INVALID` where the lines are not whole, `KEY_INVALID` where the keys among them do not open.
    pub async fn import(&self, from: &mut (dyn BufRead + Send)) -> Result<Transferred> {
        self.context.store.maintenance.import(from, &self.context.keyring).await
    }
}
