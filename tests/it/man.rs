//! The man pages, made from the argument tree and from the tables of exit codes and variables: one for each command.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use clap::{Arg, ArgAction};
use smsotp::cli;
use smsotp::config::SETTINGS;
use smsotp::error::CLASSES;

/// The day of the pages: that of the release, so that nothing in them depends on when they are made.
const DATE: &str = "2026-11-25";

/// All pages by their file names: `smsotp.1`, `smsotp-limits-reset.1`.
pub(crate) fn pages() -> BTreeMap<String, String> {
    let mut root = cli::command();
    root.build();
    let mut pages = BTreeMap::new();
    add_pages(&root, "smsotp", None, &mut pages);
    pages
}

fn add_pages(command: &clap::Command, name: &str, parent: Option<&str>, pages: &mut BTreeMap<String, String>) {
    pages.insert(format!("{}.1", name.replace(' ', "-")), page(command, name, parent));
    for sub in visible(command) {
        add_pages(sub, &format!("{name} {}", sub.get_name()), Some(name), pages);
    }
}

fn visible(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set())
}

fn page(command: &clap::Command, name: &str, parent: Option<&str>) -> String {
    let title = name.replace(' ', "-");
    let mut page =
        format!(".TH {} 1 {DATE} \"smsotp {}\" \"smsotp manual\"\n", title.to_uppercase(), env!("CARGO_PKG_VERSION"));
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    writeln!(page, ".SH NAME\n{}\n.SH SYNOPSIS\n.nh\n.ad l", filled(&format!("{title} \0 {about}"))).unwrap();
    synopsis(&mut page, command, name);
    page.push_str(".SH DESCRIPTION\n");
    let long = command.get_long_about().map_or(about, ToString::to_string);
    for (n, paragraph) in long.split("\n\n").enumerate() {
        writeln!(page, "{}{}", if n > 0 { ".PP\n" } else { "" }, text(paragraph)).unwrap();
    }
    let (global, own): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(|arg| !arg.is_hide_set()).partition(|arg| is_global(arg));
    section(&mut page, "OPTIONS", own.iter().copied());
    if command.has_subcommands() {
        page.push_str(".SH COMMANDS\n");
        for sub in visible(command) {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            writeln!(page, ".TP\n\\fB{}\\fR(1)\n{}", escaped(&format!("{title}-{}", sub.get_name())), text(&about))
                .unwrap();
        }
    }
    section(&mut page, "GLOBAL OPTIONS", global.into_iter());
    page.push_str(".SH EXIT STATUS\n");
    for row in CLASSES {
        writeln!(page, ".TP\n.B {}\n{}", row.exit, text(row.meaning)).unwrap();
    }
    environment(&mut page, parent.is_none());
    page.push_str(FILES);
    examples(&mut page, command);
    see_also(&mut page, command, &title, parent);
    page
}

fn synopsis(page: &mut String, command: &clap::Command, name: &str) {
    let mut parts: Vec<String> = Vec::new();
    let own = |arg: &&Arg| !arg.is_hide_set() && !is_global(arg) && arg.get_id() != "help" && arg.get_id() != "version";
    for arg in command.get_arguments().filter(own).filter(|arg| !arg.is_positional()) {
        let flag = format!("\\fB{}\\fR{}", escaped(&format!("--{}", arg.get_long().unwrap_or_default())), value(arg));
        parts.push(if arg.is_required_set() { flag } else { format!("[{flag}]") });
    }
    for arg in command.get_positionals() {
        let value = format!("\\fI{}\\fR", escaped(&names(arg)));
        parts.push(if arg.is_required_set() { value } else { format!("[{value}]") });
    }
    if command.has_subcommands() {
        parts.push(
            if command.is_subcommand_required_set() { "\\fIcommand\\fR" } else { "[\\fIcommand\\fR]" }.to_owned(),
        );
    }
    parts.push("[\\fIglobal options\\fR]".to_owned());
    writeln!(page, ".B {}\n{}", escaped(name), parts.join("\n")).unwrap();
}

fn section<'a>(page: &mut String, heading: &str, args: impl Iterator<Item = &'a Arg>) {
    let mut args: Vec<&Arg> = args.collect();
    if args.is_empty() {
        return;
    }
    // What is given by its place comes first, as in the usage.
    args.sort_by_key(|arg| !arg.is_positional());
    writeln!(page, ".SH {heading}").unwrap();
    for arg in args {
        let flags = [arg.get_short().map(|short| format!("-{short}")), arg.get_long().map(|long| format!("--{long}"))];
        let flags: Vec<String> = flags.iter().flatten().map(|flag| format!("\\fB{}\\fR", escaped(flag))).collect();
        let head = match arg.is_positional() {
            true => format!("\\fI{}\\fR", escaped(&names(arg))),
            false => format!("{}{}", flags.join(", "), value(arg)),
        };
        let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
        writeln!(page, ".TP\n{head}\n{}", text(&with_values(arg, &help))).unwrap();
    }
}

/// The help with the default and the values that are taken, as sentences.
fn with_values(arg: &Arg, help: &str) -> String {
    let mut text = help.trim_end_matches('.').to_owned();
    if !arg.get_action().takes_values() {
        return text;
    }
    let values = arg.get_possible_values();
    let names: Vec<&str> = values.iter().filter(|value| !value.is_hide_set()).map(|value| value.get_name()).collect();
    if !names.is_empty() && !arg.is_hide_possible_values_set() {
        write!(text, ". One of: {}", names.join(", ")).unwrap();
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if defaults.iter().any(|value| !value.is_empty()) {
        write!(text, ". Default: {}", defaults.join(",")).unwrap();
    }
    text
}

fn is_global(arg: &Arg) -> bool {
    arg.get_help_heading() == Some("Global options")
}

fn names(arg: &Arg) -> String {
    let names = arg.get_value_names().map(|names| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" "));
    names.unwrap_or_else(|| arg.get_id().as_str().to_uppercase())
}

fn value(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return if matches!(arg.get_action(), ArgAction::Count) { "..." } else { "" }.to_owned();
    }
    let name = format!("\\fI{}\\fR", escaped(&names(arg)));
    match arg.get_num_args().is_some_and(|range| range.min_values() == 0) {
        true => format!("[={name}]"),
        false => format!(" {name}"),
    }
}

/// The variables: all of them on the page of the program, the way there on the others.
fn environment(page: &mut String, all: bool) {
    page.push_str(".SH ENVIRONMENT\n");
    if !all {
        page.push_str("Every setting has a variable;\n.BR smsotp (1)\nlists them.\n");
        return;
    }
    page.push_str(
        "A flag overrides a variable, which overrides .env in the current directory,\nwhich overrides smsotp.toml.\n",
    );
    for row in SETTINGS.iter().filter(|row| !row.variable.is_empty()) {
        writeln!(page, ".TP\n.B {}\n{}", escaped(row.variable), text(row.meaning)).unwrap();
    }
    for (name, meaning) in cli::help::OF_TERMINAL {
        writeln!(page, ".TP\n.B {}\n{}", escaped(name), text(meaning)).unwrap();
    }
}

const FILES: &str = ".SH FILES\n\
    .TP\n.I ~/.config/smsotp/smsotp.toml\nThe settings.\n\
    .TP\n.I ~/.config/smsotp/secret.key\nThe secret keys, where no variable gives them.\nBack them up apart from the database.\n\
    .TP\n.I ~/.local/share/smsotp/smsotp.db\nThe database, where no other is named.\n\
    .TP\n.I ./.env\nVariables that may add to the settings.\n";

fn examples(page: &mut String, command: &clap::Command) {
    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let lines: Vec<&str> = after.lines().map(str::trim).filter(|line| line.starts_with("$ ")).collect();
    if lines.is_empty() {
        return;
    }
    page.push_str(".SH EXAMPLES\n.nf\n");
    for line in lines {
        writeln!(page, "{}", escaped(line)).unwrap();
    }
    page.push_str(".fi\n");
}

fn see_also(page: &mut String, command: &clap::Command, title: &str, parent: Option<&str>) {
    let mut pages: Vec<String> = parent.map(|parent| parent.replace(' ', "-")).into_iter().collect();
    pages.extend(visible(command).map(|sub| format!("{title}-{}", sub.get_name())));
    if pages.is_empty() {
        return;
    }
    page.push_str(".SH SEE ALSO\n");
    for (n, name) in pages.iter().enumerate() {
        let comma = if n + 1 < pages.len() { "," } else { "" };
        writeln!(page, ".BR {} (1){comma}", escaped(name)).unwrap();
    }
}

/// A paragraph that ends as a sentence, in lines of a page.
fn text(paragraph: &str) -> String {
    let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let stop = if text.is_empty() || text.ends_with(['.', ':', '?', '!']) { "" } else { "." };
    filled(&text) + stop
}

/// Words in lines that are not too long; a NUL is the dash between a name and what it is.
fn filled(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ').map(|word| if word == "\0" { "\\-".to_owned() } else { escaped(word) }) {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(&word),
            Some(line) if line.len() + 1 + word.len() < LINE_MAX => *line = format!("{line} {word}"),
            _ => lines.push(word),
        }
    }
    lines.join("\n")
}

/// No line of a page is longer.
const LINE_MAX: usize = 78;

/// What roff would read as something else.
fn escaped(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
    let plain = escaped.replace('…', "...").replace('•', "\\(bu");
    if plain.starts_with('.') { format!("\\&{plain}") } else { plain }
}

#[test]
fn every_page_says_how_it_ends_what_it_reads_and_which_files_it_uses() {
    let pages = pages();

    assert!(pages.len() > 40, "{:?}", pages.keys());
    for (name, page) in &pages {
        let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        for wanted in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "ENVIRONMENT", "FILES"] {
            assert!(sections.contains(&wanted), "{name} has no {wanted}");
        }
        let at = |wanted| sections.iter().position(|section| *section == wanted);
        assert!(at("OPTIONS") < at("GLOBAL OPTIONS"), "{name}: {sections:?}");
        assert!(at("GLOBAL OPTIONS") < at("EXIT STATUS"), "{name}: {sections:?}");
    }
    let list = &pages["smsotp-list.1"];
    assert!(list.find("\\-\\-state") < list.find("\\-\\-db"), "{list}");
    assert!(pages["smsotp.1"].contains("TWILIO_ACCOUNT_SID") && pages["smsotp.1"].contains("NO_COLOR"));
}

/// The strictest reader of man pages there is, or groff where it is not installed.
#[test]
fn no_page_is_complained_about() {
    let lint: &[&str] = match Command::new("mandoc").arg("-h").output() {
        Ok(_) => &["mandoc", "-Tlint"],
        Err(_) => &["groff", "-man", "-ww", "-z"],
    };
    for (name, page) in pages() {
        let mut command = Command::new(lint[0]);
        command.args(&lint[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            crate::pg::skipped("the man pages were not checked: there is neither mandoc nor groff");
            return;
        };
        child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // Pages are made on another machine than the one that reads them, so the links between them cannot be looked up.
        let said: Vec<&str> = said.lines().filter(|line| !line.contains("referenced manual not found")).collect();
        assert!(said.is_empty(), "{name}:\n{}", said.join("\n"));
    }
}
