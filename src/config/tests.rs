//! Which source wins, what is refused, and what a hostile file cannot do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use toml::Value;

use super::read::{parse_dotenv, read_sources};
use super::*;
use crate::limits::{Limit, Limits, Window};
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

fn from_dotenv(env: &[(&str, &str)], text: &str) -> Result<Config> {
    let path = PathBuf::from("/srv/app/.env");
    let values = parse_dotenv(text, &path)?;
    assemble(Inputs { env: variables(env), dotenv: Some((path, values)), ..inputs() })
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
    let mut taken = 0;
    // PATH is set wherever tests run; dotenvy alone would put its value in.
    for writing in [
        "$PATH",
        "${PATH}",
        "\"$PATH\"",
        "\"${PATH}\"",
        "'$PATH'",
        "\\$PATH",
        "\"\\$PATH\"",
        "a$PATH$HOME",
        "\\\\$PATH",
        "\"\\\\\\$PATH\"",
        "'\\'\"$PATH\"",
        "x'\\'$PATH",
    ] {
        let text = format!("SMSOTP_STATUS_CALLBACK={writing}\n");
        match parse_dotenv(&text, Path::new(".env")) {
            Ok(values) => {
                let value = &values["SMSOTP_STATUS_CALLBACK"];
                assert!(value.contains("$PATH") || value == "${PATH}", "{writing}: {value}");
                assert!(!value.contains('/'), "{writing}: {value}");
                taken += 1;
            }
            // dotenvy's two readers disagree about these; what matters is that nothing gets in.
            Err(_) => assert!(writing.contains("\\'"), "{writing}"),
        }
    }
    assert_eq!(taken, 10);
    let own = parse_dotenv("A=secret\nB=${A}$A\n", Path::new(".env")).unwrap();
    assert_eq!(own["B"], "${A}$A");
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
    let mut values = parse_dotenv(&text, Path::new(".env")).unwrap();
    values.retain(|name, _| !name.ends_with("_FILE"));

    let config = assemble(Inputs { dotenv: Some((".env".into(), values)), ..inputs() }).unwrap();

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
fn unknown_names_are_refused_with_the_one_that_was_meant() {
    assert!(refusal(from_env(&[("SMSOTP_DATABSE", "x")])).contains("Did you mean SMSOTP_DATABASE?"));
    assert!(
        refusal(from_dotenv(&[], "SMSOTP_REGOIN=DE"))
            .contains("SMSOTP_REGOIN from .env (/srv/app/.env) is not a setting")
    );
    assert!(refusal(from_toml("regoin = \"DE\"")).contains("Did you mean region?"));
    assert!(refusal(from_toml("[limits]\nphones = [\"1/1h\"]")).contains("Did you mean limits.phone?"));
    assert!(refusal(from_toml("[purposes.login]\nttls = \"5m\"")).contains("Did you mean ttl?"));
    refusal(from_toml("[limit]\nphone = []"));
    refusal(from_toml("\"a\\u001b[31m\" = 1"));
    assert!(from_env(&[("SMSOTP_TEST_POSTGRES", "x"), ("TWILIO_OTHER", "x"), ("OTHER", "x")]).is_ok());
    let warned = from_env(&[("TWILIO_ACOUNT_SID", SID)]).unwrap().warnings;
    assert!(warned[0].contains("did you mean TWILIO_ACCOUNT_SID?"), "{warned:?}");
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
         [purposes.payment]\nttl = \"5m\"\ndigits = 8\nresend = \"new\"\ntext = \"{app}: {code}\"\n\
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
        "[purposes.payment]\ncooldown = [\"5s\", \"1m\"]\nphone = \"2/10m\"\nguesses_per_otp = 3\ntext = '{code} \"now\"'\n\
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
        "ttl = \"10m\", digits = 6, resend = \"same\", text = '{code} \"now\"', cooldown = [\"5s\", \"1m\"], phone = [\"2/10m\"], \
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
        ("[purposes.login]\ntext = \"hello\"", "lacks {code}"),
        ("[purposes.login]\ntext = \"{code} {nane}\"", "unknown placeholder {nane}"),
        ("[purposes.Login]\ndigits = 6", "is not a name for a purpose"),
        ("countries = []", "no country"),
        ("countries = [\"USA\"]", "two-letter"),
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
    assert!(line("A=1\nB=canary canary").contains(".env:2:"));
    assert!(line("A='canary").contains(".env:1:"));
    assert!(line("A=1\nB=\"x\ny\"\nC=\"canary\\q\"").contains(".env:4:"));
    assert!(line("A=1\nB='canary\nC=1\nD=2\n").contains(".env:2:"));
    assert!(line("A=1\nB=can\0ary").contains(".env:2:"));
    assert!(line(&format!("A={}\nB canary", "x".repeat(100_000))).contains(".env:2:"));
    assert!(
        line("TWILIO_AUTH_TOKEN=canary1\nX=1\nTWILIO_AUTH_TOKEN=canary2")
            .contains(".env:3: TWILIO_AUTH_TOKEN is set twice")
    );
    refusal(from_dotenv(&[], "SMSOTP_APP_NAME=\"a\\nb\""));
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
    fs::write(&env_file, [0xff, 0xfe]).unwrap();
    fails("it is not UTF-8");
    fs::write(&env_file, "#".repeat(300_000)).unwrap();
    fails("larger than 256 KiB");
    fs::write(&env_file, "SMSOTP_REGION=DE\nTWILIO_AUTH_TOKEN=canary\n").unwrap();
    fails("c.toml: there is no such file");
    fs::write(&config, "app_name = \"ACME\"").unwrap();

    let inputs = read_sources(flags.clone()).unwrap();

    assert_eq!(inputs.dotenv.as_ref().unwrap().1["SMSOTP_REGION"], "DE");
    assert_eq!(inputs.toml.as_ref().unwrap().0, config);
}

#[cfg(unix)]
#[test]
fn an_env_file_that_others_may_read_or_write_warns_and_a_pipe_does_not_hang() {
    use std::os::unix::fs::PermissionsExt;

    let dir = TempDir::new().unwrap();
    let path = dir.path().join("env");
    let flags = Flags { env_file: Some(path.clone()), ..Flags::default() };
    let warnings = |text: &str, mode: u32| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        read_sources(flags.clone()).unwrap().warnings
    };
    assert!(warnings("TWILIO_AUTH_TOKEN=x", 0o600).is_empty());
    assert!(warnings("SMSOTP_REGION=DE\nTWILIO_AUTH_TOKEN=", 0o644).is_empty());
    assert!(warnings("TWILIO_AUTH_TOKEN=x", 0o644)[0].contains("every user of this machine may read it"));
    assert!(warnings("SMSOTP_REGION=DE", 0o602)[0].contains("may change"));

    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(read_sources(flags.clone()).is_err_and(|error| error.to_string().contains("not a plain file")));
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
