//! What a message says: the wording of its country, of its locale or of a wider one, whoever asks, and however often it is tried.

use serde_json::{Value, json};
use smsotp::engine::{SendOtp, Verdict};
use smsotp::locale::Locale;
use smsotp::message::State;
use smsotp::purpose::PurposePolicy;
use smsotp::sandbox::{Fault, Options};
use smsotp::texts::Texts;

use crate::desk::Desk;
use crate::stores::{Database, on_every_store};
use crate::window::{SEND, Window, service_token, settings};
use crate::world::{World, ask, caller, dispatch, login, send, send_as, verdict};

on_every_store![
    a_message_is_written_in_the_locale_that_was_asked_for,
    an_attempt_that_is_repeated_is_written_in_the_locale_of_the_first,
    own_texts_go_before_built_in_ones_and_that_of_a_country_before_all,
];

fn locale(tag: &str) -> Option<Locale> {
    Some(Locale::parse(tag).unwrap())
}

fn in_locale(phone: &str, tag: &str) -> SendOtp {
    SendOtp { locale: locale(tag), ..ask(phone) }
}

/// The newest text on a phone, with zeros for the digits of the code.
fn text(world: &World, phone: &str) -> String {
    let newest = world.sandbox.messages().into_iter().rev().find(|message| message.to == phone).unwrap();
    let code = world.code_on(phone);
    newest.body.replace(code.expose(), "000000")
}

async fn a_message_is_written_in_the_locale_that_was_asked_for(database: &mut Database) {
    database.unlimited();
    let engine = database.engine().await;
    for (nth, (tag, expected)) in [
        ("de", "000000 ist Ihr Anmeldecode für smsotp. Gültig 10 Min. Nicht weitergeben."),
        ("de-AT", "000000 ist Ihr Anmeldecode für smsotp. Gültig 10 Min. Nicht weitergeben."),
        ("zh-HK", "000000 是您的 smsotp 登入驗證碼，10 分鐘內有效，請勿外洩。"),
        ("xx", "000000 is your smsotp sign-in code. It works for 10 minutes. Do not share it."),
    ]
    .into_iter()
    .enumerate()
    {
        let phone = format!("+141555501{nth:02}");
        send_as(&engine, &caller(), in_locale(&phone, tag)).await;
        assert_eq!(text(database, &phone), expected, "{tag}");
        assert_eq!(verdict(&engine, &phone, &database.code_on(&phone)).await, Verdict::Verified);
    }
    // The same code once more, in the language of whoever asks for it now; and nobody asks for one: the setting's.
    send_as(&engine, &caller(), in_locale("+14155550190", "fr")).await;
    send_as(&engine, &caller(), in_locale("+14155550190", "it")).await;
    assert!(
        text(database, "+14155550190").contains("è il tuo codice di accesso"),
        "{}",
        text(database, "+14155550190")
    );
    database.policy.locale = locale("nb").unwrap();
    let engine = database.engine().await;
    send(&engine, "+14155550191").await;
    assert!(text(database, "+14155550191").contains("er koden din for å logge inn"));
}

async fn an_attempt_that_is_repeated_is_written_in_the_locale_of_the_first(database: &mut Database) {
    let engine = database.engine().await;
    database.sandbox.fault(Fault::Status429 { retry_after: Some(60) }, 1);
    let waiting = send_as(&engine, &caller(), in_locale("+14155550101", "de")).await;
    assert_eq!(waiting.state, State::Queued);
    database.clock.advance(std::time::Duration::from_secs(61));

    assert_eq!(dispatch(&engine).await.sent, 1);

    assert_eq!(
        text(database, "+14155550101"),
        "000000 ist Ihr Anmeldecode für smsotp. Gültig 8 Min. Nicht weitergeben.",
        "and the minutes are those that are left"
    );
}

async fn own_texts_go_before_built_in_ones_and_that_of_a_country_before_all(database: &mut Database) {
    database.unlimited();
    let own = PurposePolicy {
        texts: Texts {
            others: Some("{{ app }}: {{ code }}".to_owned()),
            locales: [(locale("de").unwrap(), "{{ app }}, hier: {{ code }}".to_owned())].into(),
            countries: [("IN".to_owned(), "Dear user, {{ code }} is your OTP".to_owned())].into(),
        },
        ..PurposePolicy::default()
    };
    database.policy.purposes.insert(login(), own);
    let engine = database.engine().await;
    for (phone, tag, expected) in [
        ("+14155550101", "de-CH", "smsotp, hier: 000000"),
        ("+14155550102", "fr", "smsotp: 000000"),
        ("+919876543210", "de", "Dear user, 000000 is your OTP"),
    ] {
        send_as(&engine, &caller(), in_locale(phone, tag)).await;
        assert_eq!(text(database, phone), expected);
    }
    // What the policy does not let out is refused before anything is recorded, in the locale that was asked for.
    let long = format!("{{{{ code }}}} {}", "ж".repeat(70));
    database.policy.purposes.get_mut(&login()).unwrap().texts.locales.insert(locale("ru").unwrap(), long);
    let engine = database.engine().await;
    let rows = database.audit().len();
    let refused = engine.send(&caller(), in_locale("+14155550103", "ru")).await.unwrap_err();
    assert_eq!((refused.code().name, database.audit().len()), ("too_many_segments", rows));
    send_as(&engine, &caller(), in_locale("+14155550103", "de")).await;
}

#[test]
fn the_api_takes_a_locale() {
    let world = World::new();
    let token = service_token(&world.engine(), "send");
    let window = Window::with(&world, world.engine(), settings());
    let body = |tag: &str| {
        json!({"phone_number": "+14155550101", "purpose": "login", "user": "ada", "locale": tag}).to_string()
    };

    let wrong = window.post(SEND, &token, &body("german"));
    assert_eq!((wrong.status, wrong.code().as_str()), (422, "value_invalid"));
    assert_eq!(window.post(SEND, &token, &body("pt_BR")).status, 200);

    assert_eq!(text(&world, "+14155550101"), "Use 000000 para entrar em smsotp. Vale 10 min. Nunca o compartilhe.");
}

#[test]
fn texts_are_listed_and_checked_before_anybody_gets_one() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());
    desk.write(
        "smsotp.toml",
        "app_name = \"ACME\"\nlocale = \"de\"\n[purposes.payment]\ntext = \"{{ code }} “pays” at {{ app }}\"\n\
         [purposes.payment.texts]\nfr = \"{{ code }} – prêt\"\n[purposes.payment.countries]\nIN = \"{{ code }} for {{ app }}\"\n",
    );
    let list: Value = desk.run("template list --config smsotp.toml --json").expect(0).json("text_list");
    let rows = list["items"].as_array().unwrap();
    let payment: Vec<_> = rows
        .iter()
        .filter(|row| row["purpose"] == "payment")
        .map(|row| (row["locale"].as_str().unwrap(), row["country"].as_str(), row["encoding"].as_str().unwrap()))
        .collect();
    assert_eq!(payment, [("de", None, "UCS-2"), ("fr", None, "UCS-2"), ("de", Some("IN"), "GSM-7")]);
    assert_eq!(rows.len(), 7);
    let all = desk.run("template list --purpose login --all --config smsotp.toml -o csv").expect(0).out;
    assert_eq!(all.lines().count(), 31, "headings, and each built-in locale once");

    let check = desk.run("template check --purpose payment --config smsotp.toml -o table").expect(0);
    check.shows("[ ok ] payment, de").shows("replace “ (U+201C) by \", ” (U+201D) by \"");
    let json = desk.run("template check --purpose payment --locale fr --config smsotp.toml --json").expect(0);
    let characters = json.json("template_check")["texts"][0]["characters"].clone();
    let replacements: Vec<_> = characters.as_array().unwrap().iter().map(|one| one["replacement"].as_str()).collect();
    assert_eq!(replacements, [Some("-"), None]);
    desk.run("template check --purpose login --locale ru --origin example.com -o table").expect(1).shows("[FAIL]");
    desk.run("template check --app-hash FA+9qCX9VSu -o table").expect(0).shows(" / FA+9qCX9VSu");
    desk.run("template check --purpose logn").expect(65).says("Did you mean login?");
    desk.run("template list --locale german").expect(65).says("de-AT");
    desk.write("wrong.toml", "[purposes.login.texts]\nde = \"{{ code }} {{ ap }}\"\n");
    desk.run("template check --config wrong.toml").expect(78).says("unknown variable ap");
    desk.run("config show --config smsotp.toml").expect(0).shows("texts.fr = \"{{ code }} – prêt\", countries.IN =");

    desk.run("send +14155550101 --purpose payment --locale fr --config smsotp.toml -q").expect(0);
    assert!(sandbox.messages()[0].body.ends_with(" – prêt"));
    desk.run("send +14155550102 --locale german").expect(65);
}
