//! Test numbers: any E.164 shape, a fixed code, nothing sent. For reviewers and pipelines; audited, and at most 90 days long.

use std::sync::Arc;
use std::time::Duration;

use super::context::{Caller, Context};
use super::verify;
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::code::Code;
use crate::error::{self, Error, Result};
use crate::phone::Phone;
use crate::store::{Change, Decision, Needs, Subject, TestNumber};

/// How long a test number may be declared for: a forgotten one opens nothing for ever.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 3600);

/// How many there may be.
const MOST: usize = 1000;

/// A test number to be declared.
#[derive(Debug)]
pub struct AddTestNumber {
    /// The number.
    pub phone: Phone,
    /// Its fixed code.
    pub code: Code,
    /// Until when.
    pub until: Timestamp,
}

/// Declares a test number, or gives a declared one a new code and end.
pub(super) async fn add(ctx: &Context, caller: &Caller, add: AddTestNumber) -> Result<TestNumber> {
    if ctx.reads().test_numbers().await?.len() >= MOST {
        return Err(Error::new(error::Code::VALUE_INVALID, format!("there are {MOST} test numbers already"))
            .hint("Remove some: smsotp test-number remove PHONE"));
    }
    let index = &ctx.store.operations.keys().index;
    let code_tag = index.tag("test-code", &verify::test_code(&add.phone, &add.code));
    let needs = Needs { subjects: vec![Subject::Phone(add.phone.clone())], ..Needs::default() };
    let (actor, policy) = (caller.actor.clone(), Arc::clone(&ctx.policy));
    ctx.operate(needs, move |facts| {
        let (now, phone) = (facts.now, facts.phone()?);
        if add.until <= now || add.until.since(now) > LONGEST {
            return Err(Error::new(error::Code::VALUE_INVALID, "a test number ends between now and 90 days from now")
                .hint(
                    "Give a date like --until 2030-01-31, not more than 90 days ahead; declare it again when it ends.",
                ));
        }
        let number = TestNumber {
            phone: add.phone.clone(),
            code_tag,
            until: add.until,
            added_at: now,
            added_by: actor.to_string(),
        };
        let details = Details::new().number("until", add.until.millis());
        let event = Event::new(now, actor.clone(), "test-number.add", "done").subject(&phone.id.0).details(details);
        let changes = vec![phone.updated(now, &policy.limits, |_| {}), Change::PutTestNumber(number.clone())];
        Ok(Decision::Write { changes, event, answer: number })
    })
    .await
}

/// Makes a test number an ordinary one again; false where it was none. Its live codes die with it.
pub(super) async fn remove(ctx: &Context, caller: &Caller, phone: &Phone) -> Result<bool> {
    if !ctx.reads().test_numbers().await?.iter().any(|number| number.phone == *phone) {
        return Ok(false);
    }
    let needs = Needs { subjects: vec![Subject::Phone(phone.clone())], ..Needs::default() };
    let (actor, number, policy) = (caller.actor.clone(), phone.clone(), Arc::clone(&ctx.policy));
    ctx.operate(needs, move |facts| {
        let phone = facts.phone()?;
        let event = Event::new(facts.now, actor.clone(), "test-number.remove", "done").subject(&phone.id.0);
        let seen = phone.updated(facts.now, &policy.limits, |_| {});
        Ok(Decision::Write { changes: vec![seen, Change::DropTestNumber(number.clone())], event, answer: true })
    })
    .await
}
