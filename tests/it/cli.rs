//! Every verb as a stranger types it: what comes out, in which form, with which exit code.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use smsotp::clock::{Clock, SystemClock};

use smsotp::sandbox::Options;

use super::desk::{BINARY, Desk, code_in, wrong};

const PHONE: &str = "+14155552671";
const LONDON: &str = "+442079460000";

#[test]
fn the_first_line_of_the_version_is_name_and_number() {
    let version = format!("smsotp {}", env!("CARGO_PKG_VERSION"));

    assert_eq!(Desk::bare().run("--version").expect(0).out.lines().next(), Some(version.as_str()));
    assert_eq!(Desk::bare().run("-V").expect(0).out.trim(), version);
}

#[test]
fn every_command_has_help_that_ends_with_examples_of_itself() {
    let desk = Desk::bare();
    let mut root = smsotp::cli::command();
    root.build();
    let mut commands = vec![(Vec::new(), root)];
    let mut seen = 0;
    while let Some((path, command)) = commands.pop() {
        for sub in command.get_subcommands() {
            commands.push(([path.clone(), vec![sub.get_name().to_owned()]].concat(), sub.clone()));
        }
        let ran = desk.run_args(path.iter().map(String::as_str).chain(["--help"])).expect(0);
        let (_, examples) = ran.out.split_once("Examples:\n").unwrap_or_else(|| panic!("{path:?}: no example"));

        assert!(ran.err.is_empty());
        assert!(examples.contains("$ smsotp ") || examples.contains("| smsotp "), "{path:?}: {examples}");
        assert!(examples.contains(&path.join(" ")), "{path:?}: {examples}");
        if !path.is_empty() {
            assert_eq!(desk.run_args(path.iter().map(String::as_str).chain(["-h"])).expect(0).err, "");
        }
        seen += 1;
    }
    assert!(seen > 30, "{seen} commands");
}

#[test]
fn help_knows_topics_and_commands_and_an_unknown_word_gets_a_suggestion() {
    let desk = Desk::bare();

    desk.run("help exit-codes").expect(0).shows("76  may have been sent: do not repeat it");
    desk.run("help environment").expect(0).shows("TWILIO_ACCOUNT_SID");
    desk.run("help json").expect(0).shows("schema_version");
    desk.run("help limits reset").expect(0).shows("Usage: smsotp limits reset");
    desk.run("help").expect(0).shows("Commands:");
    desk.run("help nonsense").expect(2).says("no command or topic nonsense");
    desk.run("lst").expect(2).says("'list'");
    desk.run("list --stat active").expect(2).says("'--state'");
    desk.run("").expect(2).says("Start with `smsotp demo`");
    assert_eq!(desk.run("lst --json").expect(2).error("usage")["hint"], "Did you mean `list`?");
}

#[test]
fn before_the_first_code_every_verb_says_that_there_are_no_database_and_leaves_nothing() {
    let desk = Desk::bare();

    for line in [
        "list",
        "show 1",
        "verify +14155552671 123456",
        "revoke 1",
        "revoke m1",
        "db status",
        "db check",
        "db backup copy.db",
        "db export copy.jsonl",
        "audit list",
        "audit anchor",
        "keys list",
        "keys rotate",
        "test-number list",
        "limits reset +14155552671 --reason x",
    ] {
        desk.run(line).expect(74).says("there is no database at").says("hint: `smsotp send` creates it");
    }
    desk.run("send +14155552671").expect(78).says("--provider console").says("smsotp demo");
    desk.run("test-twilio").expect(78).says("smsotp sandbox --write-env");
    desk.run("sandbox inbox").expect(78).says("--env-file");
    assert_eq!(desk.files(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_code_goes_out_is_refused_when_wrong_and_works_once() {
    let desk = Desk::new();

    let ran = desk.run("send +14155552671 --purpose login --user ada").expect(0);
    let code = smsotp::sandbox::inbox::extract_code(&ran.err).unwrap();

    assert_eq!(ran.rows()[0][..6], ["1", "m1", "+1415•••2671", "login", "ada", "accepted"]);
    assert!(ran.err.contains("To:   +14155552671\n") && !ran.err.contains("\\u{"), "{}", ran.err);
    // The command to paste holds what was typed, but no number where it is not a terminal that reads it.
    assert!(
        ran.err.contains("hint: Check the code with: smsotp verify PHONE --purpose login --user ada"),
        "{}",
        ran.err
    );
    let verify = |code: &str, more: &str| desk.run(&format!("verify {PHONE} {code} --purpose login {more}"));
    assert_eq!(
        verify(&wrong(&code), "--user ada").expect(1).rows()[0][..6],
        ["wrong_code", "1", "+1415•••2671", "login", "ada", "4"]
    );
    assert_eq!(verify(&code, "--user eve").expect(1).rows()[0][0], "not_found");
    assert_eq!(verify(&code, "--user ada").expect(0).rows()[0][0], "verified");
    assert_eq!(verify(&code, "--user ada").expect(1).rows()[0][0], "already_used");
    let list = desk.run("list").expect(0);
    assert_eq!(list.rows()[0][..7], ["1", "+1415•••2671", "ada", "login", "verified", "1", "1"]);
}

#[test]
fn json_answers_are_one_document_with_version_and_kind_and_its_errors_go_to_stderr() {
    let desk = Desk::new();

    let ran = desk.run("send +14155552671 --json").expect(0);
    let sent = ran.json("sent");
    assert_eq!((&sent["otp_id"], &sent["message_id"], &sent["test"]), (&"1".into(), &"m1".into(), &false.into()));
    let refused = desk.run("send +14155552671 --json").expect(75);
    let error = refused.error("rate_limited");
    assert!(error["retry_after_seconds"].as_u64().unwrap() <= 30 && refused.out.is_empty(), "{refused:?}");
    assert_eq!(error["details"]["limits"][0]["limit"], "cooldown");

    let no =
        desk.run(&format!("verify +14155552671 {} --json", wrong(&code_in(&ran.err)))).expect(1).json("verification");
    assert_eq!((&no["verified"], &no["reason"], &no["tries_left"]), (&false.into(), &"wrong_code".into(), &4.into()));
    let list = desk.run("list --json").expect(0).json("otp_list");
    assert_eq!((list["items"].as_array().unwrap().len(), list["more"].as_u64()), (1, Some(0)));
    let line: Value = serde_json::from_str(desk.run("list -o jsonl").expect(0).out.trim()).unwrap();
    assert_eq!((&line["kind"], &line["id"]), (&"otp".into(), &"1".into()));
    assert_eq!(desk.run("show 1 --json").expect(0).json("timeline")["messages"][0]["id"], "m1");
    assert_eq!(desk.run("purge-expired --json").expect(0).json("purged")["tables"][0]["table"], "otps");
    assert_eq!(desk.run("db status --json").expect(0).json("db_status")["schema"], 1);
    assert_eq!(desk.run("db check --json").expect(0).json("checks")["passed"], true);
    assert_eq!(desk.run("audit verify --json").expect(0).json("audit_verification")["intact"], true);
    assert_eq!(desk.run("dispatch --json").expect(0).json("dispatched")["looked_at"], 0);
    assert!(desk.run("explain 21610 --json").expect(0).out.contains("schema_version"));
    desk.run("limits show --json").expect(0).json("limit_list");
    desk.run("limits show --risk --json").expect(0).json("risks");
    desk.run("config show --json").expect(0).json("setting_list");
    desk.run("config check --json").expect(0).json("checks");
    assert_eq!(desk.run("revoke 1 --json").expect(0).json("revoked")["revoked"], serde_json::json!(["1"]));
    assert_eq!(desk.run("keys rotate --json").expect(0).json("keys_changed")["change"], "added");
    assert_eq!(desk.run("keys list --json").expect(0).json("key_list")["items"][1]["use"], "next");

    desk.run("show 99 --json").expect(1).error("not_found");
    desk.run("send 12 --json").expect(65).error("phone_invalid");
    desk.run("verify +14155552671 12x456 --json").expect(65).error("code_invalid");
    desk.run("verify +14155552671 --json").expect(2).error("needs_terminal");
    desk.run("list --db /nowhere/x.db --json").expect(74).error("store_failed");
    desk.run("list --config /nowhere.toml --json").expect(78).error("config_invalid");
}

#[test]
fn a_table_can_be_asked_for_in_a_pipe_and_a_variable_sets_the_form() {
    let mut desk = Desk::new();
    desk.send(PHONE);

    desk.run("list -o table").expect(0).shows("ID  PHONE").shows("+1415•••2671");
    desk.set("SMSOTP_OUTPUT", "json");
    desk.run("list").expect(0).json("otp_list");
    assert_eq!(desk.run("list -o tsv").expect(0).rows()[0][0], "1");
    desk.set("SMSOTP_OUTPUT", "pictures");
    desk.run("list").expect(78).says("SMSOTP_OUTPUT from environment is not an output format");
}

#[test]
fn the_code_is_taken_from_an_argument_a_pipe_or_a_file() {
    let desk = Desk::new();
    let spaced = |code: &str| format!("{} {}\n", &code[..3], &code[3..]);

    let code = desk.send(&format!("{PHONE} --purpose login"));
    desk.pipe(&format!("verify {PHONE} - --purpose login"), spaced(&code)).expect(0);
    let code = desk.send(&format!("{PHONE} --purpose registration --override cooldown --reason test"));
    let file = desk.write("code", spaced(&code));
    desk.run(&format!("verify {PHONE} --purpose registration --code-file {}", file.display())).expect(0);

    let nothing = desk.pipe(&format!("verify {PHONE} -"), "\n").expect(65);
    assert!(nothing.err.contains("standard input holds no code"), "{nothing:?}");
    desk.pipe(&format!("verify {PHONE} -"), vec![b'1'; 100_000]).expect(65);
    desk.pipe(&format!("verify {PHONE} -"), b"\xff\xfe\n").expect(65);
    desk.run(&format!("verify {PHONE} --code-file missing")).expect(74).says("cannot open missing");
    desk.run(&format!("verify {PHONE} 123456 --code-file {}", file.display())).expect(2);
    desk.run(&format!("verify {PHONE}")).expect(2).says("--code-file");
    desk.run("verify").expect(2).says("PHONE");
    desk.run(&format!("verify {PHONE} 123456 --known")).expect(2).says("--user");
}

#[test]
fn asking_again_waits_then_repeats_the_code_and_staff_may_pass_a_limit_with_a_reason() {
    let desk = Desk::new();
    let first = desk.send(PHONE);

    desk.run(&format!("send {PHONE}")).expect(75).says("refused:").says("--override cooldown --reason");
    desk.run(&format!("send {PHONE} --override cooldown")).expect(2).says("--reason");
    desk.run(&format!("send {PHONE} --override coldown --reason x")).expect(65).says("Did you mean cooldown?");
    let again = desk.send(&format!("{PHONE} --override cooldown --reason on-the-line"));
    let new = desk.send(&format!("{PHONE} --override cooldown --reason lost --new-code"));

    assert_eq!(first, again);
    assert_ne!(first, new);
    assert_eq!(desk.run(&format!("verify {PHONE} {new}")).expect(0).rows()[0][1], "2");
    desk.run("show 1").expect(0).shows("because: on-the-line").shows("limit cooldown overridden");
    assert_eq!(desk.run("list --state superseded").expect(0).rows()[0][0], "1");
}

#[test]
fn the_same_idempotency_key_sends_once_and_another_request_under_it_is_refused() {
    let desk = Desk::new();

    let first = desk.run(&format!("send {PHONE} --idempotency-key order-7 --json")).expect(0).json("sent");
    let again = desk.run(&format!("send {PHONE} --idempotency-key order-7 --json")).expect(0);

    assert_eq!(again.json("sent")["message_id"], first["message_id"]);
    assert!(!again.err.contains("To: "), "a second message went out: {}", again.err);
    desk.run(&format!("send {LONDON} --idempotency-key order-7 --json")).expect(65).error("idempotency_mismatch");
    assert_eq!(desk.run("list").expect(0).rows().len(), 1);
}

#[test]
fn the_message_carries_what_apps_and_pages_need_to_fill_the_code_in() {
    let desk = Desk::new();

    let android = desk.run(&format!("send {PHONE} --app-hash FA+9qCX9VSu")).expect(0);
    assert!(android.err.contains("\n  FA+9qCX9VSu\n"), "{}", android.err);
    let web = desk.run(&format!("send {LONDON} --origin example.com")).expect(0);
    let code = smsotp::sandbox::inbox::extract_code(&web.err).unwrap();
    assert!(web.err.contains(&format!("\n  @example.com #{code}\n")), "{}", web.err);

    desk.run(&format!("send {PHONE} --app-hash short")).expect(65);
    desk.run(&format!("send {PHONE} --origin https://example.com/x")).expect(65);
    desk.run(&format!("send {PHONE} --app-hash FA+9qCX9VSu --origin example.com")).expect(2);
}

#[test]
fn a_message_of_two_segments_needs_leave() {
    let mut desk = Desk::new();
    desk.set("SMSOTP_APP_NAME", "Счастье и радость для всех");

    let refused = desk.run(&format!("send {PHONE} --json")).expect(65);
    assert!(refused.error("too_many_segments")["message"].as_str().unwrap().contains("segments"), "{refused:?}");
    let allowed = desk.run(&format!("send {PHONE} --allow-segments 2 --json")).expect(0).json("sent");

    assert_eq!(allowed["segments"], 2);
}

#[test]
fn national_numbers_need_a_country_and_wrong_numbers_are_explained() {
    let desk = Desk::new();

    desk.run_args(["send", "0151 23456789", "--region", "de"]).expect(0).shows("+4915•••6789");
    desk.run_args(["send", "0151 23456789"]).expect(65).says("--region");
    desk.run("send +4412").expect(65).says("too short for GB");
    desk.run("send +19005550123").expect(77).says("premium");
    desk.run("send hello").expect(65);
    desk.run_args(["send", "0151 23456789", "--region", "XYZ"]).expect(78).says("two letters");
}

#[test]
fn the_list_is_filtered_and_paged_and_says_how_many_more() {
    let desk = Desk::new();
    for n in 0..5 {
        desk.send(&format!("+1415555267{n} --purpose login --user u{n}"));
    }
    desk.send("+14155552679");
    let ids =
        |line: &str| desk.run(line).expect(0).rows().iter().map(|row| row[0].to_owned()).collect::<Vec<_>>().join(" ");

    let page = desk.run("list --limit 2").expect(0).says("4 more: --after 5");
    assert_eq!(page.rows().iter().map(|row| row[0]).collect::<Vec<_>>(), ["6", "5"]);
    assert_eq!(ids("list --limit 2 --after 5"), "4 3");
    assert_eq!(ids("list --limit 2 --after 3"), "2 1");
    assert_eq!(ids("list --phone +14155552673"), "4");
    assert_eq!(ids("list --user u2"), "3");
    assert_eq!(ids("list --purpose phone_verification"), "6");
    assert_eq!(ids("list --state verified,locked"), "");
    assert_eq!(ids("list --since 1h --until 1m"), "");
    assert_eq!(ids("list --since 2020-01-01 --limit 1 -q"), "6");
    assert_eq!(desk.run("list --limit 4 --json").expect(0).json("otp_list")["next_after"], "3");
    assert_eq!(desk.run("list --limit 4 --json").expect(0).json("otp_list")["more"], 2);
    desk.run("list --state open").expect(2).says("superseded");
    desk.run("list --since yesterday").expect(65).says("--since is not a moment");
    desk.run("list --after x").expect(65);
    desk.run("list --limit 0").expect(2);
    desk.run("list -o table --state locked").expect(0).says("No codes.");
}

#[test]
fn messages_are_listed_with_their_states_and_costs_and_paged_by_their_own_ids() {
    let (desk, sandbox) = Desk::with_sandbox(Options::default());
    for n in 0..3 {
        desk.run(&format!("send +1415555267{n} --purpose login --user u{n}")).expect(0);
    }
    let listed = desk.run("list --messages --json").expect(0).json("message_list");
    let message = &listed["items"][1];
    sandbox.set_status(message["provider_id"].as_str().unwrap(), "undelivered", Some(30005));
    assert!(desk.run("show m2").expect(0).out.contains("undelivered"), "it is asked for");

    let ids =
        |line: &str| desk.run(line).expect(0).rows().iter().map(|row| row[0].to_owned()).collect::<Vec<_>>().join(" ");
    assert_eq!(ids("list --messages"), "m3 m2 m1");
    assert_eq!(ids("list --messages --user u1"), "m2");
    assert_eq!(ids("list --messages --phone +14155552670"), "m1");
    assert_eq!(ids("list --messages --state undelivered,failed"), "m2");
    assert_eq!(ids("list --messages --purpose phone_verification"), "");
    assert_eq!(ids("list --messages --since 1h --until 1m"), "");
    desk.run("list --messages --limit 2").expect(0).says("1 more: --after m2");
    assert_eq!(ids("list --messages --limit 2 --after m2"), "m1");
    desk.run("list --messages --after 2").expect(65).says("--after is no row");
    desk.run("list --after m2").expect(65).says("--after is no row");
    desk.run("list --messages --state verified").expect(65).says("a state of codes").says("undelivered");
    desk.run("list --messages -o table --state canceled").expect(0).says("No messages.");

    let page = desk.run("list --messages --state undelivered --json").expect(0).json("message_list");
    let row = &page["items"][0];
    assert_eq!((&row["id"], &row["otp_id"], &row["error_code"]), (&json!("m2"), &json!("2"), &json!(30005)));
    assert_eq!((&row["country"], &row["segments"], &row["attempts"]), (&json!("US"), &json!(1), &json!(1)));
    assert!(row["cost"].as_f64().unwrap() > 0.0 && row["phone_number"] == "+1415•••2671", "{row}");
    assert_eq!((&page["more"], page.get("next_after")), (&json!(0), None));
    assert_eq!(
        desk.run("list --messages --reveal --json").expect(0).json("message_list")["items"][2]["phone_number"],
        "+14155552670"
    );
}

#[test]
fn show_finds_a_code_by_its_id_its_message_and_its_number() {
    let desk = Desk::new();
    desk.send(&format!("{PHONE} --purpose login --user ada"));
    desk.send(&format!("{LONDON} --purpose login"));

    for (line, id) in
        [("1", "1"), ("m1", "1"), (PHONE, "1"), ("m2", "2"), (&format!("{PHONE} --purpose login --user ada"), "1")]
    {
        assert_eq!(desk.run(&format!("show {line} --json")).expect(0).json("timeline")["otp"]["id"], id, "{line}");
    }
    desk.run("show 1 -o table").expect(0).shows("Code 1 for +1415•••2671").shows("reserved, message m1");
    desk.run("show 3").expect(1).says("smsotp list");
    desk.run("show m99").expect(1);
    desk.run(&format!("show {PHONE} --purpose registration")).expect(1);
    desk.run("show x").expect(65);
    desk.run("show 99999999999999999999").expect(65);
    desk.run("show 1 --reveal").expect(0);
    assert_eq!(desk.run("list --reveal").expect(0).rows()[1][1], PHONE);
    desk.run("audit list --action reveal").expect(0).shows("reveal");
}

#[test]
fn revoked_codes_do_not_verify_and_revoking_again_is_nothing_to_do() {
    let desk = Desk::new();
    let code = desk.send(PHONE);
    desk.send(&format!("{LONDON} --purpose login"));

    assert_eq!(desk.run_args(["revoke", "1", "--reason", "phone was stolen"]).expect(0).out, "1\n");
    assert_eq!(desk.run(&format!("verify {PHONE} {code}")).expect(1).rows()[0][0], "revoked");
    assert_eq!(desk.run("revoke 1").expect(0).out, "");
    desk.run("revoke 1 -o table").expect(0).shows("Nothing to do: no code was live.");
    assert_eq!(desk.run(&format!("revoke {LONDON}")).expect(0).out, "2\n");
    desk.run("revoke +44207946000012345").expect(65);
    desk.run_args(["revoke", "2", "--reason", &"x".repeat(300)]).expect(65).says("--reason");
}

#[test]
fn purge_says_what_it_would_do_does_it_and_is_silent_when_told() {
    let desk = Desk::new();
    desk.send(PHONE);
    desk.send(&format!("{LONDON} --purpose login"));
    desk.run("revoke 1").expect(0);

    assert_eq!(desk.run("purge-expired").expect(0).rows()[0], ["otps", "0"]);
    assert_eq!(
        desk.run("purge-expired --older-than 0s --dry-run").expect(0).rows()[..2],
        [["otps", "1"], ["messages", "1"]]
    );
    assert_eq!(desk.run("list").expect(0).rows().len(), 2);
    let quiet = desk.run("purge-expired --older-than 0s -q").expect(0);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    assert_eq!(
        desk.run("list").expect(0).rows().iter().map(|row| row[0]).collect::<Vec<_>>(),
        ["2"],
        "what lives stays"
    );
    desk.run("purge-expired --older-than 0s --exclusive").expect(0);
    desk.run("revoke 2").expect(0);
    assert_eq!(desk.run("purge-expired --older-than 0s --scrub --json").expect(0).json("purged")["scrubbed"], true);
    for file in desk.files() {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!holds(&bytes, LONDON.as_bytes()) && !holds(&bytes, PHONE.as_bytes()), "{}", file.display());
    }
    desk.run("audit verify").expect(0);
    desk.run("purge-expired --scrub --dry-run").expect(2);
    desk.run("purge-expired --older-than soon").expect(65);
    assert_eq!(desk.run("purge-expired -o table").expect(0).out, "Nothing to do.\n");
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn codes_of_twilio_are_explained_offline() {
    let desk = Desk::bare();

    assert_eq!(desk.run("explain 21610").expect(0).rows()[0][..2], ["21610", "Recipient opted out"]);
    desk.run("explain 30003 -o table").expect(0).shows("meaning").shows("fix");
    desk.run("explain 99999").expect(0).shows("Unknown code");
    desk.run("explain x").expect(65).says("smsotp explain 21610");
    desk.run("explain").expect(2);
}

#[test]
fn limits_are_shown_for_nobody_for_someone_as_odds_and_are_opened_with_a_reason() {
    let desk = Desk::new();
    desk.run("limits show").expect(0).shows("phone\tphone\t\t\t\"3/10m\"\t\n");
    // As smsotp.toml takes them, the whole ladder of the cooldown included.
    let shown = desk.run("limits show -o table").expect(0);
    shown.shows("[\"30s\", \"1m\", \"2m\", \"5m\", \"10m\", \"30m\"]").shows("guesses_in_a_row");
    desk.run("limits show --risk").expect(0).shows("guessed");
    desk.run("limits show --risk +14155552671").expect(2);

    let code = desk.send(&format!("{PHONE} --user ada --ip 203.0.113.7"));
    desk.run(&format!("verify {PHONE} {} --user ada --ip 203.0.113.7", wrong(&code))).expect(1);
    let used = |line: &str, limit: &str| {
        let ran = desk.run(line).expect(0);
        ran.rows().iter().find(|row| row[..2].join(" ") == limit).map(|row| row[3].to_owned()).unwrap()
    };
    assert_eq!(used(&format!("limits show {PHONE}"), "phone phone"), "1");
    assert_eq!(used(&format!("limits show {PHONE}"), "phone guesses_per_phone"), "1");
    assert_eq!(used(&format!("limits show {PHONE} --user ada"), "pair guesses_per_user"), "1");
    assert_eq!(used("limits show --ip 203.0.113.7", "ip guesses_per_ip"), "1");
    assert_eq!(used("limits show --user ada", "user user"), "1");
    assert_eq!(used("limits show --ip 203.0.113.7", "ip ip"), "1");

    desk.run(&format!("limits reset {PHONE}")).expect(2).says("--reason");
    desk.run("limits reset --reason x").expect(2).says("PHONE");
    desk.run(&format!("limits reset {PHONE} --user ada --reason line -o table")).expect(0).shows("Reset:");
    assert_eq!(used(&format!("limits show {PHONE}"), "phone phone"), "0");
    desk.run(&format!("limits reset {PHONE} --reason again -o table")).expect(0).shows("Nothing to do");
    desk.run("limits reset --ip 1.2.3 --reason x").expect(65).says("203.0.113.7");
    assert_eq!(used(&format!("limits show {PHONE}"), "everything everything"), "1");
    desk.run("limits reset --everything --reason planned -o table").expect(0).shows("Reset: 1 messages");
    desk.run("limits reset --everything --reason again -o table").expect(0).shows("Nothing to do");
    assert_eq!(desk.run(&format!("send {PHONE} --user ada")).code(), 0, "an opened limit lets through");
}

#[test]
fn after_a_clock_that_was_ahead_the_error_shows_the_way_out() {
    let desk = Desk::new();
    desk.send(&format!("{PHONE} --user ada"));
    let ahead = SystemClock.now() + Duration::from_secs(86_400);
    let sql = format!("UPDATE subjects SET usage = json_set(usage, '$.seen', {})", ahead.millis());
    rusqlite::Connection::open(desk.db()).unwrap().execute_batch(&sql).unwrap();

    let stopped = desk.run(&format!("send {PHONE} --user ada")).expect(74);
    stopped
        .says("clock")
        .says("this phone")
        .says(&ahead.to_string()[..16])
        .says("limits reset PHONE --everything --user ID --clock");
    desk.run(&format!("limits reset {PHONE} --clock --opt-out --reason x")).expect(2);
    let way_out = format!("limits reset {PHONE} --user ada --everything --clock --reason NTP-was-off -o table");
    desk.run(&way_out).expect(0).shows("now count from this moment");
    // It opened nothing: the cooldown still holds.
    desk.run(&format!("send {PHONE} --user ada")).expect(75).says("a moment ago");
    desk.run("audit list --json").expect(0).shows("NTP-was-off");
}

#[test]
fn one_name_typed_in_two_ways_is_one_user() {
    let desk = Desk::new();
    let code = desk.send(&format!("{PHONE} --user Jose\u{301}"));
    let args = ["verify", PHONE, &code, "--user", " Jos\u{e9}", "--json"];
    let answer = desk.run_args(args).expect(0).json("verification");
    assert_eq!(answer["user"], "Jos\u{e9}");
    assert_eq!(desk.run_args(["list", "--user", "Jose\u{301} "]).expect(0).rows().len(), 1);
    assert_eq!(desk.run("list --user jos\u{e9}").expect(0).rows().len(), 0, "capitals are another user");
}

#[test]
fn test_numbers_get_a_fixed_code_and_no_message() {
    let desk = Desk::new();

    let added = desk.pipe("test-number add +1234567890 - --until 30d --json", "123456\n").expect(0);
    assert_eq!(added.json("test_number")["phone"], "+12•••890");
    desk.pipe("test-number add +1234567891 - --until 2020-01-01", "123456\n").expect(65);
    desk.pipe("test-number add +1234567891 - --until 91d", "123456\n").expect(65);
    desk.run("test-number add +1234567891 123456 --until 30d").expect(2);
    desk.run("test-number add +1234567891 --until 30d").expect(2);
    assert_eq!(desk.run("test-number list").expect(0).rows()[0][0], "+12•••890");

    let sent = desk.run("send +1234567890 --json").expect(0);
    assert_eq!(sent.json("sent")["test"], true);
    assert!(!sent.err.contains("To: "), "{}", sent.err);
    assert_eq!(desk.run("verify +1234567890 654321").expect(1).rows()[0][0], "wrong_code");
    assert_eq!(desk.run("verify +1234567890 123456 --json").expect(0).json("verification")["test"], true);

    assert_eq!(desk.run("test-number remove +1234567890").expect(0).out, "+12•••890\ttrue\n");
    assert_eq!(desk.run("test-number remove +1234567890").expect(0).out, "+12•••890\tfalse\n");
    assert_eq!(desk.run("test-number list").expect(0).out, "");
}

#[test]
fn a_key_is_rotated_in_two_steps_and_the_old_one_goes_when_nothing_needs_it() {
    let desk = Desk::new();
    let old_code = desk.send(&format!("{PHONE} --purpose login"));
    let uses = || {
        let ran = desk.run("keys list").expect(0);
        ran.rows().iter().map(|row| row[1].to_owned()).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(uses(), "new codes");

    desk.run("keys rotate").expect(0).shows("added\t").says("keys rotate` again");
    assert_eq!(uses(), "new codes, next");
    desk.run("keys prune --yes").expect(78).says("Finish it first: smsotp keys rotate");
    desk.run("keys rotate").expect(0).shows("promoted\t").says("keys prune");
    let new_code = desk.send(&format!("{LONDON} --purpose login"));
    desk.run("keys prune --yes").expect(78).says("1 live code needs key");
    desk.run(&format!("verify {PHONE} {old_code} --purpose login")).expect(0);

    desk.run("keys prune").expect(2).says("--yes");
    desk.run("keys prune --yes").expect(0).shows("removed\t");
    assert_eq!(uses(), "new codes");
    desk.run(&format!("verify {LONDON} {new_code} --purpose login")).expect(0);
    desk.run("keys prune --yes -o table").expect(0).shows("Nothing to do");
    desk.run("audit verify").expect(0);
}

#[test]
fn keys_that_are_not_ours_are_not_changed() {
    let mut desk = Desk::new();
    desk.set("SMSOTP_SECRET_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    desk.send(PHONE);

    desk.run("keys rotate").expect(78).says("SMSOTP_SECRET_KEY").says("openssl rand -base64 32");
    assert!(!desk.key_file().exists());
}

#[test]
fn the_database_are_described_checked_and_copied_without_living_codes() {
    let desk = Desk::new();
    let code = desk.send(PHONE);

    assert!(desk.run("db status").expect(0).rows().iter().any(|row| row[..] == ["otps", "1"]));
    assert!(desk.run("db check").expect(0).rows().iter().all(|row| row[0] == "ok"));
    desk.run("db backup copy.db").expect(0).shows("copy.db\t");
    desk.run("db backup copy.db").expect(74).says("copy.db is there already");
    desk.run("db backup /nowhere/copy.db").expect(74);

    desk.run("db export copy.jsonl").expect(0).shows("otps\t");
    desk.run("db export copy.jsonl").expect(74).says("File exists");
    desk.run("db import copy.jsonl --db two.db").expect(0);
    desk.run("audit verify --db two.db").expect(0);
    desk.run("db import copy.jsonl --db two.db").expect(74).says("not empty");
    desk.run("db import copy.db --db three.db").expect(65);
    assert_eq!(desk.run("list --db copy.db").expect(0).rows()[0][4], "revoked");
    desk.run(&format!("verify {PHONE} {code} --db copy.db")).expect(1).shows("revoked");
    desk.run(&format!("verify {PHONE} {code}")).expect(0);
    desk.run("db check --db copy.db").expect(0);
}

#[test]
fn the_audit_log_is_listed_by_operation_and_number_and_a_changed_row_is_found() {
    let desk = Desk::new();
    desk.send(&format!("{PHONE} --purpose login"));
    desk.send(&format!("{LONDON} --purpose login"));
    desk.run(&format!("revoke {LONDON}")).expect(0);

    let rows = |line: &str| desk.run(line).expect(0).rows().len();
    assert_eq!(rows("audit list --action revoke"), 1);
    assert_eq!(rows(&format!("audit list --phone {LONDON}")), 3);
    assert_eq!(rows("audit list --since 1h --limit 2"), 2);
    let all = rows("audit list");
    desk.run("audit list --limit 2").expect(0).says(&format!("{} more: --after 0.", all - 2));
    let page = desk.run("audit list --limit 2 --json").expect(0);
    assert_eq!((page.json("audit_list")["more"].as_u64(), page.err.as_str()), (Some(all as u64 - 2), ""));
    desk.run("audit list --after x").expect(65);
    assert_eq!(desk.run("audit verify").expect(0).rows()[0][0], "intact");
    assert_eq!(desk.run("audit verify -q").expect(0).out, "");

    let database = rusqlite::Connection::open(desk.db()).unwrap();
    let changed = database
        .execute("UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'done', 'none') AS BLOB) WHERE seq = 5", [])
        .unwrap();
    drop(database);
    assert_eq!(changed, 1);
    let broken = desk.run("audit verify -q").expect(1);
    assert_eq!(broken.rows()[0][0], "broken");
    desk.run("db check").expect(1).shows("fail\taudit");
}

#[test]
fn a_filter_that_is_no_known_word_is_an_error_that_names_the_nearest() {
    let desk = Desk::new();
    desk.send(PHONE);

    for (line, exit, near) in [
        ("audit list --action revok", 2, "revoke"),
        ("list --state activ", 2, "active"),
        ("list --purpose logn", 65, "login"),
        ("show +14155552671 --purpose logn", 65, "login"),
        ("revoke +14155552671 --purpose logn", 65, "login"),
        ("limits show --purpose phone_verificaton", 65, "phone_verification"),
        ("token create --service --scope sendd", 2, "send"),
        ("send +14155552671 --override coldown --reason x", 65, "cooldown"),
        ("help environmnt", 2, "environment"),
        ("help lmits", 2, "limits"),
    ] {
        desk.run(line).expect(exit).says(near);
        let error = desk.run(&format!("{line} --json")).expect(exit);
        let error: serde_json::Value = serde_json::from_str(error.err.lines().last().unwrap()).unwrap();
        assert!(error["error"]["hint"].as_str().unwrap().contains(near), "{line}: {error}");
    }
    desk.run("list --purpose registration").expect(0);
}

#[test]
fn with_json_every_line_on_standard_error_is_an_object() {
    let (mut desk, _sandbox) = Desk::with_sandbox(Options::default());
    desk.set("RUST_LOG", "info");
    std::fs::write(desk.cwd().join("smsotp.toml"), "[limits]\nphone = []\n").unwrap();
    let console = Desk::new();

    for (desk, line) in [
        (&desk, "send +14155552671 --config smsotp.toml -vv"),
        (&desk, "list --limit 1 -o jsonl"),
        (&desk, "token create --service --scope send"),
        (&desk, "keys rotate"),
        (&desk, "send 12"),
        (&desk, "config check --config smsotp.toml"),
        (&console, "send +14155552671"),
    ] {
        let line = if line.contains("jsonl") { line.to_owned() } else { format!("{line} --json") };
        for said in desk.run(&line).err.lines() {
            serde_json::from_str::<serde_json::Value>(said).unwrap_or_else(|error| panic!("{line}: {error}: {said}"));
        }
    }
}

#[test]
fn an_expiry_stays_the_expiry_and_the_end_has_a_field_of_its_own() {
    let desk = Desk::new();
    let code = desk.send(PHONE);
    let row = || desk.run("list --json").expect(0).json("otp_list")["items"][0].clone();
    let before = row();
    assert_eq!(before.get("ended_at"), None);

    desk.pipe(&format!("verify {PHONE} -"), &code).expect(0);

    let after = row();
    assert_eq!(after["expires_at"], before["expires_at"]);
    assert!(after["ended_at"].as_str().unwrap() < after["expires_at"].as_str().unwrap());
    assert_eq!(desk.run("show 1 --json").expect(0).json("timeline")["otp"]["ended_at"], after["ended_at"]);
}

#[test]
fn a_made_up_number_is_refused_with_the_way_to_declare_it_and_then_taken() {
    let desk = Desk::new();

    let ran = desk.run("send +1234567890").expect(65);
    ran.says("smsotp test-number add").says("--allow-test-numbers");
    desk.pipe("test-number add +1234567890 - --until 1d", "123456").expect(0);
    desk.run("send +1234567890").expect(0);
    desk.run("verify +1234567890 123456").expect(0);
}

#[test]
fn completions_come_for_every_shell() {
    let desk = Desk::bare();

    for shell in ["bash", "zsh", "fish"] {
        desk.run(&format!("completions {shell}")).expect(0).shows(&format!("_SMSOTP_COMPLETE={shell} smsotp"));
    }
    for shell in ["powershell", "elvish"] {
        desk.run(&format!("completions {shell}")).expect(0).shows("purge-expired");
    }
    desk.run("completions tcsh").expect(2).says("elvish");
}

#[test]
fn a_pipeline_runs_a_whole_sign_up_against_the_sandbox() {
    let desk = Desk::bare();
    let mut sandbox = desk.start("sandbox --listen 127.0.0.1:0 --write-env sandbox.env");
    while !desk.cwd().join("sandbox.env").exists() {
        assert!(sandbox.try_wait().unwrap().is_none(), "the sandbox ended");
        std::thread::yield_now();
    }

    let ran = desk.shell(
        "set -e
        export SMSOTP_OUTPUT=json
        smsotp send +14155552671 --purpose registration --user ada --env-file sandbox.env >sent.json
        code=$(smsotp sandbox inbox --to +14155552671 --wait 20s --code --env-file sandbox.env)
        printf %s \"$code\" | smsotp verify +14155552671 - --purpose registration --user ada --env-file sandbox.env",
    );

    assert_eq!(ran.expect(0).json("verification")["verified"], true);
    assert_eq!(desk.run("sandbox inbox --env-file sandbox.env").expect(0).rows()[0][1], "+14155552671");
    desk.run("sandbox inbox --to +14155559999 --code --env-file sandbox.env").expect(1).says("--wait 10s");
    super::desk::signal(sandbox.id(), "INT");
    let ended = super::desk::wait(sandbox).expect(130);
    assert!(ended.err.contains("╭─ SMS to +14155552671") && ended.err.contains("\n│ "), "{}", ended.err);
    assert!(!ended.err.contains("error:"), "{}", ended.err);
    desk.run("sandbox inbox --env-file sandbox.env").expect(69);
}

#[test]
fn a_reader_that_leaves_is_no_error_and_a_full_disk_is_one() {
    let desk = Desk::new();
    desk.send(PHONE);

    let head = desk.shell(&format!("({BINARY} list -o jsonl; echo $? >code) | head -c 1 >/dev/null; cat code"));
    assert_eq!(head.out, "0\n");
    assert_eq!(head.err, "");
    let closed = desk.shell("smsotp list >&-");
    assert!([0, 74].contains(&closed.code()), "{closed:?}");
    if std::path::Path::new("/dev/full").exists() {
        desk.shell("smsotp list >/dev/full").expect(74).says("cannot write the result");
        desk.shell("smsotp --help >/dev/full").expect(74);
    }
}

#[test]
fn quiet_is_quiet_and_colours_are_for_terminals_alone() {
    let mut desk = Desk::new();

    let sent = desk.run(&format!("send {PHONE} -q")).expect(0);
    assert!(!sent.err.contains("hint:"), "{}", sent.err);
    assert!(!desk.run("list").expect(0).out.contains('\u{1b}'));
    assert!(desk.run("list -o table --color always").expect(0).out.contains("\u{1b}[1m"));
    desk.set("CLICOLOR_FORCE", "1");
    assert!(desk.run("list -o table").expect(0).out.contains('\u{1b}'));
    desk.set("NO_COLOR", "1");
    assert!(!desk.run("list -o table").expect(0).out.contains('\u{1b}'));
    desk.run("list -q -v").expect(2);
}

#[test]
fn two_of_a_kind_started_together_do_one_thing() {
    let desk = Desk::new();
    let code = desk.send(&format!("{PHONE} --purpose login"));
    let both = |line: &str| {
        let children = [desk.start(line), desk.start(line)];
        let mut codes = children.map(|child| super::desk::wait(child).code());
        codes.sort_unstable();
        codes
    };

    assert_eq!(both(&format!("verify {PHONE} {code} --purpose login")), [0, 1], "one success");
    assert_eq!(both(&format!("send {LONDON}")), [0, 75], "one message");
    assert_eq!(both("purge-expired --older-than 0s"), [0, 0]);
    assert_eq!(both("keys rotate"), [0, 0]);
    desk.run("list").expect(0);
    desk.run("db check").expect(0);
}

#[test]
fn two_first_sends_at_once_make_one_set_of_database() {
    let desk = Desk::new();

    let children: Vec<_> = (0..6).map(|n| desk.start(&format!("send +1415555267{n}"))).collect();

    for child in children {
        let ran = super::desk::wait(child);
        assert_eq!(ran.code(), 0, "{ran:?}");
    }
    assert_eq!(desk.run("list").expect(0).rows().len(), 6);
    assert_eq!(desk.run("keys list").expect(0).rows().len(), 1);
    desk.run("db check").expect(0);
}

#[test]
fn a_standard_input_that_never_ends_is_not_waited_for() {
    let desk = Desk::new();
    desk.send(PHONE);

    let mut endless = desk.command(["list"]);
    endless.stdin(Stdio::piped());
    super::desk::finish(&mut endless).expect(0);
}
