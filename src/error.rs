//! What can go wrong, said once: a stable code, its class (exit code, HTTP status), a message and what to do next.
//!
//! A refusal ("no, you already had five") is an answer and lives in `engine::Refusal`; an [`Error`] is something that
//! kept the tool from answering. Both take their codes from [`CODES`].

use std::fmt;
use std::time::Duration;

/// The classes of outcome that a caller may branch on. Each has one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Done.
    Done,
    /// The answer is no.
    No,
    /// The command line was wrong.
    Usage,
    /// The input data was wrong.
    Data,
    /// The provider refused for good, or could not be reached.
    Unavailable,
    /// Our bug.
    Bug,
    /// A file or the database failed.
    Io,
    /// Not now: a limit, a lockout, something busy.
    TryLater,
    /// It may have been sent: do not repeat.
    MaybeSent,
    /// Policy forbids it.
    Policy,
    /// The configuration is wrong or incomplete.
    Config,
    /// Interrupted by the user (SIGINT).
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
}

/// One row of the table of exit codes: class, exit code, HTTP status, meaning.
pub struct ClassRow {
    /// The class.
    pub class: Class,
    /// Process exit code.
    pub exit: u8,
    /// HTTP status that `serve` answers with.
    pub status: u16,
    /// The meaning, for help and docs.
    pub meaning: &'static str,
}

/// The table of exit codes. Help, docs and the REST problems are generated from it.
pub const CLASSES: &[ClassRow] = &[
    ClassRow { class: Class::Done, exit: 0, status: 200, meaning: "done, verified, nothing to do" },
    ClassRow {
        class: Class::No,
        exit: 1,
        status: 400,
        meaning: "the answer is no: wrong, expired or used code, a check that failed",
    },
    ClassRow {
        class: Class::Usage,
        exit: 2,
        status: 400,
        meaning: "usage: unknown flag, missing argument, a prompt would be needed",
    },
    ClassRow {
        class: Class::Data,
        exit: 65,
        status: 422,
        meaning: "bad input data: not a phone number, not a code, text too long",
    },
    ClassRow {
        class: Class::Unavailable,
        exit: 69,
        status: 502,
        meaning: "the provider refused, or cannot be reached",
    },
    ClassRow { class: Class::Bug, exit: 70, status: 500, meaning: "a bug of smsotp" },
    ClassRow {
        class: Class::Io,
        exit: 74,
        status: 503,
        meaning: "file or database: missing, read-only, full, damaged",
    },
    ClassRow {
        class: Class::TryLater,
        exit: 75,
        status: 429,
        meaning: "try later: a limit, a lockout, something busy or locked",
    },
    ClassRow {
        class: Class::MaybeSent,
        exit: 76,
        status: 502,
        meaning: "may have been sent: do not repeat it, `smsotp dispatch` finds out",
    },
    ClassRow {
        class: Class::Policy,
        exit: 77,
        status: 403,
        meaning: "policy forbids it: opted out, blocked, a country or a kind of number that gets no codes, fraud",
    },
    ClassRow {
        class: Class::Config,
        exit: 78,
        status: 500,
        meaning: "configuration: missing or refused credentials, unknown setting, wrong key",
    },
    ClassRow { class: Class::Interrupted, exit: 130, status: 500, meaning: "interrupted (Ctrl-C)" },
    ClassRow { class: Class::Terminated, exit: 143, status: 500, meaning: "terminated" },
];

impl Class {
    /// This class's row of [`CLASSES`].
    pub fn row(self) -> &'static ClassRow {
        CLASSES.iter().find(|row| row.class == self).unwrap_or(&CLASSES[5])
    }
    /// Process exit code.
    pub fn exit(self) -> u8 {
        self.row().exit
    }
}

/// A stable, machine-readable code of an error or a refusal, with its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    /// snake_case name; part of the JSON contract.
    pub name: &'static str,
    /// The class that decides exit code and HTTP status.
    pub class: Class,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $class:ident;)*) => {
        impl Code { $($(#[$doc])* pub const $id: Code = Code { name: $name, class: Class::$class };)* }
        /// Every code, in the order of their declaration.
        pub const CODES: &[Code] = &[$(Code::$id),*];
    };
}

codes! {
    /// A wrong code was given.
    WRONG_CODE = "wrong_code", No;
    /// The code's time is over.
    EXPIRED = "expired", No;
    /// The code was used before.
    ALREADY_USED = "already_used", No;
    /// A newer code took this one's place.
    SUPERSEDED = "superseded", No;
    /// The code's guesses are spent.
    LOCKED = "locked", No;
    /// A staff member took the code back.
    REVOKED = "revoked", No;
    /// No code is known for this user, phone and purpose.
    NOT_FOUND = "not_found", No;
    /// The message does not wait to be sent any more.
    TOO_LATE = "too_late", No;
    /// The code could not be sent.
    SEND_FAILED = "send_failed", No;
    /// A check failed: of `test-twilio`, asked for over the REST API, or `healthcheck`.
    CHECK_FAILED = "check_failed", No;
    /// A condition holds that `report --fail-if` looks for.
    CONDITION_HOLDS = "condition_holds", No;
    /// The one answer to every code that opens nothing, for callers who may not know why.
    INVALID_CODE = "invalid_code", No;
    /// A guess budget is closed.
    TOO_MANY_GUESSES = "too_many_guesses", TryLater;
    /// A sending limit is reached.
    RATE_LIMITED = "rate_limited", TryLater;
    /// A cap on messages to strangers in a country, or in all countries that are not proven, is reached.
    COUNTRY_CAP = "country_cap", TryLater;
    /// A cap on messages to strangers in a block of numbers is reached.
    BLOCK_CAP = "block_cap", TryLater;
    /// A ceiling on what an hour, a day or a month may cost is reached.
    MONEY_CEILING = "money_ceiling", TryLater;
    /// The detector of SMS pumping has raised its alarm.
    ABUSE_SUSPECTED = "abuse_suspected", TryLater;
    /// Another process with the same idempotency key is at work.
    IN_PROGRESS = "in_progress", TryLater;
    /// The provider asks to come back later.
    PROVIDER_BUSY = "provider_busy", TryLater;
    /// The database is locked by someone else.
    STORE_BUSY = "store_busy", TryLater;
    /// The provider sends nothing to this recipient, or takes the request for fraud.
    PROVIDER_FORBIDS = "provider_forbids", Policy;
    /// The recipient opted out.
    OPTED_OUT = "opted_out", Policy;
    /// An entry of the block list forbids it.
    BLOCKED = "blocked", Policy;
    /// One message costs more than the ceiling on one allows.
    MESSAGE_CEILING = "message_ceiling", Policy;
    /// The message costs more than the caller pays for it.
    COST_TOO_HIGH = "cost_too_high", Policy;
    /// A code is sent once the person has passed a challenge.
    CHALLENGE_REQUIRED = "challenge_required", Policy;
    /// No code is sent, and whoever asked does not learn why.
    REFUSED = "refused", Policy;
    /// This kind of number gets no codes.
    NUMBER_KIND = "number_kind_refused", Policy;
    /// Messages to this country are not allowed by the settings.
    COUNTRY_NOT_ALLOWED = "country_not_allowed", Policy;
    /// A declared test number where they are switched off.
    TEST_NUMBERS_OFF = "test_numbers_off", Policy;
    /// A number that was a test number until just now.
    TEST_NUMBER_ENDED = "test_number_ended", Policy;
    /// No token, or one that is not accepted.
    UNAUTHORIZED = "unauthorized", Policy;
    /// The token does not allow this.
    FORBIDDEN = "forbidden", Policy;
    /// A callback without a signature that fits.
    SIGNATURE_INVALID = "signature_invalid", Policy;
    /// Bad command line.
    USAGE = "usage", Usage;
    /// A prompt would be needed, and there is no terminal.
    NEEDS_TERMINAL = "needs_terminal", Usage;
    /// Not a phone number.
    PHONE_INVALID = "phone_invalid", Data;
    /// Not a code by its shape.
    CODE_INVALID = "code_invalid", Data;
    /// An unknown purpose.
    PURPOSE_UNKNOWN = "purpose_unknown", Data;
    /// A value that does not fit: user, text, date, id.
    VALUE_INVALID = "value_invalid", Data;
    /// The message would take more segments than allowed.
    TOO_MANY_SEGMENTS = "too_many_segments", Data;
    /// The same idempotency key was used for something else.
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch", Data;
    /// The request names no host, or several.
    HOST_INVALID = "host_invalid", Data;
    /// The request names a host that the server does not answer to on its own machine.
    HOST_NOT_ALLOWED = "host_not_allowed", Policy;
    /// The request's body is not what its path takes.
    BODY_INVALID = "body_invalid", Data;
    /// The request's body is too long.
    BODY_TOO_LARGE = "body_too_large", Data;
    /// The request's body is of a type that is not taken.
    MEDIA_TYPE = "media_type_unsupported", Data;
    /// The request's body did not come in time.
    REQUEST_TIMEOUT = "request_timeout", TryLater;
    /// No otp has this id.
    NO_SUCH_OTP = "no_such_otp", Data;
    /// No message has this id.
    NO_SUCH_MESSAGE = "no_such_message", Data;
    /// Nothing is at this path.
    NO_SUCH_PATH = "no_such_path", Data;
    /// The path does not take this method.
    METHOD_NOT_ALLOWED = "method_not_allowed", Data;
    /// The database does not answer the server in time.
    OVERLOADED = "overloaded", TryLater;
    /// The provider refused the message.
    PROVIDER_REFUSED = "provider_refused", Unavailable;
    /// The provider cannot be reached; nothing was sent.
    PROVIDER_UNREACHABLE = "provider_unreachable", Unavailable;
    /// The message may have been sent.
    MAYBE_SENT = "maybe_sent", MaybeSent;
    /// The provider refused our credentials or set-up.
    PROVIDER_CONFIG = "provider_config", Config;
    /// No provider is configured.
    NO_PROVIDER = "no_provider", Config;
    /// A setting is missing or wrong.
    CONFIG_INVALID = "config_invalid", Config;
    /// The secret key is missing, wrong or unreadable.
    KEY_INVALID = "key_invalid", Config;
    /// The database failed.
    STORE_FAILED = "store_failed", Io;
    /// The database is damaged.
    STORE_CORRUPT = "store_corrupt", Io;
    /// The database was written by a newer smsotp.
    STORE_NEWER = "store_newer", Io;
    /// A file cannot be read or written.
    FILE_FAILED = "file_failed", Io;
    /// The clock went wrong.
    CLOCK_WRONG = "clock_wrong", Io;
    /// Our bug.
    BUG = "bug", Bug;
    /// Ctrl-C.
    INTERRUPTED = "interrupted", Interrupted;
    /// SIGTERM.
    TERMINATED = "terminated", Terminated;
}

/// What kept the tool from answering: code, message, cause, and what to do next.
///
/// Messages are lower-case fragments without a full stop and never contain a code, a token or a whole phone number.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    message: String,
    hint: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with its code and message.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error(Box::new(Inner { code, message: message.into(), hint: None, retry_after: None, source: None }))
    }
    /// What to do next: an imperative sentence or a command line.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }
    /// The underlying cause, printed as "caused by".
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }
    /// When it is worth trying again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Error {
        self.0.retry_after = Some(after);
        self
    }
    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }
    /// The class: exit code and HTTP status.
    pub fn class(&self) -> Class {
        self.0.code.class
    }
    /// The message alone.
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
    /// When it is worth trying again, if known.
    pub fn retry_after_hint(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|s| s.as_ref() as &(dyn std::error::Error + 'static))
    }
}
