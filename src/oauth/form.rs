//! `application/x-www-form-urlencoded` token requests (RFC 6749 §3.2, appendix B).
//!
//! Only `resource` and `audience` may repeat (RFC 8693 §2.1); an empty value is an absent one;
//! anything that does not decode to UTF-8 is refused. Values are wiped on drop.

use std::fmt;
use zeroize::Zeroizing;

/// The parameters that may be sent more than once (RFC 8693 §2.1).
const REPEATABLE: [&str; 2] = ["resource", "audience"];

/// As many pairs as a form may have.
const MAX_PAIRS: usize = 128;

/// Why a form was refused. Client text: it names no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the body is not well-formed application/x-www-form-urlencoded UTF-8")]
    Malformed,
    /// More pairs than `MAX_PAIRS` (128).
    #[error("the body has too many parameters")]
    TooMany,
    /// A parameter was sent twice (RFC 6749 §3.2).
    #[error("a parameter is repeated; only `resource` and `audience` may be")]
    Repeated,
}

/// The decoded parameters of one request, in the order sent.
#[derive(Default)]
pub struct TokenForm {
    pairs: Vec<(String, Zeroizing<String>)>,
}

impl TokenForm {
    /// Decodes a body.
    ///
    /// # Errors
    /// See [`FormError`].
    pub fn parse(body: &[u8]) -> Result<Self, FormError> {
        let mut pairs: Vec<(String, Zeroizing<String>)> = Vec::new();
        for pair in body
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
        {
            if pairs.len() == MAX_PAIRS {
                return Err(FormError::TooMany);
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = Zeroizing::new(decode(halves.next().unwrap_or_default())?);
            let repeated = pairs.iter().any(|(earlier, _)| *earlier == name);
            if repeated && !REPEATABLE.contains(&name.as_str()) {
                return Err(FormError::Repeated);
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter; an empty one counts as absent (RFC 6749 §3.2).
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// All values of a parameter that may repeat, in the order sent, empty ones left out.
    pub fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.pairs
            .iter()
            .filter(move |(sent, value)| sent == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Whether a parameter was sent at all, even without a value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(sent, _)| sent == name)
    }
}

impl fmt::Debug for TokenForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.pairs.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Decodes one name or value: `+` is a space, `%XX` a byte, the result UTF-8 (RFC 6749 appendix B).
///
/// # Errors
/// [`FormError::Malformed`] for a broken escape or bytes that are not UTF-8.
pub fn decode(encoded: &[u8]) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = rest
                    .next()
                    .and_then(|digit| hex(*digit))
                    .ok_or(FormError::Malformed)?;
                let low = rest
                    .next()
                    .and_then(|digit| hex(*digit))
                    .ok_or(FormError::Malformed)?;
                high << 4 | low
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).map_err(|_| FormError::Malformed)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_refused_except_resource_and_audience() {
        assert_eq!(
            TokenForm::parse(b"scope=a&scope=b").unwrap_err(),
            FormError::Repeated
        );
        assert_eq!(
            TokenForm::parse(b"scope=&scope=b").unwrap_err(),
            FormError::Repeated
        );
        let form = TokenForm::parse(b"resource=a&audience=x&resource=&resource=b").unwrap();
        assert_eq!(form.values("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_empty_value_is_an_absent_one() {
        let form = TokenForm::parse(b"scope=&a&=b").unwrap();
        assert_eq!(
            (form.value("scope"), form.value("a"), form.has("scope")),
            (None, None, true)
        );
    }

    #[test]
    fn what_does_not_decode_is_refused() {
        for bad in [
            &b"a=%"[..],
            b"a=%f",
            b"a=%zz",
            b"a=%ff",
            b"%c0%80=a",
            b"a=\xff",
        ] {
            assert_eq!(
                TokenForm::parse(bad).unwrap_err(),
                FormError::Malformed,
                "{bad:?}"
            );
        }
        assert_eq!(
            TokenForm::parse(b"a=%E2%82%AC+b").unwrap().value("a"),
            Some("€ b")
        );
    }

    #[test]
    fn debug_shows_names_only() {
        let form = TokenForm::parse(b"client_secret=hunter2").unwrap();
        assert!(!format!("{form:?}").contains("hunter2"));
    }
}
