//! Bytes out, bytes in. No HTTP library: what is sent is what the test wrote.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer, taken apart.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status line.
    pub line: String,
    /// The status.
    pub status: u16,
    /// The headers as sent, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Takes an answer apart; one that is cut off has an empty status line.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or(("", ""));
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self {
            status: line
                .split(' ')
                .nth(1)
                .map_or(0, |text| text.parse().unwrap()),
            line,
            headers,
            body: body.to_owned(),
        }
    }

    /// The only header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(sent, _)| sent == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice in {self:?}");
        value
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `error` member.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    /// The token that was issued.
    pub fn token(&self) -> String {
        let json = self.json();
        let token = json["access_token"].as_str();
        token
            .unwrap_or_else(|| panic!("no token: {self:?}"))
            .to_owned()
    }
}

/// Sends bytes on a connection of their own and reads the answer to the end.
pub async fn call(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server may answer before it has read everything, and then close.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        answer.extend_from_slice(&buffer[..read]);
    }
    Answer::parse(&answer)
}

/// A POST to the token endpoint, whole but for its body.
pub fn head(authorization: Option<&str>, length: usize) -> String {
    let authorization =
        authorization.map_or(String::new(), |value| format!("Authorization: {value}\r\n"));
    format!(
        "POST /token HTTP/1.1\r\nHost: as.example.com\r\n{authorization}\
         Content-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}

/// Parameters in the form encoding.
pub fn form(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

/// `Basic` credentials; id and secret are form-encoded first.
pub fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let (id, secret): (String, String) = (encode(id), encode(secret));
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}
