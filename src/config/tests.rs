//! Which source wins, what is refused, and what a hostile file cannot do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use toml::Value;

use super::dotenv::parse_dotenv;
use super::read::read_sources;
use super::*;
use crate::abuse::{CountryPolicy, Mode};
use crate::limits::{Limit, Limits, Window};
use crate::money::{Ceilings, Channel, Money};
use crate::purpose::{Purpose, Resend};

const SID: &str = "AC0123456789abcdef0123456789abcdef";
const TOKEN: &str = "canary-token-4711";

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn inputs() -> Inputs {
    let dirs = UserDirs {
        home: Some("/home/ann".into()),
        config: Some("/home/ann/.config/smsotp".into()),
        data: Some("/home/ann/.local/share/smsotp".into()),
    };
    Inputs { dirs, ..Inputs::default() }
}

fn from_env(pairs: &[(&str, &str)]) -> Result<Config> {
    assemble(Inputs { env: variables(pairs), ..inputs() })
}

/// With the `.env` of the current directory, which nobody named.
fn from_dotenv(env: &[(&str, &str)], text: &str) -> Result<Config> {
    let path = PathBuf::from("/srv/app/.env");
    let read = parse_dotenv(text, &path)?;
    assemble(Inputs { env: variables(env), dotenv: Some((path, read.values)), warnings: read.warnings, ..inputs() })
}

/// With both files; the first was named by `--env-file` or not.
fn from_both(named: bool, dotenv: &str, toml: &str) -> Result<Config> {
    let path = PathBuf::from(".env");
    let values = parse_dotenv(dotenv, &path)?.values;
    let toml = Some(("/etc/smsotp/smsotp.toml".into(), toml.to_owned()));
    let flags = Flags { env_file: named.then(|| path.clone()), ..Flags::default() };
    assemble(Inputs { flags, dotenv: Some((path, values)), toml, ..inputs() })
}

fn from_toml(text: &str) -> Result<Config> {
    assemble(Inputs { toml: Some(("/etc/smsotp/smsotp.toml".into(), text.to_owned())), ..inputs() })
}

/// The error in full, as a user may get to see it; it must be about the configuration and hold no secret.
#[track_caller]
fn refusal(result: Result<Config>) -> String {
    let error = result.unwrap_err();
    let shown = format!("{error}; {} {error:?}", error.hint_text().unwrap_or_default());
    assert_eq!(error.class().exit(), 78, "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    shown
}

fn setting<'c>(config: &'c Config, name: &str) -> (&'c str, &'c str) {
    let found = config.settings.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("{name} is not shown"));
    (&found.value, &found.origin)
}

#[test]
fn nothing_configured_means_the_defaults() {
    let config = assemble(inputs()).unwrap();

    assert!(
        matches!(&config.database, Database::Sqlite(path) if path == Path::new("/home/ann/.local/share/smsotp/smsotp.db"))
    );
    assert_eq!(config.keys.own_file.as_deref(), Some(Path::new("/home/ann/.config/smsotp/secret.key")));
    assert_eq!(config.provider, None);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(config.settings.iter().all(|s| s.origin == "default"));
    assert_eq!(setting(&config, "limits.phone").0, "[\"3/10m\", \"5/1h\", \"10/1d\"]");
    assert_eq!(setting(&config, "purposes.login").0, "ttl = \"10m\", digits = 6, resend = \"same\"");
}

#[test]
fn the_table_of_settings_tells_the_true_defaults() {
    let config = assemble(inputs()).unwrap();

    for info in SETTINGS.iter().filter(|info| info.variable.is_empty()) {
        assert_eq!(setting(&config, info.key).0, info.default, "{}", info.key);
    }
}

#[test]
fn a_flag_beats_the_environment_that_the_env_file_and_that_the_configuration() {
    let mut given = inputs();
    let region = |given: &Inputs| {
        let again = Inputs {
            flags: given.flags.clone(),
            env: given.env.clone(),
            dotenv: given.dotenv.clone(),
            toml: given.toml.clone(),
            dirs: given.dirs.clone(),
            warnings: Vec::new(),
        };
        let config = assemble(again).unwrap();
        let (value, origin) = setting(&config, "SMSOTP_REGION");
        assert_eq!(config.region.as_deref().unwrap_or(""), value);
        (value.to_owned(), origin.to_owned())
    };
    assert_eq!(region(&given), (String::new(), "default".into()));

    given.toml = Some(("/c/smsotp.toml".into(), "region = \"DE\"".into()));
    assert_eq!(region(&given), ("DE".into(), "smsotp.toml (/c/smsotp.toml)".into()));
    given.dotenv = Some((".env".into(), variables(&[("SMSOTP_REGION", "FR")])));
    assert_eq!(region(&given), ("FR".into(), ".env (.env)".into()));
    given.env = variables(&[("SMSOTP_REGION", " GB ")]);
    assert_eq!(region(&given), ("GB".into(), "environment".into()));
    given.flags.region = Some("US".into());
    assert_eq!(region(&given), ("US".into(), "flag".into()));
}

#[test]
fn an_empty_value_is_no_value() {
    let config = from_dotenv(&[("SMSOTP_REGION", "  ")], "SMSOTP_REGION=DE\nTWILIO_AUTH_TOKEN=\n").unwrap();

    assert_eq!(config.region.as_deref(), Some("DE"));
    assert!(config.twilio.auth_token.is_none());
}

#[test]
fn a_foreign_env_file_cannot_have_credentials_sent_elsewhere() {
    let credentials = [("TWILIO_ACCOUNT_SID", SID), ("TWILIO_AUTH_TOKEN", TOKEN)];
    for redirect in [
        "TWILIO_API_BASE_URL=https://evil.example",
        "TWILIO_API_BASE_URL=http://127.0.0.1:1",
        "TWILIO_API_BASE_URL=https://evil.example\nTWILIO_AUTH_TOKEN=other\nTWILIO_ACCOUNT_SID=ACx",
        "TWILIO_API_BASE_URL=https://evil.example\nTWILIO_API_KEY=SKx\nTWILIO_API_SECRET=other",
    ] {
        let shown = refusal(from_dotenv(&credentials, redirect));
        assert!(shown.contains("must not redirect credentials"), "{shown}");
        assert!(shown.contains("/srv/app/.env"), "{shown}");
    }
    for host in ["evil.example/", "evil.example#", "x@evil", "us1.evil", "a b", "-", "ü"] {
        refusal(from_dotenv(&credentials, &format!("TWILIO_REGION='{host}'")));
        refusal(from_dotenv(&credentials, &format!("TWILIO_EDGE='{host}'")));
    }
}

#[test]
fn a_foreign_env_file_cannot_carry_the_environment_off_in_a_value() {
    // PATH is set wherever tests run.
    for writing in ["$PATH", "\"$PATH\"", "'$PATH'", "\\$PATH", "a$PATH$HOME", "\"\\$PATH\"", "$(id)", "`id`"] {
        let value = &parse_dotenv(&format!("SMSOTP_APP_NAME={writing}\n"), Path::new(".env")).unwrap().values["SMSOTP_APP_NAME"];
        assert!(writing.contains(value.as_str()), "{writing}: {value}");
    }
    // Where others would put something in, nothing is taken as it stands: it would not be what was meant.
    for writing in ["${PATH}", "\"${PATH}\"", "'${PATH}'", "a${PATH:-b}", "\\${PATH}"] {
        let shown = refusal(from_dotenv(&[], &format!("# note\nSMSOTP_DATABASE={writing}\n")));
        assert!(shown.contains(".env:2: SMSOTP_DATABASE holds ${…}"), "{writing}: {shown}");
    }
    let own = parse_dotenv("A=secret\nB=${A}$A\n", Path::new(".env")).unwrap().values;
    assert_eq!(own["B"], "${A}$A");
}

#[test]
fn env_files_are_read_as_python_dotenv_reads_them() {
    let vectors: Vec<(String, BTreeMap<String, String>)> =
        serde_json::from_str(include_str!("../../tests/data/dotenv-vectors.json")).unwrap();
    assert!(vectors.len() > 50);
    for (text, expected) in vectors {
        let read = parse_dotenv(&text, Path::new(".env")).unwrap();
        assert_eq!(read.values, expected, "{text:?}");
    }
    assert_eq!(parse_dotenv("\u{feff}A=1", Path::new(".env")).unwrap().values["A"], "1");
}

#[test]
fn a_line_that_other_programs_read_differently_is_named() {
    let warnings = |text: &str| parse_dotenv(text, Path::new(".env")).unwrap().warnings;
    for line in [
        "SMSOTP_APP_NAME=#one",
        "SMSOTP_APP_NAME=Joe's and Ann's",
        "SMSOTP_APP_NAME=a$HOME",
        "SMSOTP_APP_NAME=two words",
    ] {
        let warned = warnings(&format!("# note\n{line}\n")).join("\n");
        assert!(warned.contains(".env:2: other programs read SMSOTP_APP_NAME differently"), "{line}: {warned}");
        assert!(!warned.contains("HOME"), "{warned}");
    }
    for line in [
        "SMSOTP_APP_NAME='two $words #'",
        "export SMSOTP_APP_NAME=\"two words\"  # note",
        "SMSOTP_REGION=DE",
        "APP=#one",
    ] {
        assert!(warnings(line).is_empty(), "{line}: {:?}", warnings(line));
    }
}

#[test]
fn an_env_file_that_nobody_named_adds_to_the_configuration_and_turns_nothing_round() {
    let account = format!("[twilio]\naccount_sid = \"{SID}\"\nauth_token_file = \"/run/token\"\n");
    let other = "AC00000000000000000000000000000000";
    let turned = [
        ("SMSOTP_PROVIDER=console", "provider = \"twilio\"", "provider"),
        ("SMSOTP_PROVIDER=console", account.as_str(), "twilio.account_sid"),
        ("SMSOTP_DATABASE=/tmp/x.db", "database = \"/var/lib/otp.db\"", "database"),
        ("SMSOTP_SECRET_KEY=AAAA", "secret_key_file = \"/run/key\"", "secret_key_file"),
        ("SMSOTP_SECRET_KEY_FILE=/tmp/key", "secret_key_file = \"/run/key\"", "secret_key_file"),
        ("SMSOTP_STATUS_CALLBACK=https://evil.example", "status_callback = \"https://a.example\"", "status_callback"),
        (&format!("TWILIO_ACCOUNT_SID={other}"), &account, "twilio.account_sid"),
        ("TWILIO_AUTH_TOKEN=x", &account, "twilio.auth_token_file"),
        ("TWILIO_AUTH_TOKEN_FILE=/tmp/token", &account, "twilio.auth_token_file"),
        ("TWILIO_API_KEY=SKx\nTWILIO_API_SECRET=y", &account, "twilio.auth_token_file"),
        ("TWILIO_API_SECRET=y", "[twilio]\napi_key = \"SKx\"\napi_secret_file = \"/s\"", "twilio.api_secret_file"),
        (
            "TWILIO_API_BASE_URL=https://evil.example",
            "[twilio]\napi_base_url = \"https://a.example\"",
            "twilio.api_base_url",
        ),
        ("TWILIO_API_BASE_URL=https://evil.example", "[twilio]\nregion = \"ie1\"", "twilio.region"),
        ("TWILIO_REGION=au1", "[twilio]\nregion = \"ie1\"", "twilio.region"),
        ("TWILIO_MESSAGING_SERVICE_SID=MGx", "[twilio]\nphone_number = \"+14155550100\"", "twilio.phone_number"),
    ];
    for (dotenv, toml, key) in turned {
        let shown = refusal(from_both(false, dotenv, toml));
        let name = dotenv.split('=').next().unwrap();
        assert!(
            shown.contains(&format!("{name} from .env (.env) contradicts {key} from smsotp.toml (/etc/")),
            "{shown}"
        );
        assert!(shown.contains("--env-file .env"), "{shown}");
    }
    // What adds, or says the same, or decides nothing of the kind.
    for (dotenv, toml) in [
        ("TWILIO_AUTH_TOKEN=x", format!("[twilio]\naccount_sid = \"{SID}\"")),
        ("TWILIO_AUTH_TOKEN=x", "[twilio]\napi_key = \"SKx\"\n".to_owned()),
        ("SMSOTP_PROVIDER=twilio", format!("[twilio]\naccount_sid = \"{SID}\"")),
        ("SMSOTP_DATABASE=/a.db", "database = \"/a.db\"".to_owned()),
        ("SMSOTP_DATABASE=/a.db", "region = \"DE\"".to_owned()),
        ("SMSOTP_REGION=FR", "region = \"DE\"".to_owned()),
        ("SMSOTP_APP_NAME=ACME", "app_name = \"other\"".to_owned()),
    ] {
        from_both(false, dotenv, &toml).unwrap_or_else(|error| panic!("{dotenv} {toml}: {error}"));
    }
    // One that was named is the user's word.
    let config = from_both(
        true,
        "SMSOTP_DATABASE=/tmp/x.db\nSMSOTP_PROVIDER=console",
        "database = \"/a.db\"\nprovider = \"twilio\"",
    )
    .unwrap();
    assert_eq!(config.provider, Some(ProviderName::Console));
    assert_eq!(setting(&config, "SMSOTP_DATABASE").0, "/tmp/x.db");
}

#[test]
fn a_stronger_source_settles_it_whatever_the_two_files_say() {
    let path = PathBuf::from(".env");
    let config = assemble(Inputs {
        env: variables(&[("SMSOTP_DATABASE", "/env.db")]),
        dotenv: Some((path, variables(&[("SMSOTP_DATABASE", "/dotenv.db")]))),
        toml: Some(("/c/smsotp.toml".into(), "database = \"/toml.db\"".into())),
        ..inputs()
    });
    assert_eq!(setting(&config.unwrap(), "SMSOTP_DATABASE").0, "/env.db");
}

#[test]
fn an_env_file_that_nobody_named_does_not_switch_on_test_numbers() {
    let on = "SMSOTP_ALLOW_TEST_NUMBERS=true";
    assert!(refusal(from_dotenv(&[], on)).contains("may not switch on test numbers"));
    refusal(from_both(false, on, "allow_test_numbers = false"));
    assert!(from_both(false, on, "allow_test_numbers = true").unwrap().allow_test_numbers);
    assert!(from_both(true, on, "").unwrap().allow_test_numbers);
    assert!(from_dotenv(&[("SMSOTP_ALLOW_TEST_NUMBERS", "false")], on).is_ok_and(|config| !config.allow_test_numbers));
    assert!(from_dotenv(&[], "SMSOTP_ALLOW_TEST_NUMBERS=false").is_ok());
}

#[test]
fn a_foreign_env_file_cannot_send_a_file_of_the_user_elsewhere_as_a_token() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("id_key");
    fs::write(&path, "canary-private\n").unwrap();
    let text = format!("TWILIO_AUTH_TOKEN_FILE={}\nTWILIO_API_BASE_URL=https://evil.example", path.display());

    let shown = refusal(from_dotenv(&[], &text));

    assert!(shown.contains("must not redirect"), "{shown}");
}

#[test]
fn a_foreign_env_file_cannot_choose_the_configuration() {
    assert!(refusal(from_dotenv(&[], "SMSOTP_CONFIG=evil.toml")).contains("may not choose the configuration"));
}

#[test]
fn the_example_file_can_be_used_with_its_marks_removed() {
    let text: String = env_example()
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|l| l.contains('='))
        .map(|l| format!("{l}\n"))
        .collect();
    let mut values = parse_dotenv(&text, Path::new(".env")).unwrap().values;
    values.retain(|name, _| !name.ends_with("_FILE"));
    let flags = Flags { env_file: Some(".env".into()), ..Flags::default() };

    let config = assemble(Inputs { flags, dotenv: Some((".env".into(), values)), ..inputs() }).unwrap();

    assert_eq!(config.policy.app_name, "ACME");
    assert_eq!(config.twilio.base_url.unwrap().as_str(), "http://127.0.0.1:4010/");
}

#[test]
fn address_and_credentials_from_one_place_are_taken() {
    let sandbox =
        format!("TWILIO_ACCOUNT_SID={SID}\nTWILIO_AUTH_TOKEN={TOKEN}\nTWILIO_API_BASE_URL=http://127.0.0.1:4010");
    assert_eq!(from_dotenv(&[], &sandbox).unwrap().twilio.base_url.unwrap().as_str(), "http://127.0.0.1:4010/");

    let pair = |url| from_env(&[("TWILIO_AUTH_TOKEN", TOKEN), ("TWILIO_API_BASE_URL", url)]);
    for url in [
        "https://api.example",
        "http://localhost:1",
        "http://[::1]:1",
        "http://127.9.9.9",
        "https://proxy.example/twilio",
    ] {
        assert!(pair(url).is_ok(), "{url}");
    }
    for url in [
        "http://example.com",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "ftp://127.0.0.1",
        "https://user:canary@host",
        "https://user@host",
        "https://h/?q",
        "https://h/#f",
        "//h",
        "canary",
        "file:///etc/passwd",
        "http://0.0.0.0:1",
        "http://10.0.0.1",
    ] {
        refusal(pair(url));
    }
}

#[test]
fn secrets_are_hidden_wherever_settings_are_shown() {
    let env = [
        ("TWILIO_ACCOUNT_SID", "canary-in-the-wrong-place"),
        ("TWILIO_AUTH_TOKEN", TOKEN),
        ("TWILIO_API_SECRET", "canary-secret"),
        ("SMSOTP_SECRET_KEY", "canary-key"),
        ("SMSOTP_DATABASE", "postgres://ann:canary-password@db/otp"),
        ("SMSOTP_STATUS_CALLBACK", "https://u:canary-pw@example.com/x"),
    ];
    let config = from_env(&env).unwrap();

    let all = config.settings.iter().map(|s| format!("{} {} {}", s.name, s.value, s.origin)).collect::<String>();
    assert!(!all.contains("canary"), "{all}");
    assert!(!format!("{:?}", config.settings).contains("canary"));
    assert!(!format!("{:?} {:?} {:?}", config.database, config.keys, config.twilio.auth_token).contains("canary"));
    assert_eq!(setting(&config, "TWILIO_AUTH_TOKEN"), ("set, hidden", "environment"));
    assert_eq!(config.twilio.auth_token.unwrap().expose_secret(), TOKEN);
    assert!(config.keys.own_file.is_none(), "a key file of our own is for SQLite alone");
}

#[test]
fn shapes_of_ids_are_told_without_repeating_them() {
    let env = [
        ("TWILIO_ACCOUNT_SID", "canary"),
        ("TWILIO_API_KEY", "SKcanary"),
        ("TWILIO_MESSAGING_SERVICE_SID", "MG€"),
        ("TWILIO_EDGE", "dublin"),
    ];

    let problems = from_env(&env).unwrap().twilio.problems();

    assert_eq!(
        problems,
        [
            "TWILIO_ACCOUNT_SID is not AC and 32 hex digits",
            "TWILIO_API_KEY is not SK and 32 hex digits",
            "TWILIO_MESSAGING_SERVICE_SID is not MG and 32 hex digits",
            "TWILIO_API_KEY and TWILIO_API_SECRET need each other",
            "TWILIO_EDGE needs TWILIO_REGION",
        ]
    );
    assert!(
        from_env(&[("TWILIO_ACCOUNT_SID", SID), ("TWILIO_AUTH_TOKEN", TOKEN)]).unwrap().twilio.problems().is_empty()
    );
}

#[test]
fn unknown_names_are_refused_where_they_are_ours_and_warned_of_elsewhere() {
    assert!(refusal(from_dotenv(&[], "SMSOTP_DATABSE=x")).contains("Did you mean SMSOTP_DATABASE?"));
    assert!(
        refusal(from_dotenv(&[], "SMSOTP_REGOIN=DE"))
            .contains("SMSOTP_REGOIN from .env (/srv/app/.env) is not a setting")
    );
    assert!(refusal(from_both(true, "SMSOTP_IMAGE_TAG=1", "")).contains("SMSOTP_IMAGE_TAG"));
    assert!(refusal(from_toml("regoin = \"DE\"")).contains("Did you mean region?"));
    assert!(refusal(from_toml("[limits]\nphones = [\"1/1h\"]")).contains("Did you mean limits.phone?"));
    assert!(refusal(from_toml("[purposes.login]\nttls = \"5m\"")).contains("Did you mean ttl?"));
    refusal(from_toml("[limit]\nphone = []"));
    refusal(from_toml("\"a\\u001b[31m\" = 1"));

    let warnings = |env: &[(&str, &str)]| from_env(env).unwrap().warnings.join("; ");
    assert!(warnings(&[("TWILIO_ACOUNT_SID", SID)]).contains("did you mean TWILIO_ACCOUNT_SID?"));
    assert!(warnings(&[("SMSOTP_DATABSE", "x")]).contains("did you mean SMSOTP_DATABASE?"));
    // What others put into the environment, Kubernetes among them, and what our own clients and tests read.
    for name in [
        "SMSOTP_TOKEN",
        "SMSOTP_URL",
        "SMSOTP_TEST_POSTGRES",
        "SMSOTP_BENCH_ROWS",
        "SMSOTP_PORT",
        "SMSOTP_SERVICE_HOST",
        "TWILIO_OTHER",
        "OTHER",
    ] {
        assert_eq!(warnings(&[(name, "tcp://10.0.0.1:8000")]), "", "{name}");
        assert!(
            from_both(true, &format!("{name}=x"), "").is_ok() || name.contains("PORT") || name.contains("SERVICE"),
            "{name}"
        );
    }
    let foreign = from_dotenv(&[], "SMSOTP_IMAGE_TAG=1.2").unwrap().warnings;
    assert!(foreign[0].contains("SMSOTP_IMAGE_TAG from .env (/srv/app/.env) is not used"), "{foreign:?}");
}

#[test]
fn foreign_lines_pass_and_what_they_take_along_is_said() {
    let pass = "TITLE=My great app\nGREETING=Don't stop\nmy-var=1\n{\"json\": true}\n[section]\nfoo bar\nNOTE='open\nB=can\0ary\n\u{fffd}=\u{fffd}\n";
    let config = from_dotenv(&[], &format!("{pass}SMSOTP_REGION=DE\n")).unwrap();
    assert_eq!((config.region.as_deref(), config.warnings.len()), (Some("DE"), 0), "{:?}", config.warnings);

    // A value in quotes over several lines has a line of ours in it.
    for text in ["KEY='a\nSMSOTP_REGION=DE\nb'\n", "NOTE='a\nSMSOTP_REGION=DE\nC='x'\n"] {
        let config = from_dotenv(&[], text).unwrap();
        assert_eq!(config.region, None);
        assert!(config.warnings[0].contains(".env:2: SMSOTP_REGION is not read"), "{:?}", config.warnings);
    }
    assert!(refusal(from_dotenv(&[], "A=1\nTWILIO_AUTH_TOKEN=\u{fffd}")).contains("is not UTF-8"));
}

#[test]
fn smsotp_toml_holds_no_secret_but_may_name_its_file() {
    assert!(refusal(from_toml("secret_key = \"canary\"")).contains("secret_key_file = "));
    assert!(refusal(from_toml("[twilio]\nauth_token = \"canary\"")).contains("twilio.auth_token_file"));
    assert!(refusal(from_toml("database = \"postgres://u:canary@h/d\"")).contains("holds a password"));
    assert!(refusal(from_toml("database = \"postgres://h/d?password=canary\"")).contains("holds a password"));
    assert!(from_toml("database = \"postgres://u@h/d\"").is_ok());

    let config = from_toml("secret_key_file = \"key\"\ndatabase = \"~/otp.db\"").unwrap();

    assert_eq!(config.keys.file.as_deref(), Some(Path::new("/etc/smsotp/key")));
    assert!(matches!(&config.database, Database::Sqlite(path) if path == Path::new("/home/ann/otp.db")));
}

#[test]
fn a_token_may_stand_in_a_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("token");
    let env = |path: &Path| from_env(&[("TWILIO_AUTH_TOKEN_FILE", path.to_str().unwrap())]);
    fs::write(&path, format!("{TOKEN}\n")).unwrap();

    assert_eq!(env(&path).unwrap().twilio.auth_token.unwrap().expose_secret(), TOKEN);
    fs::write(&path, format!("\u{feff}{TOKEN}\r\n")).unwrap();
    assert_eq!(env(&path).unwrap().twilio.auth_token.unwrap().expose_secret(), TOKEN);

    for bad in [&b""[..], b"canary\ncanary", b"canary\xff", b"canary\0", &[b'c'; 5000]] {
        fs::write(&path, bad).unwrap();
        refusal(env(&path));
    }
    refusal(env(dir.path()));
    refusal(env(&dir.path().join("absent")));
}

#[test]
fn the_database_is_a_path_a_sqlite_path_or_a_postgres_url() {
    let sqlite = |text| match from_env(&[("SMSOTP_DATABASE", text)]).unwrap().database {
        Database::Sqlite(path) => path.display().to_string(),
        Database::Postgres(_) => panic!("{text}"),
    };
    assert_eq!(sqlite("otp.db"), "otp.db");
    assert_eq!(sqlite("sqlite:/a/b.db"), "/a/b.db");
    assert_eq!(sqlite("sqlite:///a/b.db"), "/a/b.db");
    assert_eq!(sqlite("SQLite:b.db"), "b.db");
    assert_eq!(sqlite("odd:name.db"), "odd:name.db");
    for url in ["postgres://h/d", "postgresql://a,b/d?target_session_attrs=read-write"] {
        assert!(matches!(from_env(&[("SMSOTP_DATABASE", url)]).unwrap().database, Database::Postgres(_)));
    }
    for bad in [":memory:", "sqlite:", "sqlite::memory:", "mysql://h/d", "sqlite://"] {
        refusal(from_env(&[("SMSOTP_DATABASE", bad)]));
    }
}

#[test]
fn without_a_home_the_database_need_a_path() {
    let homeless = |flags| assemble(Inputs { flags, ..Inputs::default() });

    assert!(refusal(homeless(Flags::default())).contains("--db PATH"));

    let config = homeless(Flags { db: Some("otp.db".into()), ..Flags::default() }).unwrap();
    assert_eq!(config.keys.own_file, None);
}

#[test]
fn limits_and_purposes_are_read() {
    let config = from_toml(
        "keep = \"48h\"\ncountries = [\"us\", \"DE\"]\nsegments_max = 2\n\
         [limits]\nphone = \"5/1h\"\nuser = [\"2/10min\", \"9/d\"]\ncooldown = [\"10s\"]\nguesses_per_otp = 3\nip = []\n\
         [purposes.payment]\nttl = \"5m\"\ndigits = 8\nresend = \"new\"\ntext = \"{{ app }}: {{ code }}\"\n\
         [purposes.login]\nttl = \"20m\"\ndigits = 4\n",
    )
    .unwrap();
    let policy = &config.policy;

    assert_eq!(policy.limits.phone, [Window::new(5, 3600)]);
    assert_eq!(policy.limits.user, [Window::new(2, 600), Window::new(9, 86400)]);
    assert_eq!(policy.limits.cooldown, [Duration::from_secs(10)]);
    assert_eq!((policy.limits.guesses_per_otp, policy.segments_max), (3, 2));
    assert_eq!(policy.countries.as_deref().unwrap(), ["US", "DE"]);
    assert_eq!(policy.keep, Duration::from_secs(48 * 3600));
    let payment = policy.purpose(&Purpose::parse("payment").unwrap()).unwrap();
    assert_eq!((payment.ttl.as_secs(), payment.digits, payment.resend), (300, 8, Resend::New));
    assert_eq!(policy.purposes.len(), 5);
    let warned = config.warnings.join("\n");
    assert!(warned.contains("purposes.login.ttl is above the 10 minutes of NIST SP 800-63B-4 §3.1.3.2"), "{warned}");
    assert!(warned.contains("purposes.login.digits is below the 6 digits"), "{warned}");
    assert!(warned.contains("limits.ip = []: this limit is off"), "{warned}");
    assert_eq!(setting(&config, "limits.user"), ("[\"2/10m\", \"9/1d\"]", "smsotp.toml (/etc/smsotp/smsotp.toml)"));
    assert_eq!(setting(&config, "limits.network").1, "default");
}

#[test]
fn each_limit_takes_one_window_or_a_list_and_nothing_switches_it_off() {
    type Windows = fn(&Limits) -> &Vec<Window>;
    let lists: [(&str, Windows); 13] = [
        ("phone", |limits| &limits.phone),
        ("user", |limits| &limits.user),
        ("user_phones", |limits| &limits.user_phones),
        ("ip", |limits| &limits.ip),
        ("ip_phones", |limits| &limits.ip_phones),
        ("network", |limits| &limits.network),
        ("everything", |limits| &limits.everything),
        ("refused_phone", |limits| &limits.refused_phone),
        ("refused_other", |limits| &limits.refused_other),
        ("guesses_per_user", |limits| &limits.guesses_per_user),
        ("guesses_per_phone", |limits| &limits.guesses_per_phone),
        ("guesses_per_ip", |limits| &limits.guesses_per_ip),
        ("guesses_per_token", |limits| &limits.guesses_per_token),
    ];
    for (name, windows) in lists {
        let read = |value: &str| from_toml(&format!("[limits]\n{name} = {value}\n")).unwrap();
        assert_eq!(*windows(&read("\"7/2h\"").policy.limits), [Window::new(7, 7200)], "{name}");
        let two = read("[\"7/2h\", \"9/1d\"]");
        assert_eq!(*windows(&two.policy.limits), [Window::new(7, 7200), Window::new(9, 86_400)], "{name}");
        // It is shown as the file takes it: what is shown is read as the same.
        let shown = setting(&two, &format!("limits.{name}")).0.to_owned();
        assert_eq!(read(&shown).policy.limits, two.policy.limits, "{name} = {shown}");
        for nothing in ["[]", "0"] {
            let off = read(nothing);
            assert!(windows(&off.policy.limits).is_empty(), "{name} = {nothing}");
            assert!(
                off.warnings.contains(&format!("limits.{name} = {nothing}: this limit is off")),
                "{:?}",
                off.warnings
            );
        }
    }
    for (name, nothing) in [("cooldown", "[]"), ("cooldown", "0"), ("guesses_per_otp", "0"), ("guesses_in_a_row", "0")]
    {
        let off = from_toml(&format!("[limits]\n{name} = {nothing}\n")).unwrap();
        assert!(off.warnings.contains(&format!("limits.{name} = {nothing}: this limit is off")), "{:?}", off.warnings);
        let limits = &off.policy.limits;
        assert!(limits.cooldown.is_empty() || limits.tries("login") == u32::MAX || limits.guesses_in_a_row == 0);
    }
    // Every limit is a setting, under the same name.
    for limit in Limit::ALL {
        assert!(SETTINGS.iter().any(|info| info.key == format!("limits.{limit}")), "{limit}");
    }
    let shown = setting(&from_toml("").unwrap(), "limits.cooldown").0.to_owned();
    assert_eq!(shown, "[\"30s\", \"1m\", \"2m\", \"5m\", \"10m\", \"30m\"]");
}

#[test]
fn a_purpose_may_have_its_own_cooldown_guesses_and_windows_of_a_phone() {
    let config = from_toml(
        "[purposes.payment]\ncooldown = [\"5s\", \"1m\"]\nphone = \"2/10m\"\nguesses_per_otp = 3\ntext = '{{ code }} \"now\"'\n\
         [purposes.login]\ncooldown = []\nguesses_per_otp = 0\n[purposes.registration]\nttl = \"5m\"\n",
    )
    .unwrap();
    let limits = &config.policy.limits;

    assert_eq!(limits.pauses("payment"), [5, 60].map(Duration::from_secs));
    assert_eq!((limits.purposes["payment"].phone.as_slice(), limits.tries("payment")), (&[Window::new(2, 600)][..], 3));
    assert_eq!((limits.pauses("login").len(), limits.tries("login")), (0, u32::MAX));
    assert!(!limits.purposes.contains_key("registration"));
    assert_eq!(
        setting(&config, "purposes.payment").0,
        "ttl = \"10m\", digits = 6, resend = \"same\", text = '{{ code }} \"now\"', cooldown = [\"5s\", \"1m\"], phone = [\"2/10m\"], \
         guesses_per_otp = 3"
    );
    let warned = config.warnings.join("\n");
    assert!(warned.contains("purposes.login.cooldown = []: this limit is off"), "{warned}");
    assert!(warned.contains("purposes.login.guesses_per_otp = 0: this limit is off"), "{warned}");
}

#[test]
fn test_numbers_are_allowed_by_a_word_alone() {
    assert!(!assemble(inputs()).unwrap().allow_test_numbers);
    for text in ["allow_test_numbers = true", "allow_test_numbers = \"true\""] {
        let config = from_toml(text).unwrap();
        assert!(config.allow_test_numbers, "{text}");
        assert_eq!(setting(&config, "SMSOTP_ALLOW_TEST_NUMBERS").0, "true");
    }
    assert!(!from_toml("allow_test_numbers = false").unwrap().allow_test_numbers);
    assert!(from_env(&[("SMSOTP_ALLOW_TEST_NUMBERS", "true")]).unwrap().allow_test_numbers);
    refusal(from_env(&[("SMSOTP_ALLOW_TEST_NUMBERS", "1")]));
}

#[test]
fn limits_that_count_by_slots_may_be_as_large_as_a_country() {
    let config = from_toml(
        "[limits]\neverything = [\"2000000/1h\", \"100000000/31d\"]\nnetwork = \"10001/1h\"\nphone = \"10000/1d\"\n",
    )
    .unwrap();

    let limits = &config.policy.limits;
    assert_eq!(limits.everything, [Window::new(2_000_000, 3600), Window::new(100_000_000, 31 * 86_400)]);
    assert_eq!(limits.network, [Window::new(10_001, 3600)]);
    assert_eq!(limits.phone, [Window::new(10_000, 86_400)]);
    assert_eq!(setting(&config, "limits.everything").0, "[\"2000000/1h\", \"100000000/31d\"]");
}

#[test]
fn rules_out_of_range_are_refused_by_name() {
    for (line, expected) in [
        ("[limits]\nphone = [\"0/1h\"]", "1 to 10000"),
        ("[limits]\nphone = [\"10001/1h\"]", "1 to 10000 are"),
        ("[limits]\nguesses_per_ip = \"10001/1h\"", "1 to 10000 are"),
        ("[limits]\neverything = [\"100000001/1d\"]", "1 to 100000000 are"),
        ("[limits]\neverything = [\"0/1d\"]", "1 to 100000000 are"),
        ("[limits]\nnetwork = [\"999999999/1d\"]", "1 to 100000000 are"),
        ("[limits]\nphone = [\"-1/1h\"]", "number of events per time"),
        ("[limits]\nphone = [\"99999999999999/1h\"]", "number of events per time"),
        ("[limits]\nphone = [\"5/32days\"]", "31d"),
        ("[limits]\nphone = [\"5/0s\"]", "1s to"),
        ("[limits]\nphone = [\"5\"]", "5/1h"),
        ("[limits]\nphone = [5]", "5/1h"),
        ("[limits]\nphone = 5", "limits.phone"),
        ("[limits]\ncooldown = [\"30\"]", "limits.cooldown"),
        ("[limits]\ncooldown = \"30s\"", "is not a list"),
        ("[limits]\nguesses_per_otp = 11", "0 to 10"),
        ("[limits]\nguesses_per_otp = 5.5", "0 to 10"),
        ("[limits]\nguesses_per_otp = []", "0 to 10"),
        ("[limits]\nguesses_in_a_row = -1", "0 to 10000"),
        ("[limits]\nuser_phones = 3", "limits.user_phones"),
        ("[limits]\nip_phones = [\"5/1h\", 3]", "limits.ip_phones"),
        ("[purposes.login]\nphone = \"0/1h\"", "purposes.login.phone = [] switches"),
        ("[purposes.login]\ncooldown = \"30s\"", "is not a list"),
        ("[purposes.login]\nguesses_per_otp = 11", "0 to 10"),
        ("[purposes.login]\nuser = \"5/1h\"", "purposes.login.user"),
        ("limits = 3", "limits"),
        ("purposes = []", "purposes"),
        ("[purposes.login]\nttl = \"59s\"", "1m to 1h"),
        ("[purposes.login]\nttl = \"61m\"", "1m to 1h"),
        ("[purposes.login]\nttl = 10", "\"10m\""),
        ("[purposes.login]\nttl = \"90500ms\"", "whole seconds"),
        ("[purposes.login]\ndigits = 3", "4 to 10"),
        ("[purposes.login]\ndigits = 11", "4 to 10"),
        ("[purposes.login]\nresend = \"never\"", "same"),
        ("[purposes.login]\ntext = \"hello\"", "lacks {{ code }}"),
        ("[purposes.login]\ntext = \"{{ code }} {{ nane }}\"", "unknown variable nane"),
        ("[purposes.login.texts]\ngerman = \"{{ code }}\"", "purposes.login.texts.german is not a locale"),
        ("[purposes.login.texts]\nde = \"{code}\"", "purposes.login.texts.de cannot be used"),
        ("[purposes.login.countries]\nXX = \"{{ code }}\"", "no country"),
        ("locale = \"german\"", "not a locale"),
        ("[purposes.Login]\ndigits = 6", "is not a name for a purpose"),
        ("countries = []", "no country"),
        ("countries = [\"USA\"]", "two letters"),
        ("countries = [\"US\", \"UK\"]", "The United Kingdom is GB"),
        ("countries = [\"ZZ\"]", "holds ZZ"),
        ("region = \"UK\"", "The United Kingdom is GB"),
        ("region = \"ZZ\"", "no country that has phone numbers"),
        ("keep = \"1s\"", "keep"),
        ("segments_max = 11", "1 to 10"),
        ("app_name = \"aaaaaaaaaabbbbbbbbbbccccccccccd\"", "31 characters"),
        ("app_name = 5", "is not a string"),
        ("app_name = \"a\\u001bb\"", "control character"),
        ("app_name = \"a\\u202eb\"", "control character"),
        ("region = \"USA\"", "two letters"),
        ("provider = \"pigeon\"", "twilio and console"),
        ("output = \"xml\"", "jsonl"),
        ("allow_test_numbers = \"yes\"", "neither true nor false"),
        ("allow_test_numbers = 1", "allow_test_numbers"),
        ("provider = true", "is not a string"),
        ("status_callback = \"ftp://x\"", "http"),
        ("a = ", "smsotp.toml:1:"),
        ("x = 1\ny = \"canary", "smsotp.toml:2:"),
        ("region = \"DE\"\nregion = \"FR\"", "smsotp.toml:2:"),
    ] {
        let shown = refusal(from_toml(line));
        assert!(shown.contains(expected), "{line:?}: {shown}");
    }
}

#[test]
fn a_bad_line_of_an_env_file_is_named_and_not_repeated() {
    let line = |text: &str| refusal(from_dotenv(&[], text));

    assert!(line("A=1\n\n# note\nTWILIO_AUTH_TOKEN canary\n").contains(".env:4: not a NAME=value line"));
    assert!(line("A=1\rTWILIO_AUTH_TOKEN: canary\r").contains(".env:2:"));
    assert!(line("export TWILIO_AUTH_TOKEN='canary").contains(".env:1:"));
    assert!(line("A=1\nB=\"x\ny\"\nSMSOTP_REGION=\"canary\" x").contains(".env:4:"));
    assert!(line("SMSOTP_REGION").contains(".env:1:"));
    assert!(line("SMSOTP_TYPO canary").contains(".env:1:"));
    assert!(line(&format!("A={}\nTWILIO_AUTH_TOKEN canary", "x".repeat(100_000))).contains(".env:2:"));
    assert!(
        line("TWILIO_AUTH_TOKEN=canary1\nX=1\nTWILIO_AUTH_TOKEN=canary2")
            .contains(".env:3: TWILIO_AUTH_TOKEN is set twice")
    );
    assert!(from_dotenv(&[], "SMSOTP_REGION=DE\nSMSOTP_REGION=DE").is_ok());
    refusal(from_dotenv(&[], "SMSOTP_APP_NAME=\"a\\nb\""));
    refusal(from_dotenv(&[], "SMSOTP_APP_NAME=a\0b"));
    refusal(from_dotenv(&[], &format!("SMSOTP_APP_NAME={}", "x".repeat(5000))));
}

#[test]
fn usual_writings_of_an_env_file_are_read() {
    let text = "\u{feff}export SMSOTP_REGION=DE\r\nSMSOTP_APP_NAME='A C # M E' # note\r\nTWILIO_AUTH_TOKEN=\"p$a#s\\\"s\"\nSMSOTP_PROVIDER=console ";

    let config = from_dotenv(&[], text).unwrap();

    assert_eq!(config.region.as_deref(), Some("DE"));
    assert_eq!(config.policy.app_name, "A C # M E");
    assert_eq!(config.twilio.auth_token.unwrap().expose_secret(), "p$a#s\"s");
    assert_eq!(config.provider, Some(ProviderName::Console));
}

#[test]
fn files_are_read_where_they_are_named_and_wrong_ones_refused() {
    let dir = TempDir::new().unwrap();
    let (env_file, config) = (dir.path().join("env"), dir.path().join("c.toml"));
    let flags = Flags { env_file: Some(env_file.clone()), config: Some(config.clone()), ..Flags::default() };
    let fails = |expected: &str| {
        let Err(error) = read_sources(flags.clone()) else { panic!("{expected}") };
        assert_eq!(error.class().exit(), 78);
        assert!(error.to_string().contains(expected), "{error}");
    };
    fails("there is no such file");
    fs::create_dir(&env_file).unwrap();
    fails("it is a directory");
    fs::remove_dir(&env_file).unwrap();
    fs::write(&env_file, "#".repeat(300_000)).unwrap();
    fails("larger than 256 KiB");
    fs::write(&env_file, "SMSOTP_REGION=DE\nTWILIO_AUTH_TOKEN=canary\n").unwrap();
    fails("c.toml: there is no such file");
    fs::write(&config, b"app_name = \"\xe9\"").unwrap();
    fails("it is not UTF-8");
    fs::write(&config, "\u{feff}app_name = \"ACME\"").unwrap();

    let inputs = read_sources(flags.clone()).unwrap();

    assert_eq!(inputs.dotenv.as_ref().unwrap().1["SMSOTP_REGION"], "DE");
    assert_eq!(inputs.toml.as_ref().unwrap().0, config);
    assert_eq!(assemble(inputs).unwrap().policy.app_name, "ACME");

    // What is not ours may be in any encoding.
    fs::write(&env_file, b"NAME=M\xfcller\nSMSOTP_REGION=DE\n").unwrap();
    assert_eq!(read_sources(flags.clone()).unwrap().dotenv.unwrap().1["SMSOTP_REGION"], "DE");
    fs::write(&env_file, b"\xff\xfeA\0=\x001\0\n\0").unwrap();
    assert_eq!(read_sources(flags.clone()).unwrap().dotenv.unwrap().1["A"], "1");
    assert!(read_sources(Flags { env_file: Some("none".into()), ..flags }).unwrap().dotenv.is_none());
}

#[cfg(unix)]
fn with_mode(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;

    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
#[test]
fn files_that_others_may_read_change_or_replace_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;

    let dir = TempDir::new().unwrap();
    let (env_file, config) = (dir.path().join("env"), dir.path().join("c.toml"));
    let flags = Flags { env_file: Some(env_file.clone()), config: Some(config.clone()), ..Flags::default() };
    let warnings = |dotenv: (&str, u32), toml: u32| {
        with_mode(&env_file, dotenv.0, dotenv.1);
        with_mode(&config, "region = \"DE\"", toml);
        read_sources(flags.clone()).unwrap().warnings
    };
    assert!(warnings(("TWILIO_AUTH_TOKEN=x", 0o600), 0o644).is_empty());
    assert!(warnings(("SMSOTP_REGION=DE\nTWILIO_AUTH_TOKEN=", 0o644), 0o664).is_empty());
    assert!(warnings(("TWILIO_AUTH_TOKEN=x", 0o644), 0o600)[0].contains("every user of this machine may read it"));
    assert!(warnings(("SMSOTP_REGION=DE", 0o602), 0o600)[0].contains("may change"));
    let changed = warnings(("", 0o600), 0o666);
    assert!(changed[0].contains("may change") && changed[0].contains("c.toml"), "{changed:?}");

    let open = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
    open(0o777);
    let replaced = warnings(("", 0o600), 0o600);
    assert!(replaced.len() == 2 && replaced[0].contains("may replace") && replaced[0].contains("0777"), "{replaced:?}");
    open(0o1777);
    assert!(warnings(("", 0o600), 0o600).is_empty(), "as /tmp is");
    open(0o700);

    let token = dir.path().join("token");
    let env = |mode| {
        with_mode(&token, TOKEN, mode);
        from_env(&[("TWILIO_AUTH_TOKEN_FILE", token.to_str().unwrap())]).unwrap().warnings
    };
    assert!(env(0o640).is_empty());
    assert_eq!(env(0o646).len(), 2);
}

#[cfg(unix)]
#[test]
fn an_env_file_may_be_a_pipe_or_a_device() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let flags = Flags { env_file: Some(path.clone()), ..Flags::default() };
    let writer = std::thread::spawn(move || fs::write(path, "SMSOTP_REGION=DE\n").unwrap());

    let inputs = read_sources(flags).unwrap();

    writer.join().unwrap();
    assert_eq!(inputs.dotenv.unwrap().1["SMSOTP_REGION"], "DE");
    assert!(inputs.warnings.is_empty(), "{:?}", inputs.warnings);
    let nothing = read_sources(Flags { env_file: Some("/dev/null".into()), ..Flags::default() }).unwrap();
    assert!(nothing.dotenv.unwrap().1.is_empty());
}

proptest! {
    #[test]
    fn no_env_file_makes_it_panic(text in "([A-Z_]{0,6}=?[\"'\\\\$#{} \\na-z\\PC]{0,12}\n?){0,4}") {
        let _ = from_dotenv(&[], &text);
    }

    #[test]
    fn no_configuration_makes_it_panic(key in "(limits|purposes|twilio|keep|countries|region|database)", value in "\\PC{0,30}") {
        let quoted = Value::String(value.clone()).to_string();
        for text in [format!("{key} = {quoted}"), format!("{key} = {value}"), format!("[{key}]\nlogin = {quoted}"), format!("[limits]\nphone = [{quoted}]")] {
            let _ = from_toml(&text);
        }
    }

    #[test]
    fn no_variable_makes_it_panic(which in 0..21_usize, value in any::<String>()) {
        let name = SETTINGS[which].variable;
        if !name.ends_with("_FILE") {
            let _ = from_env(&[(name, &value)]);
        }
    }
}

#[test]
fn the_guard_is_set_by_words_amounts_and_countries() {
    let dir = TempDir::new().unwrap();
    let prices = dir.path().join("prices.csv");
    fs::write(&prices, "country,price\nUS,0.0079\nTV,0.9\n").unwrap();
    let text = format!(
        "guard = \"enforce\"\nprices_file = {:?}\n[ceilings]\nmessage = 0.45\nhour = \"20\"\nday = 50\n\
         [countries]\nallow = [\"us\", \"TJ\"]\n[countries.TJ]\nfloor = 5\ncap = 20\n[purposes.payment]\nconversion = \"unknown\"\n",
        prices.display().to_string()
    );

    let config = from_toml(&text).unwrap();

    let guard = &config.policy.guard;
    assert_eq!(guard.mode, Some(Mode::Enforce));
    let us = |usd: &str| Some(usd.parse::<Money>().unwrap());
    assert_eq!(guard.ceilings, Ceilings { message: us("0.45"), hour: us("20"), day: us("50"), month: None });
    assert_eq!(guard.country("TJ"), CountryPolicy { floor: Some(5), cap: Some(20), closed: false });
    assert_eq!(guard.country("DE"), CountryPolicy::default());
    assert_eq!(config.policy.countries.as_deref(), Some(&["US".to_owned(), "TJ".to_owned()][..]));
    assert_eq!(guard.prices.of(Some("US"), Channel::Sms), us("0.0079").unwrap());
    assert_eq!(guard.prices.of(None, Channel::Sms), us("0.9").unwrap());
    assert!(guard.conversion_unknown.contains(&Purpose::parse("payment").unwrap()));
    assert_eq!(setting(&config, "countries.TJ").0, "floor = 5, cap = 20");
    assert_eq!(setting(&config, "ceilings.message").0, "0.45");
    assert_eq!(setting(&config, "ceilings.month").0, "none");
    assert_eq!(setting(&config, "SMSOTP_GUARD").0, "enforce");
    assert!(setting(&config, "purposes.payment").0.ends_with("conversion = \"unknown\""));
    assert_eq!(config.warnings, Vec::<String>::new());
    let unset = assemble(inputs()).unwrap();
    assert_eq!((unset.policy.guard.mode, unset.policy.guard.ceilings), (None, Ceilings::default()));
}

#[test]
fn a_guard_that_cannot_work_is_refused_with_what_would() {
    for (text, expected) in [
        ("guard = \"on\"", "There are off, watch and enforce"),
        ("[ceilings]\nday = -5", "ceilings.day is not an amount in US dollars"),
        ("[ceilings]\nday = \"5 EUR\"", "ceilings.day is not an amount"),
        ("[ceilings]\nday = inf", "ceilings.day is not an amount"),
        ("[ceilings]\nday = 0", "no message could be sent"),
        ("[ceilings]\nweek = 5", "ceilings.week"),
        ("ceilings = 5", "ceilings"),
        ("[countries.UK]\nfloor = 5", "The United Kingdom is GB"),
        ("[countries.DE]\nfloor = 0", "countries.DE.floor is not a whole number from 1"),
        ("[countries.DE]\nfloor = 10\ncap = 9", "countries.DE.cap is 9, below the floor of 10"),
        ("[countries.DE]\nclosed = \"yes\"", "countries.DE.closed is neither true nor false"),
        ("[countries.DE]\ncaps = 9", "Did you mean cap?"),
        ("[countries]\nonly = [\"DE\"]", "Under [countries] there is allow"),
        ("[countries]\nDE = 5", "Write [countries.DE] on a line of its own"),
        ("[countries]\nallow = []", "countries.allow is empty"),
        ("countries = [\"DE\"]\n[countries.DE]\nfloor = 5", "under [countries] as allow"),
        ("[purposes.login]\nconversion = \"unknown\"", "purposes.login.conversion = \"unknown\" needs a ceiling"),
        ("[purposes.login]\nconversion = \"unknown\"\n[ceilings]\nmessage = 1", "for example day = 50"),
        ("[purposes.login]\nconversion = \"never\"", "neither \"reported\" nor \"unknown\""),
        ("prices_file = \"/nowhere/prices.csv\"", "cannot read the price list /nowhere/prices.csv"),
        ("alarm_webhook = \"http://example.com/canary\"", "neither https nor http on loopback"),
        ("alarm_webhook = \"https://canary@example.com/\"", "holds a user or a password"),
        ("alarm_secret = \"canary\"", "smsotp.toml holds no secrets"),
    ] {
        let shown = refusal(from_toml(text));
        assert!(shown.contains(expected), "{text:?}: {shown}");
    }
    let dir = TempDir::new().unwrap();
    let prices = dir.path().join("prices.csv");
    fs::write(&prices, "US,0.01\nDE,cheap\n").unwrap();
    let shown = refusal(from_env(&[("SMSOTP_PRICES_FILE", &prices.display().to_string())]));
    assert!(shown.contains("prices.csv, line 2: the price \"cheap\" is not an amount"), "{shown}");
}

#[test]
fn settings_of_the_guard_that_contradict_each_other_are_warned_of() {
    for (text, expected) in [
        ("[ceilings]\nhour = 60\nday = 50", "ceilings.hour is above ceilings.day and is never reached"),
        ("[ceilings]\nmessage = 20\nmonth = 10", "ceilings.message is above ceilings.month"),
        ("[countries.DE]\nclosed = true\ncap = 9", "countries.DE is closed: its floor and cap mean nothing"),
        ("[countries]\nallow = [\"US\"]\n[countries.DE]\ncap = 9", "countries.DE means nothing"),
        ("[countries]\nallow = [\"US\"]\n[countries.US]\nclosed = true", "countries.US is closed although"),
        (
            "countries = [\"US\", \"ID\"]\n[ceilings]\nmessage = 0.1",
            "countries allows ID, where one segment costs more",
        ),
    ] {
        let config = from_toml(text).unwrap();
        assert!(
            config.warnings.len() == 1 && config.warnings[0].starts_with(expected),
            "{text}: {:?}",
            config.warnings
        );
    }
}

#[test]
fn a_webhook_of_alarms_hides_its_path_and_its_secret_has_no_flag() {
    let hook = ("SMSOTP_ALARM_WEBHOOK", "https://hooks.example.com/services/canary");
    let config = from_env(&[hook, ("SMSOTP_ALARM_SECRET", "canary-of-16-chars")]).unwrap();
    let alarm = config.alarm_hook.as_ref().unwrap();
    assert_eq!(alarm.url.path(), "/services/canary");
    assert_eq!(alarm.secret.as_ref().unwrap().expose_secret(), "canary-of-16-chars");
    assert_eq!(setting(&config, "SMSOTP_ALARM_WEBHOOK").0, "https://hooks.example.com/…, hidden");
    assert_eq!(setting(&config, "SMSOTP_ALARM_SECRET").0, "set, hidden");
    assert!(refusal(from_env(&[hook])).contains("needs SMSOTP_ALARM_SECRET"));
    let chat = [hook, ("SMSOTP_ALARM_TEMPLATE", "slack")];
    assert!(from_env(&chat).unwrap().alarm_hook.unwrap().secret.is_none());
    assert!(refusal(from_env(&[hook, ("SMSOTP_ALARM_SECRET", "canary")])).contains("shorter than 16 characters"));
    let unused = from_env(&[("SMSOTP_ALARM_SECRET", "canary-of-16-chars")]).unwrap();
    assert!(unused.alarm_hook.is_none() && unused.warnings[0].contains("there is no alarm_webhook"));
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("secret");
    fs::write(&file, "canary-from-a-file-1\n").unwrap();
    let config = from_env(&[hook, ("SMSOTP_ALARM_SECRET_FILE", &file.display().to_string())]).unwrap();
    assert_eq!(config.alarm_hook.unwrap().secret.unwrap().expose_secret(), "canary-from-a-file-1");
}

#[test]
fn an_env_file_that_nobody_named_does_not_switch_off_the_guard_or_turn_its_settings_round() {
    assert!(refusal(from_dotenv(&[], "SMSOTP_GUARD=off")).contains("may not switch off the guard"));
    assert_eq!(from_dotenv(&[], "SMSOTP_GUARD=enforce").unwrap().policy.guard.mode, Some(Mode::Enforce));
    assert_eq!(from_both(true, "SMSOTP_GUARD=off", "").unwrap().policy.guard.mode, Some(Mode::Off));
    for (line, toml) in [
        ("SMSOTP_GUARD=watch", "guard = \"enforce\""),
        ("SMSOTP_PRICES_FILE=/a.csv", "prices_file = \"/b.csv\""),
        ("SMSOTP_ALARM_WEBHOOK=https://a.example", "alarm_webhook = \"https://b.example\""),
    ] {
        assert!(refusal(from_both(false, line, toml)).contains("contradicts"), "{line}");
    }
}
