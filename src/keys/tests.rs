//! Where keys come from, whom they are kept from, and that rotation loses none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose;
use secrecy::SecretString;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::secret::KEYS_MAX;
use super::*;

fn own(dir: &TempDir) -> KeySource {
    let own_file = Some(dir.path().join("smsotp/secret.key"));
    KeySource { inline: None, file: None, own_file, home: Some(dir.path().to_path_buf()) }
}

fn inline(text: &str) -> KeySource {
    KeySource { inline: Some(SecretString::from(text.to_owned())), file: None, own_file: None, home: None }
}

fn named(path: &Path) -> KeySource {
    KeySource { inline: None, file: Some(path.to_path_buf()), own_file: None, home: None }
}

fn key(byte: u8) -> SecretKey {
    SecretKey::new(Zeroizing::new([byte; 32]))
}

#[test]
fn what_is_derived_is_what_others_compute() {
    // HKDF-SHA-256 (RFC 5869) of 32 bytes 00..1f without salt, computed with Python's hmac.
    let bytes: [u8; 32] = std::array::from_fn(|i| i as u8);
    let key = SecretKey::new(Zeroizing::new(bytes));

    assert_eq!(key.id().to_string(), "d4ca8506");
    let nonce = [0; 16];
    let binding = crate::code::Binding { nonce: &nonce, phone: "+14155552671", purpose: "login", user: "" };
    assert_eq!(crate::code::derive(key.code_key(), &binding, 10).expose(), "3892598714");
}

#[test]
fn keys_are_read_in_every_usual_writing() {
    let bytes = [0xfb; 32];
    let id = SecretKey::new(Zeroizing::new(bytes)).id();
    let standard = general_purpose::STANDARD.encode(bytes);
    let writings = [
        standard.clone(),
        standard.trim_end_matches('=').to_owned(),
        general_purpose::URL_SAFE.encode(bytes),
        general_purpose::URL_SAFE_NO_PAD.encode(bytes),
    ];

    for text in &writings {
        assert_eq!(SecretKey::from_base64(text).unwrap().id(), id, "{text}");
    }
    let second = key(2).to_base64();
    for separator in [",", " ", "\n", ", ", "\r\n", "\n\n# an older one\n  "] {
        let text = format!("{standard}{separator}{}{separator}{standard}", second.as_str());
        assert_eq!(Keyring::load(&inline(&text), false).unwrap().ids(), [id, key(2).id()], "{separator:?}");
    }
}

#[test]
fn what_is_not_a_key_is_refused_and_never_repeated() {
    let short = general_purpose::STANDARD.encode([1; 31]);
    let long = general_purpose::STANDARD.encode([1; 33]);
    let hex = "ab".repeat(32);
    let many: String = (1..=17).map(|n| key(n).to_base64().to_string() + ",").collect();
    for text in [short.as_str(), &long, &hex, "hunter2hunter2", "ключ", "a\0b", &"A".repeat(1 << 20)] {
        let error = Keyring::load(&inline(text), true).unwrap_err();

        assert_eq!(error.class().exit(), 78, "{error}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(text), "{shown}");
        assert!(shown.contains("key 1 in SMSOTP_SECRET_KEY is not 32 bytes of base64"), "{shown}");
    }
    for text in ["", "  ", "# only a comment", ",,"] {
        let error = Keyring::load(&inline(text), true).unwrap_err();
        assert_eq!(error.to_string(), "SMSOTP_SECRET_KEY holds no key");
    }
    assert!(Keyring::load(&inline(&many), true).unwrap_err().to_string().contains("more than 16 keys"));
}

#[test]
fn debug_and_errors_show_ids_alone() {
    let text = key(7).to_base64();
    let ring = Keyring::load(&inline(&text), false).unwrap();

    let shown = format!("{ring:?} {} {:?}", ring.missing(&[key(9).id()]), ring.primary().wrap_key());

    assert!(shown.contains(&key(7).id().to_string()) && shown.contains(&key(9).id().to_string()), "{shown}");
    assert!(!shown.contains(&text[..8]), "{shown}");
    assert!(!shown.contains("7, 7"), "{shown}");
    assert!(ring.missing(&[key(9).id()]).to_string().contains("HOME not set"));
}

#[test]
fn inline_wins_over_the_named_file_and_that_over_our_own() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("keys");
    fs::write(&path, key(2).to_base64().as_bytes()).unwrap();
    let mut source = own(&dir);
    let created = Keyring::load(&source, true).unwrap().primary().id();

    source.file = Some(path.clone());
    assert_eq!(Keyring::load(&source, true).unwrap().primary().id(), key(2).id());
    assert_eq!(Keyring::load(&source, true).unwrap().origin(), &Origin::Named(path));

    source.inline = Some(SecretString::from(key(3).to_base64().to_string()));
    assert_eq!(Keyring::load(&source, true).unwrap().primary().id(), key(3).id());

    assert_eq!(Keyring::load(&own(&dir), false).unwrap().primary().id(), created);
}

#[test]
fn a_missing_named_file_is_an_error_and_not_a_reason_to_make_a_key() {
    let dir = TempDir::new().unwrap();
    let mut source = own(&dir);
    source.file = Some(dir.path().join("absent"));

    let error = Keyring::load(&source, true).unwrap_err();

    assert_eq!(error.class().exit(), 78);
    assert!(error.to_string().contains("absent"), "{error}");
    assert!(!dir.path().join("smsotp").exists());
}

#[test]
fn no_key_is_made_for_a_database_that_exists() {
    let dir = TempDir::new().unwrap();

    let error = Keyring::load(&own(&dir), false).unwrap_err();

    assert_eq!(error.class().exit(), 78);
    let home = dir.path().display().to_string();
    assert!(error.to_string().contains("smsotp/secret.key does not"), "{error}");
    assert!(error.to_string().contains(&format!("HOME {home})")), "{error}");
    assert!(!dir.path().join("smsotp").exists());
}

#[test]
fn without_home_and_key_the_error_names_both_variables() {
    let error = Keyring::load(&KeySource { inline: None, file: None, own_file: None, home: None }, true).unwrap_err();

    assert_eq!(error.class().exit(), 78);
    assert!(error.hint_text().unwrap().contains("SMSOTP_SECRET_KEY_FILE"));
}

#[test]
fn a_wrong_file_in_place_of_the_key_is_refused_in_words() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    let refusal = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = Keyring::load(&named(&path), true).unwrap_err();
        assert_eq!(error.class().exit(), 78);
        error.to_string()
    };

    assert!(refusal(&[0xff, 0xfd]).contains("is not text"));
    assert!(refusal(&vec![b'#'; 70_000]).contains("larger than 64 KiB"));
    assert!(refusal(b"").contains("holds no key"));
    assert!(Keyring::load(&named(dir.path()), true).is_err());
    assert!(Keyring::load(&named(&path.join("below")), true).is_err());
}

#[test]
fn rotation_adds_last_then_moves_first_then_removes_and_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let source = own(&dir);
    let path = source.own_file.clone().unwrap();
    let old = Keyring::load(&source, true).unwrap().primary().id();
    let ids = || Keyring::load(&source, false).unwrap().ids();

    let new = add_last(&path).unwrap();
    assert_eq!(ids(), [old, new]);
    assert_eq!(remove(&path, &old).unwrap_err().class().exit(), 78, "the first key stays");
    promote(&path, &new).unwrap();
    assert_eq!(ids(), [new, old]);
    promote(&path, &new).unwrap();
    assert_eq!(ids(), [new, old]);
    remove(&path, &old).unwrap();
    assert_eq!(ids(), [new]);

    assert!(promote(&path, &old).unwrap_err().to_string().contains(&old.to_string()));
    assert!(remove(&path, &new).is_err());
    let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|n| !n.to_string_lossy().ends_with(".tmp")), "{names:?}");
}

#[test]
fn rotation_sweeps_away_copies_that_a_killed_process_left() {
    let dir = TempDir::new().unwrap();
    let source = own(&dir);
    let path = source.own_file.clone().unwrap();
    Keyring::load(&source, true).unwrap();
    let left = path.with_file_name(".secret.key.0123456789abcdef.tmp");
    fs::copy(&path, &left).unwrap();

    add_last(&path).unwrap();

    assert!(!left.exists());
}

#[test]
fn the_file_stops_growing_at_sixteen_keys() {
    let dir = TempDir::new().unwrap();
    let path = own(&dir).own_file.unwrap();
    Keyring::load(&own(&dir), true).unwrap();
    for _ in 1..KEYS_MAX {
        add_last(&path).unwrap();
    }

    assert!(add_last(&path).unwrap_err().to_string().contains("already holds 16 keys"));
    assert_eq!(Keyring::load(&own(&dir), false).unwrap().ids().len(), KEYS_MAX);
}

#[test]
fn ids_are_read_as_they_are_shown() {
    let id = key(1).id();

    assert_eq!(KeyId::parse(&id.to_string()), Some(id));
    for text in ["", "1234567", "123456789", "+1234567", "1234567g", "१२३४"] {
        assert_eq!(KeyId::parse(text), None, "{text}");
    }
}

/// Sixteen processes, half of them making the first key and half of them then adding one: run by the two stories below.
fn in_processes(dir: &TempDir, child: &str) -> Vec<String> {
    fs::write(dir.path().join("race"), "").unwrap();
    let test = std::env::current_exe().unwrap();
    let start = |_| {
        std::process::Command::new(&test)
            .args([&format!("keys::tests::{child}"), "--exact", "--ignored", "--nocapture"])
            .current_dir(dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..16).map(start).collect();
    let outputs = children.into_iter().map(|child| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    });
    let ids = outputs.map(|text| {
        let (_, rest) = text.split_once("id=").unwrap();
        rest[..8].to_owned()
    });
    ids.collect()
}

#[test]
fn sixteen_processes_that_make_the_first_key_at_once_end_with_one() {
    let dir = TempDir::new().unwrap();

    let ids: BTreeSet<String> = in_processes(&dir, "child_makes_the_key").into_iter().collect();

    assert_eq!(ids.len(), 1, "{ids:?}");
    let names: Vec<_> = fs::read_dir(dir.path().join("smsotp")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["secret.key"]);
}

#[test]
fn processes_that_rotate_at_once_lose_no_key() {
    let dir = TempDir::new().unwrap();
    let first = Keyring::load(&own(&dir), true).unwrap().primary().id();
    // Fifteen find room beside the first; one is told that the file is full.
    let added: BTreeSet<String> = in_processes(&dir, "child_adds_a_key").into_iter().collect();

    let there: BTreeSet<String> =
        Keyring::load(&own(&dir), false).unwrap().ids().iter().skip(1).map(KeyId::to_string).collect();

    assert_eq!(there.len(), 15);
    assert!(added.contains("full----"));
    assert!(there.is_subset(&added));
    assert!(!there.contains(&first.to_string()));
}

#[test]
#[ignore = "run by the story of the sixteen processes"]
fn child_makes_the_key() {
    if Path::new("race").exists() {
        let own_file = Some(PathBuf::from("smsotp/secret.key"));
        let source = KeySource { inline: None, file: None, own_file, home: None };
        println!("id={}", Keyring::load(&source, true).unwrap().primary().id());
    }
}

#[test]
#[ignore = "run by the story of the rotating processes"]
fn child_adds_a_key() {
    if Path::new("race").exists() {
        let added = add_last(Path::new("smsotp/secret.key"));
        println!("id={}", added.map_or("full----".to_owned(), |id| id.to_string()));
    }
}

#[cfg(unix)]
mod permissions {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn our_own_file_is_private_before_and_after_rotation() {
        let dir = TempDir::new().unwrap();
        let source = own(&dir);
        let path = source.own_file.clone().unwrap();
        Keyring::load(&source, true).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));

        add_last(&path).unwrap();

        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn our_own_file_with_any_other_mode_is_refused_with_the_command_that_mends_it() {
        let dir = TempDir::new().unwrap();
        let source = own(&dir);
        let path = source.own_file.clone().unwrap();
        Keyring::load(&source, true).unwrap();
        for bad in [0o640, 0o604, 0o660, 0o666, 0o644, 0o700, 0o400] {
            set(&path, bad);

            let error = Keyring::load(&source, true).unwrap_err();

            assert_eq!(error.class().exit(), 78);
            assert!(error.to_string().contains(&format!("has mode {bad:04o}")), "{error}");
            assert!(error.hint_text().unwrap().starts_with("chmod 600 '/"), "{error:?}");
            assert!(add_last(&path).is_err());
        }
    }

    #[test]
    fn a_link_a_pipe_or_a_directory_in_place_of_our_own_file_is_refused() {
        let dir = TempDir::new().unwrap();
        let source = own(&dir);
        let path = source.own_file.clone().unwrap();
        fs::create_dir(path.parent().unwrap()).unwrap();
        let target = dir.path().join("target");
        fs::write(&target, key(1).to_base64().as_bytes()).unwrap();
        set(&target, 0o600);
        symlink(&target, &path).unwrap();
        assert!(Keyring::load(&source, true).unwrap_err().to_string().contains("it is a link"));

        fs::remove_file(&path).unwrap();
        symlink(dir.path().join("nowhere"), &path).unwrap();
        assert!(Keyring::load(&source, true).is_err());
        assert!(!dir.path().join("nowhere").exists());

        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Keyring::load(&source, true).unwrap_err().to_string().contains("is not a plain file"));

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(Keyring::load(&source, true).unwrap_err().class().exit(), 78);
    }

    #[test]
    fn a_named_file_may_be_group_readable_and_a_link_warns_for_the_world_and_refuses_writers() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, key(1).to_base64().as_bytes()).unwrap();
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();

        for mode in [0o600, 0o640, 0o440, 0o400] {
            set(&path, mode);
            assert!(Keyring::load(&named(&link), false).unwrap().warnings().is_empty(), "{mode:o}");
        }
        set(&path, 0o444);
        let ring = Keyring::load(&named(&link), false).unwrap();
        assert!(ring.warnings()[0].contains("every user of this machine may read it"), "{:?}", ring.warnings());
        for mode in [0o660, 0o602, 0o620, 0o666] {
            set(&path, mode);
            let error = Keyring::load(&named(&link), false).unwrap_err();
            assert!(error.to_string().contains("others may write it"), "{error}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_io_error() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("smsotp"), "a file is in the way").unwrap();

        let error = Keyring::load(&own(&dir), true).unwrap_err();

        assert_eq!(error.class().exit(), 74, "{error}");
    }
}
