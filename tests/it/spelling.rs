//! One spelling is one phone: what one command or route takes, all take, as the same number.

use serde_json::json;

use crate::desk::{Desk, code_in};
use crate::served::Place;
use crate::window::{SEND, VERIFY};

/// Ways to type a British number whose last digit is `#`, as people, contact lists and clipboards have them.
const SPELLINGS: [&str; 16] = [
    "+44740012345#",
    "+44 (0)7400 12345#",
    "+44 (0) 7400/12345#",
    "+440740012345#",
    "+44/7400/12345#",
    "+44\u{2013}7400\u{2013}12345#",
    "+44\u{a0}7400\u{202f}12345#",
    "\u{feff}+44\u{200b}740012345#",
    "\u{202a}+44 7400 12345#\u{202c}",
    "\u{ff0b}44 7400 12345#",
    "\u{ff0b}\u{ff14}\u{ff14}\u{ff17}\u{ff14}\u{ff10}\u{ff10} 12345#",
    "tel:+44-7400-12345#",
    "07400 12345#",
    "(07400) 12345#",
    "0740012345#",
    "0044 7400 12345#",
];

fn spelled(way: usize, digit: usize) -> String {
    SPELLINGS[way % SPELLINGS.len()].replace('#', &digit.to_string())
}

#[test]
fn every_command_takes_every_spelling_as_the_same_number() {
    let mut desk = Desk::new();
    desk.set("SMSOTP_REGION", "GB");
    let run = |words: &[&str]| desk.run_args(words);
    for (way, of) in SPELLINGS.iter().enumerate() {
        let digit = way % 10;
        let purpose = ["login", "registration"][way / 10];
        let (sent, looked_up, verified) = (spelled(way, digit), spelled(way + 5, digit), spelled(way + 9, digit));
        let code = code_in(&run(&["send", &sent, "--purpose", purpose]).expect(0).err);

        let rows = run(&["list", "--phone", &looked_up, "--purpose", purpose, "--reveal"]).expect(0);
        assert_eq!(rows.rows().len(), 1, "{of}: {rows:?}");
        assert_eq!(rows.rows()[0][1], format!("+44740012345{digit}"), "{of}");
        run(&["show", &looked_up, "--purpose", purpose]).expect(0);
        let used = run(&["limits", "show", &looked_up, "--json"]).expect(0);
        assert!(used.out.contains("\"used\": 1"), "{of}: {}", used.out);
        assert!(!run(&["audit", "list", "--phone", &looked_up]).expect(0).out.is_empty(), "{of}");
        run(&["limits", "reset", &looked_up, "--reason", "test"]).expect(0);
        run(&["verify", &verified, &code, "--purpose", purpose]).expect(0);
    }
}

#[test]
fn what_was_sent_under_one_spelling_is_revoked_under_another() {
    let mut desk = Desk::new();
    desk.set("SMSOTP_REGION", "DE");
    desk.send("+4915123456000");
    desk.run_args(["revoke", "+49 (0)151 23456000"]).expect(0).shows("1");
    assert_eq!(desk.run("list --state active").expect(0).rows().len(), 0);

    // Digits that are a number of the region: no code has such an id.
    desk.send("015123456001");
    desk.run("show 15123456001").expect(0);
    assert_eq!(desk.run("revoke 15123456001").expect(0).rows().len(), 1);
    // An id that there is stays an id, whatever else it could be.
    desk.send("015123456002");
    assert_eq!(desk.run("revoke 3").expect(0).rows(), [["3"]]);
    desk.run("revoke m3").expect(65).says("message m3 carries code 3");
}

#[test]
fn a_region_on_the_command_line_is_enough_for_every_command() {
    let desk = Desk::new();
    let code = desk.send("0151/23456000 --region DE");
    for line in [
        "list --phone 015123456000 --region DE",
        "show 0151-23456000 --region de",
        "limits show 015123456000 --region DE",
        "limits reset 015123456000 --region DE --reason test",
        "audit list --phone 015123456000 --region DE",
        "test-number remove 015123456000 --region DE",
    ] {
        desk.run(line).expect(0);
    }
    desk.pipe("test-number add 015123456009 - --until 1d --region DE", "123456").expect(0);
    assert_eq!(desk.run("send +4915123456009 --json").expect(0).json("sent")["test"], true);
    desk.run("verify +49(0)151/23456009 123456").expect(0);
    desk.run(&format!("verify 015123456000 {code} --region FR")).expect(1);
    desk.run(&format!("verify 015123456000 {code}")).expect(65).says("no country code").says("--region GB");
    desk.run(&format!("verify 015123456000 {code} --region UK")).expect(78).says("The United Kingdom is GB");
    desk.run(&format!("verify 015123456000 {code} --region DE")).expect(0);
}

#[test]
fn the_api_takes_the_same_spellings_and_speaks_of_no_flag() {
    let place = Place::new("region = \"GB\"\n");
    let token = place.token(&["--service", "--scope", "send,verify"]);
    let server = place.serve(&[]);
    for way in 0..10 {
        let body = json!({ "phone_number": spelled(way + 3, way), "user": "ada", "purpose": "login" });
        let user = json!(format!("user{way}"));
        let send = {
            let mut body = body.clone();
            body["user"] = user.clone();
            body
        };
        assert_eq!(server.post(SEND, &token, &send).unwrap().status, 200, "{send}");
        let code = code_in(&place.sandbox.messages().last().unwrap().body);
        let to = format!("+44740012345{way}");
        assert_eq!(place.sandbox.messages().last().unwrap().to, to);
        let body = json!({ "phone_number": spelled(way, way), "user": user, "purpose": "login", "otp_code": code });
        assert_eq!(server.post(VERIFY, &token, &body).unwrap().json()["verified"], true, "{body}");
        let inbox = place.smsotp(&["sandbox", "inbox", "--code", "--to", &spelled(way + 7, way)]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&inbox.stdout).trim(), code);
    }
    drop(server);

    let place = Place::new("");
    let token = place.token(&["--service", "--scope", "send,verify"]);
    let server = place.serve(&[]);
    for (path, extra) in [(SEND, json!({})), (VERIFY, json!({ "otp_code": "123456" }))] {
        let mut body = extra;
        body["phone_number"] = json!("07400 123456");
        body["user"] = json!("ada");
        let answer = server.post(path, &token, &body).unwrap();
        let problem = answer.json();
        assert_eq!((answer.status, problem["code"].as_str()), (422, Some("phone_invalid")), "{problem}");
        assert!(!problem.to_string().contains("--"), "{problem}");
        assert!(problem["hint"].as_str().unwrap().contains("+447400123456"), "{problem}");
    }
}

#[test]
fn a_pasted_code_is_taken_with_the_spaces_and_dashes_around_it() {
    let desk = Desk::new();
    let phone = "+447400123456";
    for (purpose, spaced) in
        [("login", "#\u{a0}#"), ("registration", "#\u{2009}#"), ("password_reset", "\u{feff}#\u{2013}#\u{200b}")]
    {
        let code = desk.send(&format!("{phone} --purpose {purpose} --override cooldown --reason test"));
        let halves = code.split_at(3);
        let typed = spaced.replacen('#', halves.0, 1).replacen('#', halves.1, 1);
        desk.pipe(&format!("verify {phone} - --purpose {purpose}"), typed).expect(0);
    }
}

#[test]
fn a_number_that_no_plan_knows_goes_out_on_the_word_of_staff_and_is_on_record() {
    let mut desk = Desk::new();
    let number = "+593930792440";
    let refused = desk.run(&format!("send {number}")).expect(65).says("numbering plan");
    assert!(refused.err.contains("--override number --reason TEXT"), "{}", refused.err);
    desk.run(&format!("send {number} --override number")).expect(2);

    let sent = desk.run(&format!("send {number} --override number --reason ticket-17")).expect(0);
    let code = code_in(&sent.err);
    let log = desk.run(&format!("audit list --phone {number} --json")).expect(0);
    assert!(log.out.contains("\"override\": \"number\"") && log.out.contains("ticket-17"), "{}", log.out);
    desk.run_args(["verify", "+593 93 079 2440", &code]).expect(0);

    // National form, the country of its code, and limits: all as for any other.
    desk.write("smsotp.toml", "countries = [\"EC\"]\nregion = \"EC\"\n");
    desk.set("SMSOTP_CONFIG", desk.cwd().join("smsotp.toml"));
    desk.run("send 0930792441 --purpose login --override number --reason test").expect(0);
    desk.run("send 0930792441 --purpose login --override number --reason test").expect(75);
    desk.run("send 0930792441 --purpose login --override number --override cooldown --reason test").expect(0);
    desk.run("send +5699999999999 --override number --reason test").expect(77).says("CL");
    desk.run("send 0930792442 --override numbers --reason test").expect(65).says("number");
}

#[test]
fn the_version_says_what_was_built() {
    let desk = Desk::bare();
    let lines = [
        "commit: ",
        "profile: debug",
        "features: cli, postgres, sandbox, serve",
        "numbering plans: libphonenumber 9.0.42 of 2026-10, ",
        "SQLite: 3.",
        "schema: 1",
    ];
    for line in ["--version --verbose", "--verbose --version", "-v -V", "-Vv"] {
        let ran = desk.run(line).expect(0);
        lines
            .iter()
            .for_each(|part| assert!(ran.out.lines().any(|line| line.starts_with(part)), "{part}: {}", ran.out));
    }
    assert_eq!(desk.run("--version").expect(0).out.lines().count(), 1);
    let document: serde_json::Value = serde_json::from_str(&desk.run("--version --json").expect(0).out).unwrap();
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["numbering_plans"]["published"], "2026-10");
}
