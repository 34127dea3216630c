//! `smsotp --version --verbose`: what was built, and of what.

use serde::Serialize;

use super::help;
use crate::app;
use crate::error::{Class, Result};
use crate::output::{Output, Render, Table, View};
use crate::phone;

/// This build.
#[derive(Debug, Serialize)]
struct Build {
    /// The version of the package.
    version: &'static str,
    /// The commit, if whoever built it named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'static str>,
    /// The profile of Cargo's.
    profile: &'static str,
    /// Processor, system and C library.
    target: String,
    /// The features of the package.
    features: Vec<&'static str>,
    /// What numbers are read by.
    numbering_plans: Plans,
    /// The version of SQLite that is built in.
    sqlite: &'static str,
    /// The newest schema of a database that it reads.
    schema: u32,
}

/// The numbering plans that are compiled in.
#[derive(Debug, Serialize)]
struct Plans {
    /// The version of libphonenumber.
    libphonenumber: &'static str,
    /// Its year and month.
    published: &'static str,
}

impl Render for Build {
    const KIND: &'static str = "version";

    fn table(&self, view: &View) -> Table {
        Table::one_row(vec![
            ("commit", self.commit.unwrap_or("not known (packaging/build names it)").to_owned()),
            ("profile", self.profile.to_owned()),
            ("target", self.target.clone()),
            ("features", self.features.join(", ")),
            ("numbering plans", help::numbering_plans(view.now)),
            ("SQLite", self.sqlite.to_owned()),
            ("schema", self.schema.to_string()),
        ])
    }
}

fn build() -> Build {
    let features = [
        (cfg!(feature = "cli"), "cli"),
        (cfg!(feature = "postgres"), "postgres"),
        (cfg!(feature = "sandbox"), "sandbox"),
        (cfg!(feature = "serve"), "serve"),
    ];
    // Cargo says neither to the program: packaging/build does.
    let guessed = if cfg!(debug_assertions) { "debug" } else { "optimised" };
    let library = match () {
        () if cfg!(target_env = "musl") => "-musl",
        () if cfg!(target_env = "gnu") => "-gnu",
        () if cfg!(target_env = "msvc") => "-msvc",
        () => "",
    };
    let (libphonenumber, published) = phone::PLANS;
    let (sqlite, schema) = app::storage_versions();
    Build {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("SMSOTP_COMMIT"),
        profile: option_env!("SMSOTP_PROFILE").unwrap_or(guessed),
        target: format!("{}-{}{library}", std::env::consts::ARCH, std::env::consts::OS),
        features: features.iter().filter(|(built, _)| *built).map(|(_, name)| *name).collect(),
        numbering_plans: Plans { libphonenumber, published },
        sqlite,
        schema,
    }
}

/// Shows it: below the version, one fact in a line, in pipes as well, since that is where they are looked for.
pub fn show(version: &str, out: &mut Output) -> Result<Class> {
    let build = build();
    if out.is_json() {
        return out.show(&build);
    }
    let facts = build.table(&out.view());
    let lines = facts.columns.iter().zip(&facts.rows[0]).map(|(name, value)| format!("{name}: {value}\n"));
    out.text(&format!("{version}{}", lines.collect::<String>()), None)
}
