//! JSON read strictly, so that no second reader can see another document in the same bytes.
//!
//! `serde_json` keeps the last of two members of one name and goes on silently; a token read that
//! way means one thing here and another thing at the next service. RFC 7515 §10.12 and RFC 7519 §4
//! allow to refuse such a document, and this module does.
//!
//! Knows nothing of tokens. Integers that fit neither `i64` nor `u64` become the nearest `f64`, as
//! RFC 8259 §6 allows.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting of arrays and objects that is read; the outermost one counts as one.
pub const MAX_DEPTH: usize = 32;

/// A JSON object.
pub type Object = Map<String, Value>;

/// Why bytes are not a JSON text this program reads. Says where, never what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not UTF-8 (RFC 8259 §8.1).
    #[error("not UTF-8")]
    NotUtf8,
    /// The bytes break the grammar, begin with a byte order mark, or hold a number beyond `f64`.
    #[error("not valid JSON at line {line}, column {column}")]
    Syntax {
        /// Line of the fault, from one.
        line: usize,
        /// Column of the fault, in bytes.
        column: usize,
    },
    /// A complete JSON value is followed by more than white space.
    #[error("bytes after the end of the JSON value")]
    TrailingBytes,
    /// An object, at whatever depth, names a member twice, however the name is escaped.
    #[error("a member name occurs twice in one object")]
    DuplicateMember,
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The value is not an object where one is asked for.
    #[error("not a JSON object")]
    NotAnObject,
}

/// Reads exactly one JSON object.
///
/// # Errors
/// As [`parse_value`], and [`JsonError::NotAnObject`] for any other JSON value.
pub fn parse_object(bytes: &[u8]) -> Result<Object, JsonError> {
    match parse_value(bytes)? {
        Value::Object(object) => Ok(object),
        _ => Err(JsonError::NotAnObject),
    }
}

/// Reads exactly one JSON value of any kind.
///
/// # Errors
/// A [`JsonError`] when the bytes are not one JSON text in UTF-8, repeat a member name in an
/// object at any depth, or nest deeper than [`MAX_DEPTH`].
pub fn parse_value(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    let refusal = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let strict = Strict {
        levels_left: MAX_DEPTH,
        refusal: &refusal,
    };
    let value = strict.deserialize(&mut reader).map_err(|error| {
        refusal.get().unwrap_or(JsonError::Syntax {
            line: error.line(),
            column: error.column(),
        })
    })?;
    reader.end().map_err(|_| JsonError::TrailingBytes)?;
    Ok(value)
}

/// Builds one value. Refusals of our own go through `refusal`, because an error of `serde_json`
/// carries only text.
#[derive(Clone, Copy)]
struct Strict<'a> {
    levels_left: usize,
    refusal: &'a Cell<Option<JsonError>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, why: JsonError) -> E {
        self.refusal.set(Some(why));
        E::custom("refused")
    }

    fn one_level_down<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self {
                levels_left,
                ..self
            }),
            None => Err(self.refuse(JsonError::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.one_level_down()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.one_level_down()?;
        let mut object = Object::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(self.refuse(JsonError::DuplicateMember));
            }
            object.insert(name, members.next_value_seed(inner)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn reads_what_serde_json_reads() {
        let text = r#" {"a":[1,-2,3.5,true,null,"\u00e9\n"],"b":{"c":18446744073709551615}} "#;
        assert_eq!(
            parse_value(text.as_bytes()),
            Ok(json!({"a": [1, -2, 3.5, true, null, "é\n"], "b": {"c": u64::MAX}}))
        );
    }

    #[test]
    fn a_member_twice_is_refused_at_any_depth_and_however_spelled() {
        for text in [
            r#"{"iss":"a","iss":"a"}"#,
            r#"{"iss":"a","\u0069ss":"b"}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"[[{"a":1,"a":1}]]"#,
        ] {
            assert_eq!(
                parse_value(text.as_bytes()),
                Err(JsonError::DuplicateMember),
                "{text}"
            );
        }
        assert!(parse_value(br#"{"iss":1,"Iss":2,"a":{"iss":3}}"#).is_ok());
    }

    #[test]
    fn depth_is_limited() {
        assert!(parse_value(nested(MAX_DEPTH).as_bytes()).is_ok());
        for levels in [MAX_DEPTH + 1, 200, 100_000] {
            assert_eq!(
                parse_value(nested(levels).as_bytes()),
                Err(JsonError::TooDeep)
            );
        }
    }

    #[test]
    fn trailing_bytes_a_byte_order_mark_and_other_encodings_are_refused() {
        assert_eq!(parse_object(b"{}{}"), Err(JsonError::TrailingBytes));
        assert_eq!(parse_object(b"{}\0"), Err(JsonError::TrailingBytes));
        assert_eq!(
            parse_object(b"\xef\xbb\xbf{}"),
            Err(JsonError::Syntax { line: 1, column: 1 })
        );
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), Err(JsonError::NotUtf8));
        assert!(parse_object(b"{\0}\0").is_err());
        assert!(parse_object(b"").is_err());
    }

    #[test]
    fn only_objects_are_objects() {
        for text in ["[]", "1", "null", "\"{}\""] {
            assert_eq!(parse_object(text.as_bytes()), Err(JsonError::NotAnObject));
        }
    }

    #[test]
    fn numbers_of_any_size_do_not_panic() {
        assert_eq!(
            parse_value(b"123456789012345678901234567890"),
            Ok(json!(1.2345678901234568e29))
        );
        assert!(parse_value(b"1e400").is_err());
        assert!(parse_value(b"-1e-400").is_ok());
        assert!(parse_value(b"NaN").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse_value(&bytes);
        }

        #[test]
        fn what_it_reads_serde_json_reads_the_same(text in r#"[\[\]{}",:0-9a-b.eE+\-\\ ]{0,24}"#) {
            if let Ok(value) = parse_value(text.as_bytes()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
            }
        }
    }
}
