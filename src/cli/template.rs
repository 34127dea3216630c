//! `smsotp template`: what messages say, and whether they fit.

use serde::Serialize;

use super::{Call, given};
use crate::check::Mark;
use crate::engine::{Of, Sample, Samples, samples};
use crate::error::{Class, Code, Error, Result};
use crate::output::{Item, Layout, List, Output, Render, Table, View};
use crate::policy::Policy;
use crate::segments::{Encoding, replacement};
use crate::template::Endings;

/// List and check the texts of messages
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp template list --locale de\n  \
    $ smsotp template check")]
pub enum Verb {
    List(ListArgs),
    Check(CheckArgs),
}

/// List the texts of messages, each at its longest, with zeros for the code
///
/// Those that the settings send: in the setting `locale`, in the locales and for the countries that have texts of your own. Those of
/// messages without a code have the names of their variables, like <name>.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp template list\n  \
    $ smsotp template list --purpose login --all\n  \
    $ smsotp template list --locale pt-BR --json")]
pub struct ListArgs {
    #[command(flatten)]
    which: Which,
    /// Also the built-in texts of every locale
    #[arg(long, conflicts_with_all = ["locale", "country"])]
    all: bool,
}

/// Check that the texts of messages fit: segments, encoding, the characters that force UCS-2
///
/// Exit code 1 where one takes more segments than the setting `segments_max` allows, or cannot be written at all.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp template check\n  \
    $ smsotp template check --purpose login --locale de --origin example.com\n  \
    $ smsotp template check --app-hash FA+9qCX9VSu --json")]
pub struct CheckArgs {
    #[command(flatten)]
    which: Which,
    /// With these 11 characters as last line, by which Android passes the message to your app
    #[arg(long, value_name = "HASH")]
    app_hash: Option<String>,
    /// With the last line for this domain, whose web page may fill the code in by itself
    #[arg(long, value_name = "DOMAIN", conflicts_with = "app_hash")]
    origin: Option<String>,
}

/// Which texts.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Only codes for this purpose
    #[arg(long, value_name = "NAME")]
    purpose: Option<String>,
    /// Only this message without a code, [messages.NAME] in smsotp.toml
    #[arg(long, value_name = "NAME", conflicts_with = "purpose")]
    message: Option<String>,
    /// The text for this language, for example de, de-AT or pt-BR
    #[arg(long, value_name = "TAG")]
    locale: Option<String>,
    /// The text for numbers of this country, two letters
    #[arg(long, value_name = "COUNTRY")]
    country: Option<String>,
}

/// One text.
#[derive(Clone, Debug, Serialize)]
pub struct TextRow {
    /// The purpose of the code that it carries; left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The message without a code that it is; left out: it carries one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub locale: String,
    /// The country whose numbers it is for; left out: for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// `built_in`, or `settings`: your own.
    pub source: &'static str,
    pub encoding: Encoding,
    pub segments: u32,
    /// Septets of GSM-7, or UTF-16 units of UCS-2.
    pub units: u32,
    /// The segments where the provider puts look-alikes in the place of characters (Twilio: smart encoding).
    pub segments_smart: u32,
    /// The characters that force UCS-2, with what could stand in their place.
    pub characters: Vec<Foreign>,
    /// The text at its longest, with zeros for the code; without one, with the names of its variables, like `<name>`.
    pub text: String,
    /// Why it cannot go out; left out: it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A character that is not in the GSM-7 alphabet.
#[derive(Clone, Debug, Serialize)]
pub struct Foreign {
    pub character: char,
    /// `U+` and its hexadecimal number.
    pub code_point: String,
    /// What looks like it and is in the alphabet; left out: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<&'static str>,
}

impl Item for TextRow {
    const KIND: &'static str = "text";
    const COLUMNS: &'static [&'static str] =
        &["purpose", "locale", "country", "source", "encoding", "segments", "units", "text"];
    const PROSE: &'static [&'static str] = &["text"];
    const SPARE: &'static [&'static str] = &["source", "units", "country"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![
            self.what(),
            self.locale.clone(),
            view.text_if(self.country.as_deref()),
            self.source.to_owned(),
            self.encoding.as_str().to_owned(),
            self.segments.to_string(),
            self.units.to_string(),
            self.text.clone(),
        ]
    }
}

impl TextRow {
    fn of(sample: Sample) -> TextRow {
        let characters = sample.measured.foreign.iter().map(|c| Foreign {
            character: *c,
            code_point: format!("U+{:04X}", u32::from(*c)),
            replacement: replacement(*c),
        });
        let (purpose, message) = match sample.of {
            Of::Purpose(purpose) => (Some(purpose.as_str().to_owned()), None),
            Of::Message(name) => (None, Some(name)),
        };
        TextRow {
            purpose,
            message,
            locale: sample.locale.to_string(),
            country: sample.country,
            source: if sample.built_in { "built_in" } else { "settings" },
            encoding: sample.measured.encoding,
            segments: sample.measured.segments,
            units: sample.measured.units,
            segments_smart: sample.smart.segments,
            characters: characters.collect(),
            text: sample.text,
            problem: sample.problem.map(|error| error.message().to_owned()),
        }
    }

    fn name(&self) -> String {
        match &self.country {
            Some(country) => format!("{}, {country}", self.what()),
            None => format!("{}, {}", self.what(), self.locale),
        }
    }

    fn what(&self) -> String {
        let message = || self.message.as_ref().map(|name| format!("message {name}"));
        self.purpose.clone().or_else(message).unwrap_or_default()
    }
}

/// The texts with what was found about them.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// All of them can go out.
    pub ok: bool,
    /// How many segments are allowed.
    pub segments_max: u32,
    pub texts: Vec<TextRow>,
}

impl Render for Checked {
    const KIND: &'static str = "template_check";

    fn table(&self, view: &View) -> Table {
        let mut table = Table::new(TextRow::COLUMNS);
        self.texts.iter().for_each(|row| table.row(row.cells(view)));
        table
    }

    fn layout(&self, _: &View) -> Layout {
        let mut page = Layout::new();
        for row in &self.texts {
            let mark = if row.problem.is_some() { Mark::Fail } else { Mark::Ok };
            let takes = format!(
                "{} {}, {} of {} {}",
                row.segments,
                if row.segments == 1 { "segment" } else { "segments" },
                row.units,
                if row.segments == 1 { row.encoding.single() } else { row.encoding.part() * row.segments },
                if row.encoding == Encoding::Gsm7 { "GSM-7 characters" } else { "UCS-2 units" },
            );
            let mut sentences = vec![row.text.replace('\n', " / "), takes];
            sentences.extend(row.in_place());
            sentences.extend(row.problem.iter().map(|problem| format!("It cannot go out: {problem}")));
            sentences.retain(|sentence| !sentence.is_empty());
            page = page.check(mark, row.name(), sentences);
        }
        page
    }
}

impl TextRow {
    /// Which characters force UCS-2, where GSM-7 could do.
    fn in_place(&self) -> Option<String> {
        let replaced: Vec<String> = self
            .characters
            .iter()
            .filter_map(|one| one.replacement.map(|other| format!("{} ({}) by {other}", one.character, one.code_point)))
            .collect();
        if replaced.len() < self.characters.len() || replaced.is_empty() {
            return None;
        }
        Some(format!("GSM-7 would do, in fewer segments or more room: replace {}", replaced.join(", ")))
    }
}

/// Lists or checks.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::List(args) => {
            let config = call.config()?;
            let which = Samples { all: args.all, ..args.which.samples(&config.policy)? };
            let rows = samples(&config.policy, &which).into_iter().map(TextRow::of).collect();
            out.list(&List::whole(rows, ""))
        }
        Verb::Check(args) => {
            let config = call.config()?;
            let endings = Endings::new(args.app_hash.as_deref(), args.origin.as_deref())?;
            let which = Samples { endings, ..args.which.samples(&config.policy)? };
            let texts: Vec<TextRow> = samples(&config.policy, &which).into_iter().map(TextRow::of).collect();
            let ok = texts.iter().all(|row| row.problem.is_none());
            out.show(&Checked { ok, segments_max: config.policy.segments_max, texts })?;
            Ok(if ok { Class::Done } else { Class::No })
        }
    }
}

impl Which {
    fn samples(&self, policy: &Policy) -> Result<Samples> {
        let purpose = self.purpose.as_deref().map(given::purpose).transpose()?;
        given::declared(purpose.as_ref(), policy)?;
        if let Some(name) = self.message.as_ref().filter(|name| !policy.messages.contains_key(*name)) {
            let known: Vec<&str> = policy.messages.keys().map(String::as_str).collect();
            let error = Error::new(Code::VALUE_INVALID, format!("no message is called {name:.64}"));
            return Err(error.hint(match known.as_slice() {
                [] => "Declare it in smsotp.toml under [messages.NAME].".to_owned(),
                known => given::did_you_mean(name, known),
            }));
        }
        Ok(Samples {
            of: purpose.map(Of::Purpose).or_else(|| self.message.clone().map(Of::Message)),
            locale: self.locale.as_deref().map(given::locale).transpose()?,
            country: self.country.as_deref().map(given::country).transpose()?.map(str::to_owned),
            ..Samples::default()
        })
    }
}
