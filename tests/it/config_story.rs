//! Where settings come from, in which order, and what a foreign folder's `.env` cannot do.

use smsotp::sandbox::{Options, Sandbox};

use super::desk::{Desk, Trap};

const PHONE: &str = "+14155552671";

/// What `config show` says of a setting: its value and where it comes from.
#[track_caller]
fn setting(desk: &Desk, more: &str, name: &str) -> (String, String) {
    let ran = desk.run(&format!("config show {more}")).expect(0);
    let row = ran.rows().into_iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no {name} in {}", ran.out));
    (row[1].to_owned(), row[2].to_owned())
}

#[test]
fn a_flag_wins_over_a_variable_that_over_dotenv_that_over_toml_that_over_the_default() {
    let mut desk = Desk::bare();
    let toml = desk.home().join(".config/smsotp/smsotp.toml");
    let name = "SMSOTP_DATABASE";
    let default = desk.db().display().to_string();

    assert_eq!(setting(&desk, "", name), (default, "default".to_owned()));
    std::fs::create_dir_all(toml.parent().unwrap()).unwrap();
    std::fs::write(&toml, "database = \"/d/toml.db\"\n").unwrap();
    assert_eq!(setting(&desk, "", name), ("/d/toml.db".to_owned(), format!("smsotp.toml ({})", toml.display())));
    desk.write(".env", "SMSOTP_DATABASE=/d/dotenv.db\n");
    assert_eq!(setting(&desk, "", name), ("/d/dotenv.db".to_owned(), ".env (.env)".to_owned()));
    desk.write("other.env", "SMSOTP_DATABASE=/d/other.db\n");
    assert_eq!(setting(&desk, "--env-file other.env", name).0, "/d/other.db");
    desk.set(name, "/d/variable.db");
    assert_eq!(setting(&desk, "", name), ("/d/variable.db".to_owned(), "environment".to_owned()));
    assert_eq!(setting(&desk, "--db /d/flag.db", name), ("/d/flag.db".to_owned(), "flag".to_owned()));
}

#[test]
fn secrets_are_hidden_and_a_parents_dotenv_is_not_read() {
    let desk = Desk::bare();
    std::fs::write(desk.root().join(".env"), "SMSOTP_APP_NAME=Parent\n").unwrap();
    desk.write(".env", "TWILIO_AUTH_TOKEN=c4n4ryTok3n\n");

    let ran = desk.run("config show").expect(0);

    assert!(!ran.out.contains("c4n4ry") && !ran.err.contains("c4n4ry"), "{ran:?}");
    assert_ne!(setting(&desk, "", "TWILIO_AUTH_TOKEN").0, "not set");
    assert_eq!(setting(&desk, "", "SMSOTP_APP_NAME").0, "smsotp");
}

#[test]
fn unknown_names_are_errors_that_name_the_place_and_the_nearest_name() {
    let mut desk = Desk::bare();

    desk.write(".env", "# mine\nSMSOTP_DATABSE=x\n");
    desk.run("config check").expect(78).says("SMSOTP_DATABSE from .env").says("SMSOTP_DATABASE");
    desk.write(".env", "not a line\n");
    desk.run("config check").expect(78).says(".env:1:");
    desk.write(".env", "");
    desk.write("smsotp.toml", "keeep = \"2d\"\n");
    desk.run("config check --config smsotp.toml").expect(78).says("keeep").says("keep");
    desk.write("smsotp.toml", "[limits]\nphone = \"many\"\n");
    desk.run("config check --config smsotp.toml").expect(78).says("limits.phone");
    desk.write("smsotp.toml", "auth_token = \"x\"\n");
    desk.run("config check --config smsotp.toml").expect(78).says("auth_token_file");
    desk.run("config check --config missing.toml").expect(78).says("there is no such file");
    desk.run("config check --env-file missing.env").expect(78).says("missing.env");
    desk.set("SMSOTP_TYPO", "1");
    desk.run("list").expect(78).says("SMSOTP_TYPO from environment");
    desk.run("explain 21610").expect(0);
}

#[test]
fn what_is_risky_is_warned_of_and_stops_nothing() {
    let desk = Desk::bare();
    desk.write("smsotp.toml", "[purposes.login]\nttl = \"30m\"\n");

    let ran = desk.run("config check --config smsotp.toml").expect(0);

    assert!(ran.rows().iter().any(|row| row[0] == "warn" && row[2].contains("NIST")), "{}", ran.out);
}

#[test]
fn settings_change_what_is_sent() {
    let mut desk = Desk::new();
    desk.write(
        "smsotp.toml",
        "app_name = \"ACME\"\nregion = \"GB\"\n[purposes.login]\ndigits = 8\n[purposes.transfer]\nttl = \"5m\"\n",
    );
    desk.set("SMSOTP_CONFIG", desk.cwd().join("smsotp.toml"));

    let sent = desk.run("send 02079460000 --purpose login").expect(0);
    assert!(sent.err.contains("ACME"), "{}", sent.err);
    assert_eq!(smsotp::sandbox::inbox::extract_code(&sent.err).unwrap().len(), 8);
    assert!(desk.run(&format!("send {PHONE} --purpose transfer")).expect(0).err.contains("5 minutes"));
    desk.run(&format!("send {PHONE} --purpose gift")).expect(65).says("transfer");
}

/// The user's own account is in the environment; the folder it works in comes from somebody else.
fn at_a_foreign_desk() -> (Desk, Sandbox, Trap) {
    let account = Sandbox::start(Options::default()).unwrap();
    let thief = Trap::new();
    let mut desk = Desk::bare();
    for (name, value) in account.env() {
        desk.set(&name, value);
    }
    (desk, account, thief)
}

#[test]
fn a_foreign_dotenv_cannot_have_credentials_sent_elsewhere() {
    let (mut desk, account, thief) = at_a_foreign_desk();
    desk.run(&format!("send {PHONE} --purpose login")).expect(0);
    assert_eq!(account.messages().len(), 1);
    let spent = account.requests();

    // The variable of the environment wins while it is there; without it the foreign one is refused.
    desk.write(".env", format!("TWILIO_API_BASE_URL={}\n", thief.url()));
    desk.run(&format!("send {PHONE} --purpose registration")).expect(0);
    desk.set("TWILIO_API_BASE_URL", "");
    for line in
        ["send +442079460000", "test-twilio", "dispatch", "sandbox inbox", "config check", "send +442079460000 --wait"]
    {
        let ran = desk.run(line).expect(78);
        assert!(ran.err.contains("TWILIO_API_BASE_URL from .env (.env) is refused"), "{line}: {}", ran.err);
    }

    // A token file of the user's that a foreign .env names was not given by that .env either.
    let token = desk.root().join("token");
    std::fs::write(&token, account.auth_token()).unwrap();
    desk.set("TWILIO_AUTH_TOKEN", "");
    desk.write(".env", format!("TWILIO_API_BASE_URL={}\nTWILIO_AUTH_TOKEN_FILE={}\n", thief.url(), token.display()));
    desk.run("send +442079460000").expect(78).says("is refused");

    // Region and edge are parts of a host name: they cannot be more.
    desk.set("TWILIO_AUTH_TOKEN", account.auth_token());
    for trick in
        ["TWILIO_REGION=us1.thief.example/", "TWILIO_EDGE=x@thief.example", "TWILIO_REGION=us1#", "TWILIO_EDGE=a.b"]
    {
        desk.write(".env", trick);
        desk.run("test-twilio").expect(78).says("is not a region or edge of Twilio's");
    }
    desk.write(".env", "SMSOTP_CONFIG=/tmp/x.toml\n");
    desk.run("list").expect(78).says("a .env may not choose the configuration");
    desk.write(".env", "SMSOTP_APP_NAME=$TWILIO_AUTH_TOKEN\n");
    assert_eq!(setting(&desk, "", "SMSOTP_APP_NAME").0, "$TWILIO_AUTH_TOKEN");

    assert!(!thief.was_touched());
    assert_eq!(account.requests(), spent + 1);
}

#[test]
fn a_dotenv_may_bring_its_own_account_whole() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());

    desk.run(&format!("send {PHONE}")).expect(0);

    assert_eq!(sandbox.messages().len(), 1);
    assert_eq!(setting(&desk, "", "TWILIO_ACCOUNT_SID").1, ".env (.env)");
}

#[test]
#[cfg(unix)]
fn a_dotenv_with_secrets_that_all_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    let path = desk.write(".env", "TWILIO_AUTH_TOKEN=secret\n");

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    desk.run("config show").expect(0).says("warning: .env holds secrets").says("chmod 600 .env");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(desk.run("config show").expect(0).err, "");
}

#[test]
fn a_provider_has_to_be_chosen_or_paid_for() {
    let mut desk = Desk::bare();

    desk.set("TWILIO_ACCOUNT_SID", format!("AC{}", "0".repeat(32)));
    desk.run(&format!("send {PHONE}")).expect(78).says("TWILIO_AUTH_TOKEN");
    desk.set("TWILIO_AUTH_TOKEN", "1".repeat(32));
    desk.run(&format!("send {PHONE}")).expect(78).says("TWILIO_PHONE_NUMBER");
    desk.set("TWILIO_ACCOUNT_SID", "0123");
    desk.run(&format!("send {PHONE}")).expect(78).says("AC");
    desk.run(&format!("send {PHONE} --provider console")).expect(0);
    desk.run(&format!("send {PHONE} --provider pigeon")).expect(2).says("console");
}
