//! Two decisions on one request: what is a change, and what widens.

use cambist::policy::compare::{Change, Side, compare};

use super::cases::{context, load};

/// What becomes of a request when the text of a policy is replaced by another.
fn change(old: &str, new: &str, request: &str) -> Option<Change> {
    let set = |text: &str| {
        let text = format!("policy 1 module t\n{text}");
        let (checked, _) = load(&[("t.policy".to_owned(), text)]);
        checked.unwrap_or_else(|problems| panic!("{problems:?}")).0
    };
    let (old, new) = (set(old), set(new));
    let context = context(request).unwrap();
    let name = |id: &cambist::oauth::id::ProcessorId| id.to_string();
    let change = compare(&old, &new, &context, &context, name, name);
    // Nothing changes where nothing changed, and a change has its contrary.
    assert_eq!(compare(&old, &old, &context, &context, name, name), None);
    let back = compare(&new, &old, &context, &context, name, name);
    assert_eq!(
        back.map(|back| (back.before, back.after)),
        change.clone().map(|change| (change.after, change.before))
    );
    change
}

fn rule(rest: &str) -> String {
    format!("rule a {{ from corp by client \"orders-api\" to audience [\"x\", \"y\"] {rest} }}")
}

const REQUEST: &str = r#"{
  "client.id": "orders-api", "subject.issuer": "corp", "subject.sub": "alice", "audience": ["x"],
  "subject.scope": ["a", "b"]
}"#;

/// Old clauses, new clauses, the kind of change, what differs; `+` before what widens.
#[test]
fn what_widens_and_what_does_not() {
    let cases = [
        ("use mint", "use mint", "", ""),
        // A name, and conditions that hold, are nobody's business.
        ("use mint", "when scope has \"a\" use mint", "", ""),
        ("when scope has \"c\" use mint", "use mint", "+opened", ""),
        ("use mint", "when scope has \"c\" use mint", "closed", ""),
        ("use mint", "use bare", "+processor", "scope"),
        ("use bare", "use mint", "+processor", "+scope"),
        (
            "use mint { scope: [\"a\"] }",
            "use mint { scope: [\"a\", \"b\"] }",
            "+bounds",
            "+scope",
        ),
        (
            "use mint { scope: [\"a\", \"b\"] }",
            "use mint { scope: [\"a\"] }",
            "bounds",
            "scope",
        ),
        (
            "use mint { scope: [\"a\"] }",
            "use mint { scope: [\"b\"] }",
            "+bounds",
            "+scope",
        ),
        ("use mint { audience: \"x\" }", "use mint", "", ""),
        (
            "use mint",
            "use mint { audience: \"y\" }",
            "+bounds",
            "+audience",
        ),
        (
            "use mint { lifetime: 60s }",
            "use mint { lifetime: 61s }",
            "+bounds",
            "+lifetime",
        ),
        (
            "use mint { lifetime: 61s }",
            "use mint { lifetime: 60s }",
            "bounds",
            "lifetime",
        ),
        (
            "use mint",
            "use mint { sub: \"c:${subject.sub}\" }",
            "+bounds",
            "+sub",
        ),
        (
            "issue access_token use mint",
            "issue jwt use mint",
            "closed",
            "",
        ),
        (
            "use mint { note: \"a\" }",
            "use mint { note: \"b\" }",
            "+bounds",
            "+note",
        ),
        ("use mint", "use mint { note: \"b\" }", "+bounds", "+note"),
        // What a claim is good for, others know: one that is gone may open something as well.
        ("use mint { note: \"b\" }", "use mint", "+bounds", "+note"),
        (
            "use mint { claims: { r: \"x\" } }",
            "use mint { claims: { r: \"y\" } }",
            "+bounds",
            "+claims",
        ),
        (
            "actor client use mint",
            "actor client use mint { act: dropped }",
            "+bounds",
            "+act",
        ),
        (
            "actor client use mint { act: dropped }",
            "actor client use mint",
            "bounds",
            "act",
        ),
        (
            "use mint { scope: requested & [\"a\", \"b\"] }",
            "use mint { scope: requested & [\"a\", \"b\"] beyond subject }",
            "+bounds",
            "+beyond_subject",
        ),
    ];
    for (old, new, kind, differences) in cases {
        let found = change(&rule(old), &rule(new), REQUEST);
        let sign = |widens| if widens { "+" } else { "" };
        let told = found.map_or((String::new(), String::new()), |change| {
            let differ = change.differences.iter();
            let differ: Vec<String> = differ
                .map(|one| format!("{}{}", sign(one.widens), one.what))
                .collect();
            let kind = format!("{}{}", sign(change.widens), change.kind.name());
            assert_eq!(change.witness["subject.sub"], "alice");
            (kind, differ.join(" "))
        });
        assert_eq!((&*told.0, &*told.1), (kind, differences), "{old} → {new}");
    }
}

/// A refusal changes where its code does, whoever refuses.
#[test]
fn refusals_differ_by_what_the_client_is_told() {
    let refused = |deny: &str| format!("{}\n{deny}", rule("use mint"));
    let (one, other) = (
        refused("deny b { error invalid_target when audience has \"x\" }"),
        refused("deny c { error invalid_target when audience has \"x\" or scope has \"a\" }"),
    );
    assert_eq!(change(&one, &other, REQUEST), None);
    let other = refused("deny b { error invalid_scope when scope has \"a\" }");
    let change = change(&one, &other, REQUEST).unwrap();
    assert_eq!((change.kind.name(), change.widens), ("code", false));
    let Side::Refused(refusal) = &change.after else {
        panic!("{change:?}");
    };
    assert_eq!(refusal.rules, ["t.b"]);
}

/// An actor that stood there and stands there no more could act unseen.
#[test]
fn a_may_act_that_is_handed_on_is_leave_to_act() {
    let request = r#"{
      "client.id": "orders-api", "subject.issuer": "corp", "subject.sub": "alice", "audience": ["x"],
      "subject.may_act": { "client_id": "orders-api" }
    }"#;
    let written = rule("actor client use mint");
    let dropped = rule("actor client use mint { act: dropped }");
    let change = change(&written, &dropped, request).unwrap();
    let differ: Vec<(&str, bool)> = change
        .differences
        .iter()
        .map(|one| (&*one.what, one.widens))
        .collect();
    assert_eq!(differ, [("act", true), ("may_act", true)]);
}
