//! Bytes that are a policy in YAML: both spellings of what was read are read as the same.

#![no_main]

use std::sync::Arc;

use cambist::config::spelling::{normal, read, write};
use cambist::policy::syntax::{parse, print};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let name: Arc<str> = Arc::from("fuzz.policy.yaml");
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(tree) = read(&name, text) else {
        return;
    };
    assert!(normal(&tree) == tree, "read otherwise than written");
    let printed = print(&tree, None);
    let again = parse(&name, &printed).unwrap_or_else(|problems| panic!("{problems:?}\n{printed}"));
    assert!(again == tree, "another tree:\n{printed}");
    // A repeated part of a clause or a very long name is all that cannot be written.
    let Ok(written) = write(&tree) else {
        return;
    };
    let again = read(&name, &written).unwrap_or_else(|problems| panic!("{problems:?}\n{written}"));
    assert!(again == tree, "another tree:\n{written}");
    assert_eq!(write(&again).ok().as_deref(), Some(&*written));
});
