//! A provider on loopback for every server of a run: one thread that answers as Twilio does when it takes a message, and
//! remembers the last text to each phone, so that the code can be read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The account that everybody sends with.
pub const ACCOUNT: &str = "AC00000000000000000000000000000001";
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const NUMBER: &str = "+12025550100";

type Texts = Arc<Mutex<HashMap<String, String>>>;

/// The running provider; its thread ends with the program.
pub struct Carrier {
    pub url: String,
    texts: Texts,
}

impl Carrier {
    pub fn start() -> Carrier {
        Carrier::start_slow(Duration::ZERO)
    }

    /// One that takes so long for each message.
    pub fn start_slow(latency: Duration) -> Carrier {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let texts = Texts::default();
        let kept = Arc::clone(&texts);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer_all(stream, latency, Arc::clone(&kept)));
                }
            });
        });
        Carrier { url, texts }
    }

    /// Where messages are posted.
    pub fn messages_url(&self) -> String {
        format!("{}/2010-04-01/Accounts/{ACCOUNT}/Messages.json", self.url)
    }

    /// The code in the last text to a phone: the first six digits in a row.
    pub fn code(&self, phone: &str) -> Option<String> {
        let texts = self.texts.lock().unwrap();
        code_in(texts.get(phone)?).map(str::to_owned)
    }

    /// Forgets everything: the next server writes to the same phones.
    pub fn forget(&self) {
        self.texts.lock().unwrap().clear();
    }
}

/// The first six digits in a row.
pub fn code_in(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_digit()).find(|digits| digits.len() == 6)
}

async fn answer_all(mut stream: TcpStream, latency: Duration, texts: Texts) {
    let _ = stream.set_nodelay(true);
    let (mut buffer, mut count) = (Vec::with_capacity(4096), 0u64);
    loop {
        let Some((head, body)) = whole(&buffer) else {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        let answer = if buffer.starts_with(b"POST") {
            count += 1;
            let (mut to, mut text) = (String::new(), String::new());
            for (name, value) in url::form_urlencoded::parse(&buffer[head..head + body]) {
                match &*name {
                    "To" => to = value.into_owned(),
                    "Body" => text = value.into_owned(),
                    _ => {}
                }
            }
            let answer = created(&to, &text, (std::ptr::from_ref(&buffer) as u64) << 32 | count);
            texts.lock().unwrap().insert(to, text);
            answer
        } else {
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()
        };
        buffer.drain(..head + body);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Where the head of the first request ends and how long its body is, once all of it is here.
fn whole(buffer: &[u8]) -> Option<(usize, usize)> {
    let head = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let body = header(&buffer[..head], "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    (buffer.len() >= head + body).then_some((head, body))
}

/// The value of a header in a head.
pub fn header<'h>(head: &'h [u8], name: &str) -> Option<&'h str> {
    let head = std::str::from_utf8(head).ok()?;
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn created(to: &str, text: &str, nth: u64) -> String {
    let body = format!(
        r#"{{"sid":"SM{nth:032x}","account_sid":"{ACCOUNT}","api_version":"2010-04-01","body":"{text}","date_created":"Mon, 06 Jan 2025 10:00:00 +0000","date_sent":null,"date_updated":"Mon, 06 Jan 2025 10:00:00 +0000","direction":"outbound-api","error_code":null,"error_message":null,"from":"{NUMBER}","messaging_service_sid":null,"num_media":"0","num_segments":"1","price":null,"price_unit":"USD","status":"queued","to":"{to}","uri":"/2010-04-01/Accounts/{ACCOUNT}/Messages/SM{nth:032x}.json"}}"#,
        text = text.escape_default(),
    );
    format!("HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
