//! Base64url as RFC 7515 §2 wants it: no padding, one spelling per byte string.
//!
//! Knows nothing of what is encoded.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text is not canonical base64url.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not canonical base64url")]
pub struct Base64UrlError;

/// The unpadded base64url form of the bytes.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of an unpadded base64url text.
///
/// # Errors
/// [`Base64UrlError`] for any byte outside `[A-Za-z0-9_-]` (padding, space and line ends included),
/// an impossible length, or unused bits that are not zero. So no two texts give the same bytes.
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, Base64UrlError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Base64UrlError)
}

/// Whether every byte is one of the base64url alphabet. True for the empty text.
pub fn is_alphabet(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_canonical_spelling_is_taken() {
        assert_eq!(decode("AA"), Ok(vec![0]));
        assert_eq!(decode(""), Ok(vec![]));
        for text in [
            "A",
            "AB",
            "AA==",
            "AA=",
            "A A",
            "AA\n",
            "+-AA",
            "//AA",
            "AAA\u{e9}",
            "====",
        ] {
            assert_eq!(decode(text), Err(Base64UrlError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_text_that_decodes_is_the_encoding_of_its_bytes(text in "[A-Za-z0-9_-]{0,24}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(bytes), text);
            }
        }

        #[test]
        fn every_byte_string_round_trips(bytes: Vec<u8>) {
            let text = encode(&bytes);
            prop_assert!(is_alphabet(&text));
            prop_assert_eq!(decode(text), Ok(bytes));
        }
    }
}
