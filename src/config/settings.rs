//! The table of all settings: `config show`, the documentation and `.env.example` are made from it.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct SettingInfo {
    /// The variable in the environment and in `.env`; empty: in `smsotp.toml` only.
    pub variable: &'static str,
    /// The key in `smsotp.toml`, dotted; empty: it has none (secrets never have one).
    pub key: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What applies without it.
    pub default: &'static str,
    /// An example for `.env.example`.
    pub example: &'static str,
    /// Never shown.
    pub secret: bool,
}

impl SettingInfo {
    /// The name that it is known by: the variable, else the key.
    pub fn name(&self) -> &'static str {
        if self.variable.is_empty() { self.key } else { self.variable }
    }
}

/// The providers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderName {
    /// Twilio's Programmable Messaging.
    Twilio,
    /// Prints the message instead of sending it.
    Console,
}

impl ProviderName {
    const ALL: [ProviderName; 2] = [ProviderName::Twilio, ProviderName::Console];

    /// Every name, as it is written in settings and on the command line.
    pub const NAMES: [&'static str; ProviderName::ALL.len()] =
        [ProviderName::ALL[0].as_str(), ProviderName::ALL[1].as_str()];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProviderName::Twilio => "twilio",
            ProviderName::Console => "console",
        }
    }

    /// The provider of that name.
    pub fn parse(name: &str) -> Option<ProviderName> {
        ProviderName::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

macro_rules! settings {
    ($($variable:literal | $key:literal | $meaning:literal | $default:literal | $example:literal $(| $secret:ident)?;)*) => {
        /// Every setting, in the order in which they are shown.
        pub const SETTINGS: &[SettingInfo] = &[$(SettingInfo {
            variable: $variable, key: $key, meaning: $meaning, default: $default, example: $example,
            secret: settings!(@ $($secret)?),
        }),*];
    };
    (@ secret) => { true };
    (@) => { false };
}

settings! {
    "TWILIO_ACCOUNT_SID" | "twilio.account_sid" | "the account: AC and 32 hex digits" | "" | "ACxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    "TWILIO_AUTH_TOKEN" | "" | "the account's Auth Token" | "" | "your_auth_token" | secret;
    "TWILIO_AUTH_TOKEN_FILE" | "twilio.auth_token_file" | "a file that holds the Auth Token" | "" | "/run/secrets/twilio_auth_token";
    "TWILIO_API_KEY" | "twilio.api_key" | "an API key: SK and 32 hex digits; with its secret it is used instead of the Auth Token" | "" | "SKxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    "TWILIO_API_SECRET" | "" | "the API key's secret" | "" | "your_api_secret" | secret;
    "TWILIO_API_SECRET_FILE" | "twilio.api_secret_file" | "a file that holds the API key's secret" | "" | "/run/secrets/twilio_api_secret";
    "TWILIO_PHONE_NUMBER" | "twilio.phone_number" | "the sender: a number of the account in E.164" | "" | "+15005550006";
    "TWILIO_MESSAGING_SERVICE_SID" | "twilio.messaging_service_sid" | "a Messaging Service: MG and 32 hex digits; used instead of the number" | "" | "MGxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    "TWILIO_REGION" | "twilio.region" | "Twilio's processing region" | "us1" | "ie1";
    "TWILIO_EDGE" | "twilio.edge" | "Twilio's edge location" | "" | "dublin";
    "TWILIO_API_BASE_URL" | "twilio.api_base_url" | "another address of the API: https, or http on loopback; used only if it comes from the same place as the credentials" | "https://api.twilio.com" | "http://127.0.0.1:4010";
    "SMSOTP_PROVIDER" | "provider" | "the provider of messages: twilio or console" | "twilio" | "console";
    "SMSOTP_DATABASE" | "database" | "the database: a path, sqlite:PATH, or a postgres:// URL (sslmode, pooler: docs/postgresql.md)" | "smsotp.db in the user's data directory" | "/var/lib/smsotp/smsotp.db";
    "SMSOTP_SECRET_KEY" | "" | "the secret keys: 32 bytes of base64 each, newest first, separated by commas or white space" | "" | "base64_of_32_random_bytes" | secret;
    "SMSOTP_SECRET_KEY_FILE" | "secret_key_file" | "a file that holds the secret keys" | "secret.key in the user's configuration directory, made with a new database" | "/run/secrets/smsotp_key";
    "SMSOTP_REGION" | "region" | "the country of numbers typed without +, two letters" | "" | "US";
    "SMSOTP_LOCALE" | "locale" | "the language of messages for which none is asked: de, de-AT, pt-BR" | "en" | "de";
    "SMSOTP_APP_NAME" | "app_name" | "the name that messages show, at most 30 characters" | "smsotp" | "ACME";
    "SMSOTP_STATUS_CALLBACK" | "status_callback" | "the public URL that Twilio reports deliveries to" | "" | "https://example.com/api/v1/messaging/twilio/status/";
    "SMSOTP_ALLOW_TEST_NUMBERS" | "allow_test_numbers" | "whether serve accepts the fixed codes of declared test numbers: true or false" | "false" | "true";
    "SMSOTP_ALARM_WEBHOOK" | "alarm_webhook" | "where alarms are posted: https, or http on loopback" | "" | "https://example.com/smsotp-alarms";
    "SMSOTP_ALARM_SECRET" | "" | "the secret that signs what the webhook gets, at least 16 characters" | "" | "what_openssl_rand_prints" | secret;
    "SMSOTP_ALARM_SECRET_FILE" | "alarm_secret_file" | "a file that holds the secret of the webhook" | "" | "/run/secrets/smsotp_alarm_secret";
    "SMSOTP_ALARM_TEMPLATE" | "alarm_template" | "the shape of what the webhook gets: json, slack, discord or teams" | "json" | "slack";
    "SMSOTP_CONFIG" | "" | "the path of smsotp.toml; not in .env" | "smsotp.toml in the user's configuration directory" | "/etc/smsotp/smsotp.toml";
    "SMSOTP_OUTPUT" | "output" | "how results are written: table, tsv, csv, json or jsonl" | "table on a terminal, else tsv" | "json";
    "SMSOTP_GUARD" | "guard" | "the guard against SMS pumping: off, watch (its detector only raises alarms) or enforce" | "watch until 200 codes were proven, then enforce; watch with the console and the sandbox" | "enforce";
    "SMSOTP_PRICES_FILE" | "prices_file" | "a file of your own prices: lines of country,price[,channel] in US$ per segment" | "" | "/etc/smsotp/prices.csv";
    "" | "countries" | "the only countries that get messages, two letters each; beside sections like [countries.US] it is called allow, under [countries]" | "all" | "";
    "" | "ceilings.message" | "US$ that one message may cost" | "none" | "";
    "" | "ceilings.hour" | "US$ that may be spent in an hour" | "35 % of the day's" | "";
    "" | "ceilings.day" | "US$ that may be spent in 24 hours" | "25, or three times the best day so far" | "";
    "" | "ceilings.month" | "US$ that may be spent in a calendar month (UTC)" | "none" | "";
    "" | "keep" | "how long finished otps and messages are kept" | "\"1d\"" | "";
    "" | "segments_max" | "SMS segments that an OTP message may take" | "1" | "";
    "" | "limits.cooldown" | "pause after the 1st, 2nd, ... message to a phone for a purpose" | "[\"30s\", \"1m\", \"2m\", \"5m\", \"10m\", \"30m\"]" | "";
    "" | "limits.phone" | "messages per phone" | "[\"3/10m\", \"5/1h\", \"10/1d\"]" | "";
    "" | "limits.user" | "messages per user" | "[\"5/1h\", \"10/1d\"]" | "";
    "" | "limits.user_phones" | "distinct phones per user" | "[\"3/1d\"]" | "";
    "" | "limits.ip" | "messages per client address" | "[\"10/1h\", \"30/1d\"]" | "";
    "" | "limits.ip_phones" | "distinct phones per client address" | "[\"5/1h\"]" | "";
    "" | "limits.network" | "messages per client network" | "[\"50/1h\", \"150/1d\"]" | "";
    "" | "limits.everything" | "all messages" | "[\"1000/1h\", \"10000/1d\"]" | "";
    "" | "limits.refused_phone" | "refusals by the provider per phone" | "[\"5/1h\"]" | "";
    "" | "limits.refused_other" | "refusals by the provider per user or client address" | "[\"20/1h\"]" | "";
    "" | "limits.guesses_per_otp" | "wrong guesses after which a code is locked" | "5" | "";
    "" | "limits.guesses_per_user" | "wrong guesses per user and phone, all purposes; once used up, no new codes are sent" | "[\"15/1d\"]" | "";
    "" | "limits.guesses_per_phone" | "wrong guesses per phone, all users and purposes; once used up, no new codes are sent but to users who verified the phone in the last 90 days" | "[\"15/1d\"]" | "";
    "" | "limits.guesses_per_ip" | "codes that opened nothing per client address" | "[\"30/1h\"]" | "";
    "" | "limits.guesses_per_token" | "codes that opened nothing per access token of a user" | "[\"30/1h\"]" | "";
    "" | "limits.guesses_in_a_row" | "wrong guesses without one success per user and phone, until `limits reset`" | "100" | "";
}

/// The keys of a `[purposes.NAME]` section: name, meaning, default.
pub const PURPOSE_KEYS: &[(&str, &str, &str)] = &[
    ("ttl", "how long a code is valid, 1 to 60 minutes", "\"10m\""),
    ("digits", "how many digits, 4 to 10", "6"),
    ("resend", "what a re-send sends: the same code or a new one", "\"same\""),
    (
        "text",
        "the wording: {{ code }} once; {{ app }}, {{ minutes }} and {{ time }} are optional ([templates.md](templates.md))",
        "built in",
    ),
    ("texts", "a section of wordings by locale: `de = \"…\"`", "built in, in 30 locales"),
    ("countries", "a section of wordings by country, whatever the locale: `IN = \"…\"`", "none"),
    ("cooldown", "pause after the 1st, 2nd, ... message to a phone for this purpose", "`limits.cooldown`"),
    ("phone", "messages per phone for this purpose, besides `limits.phone`", "[]"),
    (
        "conversion",
        "whether callers say which codes were entered, by verifying them here: reported or unknown",
        "\"reported\"",
    ),
    ("guesses_per_otp", "wrong guesses after which a code for this purpose is locked", "`limits.guesses_per_otp`"),
];

/// The keys of a `[messages.NAME]` section: name, meaning, default.
pub const MESSAGE_KEYS: &[(&str, &str, &str)] = &[
    ("text", "the text where no other fits; {{ app }} and whatever is given with each message", "needed"),
    ("texts", "a section of texts by locale: `de = \"…\"`", "none"),
    ("countries", "a section of texts by country, whatever the locale: `IN = \"…\"`", "none"),
];

/// The keys of a `[countries.XX]` section: name, meaning, default.
pub const COUNTRY_KEYS: &[(&str, &str, &str)] = &[
    (
        "floor",
        "messages to strangers that may be open within 24 hours before anybody there entered a code",
        "4 US$ worth, 10 to 50",
    ),
    ("cap", "messages to strangers in any 24 hours, whatever was proven", "by what was proven"),
    ("closed", "no codes go there: true or false", "false"),
];

/// The text of `.env.example`.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Settings of smsotp. Copy to .env in the directory where smsotp is run, or name the file with --env-file.\n\
         # Flags and variables of the environment take precedence over this file, and this file over smsotp.toml.\n\
         # A .env of a parent directory is never read. Keep it private: chmod 600 .env\n\
         #\n\
         # Values are written as they are, or in 'single' or \"double\" quotes; a # behind a space begins a comment.\n\
         # Nothing is put in for ${NAME}, and $ is a dollar sign.\n",
    );
    for info in SETTINGS.iter().filter(|info| !["", "SMSOTP_CONFIG"].contains(&info.variable)) {
        let default = if info.default.is_empty() { String::new() } else { format!(" Default: {}.", info.default) };
        let meaning = capitalised(info.meaning);
        text.push_str(&format!("\n# {meaning}.{default}\n#{}={}\n", info.variable, info.example));
    }
    text
}

/// Whether a variable of this name is a setting.
pub(super) fn is_setting(name: &str) -> bool {
    !name.is_empty() && SETTINGS.iter().any(|info| info.variable == name)
}

/// The known name nearest to a mistyped one, if any is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|k| (strsim::jaro_winkler(name, k), k)).filter(|(score, _)| *score > 0.85);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// The variable nearest to a mistyped one. What all of them begin with says nothing.
pub(super) fn nearest_variable(name: &str) -> Option<&'static str> {
    let (prefix, rest) = name.split_once('_')?;
    let known = SETTINGS.iter().filter_map(|info| info.variable.split_once('_').filter(|known| known.0 == prefix));
    let near = nearest(rest, known.map(|(_, rest)| rest))?;
    SETTINGS.iter().map(|info| info.variable).find(|known| known.split_once('_') == Some((prefix, near)))
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "UPDATE=1 rewrites the file")]
    fn the_example_file_lists_every_variable() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, env_example()).unwrap();
        }

        assert_eq!(std::fs::read_to_string(path).unwrap(), env_example(), "run with UPDATE=1 to rewrite .env.example");
    }

    #[test]
    fn every_provider_is_named_where_it_is_chosen() {
        let info = SETTINGS.iter().find(|info| info.variable == "SMSOTP_PROVIDER").unwrap();

        for name in ProviderName::NAMES {
            assert!(info.meaning.contains(name), "{name}");
            assert_eq!(ProviderName::parse(name).map(ProviderName::as_str), Some(name));
        }
        assert_eq!(ProviderName::parse("Twilio"), None);
    }

    #[test]
    fn the_nearest_name_to_a_mistyped_one_is_found() {
        let known = || SETTINGS.iter().map(|info| info.variable);

        assert_eq!(nearest("SMSOTP_DATABSE", known()), Some("SMSOTP_DATABASE"));
        assert_eq!(nearest("TWILIO_ACOUNT_SID", known()), Some("TWILIO_ACCOUNT_SID"));
        assert_eq!(nearest("PATH", known()), None);
        assert_eq!(nearest_variable("SMSOTP_DATABSE"), Some("SMSOTP_DATABASE"));
        assert_eq!(nearest_variable("TWILIO_ACOUNT_SID"), Some("TWILIO_ACCOUNT_SID"));
        for foreign in
            ["SMSOTP_PORT", "SMSOTP_SERVICE_HOST", "SMSOTP_PORT_8000_TCP", "SMSOTP_IMAGE_TAG", "SMSOTP_TYPO", "OTHER"]
        {
            assert_eq!(nearest_variable(foreign), None, "{foreign}");
        }
    }
}
