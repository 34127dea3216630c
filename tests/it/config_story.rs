//! Where settings come from, in which order, and what a foreign folder's `.env` cannot do.

use smsotp::sandbox::{Options, Sandbox};

use super::desk::{BINARY, Desk, Trap, finish};

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
    desk.write(".env", "SMSOTP_DATABASE=/d/dotenv.db\n");
    assert_eq!(setting(&desk, "", name), ("/d/dotenv.db".to_owned(), ".env (.env)".to_owned()));
    std::fs::write(&toml, "database = \"/d/toml.db\"\n").unwrap();
    assert_eq!(
        setting(&desk, "--env-file none", name),
        ("/d/toml.db".to_owned(), format!("smsotp.toml ({})", toml.display()))
    );
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
    desk.write(".env", "not a line\nSMSOTP_REGION DE\n");
    desk.run("config check").expect(78).says(".env:2:");
    desk.write(".env", "");
    desk.write("smsotp.toml", "keeep = \"2d\"\n");
    desk.run("config check --config smsotp.toml").expect(78).says("keeep").says("keep");
    desk.write("smsotp.toml", "[limits]\nphone = \"many\"\n");
    desk.run("config check --config smsotp.toml").expect(78).says("limits.phone");
    desk.write("smsotp.toml", "auth_token = \"x\"\n");
    desk.run("config check --config smsotp.toml").expect(78).says("auth_token_file");
    desk.run("config check --config missing.toml").expect(78).says("there is no such file");
    desk.run("config check --env-file missing.env").expect(78).says("missing.env");
    desk.set("SMSOTP_PROVIDER", "console")
        .set("SMSOTP_REGOIN", "DE")
        .set("SMSOTP_TOKEN", "x")
        .set("SMSOTP_PORT", "tcp://10.0.0.1:8000");
    let ran = desk
        .run(&format!("send {PHONE}"))
        .expect(0)
        .says("SMSOTP_REGOIN from environment is not used; did you mean SMSOTP_REGION?");
    assert!(!ran.err.contains("SMSOTP_TOKEN") && !ran.err.contains("SMSOTP_PORT"), "{}", ran.err);
    desk.run("explain 21610").expect(0);
}

#[test]
fn a_misspelt_name_is_named_once_also_where_the_command_fails() {
    let mut desk = Desk::bare();
    desk.set("SMSOTP_DATABSE", "x.db");
    for line in
        ["list", "show 1", "send +14155550123", "verify +14155550123 123456", "test-twilio", "dispatch", "config show"]
    {
        let ran = desk.run(line);
        assert_eq!(ran.err.matches("did you mean SMSOTP_DATABASE?").count(), 1, "{line}: {ran:?}");
    }
    let ran = desk.run("config check");
    assert_eq!((ran.out.matches("did you mean SMSOTP_DATABASE?").count(), ran.err.as_str()), (1, ""), "{ran:?}");
}

#[test]
fn the_names_that_our_own_pages_clients_and_tests_use_stop_nothing() {
    let mut files: Vec<std::path::PathBuf> =
        ["README.md", "SECURITY.md", ".ci/run", "tests/clients/install.sh"].map(Into::into).into();
    for dir in ["docs", "docs/recipes", "benches"] {
        let inside = std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).unwrap();
        files.extend(inside.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    }
    let mut names = std::collections::BTreeSet::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)) else {
            continue;
        };
        names.extend(text.match_indices("SMSOTP_").map(|(at, _)| {
            let name = &text[at..];
            name[..name.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(name.len())].to_owned()
        }));
    }
    names.retain(|name| !smsotp::config::SETTINGS.iter().any(|info| info.variable == name || name.ends_with('_')));
    assert!(names.contains("SMSOTP_TOKEN") && names.contains("SMSOTP_URL") && names.len() > 5, "{names:?}");

    let mut desk = Desk::new();
    let lines: String = names.iter().map(|name| format!("{name}=1\n")).collect();
    desk.write("other.env", &lines);
    for name in &names {
        desk.set(name, "1");
    }
    let ran = desk.run("config check --env-file other.env").expect(0);
    assert!(!ran.out.contains("is not used"), "{}", ran.out);
}

#[test]
fn a_dotenv_of_others_stops_nothing_and_turns_nothing_round() {
    let mut desk = Desk::new();
    desk.write(".env", b"TITLE=My great app\nGREETING=Don't stop\nmy-var=1\n[x]\nNAME=M\xfcller\nQUOTE=\"open\nSMSOTP_APP_NAME=Joe's and Ann's # shop\n");
    assert_eq!(setting(&desk, "", "SMSOTP_APP_NAME").0, "Joe's and Ann's");
    desk.write(".env", "A=1\rSMSOTP_APP_NAME=#value\rB=2\r");
    assert_eq!(setting(&desk, "", "SMSOTP_APP_NAME").0, "#value");
    desk.write(".env", "\u{feff}SMSOTP_APP_NAME=ACME\n");
    assert_eq!(setting(&desk, "", "SMSOTP_APP_NAME").0, "ACME");
    assert_eq!(setting(&desk, "--env-file none", "SMSOTP_APP_NAME").0, "smsotp");

    let (sandbox, thief) = (Sandbox::start(Options::default()).unwrap(), Trap::new());
    let token = desk.write("token", sandbox.auth_token());
    let toml = format!(
        "provider = \"twilio\"\n[twilio]\naccount_sid = \"{}\"\nauth_token_file = \"{}\"\nphone_number = \"{}\"\napi_base_url = \"{}\"\n",
        sandbox.account_sid(),
        token.display(),
        sandbox.phone_number(),
        sandbox.url(),
    );
    let toml = desk.write("smsotp.toml", toml);
    desk.set("SMSOTP_CONFIG", &toml).set("SMSOTP_PROVIDER", "");
    desk.run(&format!("send {PHONE} --env-file none")).expect(0);
    desk.write(".env", format!(
        "TWILIO_ACCOUNT_SID={}\nTWILIO_AUTH_TOKEN=stolen\nTWILIO_PHONE_NUMBER=+15005550006\nTWILIO_API_BASE_URL={}\n",
        sandbox.account_sid(),
        thief.url(),
    ));
    for line in
        ["send +442079460000", "verify +14155552671 123456", "dispatch", "serve --listen 127.0.0.1:0", "config check"]
    {
        let ran = desk.run(line).expect(78).says("from .env (.env) contradicts twilio.");
        assert!(ran.err.contains(&format!("from smsotp.toml ({})", toml.display())), "{}", ran.err);
    }
    desk.write(".env", "SMSOTP_PROVIDER=console\n");
    desk.run("send +442079460000").expect(78).says("contradicts provider");
    assert!(!thief.was_touched());
    assert_eq!(sandbox.messages().len(), 1);
    desk.run("send +442079460000 --env-file .env").expect(0);
}

#[test]
fn a_dotenv_may_be_a_pipe_and_a_substituted_process() {
    let desk = Desk::bare();
    let script = format!("{BINARY} config show --env-file <(echo SMSOTP_REGION=DE)");
    let ran = finish(desk.program("bash").args(["-c", &script])).expect(0);
    assert!(ran.out.contains("SMSOTP_REGION\tDE\t.env (/dev/fd/"), "{}", ran.out);
    // One that a password manager mounts, read by every command anew.
    nix::unistd::mkfifo(&desk.cwd().join(".env"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for _ in 0..2 {
        let ran = desk.shell("(echo SMSOTP_PROVIDER=console > .env) & smsotp send +14155552671 --purpose login --override cooldown --reason test").expect(0);
        assert!(ran.err.contains("code"), "{}", ran.err);
    }
    // Secrets too.
    std::fs::remove_file(desk.cwd().join(".env")).unwrap();
    let script = format!(
        "{BINARY} send {PHONE} --provider console --db other.db --env-file <(echo SMSOTP_SECRET_KEY_FILE=/dev/fd/9) 9< <(openssl rand -base64 32 || head -c 32 /dev/urandom | base64)"
    );
    finish(desk.program("bash").args(["-c", &script])).expect(0);
}

#[test]
fn config_check_fails_wherever_send_would() {
    let sid = format!("AC{}", "a".repeat(32));
    let token = "0".repeat(32);
    let account = format!("TWILIO_ACCOUNT_SID={sid}\nTWILIO_AUTH_TOKEN={token}\nTWILIO_PHONE_NUMBER=+15005550006\n");
    let replaced = |from: &str, to: &str| account.replace(from, to);
    let cases = [
        ("no provider at all", String::new(), "", "no Twilio credentials"),
        ("a garbage SID", replaced(&sid, "garbage"), "", "TWILIO_ACCOUNT_SID is not AC"),
        ("a SID without a token", format!("TWILIO_ACCOUNT_SID={sid}\n"), "", "TWILIO_AUTH_TOKEN"),
        ("quotes in a token", replaced(&token, "'\"00\"'"), "", "TWILIO_AUTH_TOKEN holds quotation marks"),
        ("typographic quotes", replaced(&token, "“00”"), "", "TWILIO_AUTH_TOKEN holds quotation marks"),
        ("quotes in a SID", replaced(&sid, &format!("'\"{sid}\"'")), "", "holds quotation marks"),
        ("no sender", replaced("TWILIO_PHONE_NUMBER", "OTHER"), "", "TWILIO_PHONE_NUMBER"),
        ("a bad key", format!("{account}SMSOTP_SECRET_KEY=short\n"), "", "SMSOTP_SECRET_KEY is not 32 bytes"),
        ("a missing key file", format!("{account}SMSOTP_SECRET_KEY_FILE=/nowhere/key\n"), "", "/nowhere/key"),
        (
            "a directory that is not there",
            format!("{account}SMSOTP_DATABASE=/nowhere/otp.db\n"),
            "",
            "/nowhere does not exist",
        ),
        ("a file in the way", format!("{account}SMSOTP_DATABASE=other.env/otp.db\n"), "", "other.env"),
        ("no database file", format!("{account}SMSOTP_DATABASE=other.env\n"), "", "not a database"),
        (
            "a wording of two segments",
            account.clone(),
            "[purposes.login]\ntext = \"{{ code }} пароль для входа в сервис, никому его не сообщайте никогда и ни за что\"\n",
            "purpose login: the message takes 2 segments",
        ),
        ("an app name in another script", account.clone(), "app_name = \"Магазин всякой всячины\"\n", "segments"),
    ];
    for (what, dotenv, toml, says) in cases {
        let desk = Desk::bare();
        desk.write("other.env", &dotenv);
        desk.write("smsotp.toml", toml);
        let at = "--env-file other.env --config smsotp.toml";
        let sent = desk.run(&format!("send {PHONE} --purpose login {at}"));
        assert!(![0, 69, 75, 76].contains(&sent.code()), "{what}: {sent:?}");
        let ran = desk.run(&format!("config check {at}")).expect(78);
        assert!(ran.rows().iter().any(|row| row[0] == "fail" && row[2].contains(says)), "{what}: {}", ran.out);
        let json = desk.run(&format!("config check --json {at}")).expect(78).json("checks");
        assert_eq!(json["passed"], false, "{what}");
    }
    for (toml, says) in [("region = \"UK\"", "GB"), ("countries = [\"UK\"]", "GB"), ("countries = [\"ZZ\"]", "ZZ")] {
        let desk = Desk::new();
        desk.write("smsotp.toml", toml);
        for line in ["config check", "send +442079460000"] {
            desk.run(&format!("{line} --config smsotp.toml")).expect(78).says(says);
        }
    }
}

#[test]
fn config_check_makes_nothing_and_opens_what_is_there() {
    let (desk, _sandbox) = Desk::with_sandbox(Options::default());
    let before = desk.files().len();
    let ran = desk.run("config check").expect(0);
    assert!(ran.out.contains("is made by the first send"), "{}", ran.out);
    assert_eq!(desk.files().len(), before, "nothing was made");

    desk.run(&format!("send {PHONE}")).expect(0);
    desk.run("config check").expect(0).shows("opens with the keys of");
    let key = std::fs::read(desk.key_file()).unwrap();
    std::fs::remove_file(desk.key_file()).unwrap();
    desk.run("config check").expect(78).shows("its key file");
    std::fs::write(desk.key_file(), "x").unwrap();
    desk.run("config check").expect(78).shows("mode");
    std::fs::write(desk.key_file(), key).unwrap();
    // Another key than the database's.
    desk.run_args(["config", "check", "--env-file", ".env"]).expect(78);
    std::fs::remove_file(desk.key_file()).unwrap();
    desk.write(
        "other.env",
        format!(
            "{}\nSMSOTP_SECRET_KEY={}=\n",
            std::fs::read_to_string(desk.cwd().join(".env")).unwrap(),
            "A".repeat(43)
        ),
    );
    desk.run("config check --env-file other.env").expect(78).shows("the database was made with key");
}

#[test]
fn a_database_that_has_moved_away_fails_the_check_too() {
    let (desk, _sandbox) = Desk::with_sandbox(Options::default());
    desk.run(&format!("send {PHONE}")).expect(0);
    desk.run("db export moved.jsonl --move --yes").expect(0);

    desk.run("send +442079460000").expect(74);
    desk.run("config check").expect(78).shows("sealed");
}

#[test]
fn what_is_risky_is_warned_of_and_stops_nothing() {
    let desk = Desk::new();
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
