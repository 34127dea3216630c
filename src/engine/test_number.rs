//! Test numbers: any E.164 shape, a fixed code, nothing sent. For reviewers and pipelines; audited, and at most 90 days long.

use std::time::Duration;

use super::{Caller, Engine, verify};
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::code::Code;
use crate::error::{self, Error, Result};
use crate::phone::Phone;
use crate::store::{Change, Needs, OtpNeed, Subject, TestNumber, operation};

/// How long a test number may be declared for.
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

impl Engine {
    /// Declares a test number, or gives a declared one a new code and end.
    ///
    /// # Errors
    /// `VALUE_INVALID` where the end is past or more than 90 days ahead; `STORE_*`.
    pub async fn add_test_number(&self, caller: &Caller, add: AddTestNumber) -> Result<TestNumber> {
        if self.store.test_numbers().await?.len() >= MOST {
            return Err(Error::new(error::Code::VALUE_INVALID, format!("there are {MOST} test numbers already"))
                .hint("Remove some: smsotp test-number remove PHONE"));
        }
        let code_tag = self.store.keys().index.tag("test-code", &verify::test_code(&add.phone, &add.code));
        let needs = Needs { subjects: vec![Subject::Phone(add.phone.clone())], ..Needs::default() };
        let (actor, longest) = (caller.actor.clone(), self.policy.limits.longest());
        operation(self.store.as_ref(), needs, move |facts| {
            let now = facts.now;
            if add.until <= now || add.until.since(now) > LONGEST {
                return Err(Error::new(
                    error::Code::VALUE_INVALID,
                    "a test number ends between now and 90 days from now",
                )
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
            let mut usage = facts.subjects[0].usage.clone();
            usage.saw(now);
            let details = Details::new().number("until", add.until.millis());
            let event = Event::new(now, actor.clone(), "test-number.add", "done")
                .subject(&facts.subjects[0].id.0)
                .details(details);
            let changes = vec![
                super::put(&facts.subjects[0], usage, longest),
                Change::PutTestNumber(number.clone()),
                Change::Audit(event),
            ];
            Ok((changes, number))
        })
        .await
    }

    /// All test numbers.
    ///
    /// # Errors
    /// `STORE_*`.
    pub async fn test_numbers(&self) -> Result<Vec<TestNumber>> {
        self.store.test_numbers().await
    }

    /// Makes a test number an ordinary one again; false where it was none. Its living codes die with it.
    ///
    /// # Errors
    /// `STORE_*`.
    pub async fn remove_test_number(&self, caller: &Caller, phone: &Phone) -> Result<bool> {
        if !self.store.test_numbers().await?.iter().any(|number| number.phone == *phone) {
            return Ok(false);
        }
        let needs = Needs { subjects: vec![Subject::Phone(phone.clone())], otp: OtpNeed::None, ..Needs::default() };
        let (actor, phone, longest) = (caller.actor.clone(), phone.clone(), self.policy.limits.longest());
        operation(self.store.as_ref(), needs, move |facts| {
            let mut usage = facts.subjects[0].usage.clone();
            usage.saw(facts.now);
            let event =
                Event::new(facts.now, actor.clone(), "test-number.remove", "done").subject(&facts.subjects[0].id.0);
            let changes = vec![
                super::put(&facts.subjects[0], usage, longest),
                Change::DropTestNumber(phone.clone()),
                Change::Audit(event),
            ];
            Ok((changes, true))
        })
        .await
    }
}
