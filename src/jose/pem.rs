//! PEM text (RFC 7468) around an unencrypted PKCS#8 private key.
//!
//! Owns the text form and says what else people put in such files. Does not know what is inside
//! the DER. Every buffer that held key material is wiped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::KeyError;

const LABEL: &str = "PRIVATE KEY";
const LINE: usize = 64;

/// The DER of the one `PRIVATE KEY` block of the text. Text around the block is allowed.
pub(super) fn decode(pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text = std::str::from_utf8(pem).map_err(|_| KeyError::NotPem)?;
    let blocks = blocks(text)?;
    for (label, _) in &blocks {
        match *label {
            "EC PRIVATE KEY" => return Err(KeyError::Sec1),
            "RSA PRIVATE KEY" => return Err(KeyError::Pkcs1),
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
            _ => {}
        }
    }
    let (label, body) = match blocks.as_slice() {
        [] => return Err(KeyError::NotPem),
        [block] => block,
        _ => return Err(KeyError::SeveralBlocks),
    };
    match *label {
        LABEL => {}
        "PUBLIC KEY" | "RSA PUBLIC KEY" => return Err(KeyError::Public),
        _ => return Err(KeyError::OtherBlock),
    }
    let mut der = Zeroizing::new(Vec::with_capacity(body.len()));
    STANDARD
        .decode_vec(body.as_bytes(), &mut der)
        .map_err(|_| KeyError::MalformedPem)?;
    Ok(der)
}

/// The PEM text of a PKCS#8 document.
pub(super) fn encode(der: &[u8]) -> Zeroizing<String> {
    let mut body = Zeroizing::new(String::with_capacity(der.len() * 2 + 4));
    STANDARD.encode_string(der, &mut body);
    let mut pem = Zeroizing::new(String::with_capacity(body.len() * 2 + 128));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    for (index, letter) in body.chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    pem
}

/// The blocks: their label, and what is between their boundaries without the line ends.
fn blocks(text: &str) -> Result<Vec<(&str, Zeroizing<String>)>, KeyError> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Zeroizing<String>)> = None;
    for line in text.lines().map(str::trim) {
        let begins = boundary(line, "-----BEGIN ");
        let ends = boundary(line, "-----END ");
        open = match (open, begins, ends) {
            (None, Some(label), _) => {
                // As long as the text, so that growing leaves no copy behind.
                Some((label, Zeroizing::new(String::with_capacity(text.len()))))
            }
            (None, None, None) => None,
            (Some((label, body)), None, Some(end)) if end == label => {
                blocks.push((label, body));
                None
            }
            (Some((label, mut body)), None, None) => {
                body.push_str(line);
                Some((label, body))
            }
            _ => return Err(KeyError::MalformedPem),
        };
    }
    match open {
        None => Ok(blocks),
        Some(_) => Err(KeyError::MalformedPem),
    }
}

fn boundary<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    line.strip_prefix(prefix)?.strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(label: &str) -> String {
        format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
    }

    #[test]
    fn what_is_written_is_read_back() {
        for length in [0, 1, 47, 48, 49, 1200] {
            let der = vec![7; length];
            let pem = encode(&der);
            assert_eq!(decode(pem.as_bytes()).unwrap().as_slice(), der);
            assert!(pem.lines().all(|line| line.len() <= LINE));
        }
        let windows = encode(&[1, 2, 3]).replace('\n', "\r\n");
        let with_text = format!("Bag Attributes\r\n{windows}");
        assert_eq!(decode(with_text.as_bytes()).unwrap().as_slice(), [1, 2, 3]);
    }

    #[test]
    fn each_other_file_has_its_error() {
        for (pem, error) in [
            (String::new(), KeyError::NotPem),
            ("{}".into(), KeyError::NotPem),
            (block("EC PRIVATE KEY"), KeyError::Sec1),
            (
                block("EC PARAMETERS") + &block("EC PRIVATE KEY"),
                KeyError::Sec1,
            ),
            (block("RSA PRIVATE KEY"), KeyError::Pkcs1),
            (block("ENCRYPTED PRIVATE KEY"), KeyError::Encrypted),
            (block("PUBLIC KEY"), KeyError::Public),
            (block("CERTIFICATE"), KeyError::OtherBlock),
            (block(LABEL) + &block(LABEL), KeyError::SeveralBlocks),
            (
                block(LABEL) + &block("CERTIFICATE"),
                KeyError::SeveralBlocks,
            ),
            (block(LABEL).replace("AAAA", "AA*A"), KeyError::MalformedPem),
            (
                block(LABEL).replace("END ", "END EC "),
                KeyError::MalformedPem,
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nAA".into(),
                KeyError::MalformedPem,
            ),
            ("-----END PRIVATE KEY-----\n".into(), KeyError::MalformedPem),
        ] {
            assert_eq!(decode(pem.as_bytes()).unwrap_err(), error, "{pem}");
        }
    }
}
