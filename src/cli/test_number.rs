//! `smsotp test-number`: numbers that get a fixed code and no message.

use serde::Serialize;

use super::Call;
use super::given::{self, CodeSource};
use crate::app::{OpenMode, os_caller};
use crate::clock::Timestamp;
use crate::engine::{AddTestNumber, TestNumber};
use crate::error::{Class, Result};
use crate::output::{Item, Layout, List, Output, Render, Table, View};

/// Manage test numbers, which get a fixed code and no message
///
/// For app-store reviewers and end-to-end tests: any number of E.164 shape, at most 90 days, never free of guess budgets.
#[derive(Debug, clap::Subcommand)]
#[command(after_long_help = "Examples:\n  \
    $ echo 123456 | smsotp test-number add +15005550006 - --until 2026-12-31\n  \
    $ smsotp test-number list\n  \
    $ smsotp test-number remove +15005550006")]
pub enum Verb {
    Add(Add),
    /// List the test numbers
    #[command(after_long_help = "Examples:\n  $ smsotp test-number list\n  $ smsotp test-number list --reveal --json")]
    List,
    Remove(Remove),
}

/// Declare a test number; its code comes from a prompt or standard input
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    $ smsotp test-number add +15005550006 --until 2026-12-31\n  \
    $ echo 123456 | smsotp test-number add +15005550006 - --until 30d")]
pub struct Add {
    /// The number, in international form, or national with --region
    pub phone: String,
    /// - reads the code from standard input [default: a hidden prompt]
    #[arg(value_name = "-", value_parser = ["-"], hide_possible_values = true)]
    pub code: Option<String>,
    /// Until when: a date, RFC 3339, or a span from now; at most 90 days
    #[arg(long, value_name = "WHEN")]
    pub until: String,
    #[command(flatten)]
    pub region: given::Region,
}

/// Make a test number an ordinary one again
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  $ smsotp test-number remove +15005550006")]
pub struct Remove {
    /// The number, in international form, or national with --region
    pub phone: String,
    #[command(flatten)]
    pub region: given::Region,
}

/// One test number.
#[derive(Clone, Debug, Serialize)]
pub struct TestNumberRow {
    /// The number, masked unless revealed.
    pub phone: String,
    /// When it becomes an ordinary number.
    pub until: Timestamp,
    pub created_at: Timestamp,
    pub created_by: String,
}

impl Item for TestNumberRow {
    const KIND: &'static str = "test_number";
    const COLUMNS: &'static [&'static str] = &["phone", "until", "created", "by"];
    const SPARE: &'static [&'static str] = &["created", "by"];

    fn cells(&self, view: &View) -> Vec<String> {
        vec![self.phone.clone(), view.time(self.until), view.time(self.created_at), self.created_by.clone()]
    }
}

/// What `test-number remove` did.
#[derive(Debug, Serialize)]
struct Removed {
    /// The number, masked unless revealed.
    phone: String,
    /// False: it was no test number.
    removed: bool,
}

impl Render for TestNumberRow {
    const KIND: &'static str = <TestNumberRow as Item>::KIND;

    fn table(&self, view: &View) -> Table {
        Table { rows: vec![self.cells(view)], ..Table::new(TestNumberRow::COLUMNS) }
    }

    fn layout(&self, view: &View) -> Layout {
        let end = format!("{} ({})", view.time(self.until), self.until);
        Layout::new()
            .text(format!("{} is a test number: nothing is sent to it, and its code is the one you gave.", self.phone))
            .field("until", end)
    }
}

impl Render for Removed {
    const KIND: &'static str = "test_number_removed";

    fn table(&self, _: &View) -> Table {
        Table::one_row(vec![("phone", self.phone.clone()), ("removed", self.removed.to_string())])
    }

    fn layout(&self, _: &View) -> Layout {
        Layout::new().text(if self.removed {
            format!("{} is an ordinary number again.", self.phone)
        } else {
            format!("Nothing to do: {} is no test number.", self.phone)
        })
    }
}

/// Adds, lists or removes.
pub fn run(verb: Verb, call: &Call, out: &mut Output) -> Result<Class> {
    match verb {
        Verb::Add(args) => add(&args, call, out),
        Verb::List => list(call, out),
        Verb::Remove(args) => remove(&args, call, out),
    }
}

fn add(args: &Add, call: &Call, out: &mut Output) -> Result<Class> {
    let config = args.region.config(call)?;
    let phone = given::phone(&args.phone, &config, call)?;
    let now = out.view().now;
    let until = given::moment("--until", &args.until, |span| now + span)?;
    let source = CodeSource { given: args.code.as_deref(), file: None, instead: "`-` and the code on standard input" };
    let code = given::code(source, call, out)?;
    let app = call.open_with(config, OpenMode::MayCreate, out)?;
    let added = app.run(app.engine().add_test_number(&os_caller(), AddTestNumber { phone, code, until }))?;
    out.show(&TestNumberRow::of(&added, out))
}

fn list(call: &Call, out: &mut Output) -> Result<Class> {
    let app = call.open(OpenMode::Reading, out)?;
    let numbers = app.run(app.engine().test_numbers())?;
    let rows = numbers.iter().map(|number| TestNumberRow::of(number, out)).collect();
    out.list(&List::whole(rows, "No test numbers."))
}

fn remove(args: &Remove, call: &Call, out: &mut Output) -> Result<Class> {
    let config = args.region.config(call)?;
    let phone = given::phone(&args.phone, &config, call)?;
    let app = call.open_with(config, OpenMode::Existing, out)?;
    let was = app.run(app.engine().remove_test_number(&os_caller(), &phone))?;
    out.show(&Removed { phone: out.phone(&phone), removed: was })
}

impl TestNumberRow {
    fn of(number: &TestNumber, out: &Output) -> TestNumberRow {
        TestNumberRow {
            phone: out.phone(&number.phone),
            until: number.until,
            created_at: number.added_at,
            created_by: number.added_by.clone(),
        }
    }
}
