//! verify is one transaction: lock → count the attempt → compare → consume. A wrong guess is committed although the answer is "no".

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::context::{Caller, Context, code_of};
use super::idempotency::reply_of;
use super::outcomes::Outcomes;
use crate::audit::{Details, Event};
use crate::clock::Timestamp;
use crate::code::{self, Binding, Code};
use crate::error::{self, Error, Result};
use crate::keys::{IndexKey, Keyring};
use crate::limits::{Hit, QUIET};
use crate::otp::{Otp, State, User};
use crate::phone::Phone;
use crate::policy::Policy;
use crate::purpose::Purpose;
use crate::store::{
    Change, Decision, Facts, Needs, OtpNeed, Refused, Reply, Subject, SubjectFact, SubjectKind, TestNumber,
};

/// What to verify.
pub struct VerifyOtp {
    /// Whose phone; by its shape alone.
    pub phone: Phone,
    /// What the code was asked for.
    pub purpose: Purpose,
    /// For whom.
    pub user: User,
    /// What was typed in.
    pub code: Code,
    /// A caller who lost the answer "verified" gets it again under the same key, for the same code and within its life.
    pub idempotency_key: Option<String>,
}

/// The answer, with what an operator may know. A caller without that right sees one and the same "no".
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyAnswer {
    /// What was decided.
    pub verdict: Verdict,
    /// The otp that it was decided on.
    pub otp_id: Option<i64>,
    /// It was asked for another user: a likely cause of `not_found`.
    pub other_user: bool,
    /// A declared test number.
    pub test: bool,
}

/// The verdict on a code.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Right, and consumed: never again.
    Verified,
    /// Wrong; so many guesses are left for this code.
    WrongCode {
        /// Guesses left.
        tries_left: u32,
    },
    /// Its time is over.
    Expired,
    /// It was verified before.
    AlreadyUsed,
    /// A newer code took its place.
    Superseded,
    /// Its guesses are spent: ask for a new one.
    Locked,
    /// Staff took it back.
    Revoked,
    /// It could not be sent.
    SendFailed,
    /// A guess budget is closed; nothing was compared.
    TooManyGuesses(Hit),
    /// No code is known.
    NotFound,
}

impl Verdict {
    /// The stable code; `None` for verified.
    pub fn code(&self) -> Option<error::Code> {
        Some(match self {
            Verdict::Verified => return None,
            Verdict::WrongCode { .. } => error::Code::WRONG_CODE,
            Verdict::Expired => error::Code::EXPIRED,
            Verdict::AlreadyUsed => error::Code::ALREADY_USED,
            Verdict::Superseded => error::Code::SUPERSEDED,
            Verdict::Locked => error::Code::LOCKED,
            Verdict::Revoked => error::Code::REVOKED,
            Verdict::SendFailed => error::Code::SEND_FAILED,
            Verdict::TooManyGuesses(_) => error::Code::TOO_MANY_GUESSES,
            Verdict::NotFound => error::Code::NOT_FOUND,
        })
    }

    /// How many guesses are left, where the code was wrong and guesses are counted.
    pub fn tries_left(&self) -> Option<u32> {
        match self {
            Verdict::WrongCode { tries_left } => Some(*tries_left).filter(|left| *left < TRIES_COUNTED),
            _ => None,
        }
    }

    /// The budget that is spent, where it is the caller's own: that of their address, of their token, or of the user whom the
    /// token speaks for. That one may be shown to anybody; others would reveal that there is a code.
    pub fn closed_for_caller(&self, caller: &Caller) -> Option<&Hit> {
        let own = |hit: &&Hit| is_callers(hit) || (hit.subject == SubjectKind::Pair && caller.user_token.is_some());
        match self {
            Verdict::TooManyGuesses(hit) => Some(hit).filter(own),
            _ => None,
        }
    }
}

/// A budget of the address or of the token that asks.
fn is_callers(hit: &Hit) -> bool {
    matches!(hit.subject, SubjectKind::Ip | SubjectKind::Token)
}

/// More tries than any setting allows: where that many are left, they are not counted.
const TRIES_COUNTED: u32 = u32::MAX / 2;

/// Verifies a code. Of any number of callers with the right code, in any number of processes, exactly one is answered
/// `verified`; and no more wrong guesses are compared than the budgets hold. With an idempotency key, a caller who lost the
/// answer "verified" gets it again for the same code within its life; everything else under the key is decided, and counts, as
/// without one.
pub(super) async fn verify(ctx: &Context, caller: &Caller, request: VerifyOtp) -> Result<VerifyAnswer> {
    let settings = ctx.policy.purpose(&request.purpose).ok_or_else(|| ctx.unknown_purpose(&request.purpose))?;
    let index = &ctx.store.operations.keys().index;
    let (phone, purpose, user) = (&request.phone, &request.purpose, &request.user);
    let pair = Subject::Pair(user.clone(), phone.clone());
    let mut subjects = vec![Subject::Phone(phone.clone()), pair, Subject::block_of(phone)];
    subjects.extend(caller.ip.map(|ip| Subject::of_client(ip)[0].clone()));
    subjects.extend(caller.user_token.map(Subject::Token));
    let code = request.code.expose();
    let what = Zeroizing::new(format!("verify\0{}\0{purpose}\0{}\0{code}", phone.as_str(), user.as_str()));
    let key = request.idempotency_key.as_ref();
    let reply = key.map(|key| reply_of(index, caller, "verify", key, &what)).transpose()?;
    let needs = Needs {
        subjects,
        otp: OtpNeed::Of(user.clone(), phone.clone(), purpose.clone()),
        messages: true,
        reply: reply.as_ref().map(|reply| reply.tag),
        ..Needs::default()
    };
    let verification = Verification {
        policy: Arc::clone(&ctx.policy),
        digits: settings.digits,
        keyring: Arc::clone(&ctx.keyring),
        index: index.clone(),
        caller: caller.clone(),
        phone: request.phone,
        purpose: request.purpose,
        user: request.user,
        code: request.code,
        reply,
        test_numbers: ctx.test_numbers,
    };
    ctx.operate(needs, move |facts| verification.decide(facts)).await
}

/// All that the decision needs besides the facts.
struct Verification {
    policy: Arc<Policy>,
    /// How many digits the purpose's codes have.
    digits: u8,
    keyring: Arc<Keyring>,
    index: IndexKey,
    caller: Caller,
    phone: Phone,
    purpose: Purpose,
    user: User,
    code: Code,
    reply: Option<Reply>,
    test_numbers: bool,
}

/// A verdict before its consequences.
struct Judgement {
    verdict: Verdict,
    /// The otp that it is about, as it will be.
    otp: Option<Otp>,
    counts: Counts,
}

/// What a code that opened nothing counts as.
#[derive(Clone, Copy, PartialEq)]
enum Counts {
    /// Nothing: it was right, or had been, or nothing was compared.
    Nothing,
    /// Nothing, and nothing is written: "verified" is answered again.
    Again,
    /// Asking where no code lives: against the caller alone, or strangers could lock anybody out.
    Asking,
    /// A wrong guess at a live code: also against the phone and the user.
    Guess,
}

impl Judgement {
    /// For a "no" that changes nothing: whom it is about, what it is, and for how long the audit log records it but
    /// once. Otherwise whoever may ask could fill the log.
    fn refusal<'f>(&self, facts: &'f Facts) -> Result<Option<(&'f SubjectFact, (&'static str, Duration))>> {
        let pair = facts.pair()?;
        if let Verdict::TooManyGuesses(hit) = &self.verdict {
            if self.counts != Counts::Nothing {
                return Ok(None);
            }
            let about = facts.role(hit.subject).unwrap_or(pair);
            return Ok(Some((about, (hit.limit.as_str(), hit.remembered()))));
        }
        let code = self.verdict.code().filter(|_| self.counts == Counts::Nothing && self.leaves_otp(facts));
        Ok(code.map(|code| (pair, (code.name, QUIET))))
    }

    /// No otp is changed by it.
    fn leaves_otp(&self, facts: &Facts) -> bool {
        self.otp.as_ref().is_none_or(|otp| facts.otp.iter().chain(&facts.recent).any(|one| one == otp))
    }
}

impl Verification {
    fn decide(&self, facts: &Facts) -> Result<Decision<VerifyAnswer>> {
        let now = facts.checked_now()?;
        let test = facts.test_number.as_ref().filter(|number| self.test_numbers && now < number.until);
        self.shape(facts, test)?;
        let judged = match self.closed(facts, now)? {
            Some(hit) => {
                // Only a budget of the caller's own may look like one: others would reveal that there is a code.
                let counts = if is_callers(&hit) { Counts::Nothing } else { Counts::Asking };
                Judgement { verdict: Verdict::TooManyGuesses(hit), otp: None, counts }
            }
            None => self.judge(facts, test, now)?,
        };
        let other_user = judged.verdict == Verdict::NotFound
            && facts.recent.iter().any(|otp| otp.is_live(now) && otp.user != self.user);
        let answer = VerifyAnswer {
            other_user,
            otp_id: judged.otp.as_ref().map(|otp| otp.id),
            test: judged.otp.as_ref().is_some_and(|otp| otp.test),
            verdict: judged.verdict.clone(),
        };
        let verified = judged.verdict == Verdict::Verified;
        if judged.counts == Counts::Again {
            return Ok(Decision::Nothing(answer));
        }
        let refusal = judged.refusal(facts)?;
        let refused = refusal.as_ref().map(|(about, what)| about.refused(*what, now));
        if let Some(Refused::Counted(refusal)) = refused {
            return Ok(Decision::Count { counts: vec![*refusal], taken: Vec::new(), sum: None, answer });
        }
        let (mut changes, mut event) = self.consequences(facts, judged, now)?;
        if let (Some((about, what)), Some(Refused::Recorded { before })) = (refusal, refused) {
            about.record_refusal(&mut changes, what, now, &self.policy.limits);
            event = event.refused_before(before);
        }
        if let Some(reply) = self.reply.as_ref().filter(|_| verified) {
            let answer = answer.otp_id.map(|id| id.to_string());
            changes.push(Change::PutReply(Reply { answer, created_at: now, ..reply.clone() }));
        }
        Ok(Decision::Write { changes, event, answer })
    }

    /// A code of the wrong length is a slip of the finger and no guess: it is refused before anything is counted. The length
    /// is the purpose's, or that of a code from before the purpose was changed; a test number's code has its own.
    fn shape(&self, facts: &Facts, test: Option<&TestNumber>) -> Result<()> {
        let wanted = self.digits;
        let given = self.code.expose().len();
        let fits = |digits: u8| usize::from(digits) == given;
        if test.is_some() || fits(wanted) || facts.otp.as_ref().is_some_and(|otp| fits(otp.digits)) {
            return Ok(());
        }
        let message = format!("the code has {given} digits; codes for {} have {wanted}", self.purpose);
        Err(Error::new(error::Code::CODE_INVALID, message)
            .hint("Type the code as the message shows it. Nothing was counted."))
    }

    /// The budgets that close verification itself, whether or not an otp exists.
    fn closed(&self, facts: &Facts, now: Timestamp) -> Result<Option<Hit>> {
        let limits = &self.policy.limits;
        let callers = [(SubjectKind::Ip, facts.address()), (SubjectKind::Token, facts.caller_token())];
        let spent = callers.into_iter().find_map(|(kind, fact)| limits.caller_closed(kind, &fact?.usage, now));
        Ok(match spent {
            None => limits.closed(&facts.pair()?.usage, self.caller.known),
            spent => spent,
        })
    }

    /// Compares, in the same steps whatever is there: one code for the otp at hand, one for an older one of the user's.
    fn judge(&self, facts: &Facts, test: Option<&TestNumber>, now: Timestamp) -> Result<Judgement> {
        let of_user = |otp: &&Otp| otp.user == self.user;
        let newest = facts.otp.as_ref().or_else(|| facts.recent.iter().find(of_user));
        let older = facts.recent.iter().filter(of_user).find(|otp| otp.state == State::Superseded);
        let test = self.is_test_code(test);
        let right = self.equals(newest, test, now)?;
        // An older code whose key is gone cannot be told from a wrong one, and need not be.
        let was_older = self.equals(older, test, now).unwrap_or(false);
        let Some(newest) = newest else {
            return Ok(Judgement { verdict: Verdict::NotFound, otp: None, counts: Counts::Asking });
        };
        let test_closed = self.policy.limits.test_code_closed(&facts.phone()?.usage, now).filter(|_| newest.test);
        let mut otp = newest.clone();
        let verdict = match otp.shown_state(now) {
            State::Active if otp.wrong_guesses >= self.tries() => {
                otp.end(State::Locked, now);
                Verdict::Locked
            }
            State::Active => match &test_closed {
                Some(hit) => Verdict::TooManyGuesses(hit.clone()),
                None if right => {
                    otp.end(State::Verified, now);
                    Verdict::Verified
                }
                None => return Ok(self.wrong(otp, was_older, now)),
            },
            State::Expired => {
                otp.end(State::Expired, now);
                Verdict::Expired
            }
            State::Verified => match self.again(facts, &otp, now).filter(|_| test_closed.is_none()) {
                Some(true) => {
                    return Ok(Judgement { verdict: Verdict::Verified, otp: Some(otp), counts: Counts::Again });
                }
                // As at a live code: "verified" could be guessed here, too.
                Some(false) => {
                    otp.wrong_guesses += 1;
                    return Ok(Judgement { verdict: Verdict::AlreadyUsed, otp: Some(otp), counts: Counts::Guess });
                }
                None => Verdict::AlreadyUsed,
            },
            State::Superseded => Verdict::Superseded,
            State::Locked => Verdict::Locked,
            State::Revoked => Verdict::Revoked,
            State::Failed => Verdict::SendFailed,
        };
        // Whoever knows the code that was sent is not guessing, even where it opens nothing any more.
        let counts = if right && test_closed.is_none() { Counts::Nothing } else { Counts::Asking };
        Ok(Judgement { counts, verdict, otp: Some(otp) })
    }

    fn wrong(&self, mut otp: Otp, was_older: bool, now: Timestamp) -> Judgement {
        otp.wrong_guesses += 1;
        let tries_left = self.tries().saturating_sub(otp.wrong_guesses);
        if tries_left == 0 {
            otp.end(State::Locked, now);
        }
        let verdict = if was_older { Verdict::Superseded } else { Verdict::WrongCode { tries_left } };
        Judgement { verdict, otp: Some(otp), counts: Counts::Guess }
    }

    fn tries(&self) -> u32 {
        self.policy.limits.tries(self.purpose.as_str())
    }

    /// Whether a used otp was verified under this key with this very code; `None` where the key cannot answer for it: it was
    /// used for another otp or not at all, the code's life is over, or its tries are spent.
    fn again(&self, facts: &Facts, otp: &Otp, now: Timestamp) -> Option<bool> {
        let (asked, known) = (self.reply.as_ref()?, facts.reply.as_ref()?);
        let of_otp = known.answer.as_ref()?.parse() == Ok(otp.id);
        let answers = of_otp && now < otp.expires_at && otp.wrong_guesses < self.tries();
        answers.then(|| bool::from(subtle::ConstantTimeEq::ct_eq(&asked.fingerprint[..], &known.fingerprint[..])))
    }

    /// Is it the code of a declared test number? The same work is done where there is none.
    fn is_test_code(&self, test: Option<&TestNumber>) -> bool {
        let tag = self.index.tag("test-code", &test_code(&self.phone, &self.code));
        test.is_some_and(|test| bool::from(subtle::ConstantTimeEq::ct_eq(&test.code_tag[..], &tag[..])))
    }

    /// Is it this otp's code? Where there is no otp the same work is done on one that nobody has.
    fn equals(&self, otp: Option<&Otp>, is_test_code: bool, now: Timestamp) -> Result<bool> {
        let Some(otp) = otp else {
            let nobody = Binding {
                nonce: &[0; 16],
                phone: self.phone.as_str(),
                purpose: self.purpose.as_str(),
                user: self.user.as_str(),
            };
            let digits = u8::try_from(self.code.expose().len()).unwrap_or(6);
            let _ = self.code.matches(&code::derive(self.keyring.primary().code_key(), &nobody, digits));
            return Ok(false);
        };
        let code = match code_of(&self.keyring, otp) {
            Ok(code) => code,
            // What is over needs no key to be said no to.
            Err(_) if !otp.is_live(now) => return Ok(false),
            Err(error) => return Err(error),
        };
        let same = self.code.matches(&code);
        Ok(if otp.test { is_test_code } else { same })
    }

    fn nobody(&self, now: Timestamp) -> Otp {
        Otp {
            id: 0,
            user: self.user.clone(),
            phone: self.phone.clone(),
            purpose: self.purpose.clone(),
            nonce: [0; 16],
            key_id: self.keyring.primary().id(),
            digits: 6,
            created_at: now,
            expires_at: now,
            state: State::Expired,
            ended_at: Some(now),
            wrong_guesses: 0,
            test: false,
            known: false,
        }
    }

    /// Every answer writes the same rows: the otp, the phone, the user with the phone, the caller, the audit log.
    fn consequences(&self, facts: &Facts, judged: Judgement, now: Timestamp) -> Result<(Vec<Change>, Event)> {
        let limits = &self.policy.limits;
        let (known, guess) = (self.caller.known, judged.counts == Counts::Guess);
        let verified = judged.verdict == Verdict::Verified;
        let otp_id = judged.otp.as_ref().map(|otp| otp.id);
        let (test, known_otp) = judged.otp.as_ref().map_or((false, false), |otp| (otp.test, otp.known));
        let unchanged = judged.leaves_otp(facts);
        let phone = facts.phone()?;
        let mut changes = vec![
            // Where there is no otp, the same statements are run on one that nobody has. Where none changes, a row is written in
            // its place: a database writes no page that stays as it is.
            Change::Padding(unchanged),
            Change::PutOtp(judged.otp.unwrap_or_else(|| self.nobody(now))),
            phone.updated_if_any(now, limits, |usage| {
                if verified {
                    usage.purpose_mut(self.purpose.as_str()).asked.clear();
                }
                if verified && !test {
                    usage.prove(now);
                }
                if guess {
                    usage.count_guess(known_otp, &limits.guesses_per_phone, now);
                }
            }),
            facts.pair()?.updated_if_any(now, limits, |usage| {
                let streak = if known { &mut usage.known_in_a_row } else { &mut usage.in_a_row };
                *streak = if verified { 0 } else { streak.saturating_add(u32::from(guess)) };
                if guess {
                    usage.count_guess(known_otp, &limits.guesses_per_user, now);
                }
                if verified && !test {
                    usage.verified_at = Some(now.millis());
                }
            }),
        ];
        let callers = [(facts.address(), &limits.guesses_per_ip), (facts.caller_token(), &limits.guesses_per_token)];
        changes.extend(callers.into_iter().filter_map(|(caller, windows)| {
            Some(caller?.updated(now, limits, |usage| {
                if judged.counts != Counts::Nothing {
                    usage.count_guess(false, windows, now);
                }
            }))
        }));
        if verified && !test {
            let mut outcomes = Outcomes::of(facts);
            outcomes.proven(now, true);
            changes.extend(outcomes.changes(now, limits)?);
        }
        let mut details = Details::new().note("purpose", self.purpose.as_str());
        if let Some(id) = otp_id {
            details = details.number("otp", id);
        }
        let outcome = judged.verdict.code().map_or("verified", |code| code.name);
        let event = Event::new(now, self.caller.actor.clone(), "verify", outcome).subject(&phone.id.0).details(details);
        Ok((changes, event))
    }
}

/// What a test number's code tag is made from.
pub(super) fn test_code(phone: &Phone, code: &Code) -> Vec<u8> {
    [phone.as_str().as_bytes(), b"\0", code.expose().as_bytes()].concat()
}
