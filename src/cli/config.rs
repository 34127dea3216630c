//! `smsotp config`: what is set, where it comes from, and whether it makes sense.

use super::Call;
use super::checks::Checks;
use crate::app;
use crate::check::Mark;
use crate::config::Setting;
use crate::error::{Class, Result};
use crate::output::{Item, List, Output, View};

/// Show and check the configuration
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp config show\n  \
    $ smsotp config check")]
pub enum Verb {
    /// Show every setting, its value and where it comes from
    ///
    /// Secrets are hidden.
    #[command(after_long_help = "Examples:\n  $ smsotp config show\n  $ smsotp config show --json")]
    Show,
    /// Check the configuration: try what `send` would need, and warn about what is risky
    ///
    /// Keys and database are opened, credentials and sender are checked by their form, wordings are measured; nothing is sent or
    /// made. Exit code 78: something is wrong, and `send` would fail. Warnings do not change the exit code.
    #[command(after_long_help = "Examples:\n  $ smsotp config check\n  $ smsotp config check --env-file ./staging.env")]
    Check,
}

impl Item for Setting {
    const KIND: &'static str = "setting";
    const COLUMNS: &'static [&'static str] = &["name", "value", "origin"];
    const PROSE: &'static [&'static str] = &["value"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![self.name.clone(), view.text_if(Some(&self.value)), self.origin.clone()]
    }
}

/// Shows or checks.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::Show => {
            let config = call.config()?;
            call.new_warnings().iter().for_each(|warning| out.warn(warning));
            out.list(&List::whole(config.settings, "nothing is set"))
        }
        Verb::Check => {
            // What is wrong is an error of `config()` itself, with its own hint and exit code 78.
            let config = call.config()?;
            let mut checks = Checks::new("config");
            checks.add("settings", Mark::Ok, format!("{} settings, all readable", config.settings.len()), None);
            for warning in &call.new_warnings() {
                checks.add("warning", Mark::Warn, warning, None);
            }
            for check in app::try_settings(config, &|words| out.warn(words)) {
                checks.add(check.name, check.mark, check.finding, check.next);
            }
            Ok(match checks.show(out)? {
                Class::No => Class::Config,
                class => class,
            })
        }
    }
}
