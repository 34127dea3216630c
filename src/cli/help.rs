//! `smsotp help`: the long help of a command, and topics that are generated from the tables they describe.

use chrono::Datelike;

use crate::clock::Timestamp;
use crate::config::{SETTINGS, nearest};
use crate::error::{CLASSES, CODES, Class, Code, Error, Result};
use crate::output::{Output, SCHEMA_VERSION};
use crate::phone;

/// Explain a command or a topic
///
/// Topics: exit-codes, environment, json.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp help send\n  \
    $ smsotp help limits reset\n  \
    $ smsotp help exit-codes")]
pub struct Args {
    /// A command, or one of: exit-codes, environment, json
    #[arg(value_name = "TOPIC")]
    pub topic: Vec<String>,
}

/// The topics beside the commands.
pub const TOPICS: [&str; 3] = ["exit-codes", "environment", "json"];

/// The variables that are no settings, and what they do.
pub const OF_TERMINAL: [(&str, &str); 3] = [
    ("NO_COLOR", "set and not empty: no colours"),
    ("CLICOLOR_FORCE", "set and not 0: colours even in a pipe"),
    ("RUST_LOG", "the level of smsotp's own logs"),
];

/// Prints the help.
pub fn run(args: Args, out: &mut Output) -> Result<Class> {
    match args.topic.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["exit-codes"] => out.text(&exit_codes(), None),
        ["environment"] => out.text(&environment(), None),
        ["json"] => out.text(&json(), None),
        words => {
            let styled = command_help(words)?;
            out.text(&styled.to_string(), Some(&styled.ansi().to_string()))
        }
    }
}

/// The long help of the command that `words` name.
fn command_help(words: &[&str]) -> Result<clap::builder::StyledStr> {
    let mut root = super::command();
    root.build();
    let mut command = &mut root;
    for word in words {
        let names = command.get_subcommands().map(|sub| sub.get_name().to_owned());
        let known: Vec<String> = names.chain(TOPICS.map(str::to_owned)).collect();
        command = command.find_subcommand_mut(word).ok_or_else(|| {
            let hint = match nearest(word, known.iter().map(String::as_str)) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!("Topics: {}. Commands: `smsotp --help`", TOPICS.join(", ")),
            };
            Error::new(Code::USAGE, format!("there is no command or topic {word:.40}")).hint(hint)
        })?;
    }
    Ok(command.render_long_help())
}

/// Which numbering plans are compiled in, and how old they are.
pub fn numbering_plans(now: Timestamp) -> String {
    let (version, published) = phone::PLANS;
    let months = |year: i32, month: u32| i64::from(year) * 12 + i64::from(month);
    let date = now.datetime();
    let from =
        published.split_once('-').and_then(|(year, month)| Some(months(year.parse().ok()?, month.parse().ok()?)));
    let age = match from.map_or(0, |from| months(date.year(), date.month()) - from) {
        ..=0 => "new".to_owned(),
        1 => "1 month old".to_owned(),
        age => format!("{age} months old"),
    };
    format!("libphonenumber {version} of {published}, {age}")
}

/// The table of exit codes.
pub fn exit_codes() -> String {
    let mut text = String::from("Exit codes\n\n");
    for row in CLASSES {
        text.push_str(&format!("  {:>3}  {}\n", row.exit, row.meaning));
    }
    text.push_str("\nError codes in JSON, by exit code\n\n");
    for row in CLASSES {
        let names: Vec<&str> = CODES.iter().filter(|code| code.class == row.class).map(|code| code.name).collect();
        if !names.is_empty() {
            text.push_str(&format!("  {:>3}  {}\n", row.exit, names.join(", ")));
        }
    }
    text
}

/// The JSON contract.
pub fn json() -> String {
    format!(
        "JSON\n\n\
        With -o json a command writes one document to standard output, with -o jsonl one object per line.\n\
        Every object has `schema_version` (now {SCHEMA_VERSION}) and `kind`. Within one version fields are only added: ignore what\n\
        you do not know. Ids are strings, times RFC 3339 in UTC, durations whole seconds in fields that end in `_seconds`.\n\n\
        A list:   {{\"schema_version\": {SCHEMA_VERSION}, \"kind\": \"otp_list\", \"items\": [...], \"more\": 3, \"next_after\": \"17\"}}\n\
        A result: {{\"schema_version\": {SCHEMA_VERSION}, \"kind\": \"verification\", \"verified\": true, ...}}\n\
        On standard error every line is an object too: {{\"schema_version\": {SCHEMA_VERSION}, \"warning\": {{\"message\": \"...\"}}}}, likewise\n\
        \"hint\" and \"note\". An error is the last one:\n  \
          {{\"schema_version\": {SCHEMA_VERSION}, \"error\": {{\"code\": \"rate_limited\", \"message\": \"...\", \"hint\": \"...\",\n  \
           \"exit_code\": 75, \"retry_after_seconds\": 42}}}}\n\n\
        `code` is one of those that `smsotp help exit-codes` lists. Phones are masked unless --reveal is given.\n"
    )
}

/// The variables that are read.
pub fn environment() -> String {
    let settings = SETTINGS.iter().filter(|row| !row.variable.is_empty()).map(|row| (row.variable, row.meaning));
    let rows: Vec<_> = settings.chain(OF_TERMINAL).collect();
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let mut text = String::from(
        "Environment\n\nA flag overrides a variable, which overrides .env in this directory (or --env-file), which overrides smsotp.toml,\nwhich overrides the default.\n\n",
    );
    for (name, meaning) in rows {
        text.push_str(&format!("  {name:width$}  {meaning}\n"));
    }
    text
}
