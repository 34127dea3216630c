//! `smsotp demo`: the whole story on this machine: a sandbox in place of Twilio, a temporary database, the real commands.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::Call;
use crate::error::{Class, Code, Error, Result};
use crate::output::{Output, Render, Table, View};
use crate::sandbox::{self, Sandbox, inbox};

/// Show the whole story: send, read, verify, list, purge
///
/// Runs the real commands on a temporary database and a sandbox in this process. Needs no account, no network and no set-up, and
/// leaves nothing behind.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp demo\n  $ smsotp demo --json")]
pub struct Args {}

/// Whose phone the story is about: a number of the range that is kept for fiction.
const PHONE: &str = "+14155550123";

/// One command of the story.
#[derive(Clone, Debug, Serialize)]
struct Step {
    command: String,
    stdout: String,
    stderr: String,
    exit_code: i32,
}

/// The story as a whole.
#[derive(Debug, Serialize)]
struct Story {
    steps: Vec<Step>,
}

impl Render for Story {
    const KIND: &'static str = "demo";

    fn table(&self, _: &View) -> Table {
        let mut table = Table::new(&["command", "exit_code"]);
        for step in &self.steps {
            table.row(vec![step.command.clone(), step.exit_code.to_string()]);
        }
        table
    }
}

/// A temporary directory, with a sandbox whose variables are in its `.env`.
struct Stage {
    dir: tempfile::TempDir,
    sandbox: Sandbox,
    bubbles: Arc<Mutex<Vec<String>>>,
    program: std::path::PathBuf,
}

/// Plays the story.
pub fn run(_args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    // From before the directory exists until it is gone: a signal in between would leave it behind.
    let _hold = call.signals.hold();
    let stage = Stage::set()?;
    let mut steps = Vec::new();
    let mut code = String::from("000000");
    print(out, "# A sandbox stands in for Twilio; the database is in a temporary directory.\n")?;
    for (note, line) in LINES {
        call.signals.interrupted()?;
        print(out, &format!("\n# {note}\n"))?;
        let wrong = if code.starts_with('0') { '1' } else { '0' };
        let line = line
            .replace("WRONG", &format!("{wrong}{}", code.get(1..).unwrap_or_default()))
            .replace("CODE", &code)
            .replace("PHONE", PHONE);
        let step = stage.play(&line)?;
        print(out, &format!("$ smsotp {line}\n{}{}[exit {}]\n", step.stdout, step.stderr, step.exit_code))?;
        if let Some(bubble) = stage.bubbles.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            print(out, &format!("\n# What the phone shows:\n{bubble}\n"))?;
        }
        if let Some(read) = stage.sandbox.messages().last().and_then(|sms| inbox::extract_code(&sms.body)) {
            code = read;
        }
        steps.push(step);
    }
    let codes: Vec<i32> = steps.iter().map(|step| step.exit_code).collect();
    if out.is_json() {
        out.show(&Story { steps })?;
    }
    if codes != EXIT_CODES {
        return Err(Error::new(
            Code::BUG,
            format!("the story went wrong: exit codes {codes:?}, expected {EXIT_CODES:?}"),
        )
        .hint("Report this with the output above."));
    }
    print(
        out,
        "\n# The same with an account: set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER, then `smsotp send`.\n",
    )
}

/// What happens, and the command for it.
const LINES: [(&str, &str); 7] = [
    ("Send a code for a login.", "send PHONE --purpose login"),
    ("A wrong code is rejected, and counted.", "verify PHONE WRONG --purpose login"),
    ("The right code is accepted,", "verify PHONE CODE --purpose login"),
    ("but only once.", "verify PHONE CODE --purpose login"),
    ("The database shows what happened, and holds no code.", "list"),
    ("Finished codes can be purged (after a day, by default).", "purge-expired --older-than 0s"),
    ("Nothing is left of it.", "list"),
];

const EXIT_CODES: [i32; 7] = [0, 1, 0, 1, 0, 0, 0];

/// Prints a part of the story, unless all of it is shown as JSON at the end.
fn print(out: &mut Output, text: &str) -> Result<Class> {
    if out.is_json() { Ok(Class::Done) } else { out.text(text, None) }
}

impl Stage {
    fn set() -> Result<Stage> {
        let trouble = |error: std::io::Error| {
            Error::new(Code::FILE_FAILED, "the demo cannot create its temporary directory")
                .because(error)
                .hint("Is the temporary directory writable?")
        };
        let dir = tempfile::Builder::new().prefix("smsotp-demo-").tempdir().map_err(trouble)?;
        let program = std::env::current_exe().map_err(trouble)?;
        let bubbles: Arc<Mutex<Vec<String>>> = Arc::default();
        let shown = Arc::clone(&bubbles);
        let sandbox = Sandbox::start(sandbox::Options {
            on_message: Some(Box::new(move |message| {
                shown.lock().unwrap_or_else(PoisonError::into_inner).push(message.to_string());
            })),
            ..sandbox::Options::default()
        })?;
        sandbox.write_env(&dir.path().join(".env"))?;
        Ok(Stage { dir, sandbox, bubbles, program })
    }

    /// Runs one command as its own process. Nothing of the user's environment reaches it: neither an account nor a database.
    fn play(&self, line: &str) -> Result<Step> {
        let home = self.dir.path();
        let output = Command::new(&self.program)
            .args(line.split(' ').map(OsString::from))
            .env_clear()
            .envs(essentials(home))
            .current_dir(home)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Error::new(Code::FILE_FAILED, "smsotp cannot start itself").because(error))?;
        Ok(Step {
            command: format!("smsotp {line}"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            exit_code: output.status.code().unwrap_or(-1),
        })
    }
}

/// The environment of a user with no settings.
fn essentials(home: &Path) -> Vec<(&'static str, OsString)> {
    let mut variables = vec![("HOME", home.as_os_str().to_owned()), ("SMSOTP_OUTPUT", OsString::from("table"))];
    if cfg!(windows) {
        variables.extend([
            ("USERPROFILE", home.as_os_str().to_owned()),
            ("APPDATA", home.as_os_str().to_owned()),
            ("LOCALAPPDATA", home.as_os_str().to_owned()),
        ]);
    }
    variables
}
