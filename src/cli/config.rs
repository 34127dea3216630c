//! `smsotp config`: what is set, where it comes from, and whether it makes sense.

use clap::Subcommand;
use serde::Serialize;

use super::Call;
use super::checks::Checks;
use crate::check::Mark;
use crate::config::Setting;
use crate::error::{Class, Result};
use crate::output::{Item, List, Output, View};

/// Show and check the configuration
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp config show\n  \
    $ smsotp config check")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Show(Show),
    Check(CheckArgs),
}

/// Show every setting, its value and where it comes from
///
/// Secrets are hidden.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp config show\n  $ smsotp config show --json")]
pub struct Show {}

/// Check the configuration and warn about what is risky
///
/// Exit code 78: something is wrong. Warnings do not change the exit code.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp config check\n  $ smsotp config check --env-file ./staging.env")]
pub struct CheckArgs {}

/// One setting.
#[derive(Clone, Debug, Serialize)]
pub struct SettingRow {
    /// The name.
    pub name: String,
    /// The value; secrets are hidden.
    pub value: String,
    /// Where it comes from.
    pub origin: String,
}

impl Item for SettingRow {
    const KIND: &'static str = "setting";
    const COLUMNS: &'static [&'static str] = &["name", "value", "origin"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![self.name.clone(), view.text_if(Some(&self.value)), self.origin.clone()]
    }
}

impl From<Setting> for SettingRow {
    fn from(setting: Setting) -> SettingRow {
        SettingRow { name: setting.name, value: setting.value, origin: setting.origin }
    }
}

/// Shows or checks.
pub fn run(args: Args, call: &Call, out: &mut Output) -> Result<Class> {
    match args.verb {
        Verb::Show(_) => {
            let config = call.config()?;
            for warning in &config.warnings {
                out.warn(warning);
            }
            out.list(&List::whole(config.settings.into_iter().map(SettingRow::from).collect(), "nothing is set"))?;
            Ok(Class::Done)
        }
        Verb::Check(_) => {
            // What is wrong is an error of `config()` itself, with its own hint and exit code 78.
            let config = call.config()?;
            let mut checks = Checks::new("config");
            checks.add("settings", Mark::Ok, format!("{} settings, all readable", config.settings.len()), None);
            for warning in config.warnings {
                checks.add("warning", Mark::Warn, warning, None);
            }
            checks.show(out)
        }
    }
}
