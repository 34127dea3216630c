//! Canaries: a code, a token, a key and a whole number are in no stream, no log, no file and no command line but their own.
#![cfg(unix)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smsotp::sandbox::{Fault, Options};

use super::desk::{BINARY, Desk, Ran, finish, wrong};

const PHONE: &str = "+14155552671";
const OTHER: &str = "+442079460321";

/// Everything that any process of the story wrote, with the line that wrote it.
#[derive(Default)]
struct Heard(Vec<(String, Vec<u8>)>);

impl Heard {
    fn keep(&mut self, what: &str, ran: Ran) -> Ran {
        self.0.push((what.to_owned(), ran.bytes.clone()));
        ran
    }
}

#[test]
fn no_secret_leaves_by_any_way() {
    let (mut desk, sandbox) = Desk::with_sandbox(Options::default());
    let key = STANDARD.encode(*b"canary-key-of-thirty-two-bytes!!");
    let (key_sid, key_secret) = sandbox.api_key();
    desk.set("SMSOTP_SECRET_KEY", &key).set("RUST_LOG", "trace").set("RUST_BACKTRACE", "1");
    let mut heard = Heard::default();
    let stop = AtomicBool::new(false);
    let mut codes = Vec::new();

    let seen = std::thread::scope(|scope| {
        let watch = scope.spawn(|| command_lines(&stop));
        let mut run = |line: &str, input: &str| {
            let what = line.to_owned();
            let ran = desk.pipe(&format!("{line} -vv"), input);
            heard.keep(&what, ran)
        };
        run(&format!("send {PHONE} --purpose login --user ada --wait"), "").expect(0);
        let code = newest(&sandbox);
        run(&format!("verify {PHONE} - --purpose login --user ada"), &wrong(&code)).expect(1);
        run(&format!("verify {PHONE} - --purpose login --user ada"), &format!("{code}x")).expect(65);
        run(&format!("verify {PHONE} - --purpose login --user eve"), &code).expect(1);
        for format in ["json", "table"] {
            run(&format!("verify {OTHER} - -o {format}"), &code).expect(1);
        }
        sandbox.fault(Fault::Code(21211), 1);
        run(&format!("send {OTHER}"), "").expect(69);
        for fault in [Fault::Error500AfterAccepting, Fault::Unauthorized, Fault::HtmlPage(502), Fault::Reset] {
            sandbox.fault(fault, 1);
            run(&format!("send {OTHER} --new-code --override cooldown --override phone --reason x --json"), "");
        }
        codes.extend(sandbox.messages().iter().filter_map(|sms| smsotp::sandbox::inbox::extract_code(&sms.body)));
        for line in [
            "list",
            "list --json",
            "show 1",
            "show 1 --json",
            "show m1 -o table",
            "audit list",
            "audit list --json",
            "audit verify",
            "db status --json",
            "db check",
            "db backup copy.db",
            "keys list",
            "limits show +14155552671",
            "limits reset +14155552671 --reason x",
            "config show",
            "config show --json",
            "config check",
            "test-twilio",
            "test-twilio --to +14155552671",
            "dispatch",
            "revoke 2",
            "purge-expired",
            "test-number list",
            "explain 20003",
            "send +1415555",
            "send +14155552671x",
            "verify +14155552671 12x4567",
            "revoke +1415555267x",
            "help environment",
            "list --env-file .env",
            "keys rotate",
            "keys prune --yes",
            "purge-expired --older-than 0s",
        ] {
            run(line, "");
        }
        let api_key = finish(
            desk.command(["test-twilio", "-vv"]).env("TWILIO_API_KEY", key_sid).env("TWILIO_API_SECRET", key_secret),
        );
        heard.keep("api key", api_key);
        stop.store(true, Ordering::SeqCst);
        watch.join().unwrap()
    });

    assert!(heard.0.iter().any(|(_, bytes)| holds(bytes, b"INFO smsotp")), "the logs are on");
    assert!(!seen.is_empty(), "command lines were looked at");
    codes.sort();
    codes.dedup();
    assert!(codes.len() >= 2, "{codes:?}");
    let secrets = [sandbox.auth_token(), key_secret, key.as_str(), "canary-key-of-thirty"];
    for (what, bytes) in &heard.0 {
        for secret in secrets.iter().copied().chain(codes.iter().map(String::as_str)) {
            assert!(!holds(bytes, secret.as_bytes()), "{what}: {secret} in {}", String::from_utf8_lossy(bytes));
        }
        for phone in [PHONE, OTHER] {
            assert!(!holds(bytes, &phone.as_bytes()[1..]), "{what}: a number in {}", String::from_utf8_lossy(bytes));
        }
    }
    for line in &seen {
        for secret in secrets.iter().copied().chain(codes.iter().map(String::as_str)) {
            assert!(!holds(line, secret.as_bytes()), "{}", String::from_utf8_lossy(line));
        }
    }
    for file in desk.files() {
        let bytes = std::fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for secret in secrets.iter().filter(|secret| !(name == ".env" && **secret == sandbox.auth_token())) {
            assert!(!holds(&bytes, secret.as_bytes()), "{secret} in {name}");
        }
        for code in &codes {
            assert!(!holds_number(&bytes, code), "{code} in {name}");
        }
        let database = name.starts_with("smsotp.db") || name.starts_with("copy.db");
        assert!(database || ![PHONE, OTHER].iter().any(|phone| holds(&bytes, phone.as_bytes())), "a number in {name}");
    }
}

#[test]
fn the_console_and_the_sandbox_alone_show_codes() {
    let desk = Desk::new();

    let ran = desk.run(&format!("send {PHONE} -vv")).expect(0);
    let code = smsotp::sandbox::inbox::extract_code(&ran.err).unwrap();

    assert!(!ran.out.contains(&code));
    assert_eq!(ran.err.matches(code.as_str()).count(), 1, "in the printed message alone: {}", ran.err);
    assert!(
        !desk.run(&format!("send {PHONE} -q --new-code --override cooldown --reason x")).expect(0).out.contains("code")
    );
}

fn newest(sandbox: &smsotp::sandbox::Sandbox) -> String {
    smsotp::sandbox::inbox::extract_code(&sandbox.messages().last().unwrap().body).unwrap()
}

/// Samples the command lines and environments' owners of every running smsotp until told to stop.
fn command_lines(stop: &AtomicBool) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
            if line.starts_with(BINARY.as_bytes()) && !seen.contains(&line) {
                seen.push(line);
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    if !Path::new("/proc").exists() {
        seen.push(b"no /proc here".to_vec());
    }
    seen
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Six digits may stand inside a longer number (a time, an id) by chance: those are no code.
fn holds_number(bytes: &[u8], code: &str) -> bool {
    let digit = |at: Option<&u8>| at.is_some_and(u8::is_ascii_digit);
    bytes.windows(code.len()).enumerate().any(|(at, window)| {
        window == code.as_bytes()
            && !digit(at.checked_sub(1).and_then(|at| bytes.get(at)))
            && !digit(bytes.get(at + code.len()))
    })
}
