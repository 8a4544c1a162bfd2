//! Bytes that are a policy: what is printed says the same, keeps every comment, and stays as it is.

#![no_main]

use std::sync::Arc;

use cambist::policy::syntax::ast::File;
use cambist::policy::syntax::{parse, print};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let name: Arc<str> = Arc::from("fuzz.policy");
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(tree) = parse(&name, text) else {
        return;
    };
    let printed = print(&tree, Some(text));
    let again = parse(&name, &printed).unwrap_or_else(|problems| panic!("{problems:?}\n{printed}"));
    assert!(again == tree, "another tree:\n{printed}");
    let comments = |file: &File| -> Vec<Arc<str>> {
        file.comments
            .iter()
            .map(|it| Arc::clone(&it.text))
            .collect()
    };
    assert_eq!(comments(&again), comments(&tree), "{printed}");
    assert_eq!(print(&again, Some(&printed)), printed);
});
