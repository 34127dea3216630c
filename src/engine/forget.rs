//! forget erases what is kept of a person, on their request: one otp with its messages at a time, then the messages without a code, then
//! what limits and lists remember.
//!
//! Three things stay. The audit log speaks of people by random ids alone, which lead nowhere once the subjects are gone. That
//! somebody opted out, or is blocked, stays as a keyed tag without a name, or forgetting would undo it. And what is needed to find
//! out what became of a message stays until that is known: whoever runs it again then finishes it.

use serde::Serialize;

use super::advance::advance;
use super::context::{Caller, Context};
use super::revoke::{cancel, revoke_one};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::delivery;
use crate::error::{Code, Error, Result};
use crate::lists::{FORGOTTEN, Listed, Side};
use crate::message::Message;
use crate::otp::{Otp, State, User};
use crate::phone::Phone;
use crate::provider::{Erasure, WITHOUT_COPY};
use crate::store::{Change, Decision, Facts, Filter, Needs, OtpNeed, Subject};

/// So many otps are looked up at a time.
const PAGE: u32 = 50;

/// Whom to forget, and how.
#[derive(Clone, Debug)]
pub struct Forget {
    /// This phone, with all of its users.
    pub phone: Option<Phone>,
    /// This user, with all of their phones' codes; the empty one is nobody.
    pub user: User,
    /// Why, for the audit log, without naming them.
    pub reason: String,
    /// Only count.
    pub dry_run: bool,
    /// Leave the provider's copies as they are.
    pub local: bool,
}

/// What was erased, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Codes.
    pub otps: u64,
    /// Their messages, and those without a code.
    pub messages: u64,
    /// What limits remember.
    pub subjects: u64,
    /// Entries of lists that were dropped, or that name nobody any more.
    pub list_entries: u64,
    /// A declared test number.
    pub test_numbers: u64,
    /// Access tokens that spoke for the user.
    pub tokens: u64,
    /// The provider's copies of messages that were deleted.
    pub copies: u64,
    /// What could not be erased.
    pub kept: Kept,
    /// Whether no byte of it is left in the files; `None`: nothing was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrubbed: Option<bool>,
}

/// What could not be erased now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Codes with a message that is on its way out, or of which it is not known whether it went out.
    pub open: u64,
    /// Messages whose text the provider has emptied and which it deletes only later: their codes stay until then.
    pub redacted: u64,
    /// Messages whose copy the provider could not be asked to delete: their codes stay until then.
    pub unasked: u64,
    /// Why it could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The provider's copies that are left behind.
    pub copies: u64,
    /// That the recipient opted out, as a keyed tag.
    pub opt_out: bool,
    /// Blocks, as keyed tags.
    pub blocks: u64,
}

impl Kept {
    /// True where running it again later erases more.
    pub fn is_unfinished(&self) -> bool {
        self.open + self.redacted + self.unasked > 0
    }
}

/// Erases what is kept of a person, passing to `progress` after each code what was erased so far. `progress` answers whether to go on.
pub(super) async fn forget(
    ctx: &Context,
    caller: &Caller,
    whom: &Forget,
    mut progress: impl FnMut(&Erased) -> bool + Send,
) -> Result<Erased> {
    if whom.phone.is_none() && whom.user.is_empty() {
        return Err(Error::new(Code::VALUE_INVALID, "nobody is named").hint("Give a phone, a user, or both."));
    }
    if whom.reason.is_empty() && !whom.dry_run {
        return Err(Error::new(Code::VALUE_INVALID, "somebody is forgotten for a reason")
            .hint("Give the ticket or the date of the request, and not the person: --reason TEXT"));
    }
    let mut run = Run { ctx, caller, whom, erased: Erased::default() };
    let user = (!whom.user.is_empty()).then_some(&whom.user);
    let filters = [
        whom.phone.as_ref().map(|phone| Filter { phone: Some(phone.clone()), limit: PAGE, ..Filter::default() }),
        user.map(|user| Filter { user: Some(user.clone()), limit: PAGE, ..Filter::default() }),
    ];
    for mut filter in filters.into_iter().flatten() {
        let of_user = filter.user.is_some();
        // The user's codes on the phone were looked at as the phone's.
        let was_seen = |otp: &Otp| of_user && whom.phone.as_ref() == Some(&otp.phone);
        loop {
            let page = ctx.reads().list(&filter, ctx.reads().now().await?).await?;
            for otp in page.rows.into_iter().filter(|otp| !was_seen(otp)) {
                run.otp(&otp).await?;
                if !progress(&run.erased) {
                    return Ok(run.erased);
                }
            }
            filter.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
    }
    if let Some(phone) = &whom.phone {
        let mut filter = Filter { phone: Some(phone.clone()), limit: PAGE, ..Filter::default() };
        loop {
            let page = ctx.reads().list_messages(&filter).await?;
            // Those of codes went with their otps.
            for message in page.rows.iter().filter(|message| message.otp_id.is_none()) {
                run.message(message).await?;
                if !progress(&run.erased) {
                    return Ok(run.erased);
                }
            }
            filter.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        let pairs = [Some(User::default()), user.cloned()].into_iter().flatten();
        let pairs = pairs.map(|user| Subject::Pair(user, phone.clone()));
        let subjects = [Subject::Phone(phone.clone())].into_iter().chain(pairs).collect();
        run.person(subjects, &Listed::Phone(phone.clone()), Some(phone)).await?;
    }
    if let Some(user) = user {
        run.person(vec![Subject::User(user.clone())], &Listed::User(user.clone()), None).await?;
        run.tokens(user).await?;
    }
    if !whom.dry_run {
        run.erased.scrubbed = Some(ctx.store.maintenance.scrub().await?);
    }
    Ok(run.erased)
}

/// One run, with what it has erased so far.
struct Run<'a> {
    ctx: &'a Context,
    caller: &'a Caller,
    whom: &'a Forget,
    erased: Erased,
}

/// What one transaction of it erased.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    otps: u64,
    messages: u64,
    subjects: u64,
    list_entries: u64,
    test_numbers: u64,
    tokens: u64,
    opt_out: bool,
    blocks: u64,
}

impl Part {
    /// The decision that writes it, with its audit row, which names nobody.
    fn written(self, (caller, reason): (&Caller, &str), now: Timestamp, changes: Vec<Change>) -> Decision<Part> {
        if changes.is_empty() {
            return Decision::Nothing(self);
        }
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let counts = [
            ("otps", self.otps),
            ("messages", self.messages),
            ("subjects", self.subjects),
            ("list_entries", self.list_entries),
            ("test_numbers", self.test_numbers),
            ("tokens", self.tokens),
        ];
        let counts = counts.into_iter().filter(|(_, n)| *n > 0);
        let details = counts.fold(Details::new(), |details, (name, n)| details.number(name, number(n)));
        let event = Event::new(now, caller.actor.clone(), "forget", "done").details(details.note("reason", reason));
        Decision::Write { changes, event, answer: self }
    }
}

impl Run<'_> {
    /// Takes an otp's code back if it lives, settles what is open as far as that goes now, has the provider delete its copies, and
    /// erases the otp.
    async fn otp(&mut self, otp: &Otp) -> Result<()> {
        let (ctx, caller) = (self.ctx, self.caller);
        if self.whom.dry_run {
            return self.count(otp).await;
        }
        if otp.state == State::Active {
            revoke_one(ctx, caller, otp, &self.whom.reason).await?;
        }
        let now = ctx.reads().now().await?;
        let messages = ctx.reads().messages_of(otp.id).await?;
        for message in &messages {
            // What waits is given up, and given back. Whoever is at work on another one goes on.
            if message.state.is_waiting() || delivery::is_orphan(message, now) {
                advance(ctx, caller, message.id).await?;
            }
        }
        let messages = ctx.reads().messages_of(otp.id).await?;
        if messages.iter().any(|message| message.state.is_unsettled()) {
            self.erased.kept.open += 1;
            return Ok(());
        }
        if !self.copies(&messages).await {
            return Ok(());
        }
        let subjects = vec![Subject::Phone(otp.phone.clone()), Subject::Pair(otp.user.clone(), otp.phone.clone())];
        let needs = Needs { subjects, otp: OtpNeed::Id(otp.id), messages: true, ..Needs::default() };
        let (caller, reason) = (caller.clone(), self.whom.reason.clone());
        let part = ctx
            .operate(needs, move |facts| {
                let closed = facts.messages.iter().all(|message| !message.state.is_unsettled());
                let Some(otp) = facts.otp.as_ref().filter(|otp| closed && !otp.is_live(facts.now)) else {
                    return Ok(Decision::Nothing(Part::default()));
                };
                let pair = facts.pair()?.erased(facts.now)?;
                let messages = u64::try_from(facts.messages.len()).unwrap_or(u64::MAX);
                let part = Part { otps: 1, messages, subjects: u64::from(pair.is_some()), ..Part::default() };
                let changes = [Change::EraseOtp(otp.id)].into_iter().chain(pair).collect();
                Ok(part.written((&caller, &reason), facts.now, changes))
            })
            .await?;
        self.add(part);
        Ok(())
    }

    /// The same for a message without a code.
    async fn message(&mut self, message: &Message) -> Result<()> {
        let (ctx, caller) = (self.ctx, self.caller);
        if self.whom.dry_run {
            self.count_messages(std::slice::from_ref(message));
            return Ok(());
        }
        cancel(ctx, caller, message.id, &self.whom.reason).await?;
        if delivery::is_orphan(message, ctx.reads().now().await?) {
            advance(ctx, caller, message.id).await?;
        }
        let Some(message) = ctx.reads().message(message.id).await? else { return Ok(()) };
        if message.state.is_unsettled() {
            self.erased.kept.open += 1;
            return Ok(());
        }
        if !self.copies(std::slice::from_ref(&message)).await {
            return Ok(());
        }
        let needs =
            Needs { subjects: vec![Subject::Phone(message.phone)], message: Some(message.id), ..Needs::default() };
        let (caller, reason) = (caller.clone(), self.whom.reason.clone());
        let part = ctx
            .operate(needs, move |facts| {
                let Some(message) = facts.message.as_ref().filter(|message| !message.state.is_unsettled()) else {
                    return Ok(Decision::Nothing(Part::default()));
                };
                let part = Part { messages: 1, ..Part::default() };
                Ok(part.written((&caller, &reason), facts.now, vec![Change::EraseMessage(message.id)]))
            })
            .await?;
        self.add(part);
        Ok(())
    }

    async fn count(&mut self, otp: &Otp) -> Result<()> {
        let messages = self.ctx.reads().messages_of(otp.id).await?;
        self.erased.otps += 1;
        self.count_messages(&messages);
        let pair = Subject::Pair(otp.user.clone(), otp.phone.clone());
        let known = self.ctx.reads().usages(&[pair]).await?;
        self.erased.subjects += u64::from(known.iter().any(Option::is_some));
        Ok(())
    }

    fn count_messages(&mut self, messages: &[Message]) {
        self.erased.messages += u64::try_from(messages.len()).unwrap_or(0);
        let copies = messages.iter().filter(|message| has_copy(message)).count();
        match self.whom.local {
            true => self.erased.kept.copies += u64::try_from(copies).unwrap_or(0),
            false => self.erased.copies += u64::try_from(copies).unwrap_or(0),
        }
    }

    /// Has the provider delete its copies of messages; false where some stay and their ids are still needed.
    async fn copies(&mut self, messages: &[Message]) -> bool {
        let kept = &mut self.erased.kept;
        let mut all = true;
        for message in messages.iter().filter(|message| has_copy(message)) {
            if self.whom.local {
                kept.copies += 1;
                continue;
            }
            let provider = self.ctx.provider.as_ref().filter(|provider| provider.name() == message.provider);
            let erasure = match (provider, &message.provider_id) {
                // Whoever cannot be reached is not waited for again for each message.
                _ if kept.unasked > 0 => Err("it could not be asked before".to_owned()),
                (Some(provider), Some(id)) => provider.erase(id).await.map_err(|error| error.to_string()),
                _ => Err(format!("the provider {} is not configured here", message.provider)),
            };
            match erasure {
                Ok(Erasure::Deleted) => self.erased.copies += 1,
                Ok(Erasure::Redacted) => {
                    kept.redacted += 1;
                    all = false;
                }
                Ok(Erasure::Never) => kept.copies += 1,
                Err(why) => {
                    kept.unasked += 1;
                    kept.why.get_or_insert(why);
                    all = false;
                }
            }
        }
        all
    }

    /// Erases what limits and lists remember of a phone or a user.
    async fn person(&mut self, subjects: Vec<Subject>, listed: &Listed, test_number: Option<&Phone>) -> Result<()> {
        let ctx = self.ctx;
        let known: Vec<_> = ctx.reads().usages(&subjects).await?.into_iter().flatten().collect();
        let ids: Vec<_> = known.iter().map(|fact| fact.id).collect();
        let masked = ctx.reads().masked(&ids).await?;
        let nameless = masked.iter().zip(ids).filter(|(masked, _)| masked.as_deref() == Some(FORGOTTEN));
        let nameless: Vec<_> = nameless.map(|(_, id)| id).collect();
        let numbers = ctx.reads().test_numbers().await?;
        let test_number = test_number.filter(|phone| numbers.iter().any(|number| number.phone == **phone)).cloned();
        let index = &ctx.store.operations.keys().index;
        let lists = vec![listed.key(|kind, value| index.tag(kind, value))];
        let decide = move |facts: &Facts| -> Result<(Part, Vec<Change>)> {
            let (mut part, mut changes) = (Part::default(), Vec::new());
            for fact in &facts.subjects {
                let outlives = fact.usage.outliving();
                part.opt_out |= outlives.is_some();
                // It was forgotten before, and nothing was added since.
                if nameless.contains(&fact.id) && outlives.as_ref() == Some(&fact.usage) {
                    continue;
                }
                let erased = fact.erased(facts.now)?;
                part.subjects += u64::from(erased.is_some());
                changes.extend(erased);
            }
            for entry in &facts.lists {
                part.blocks += u64::from(entry.side == Side::Block);
                changes.extend(match entry.side {
                    Side::Allow => Some(Change::DropEntry(entry.key.clone(), entry.side)),
                    Side::Block if entry.shown == FORGOTTEN => None,
                    Side::Block => Some(Change::PutEntry(entry.forgotten())),
                });
                part.list_entries += u64::from(entry.side == Side::Allow || entry.shown != FORGOTTEN);
            }
            part.test_numbers += u64::from(test_number.is_some());
            changes.extend(test_number.clone().map(Change::DropTestNumber));
            Ok((part, changes))
        };
        let needs = Needs { subjects, lists, ..Needs::default() };
        let (caller, reason, dry_run) = (self.caller.clone(), self.whom.reason.clone(), self.whom.dry_run);
        let part = ctx
            .operate(needs, move |facts| {
                let (part, changes) = decide(facts)?;
                let changes = if dry_run { Vec::new() } else { changes };
                Ok(part.written((&caller, &reason), facts.now, changes))
            })
            .await?;
        self.add(part);
        Ok(())
    }

    /// Deletes the access tokens that speak for a user: whoever holds one is refused from then on.
    async fn tokens(&mut self, user: &User) -> Result<()> {
        let tokens = self.ctx.reads().tokens().await?;
        for token in tokens.into_iter().filter(|token| token.user.as_ref() == Some(user)) {
            if self.whom.dry_run {
                self.erased.tokens += 1;
                continue;
            }
            let needs = Needs { subjects: vec![Subject::Token(token.id)], token: Some(token.id), ..Needs::default() };
            let (caller, reason) = (self.caller.clone(), self.whom.reason.clone());
            let part = self
                .ctx
                .operate(needs, move |facts| {
                    let Some(token) = &facts.token else { return Ok(Decision::Nothing(Part::default())) };
                    let mut changes = vec![Change::DropToken(token.id)];
                    for fact in &facts.subjects {
                        changes.extend(fact.erased(facts.now)?);
                    }
                    let subjects = u64::try_from(changes.len() - 1).unwrap_or(0);
                    let part = Part { tokens: 1, subjects, ..Part::default() };
                    Ok(part.written((&caller, &reason), facts.now, changes))
                })
                .await?;
            self.add(part);
        }
        Ok(())
    }

    fn add(&mut self, part: Part) {
        let erased = &mut self.erased;
        erased.otps += part.otps;
        erased.messages += part.messages;
        erased.subjects += part.subjects;
        erased.list_entries += part.list_entries;
        erased.test_numbers += part.test_numbers;
        erased.tokens += part.tokens;
        erased.kept.opt_out |= part.opt_out;
        erased.kept.blocks += part.blocks;
    }
}

/// Whether the provider that took a message has a copy of it.
fn has_copy(message: &Message) -> bool {
    message.provider_id.is_some() && !WITHOUT_COPY.contains(&message.provider.as_str())
}
