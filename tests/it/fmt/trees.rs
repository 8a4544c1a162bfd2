//! Arbitrary trees: every production of the language, with names and strings that are odd but allowed.

use std::sync::Arc;

use cambist::diagnostic::Span;
use cambist::policy::syntax::ast::{
    ActorForm, At, Claim, Clause, Condition, Day, Def, Duration, Expectation, Field, File,
    GivenValue, Import, Issued, IssuerRef, Item, ItemKind, ListDef, Literal, MatchKind, Matcher,
    Operand, Operator, Parameter, Proof, Quantifier, Rule, Spanned, Strings, Target, TargetsForm,
    Test, Text, Unit, Value,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn nowhere() -> Span {
    Span::new(&Arc::from("t"), 0..0)
}

fn at() -> At {
    At(nowhere())
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned {
        value,
        span: nowhere(),
    }
}

fn text(of: impl Strategy<Value = String>) -> impl Strategy<Value = Text> {
    of.prop_map(|text| spanned(Arc::from(text)))
}

/// Among them words of the language and of YAML.
fn name() -> BoxedStrategy<String> {
    let odd = [
        "_", "a-", "a--b", "null", "true-", "no", "y", "on", "from", "when", "rule", "corp",
        "mint", "id_token", "named", "may_act", "policy", "client", "issuer", "any", "target",
        "all", "never", "prove",
    ];
    prop_oneof![
        "[a-z_][a-zA-Z0-9_-]{0,12}",
        select(odd.to_vec()).prop_map(str::to_owned)
    ]
    .boxed()
}

/// A name that begins nothing else where a condition or a code may stand.
fn free_name() -> BoxedStrategy<String> {
    "x[a-zA-Z0-9_-]{0,12}".boxed()
}

fn list_name() -> BoxedStrategy<String> {
    name().prop_map(|name| format!("@{name}")).boxed()
}

fn path() -> BoxedStrategy<String> {
    let known = [
        "scope",
        "subject.scope",
        "client.id",
        "subject.claims.any",
        "it.issuer",
        "requested",
        "actor.sub",
        "time.zone",
    ];
    prop_oneof![
        "x[a-zA-Z0-9_]{0,5}(\\.[a-z_][a-z0-9_]{0,5}){0,3}",
        select(known.to_vec()).prop_map(str::to_owned)
    ]
    .boxed()
}

fn string() -> BoxedStrategy<String> {
    let odd = [
        "",
        " ",
        "\t",
        "#",
        "a # b",
        "\"",
        "\\",
        "\\\"",
        "'",
        "''",
        ": ",
        "a: b",
        "- a",
        "@x",
        "@",
        "~",
        "null",
        "true",
        "no",
        "1e3",
        "0777",
        "*x",
        "&x",
        "!x",
        "%",
        "|",
        ">",
        "?",
        "? a",
        "[",
        "]",
        "{",
        "}",
        ",",
        "<<",
        "---",
        "...",
        "${subject.sub}",
        "é",
        "🦀",
        "\u{a0}",
        "\u{fffd}",
        "\u{e000}",
        " a ",
        "a  b",
        "admin:**",
        "https://a.example/b?c=d",
        "## x",
        "`",
        "any client",
    ];
    prop_oneof![
        3 => "[a-z:/ .*]{0,12}",
        2 => select(odd.to_vec()).prop_map(str::to_owned),
        1 => "[ -~\t\u{a1}-\u{1ff}]{0,60}",
    ]
    .boxed()
}

/// Lines without white space at their ends.
fn doc() -> BoxedStrategy<Option<Arc<str>>> {
    let line = prop_oneof![
        string().prop_map(|line| line.trim_end().to_owned()),
        Just("  x".to_owned())
    ];
    option::weighted(0.4, vec(line, 1..4))
        .prop_map(|lines| lines.map(|lines| Arc::from(lines.join("\n"))))
        .boxed()
}

fn duration() -> impl Strategy<Value = Duration> {
    let unit = select(&[Unit::Second, Unit::Minute, Unit::Hour, Unit::Day][..]);
    (0..100_000_i64, unit).prop_map(|(count, unit)| Duration {
        seconds: count * unit.parts().1,
        unit,
    })
}

fn instant() -> impl Strategy<Value = Literal> {
    let known = [
        "2026-12-01T00:00:00Z",
        "2026-12-01T08:00:00+02:00",
        "1969-07-20t20:17:40z",
        "2026-12-01T00:00:00.25Z",
    ];
    select(known.to_vec()).prop_map(|text| {
        let at: jiff::Timestamp = text.parse().unwrap();
        Literal::Instant(at.as_second(), Arc::from(text))
    })
}

fn literal() -> BoxedStrategy<Literal> {
    prop_oneof![
        4 => string().prop_map(|text| Literal::String(Arc::from(text))),
        1 => any::<i64>().prop_map(Literal::Int),
        1 => any::<bool>().prop_map(Literal::Bool),
        1 => duration().prop_map(Literal::Duration),
        1 => instant(),
    ]
    .boxed()
}

fn literals() -> BoxedStrategy<Vec<Spanned<Literal>>> {
    vec(literal().prop_map(spanned), 0..6).boxed()
}

fn operator() -> impl Strategy<Value = Spanned<Operator>> {
    let all = [
        Operator::Equal,
        Operator::NotEqual,
        Operator::In,
        Operator::NotIn,
        Operator::Like,
        Operator::NotLike,
        Operator::Under,
        Operator::Has,
        Operator::HasAnyOf,
        Operator::HasAllOf,
        Operator::Only,
        Operator::Less,
        Operator::AtMost,
        Operator::Greater,
        Operator::AtLeast,
    ];
    select(all.to_vec()).prop_map(spanned)
}

fn operand() -> BoxedStrategy<Operand> {
    prop_oneof![
        literals().prop_map(|members| Operand::List(members, at())),
        text(list_name()).prop_map(Operand::ListName),
        literal().prop_map(|it| Operand::Literal(spanned(it))),
        (text(path()), option::of(literal().prop_map(spanned)))
            .prop_map(|(path, default)| Operand::Path(path, default)),
    ]
    .boxed()
}

fn quantifier() -> impl Strategy<Value = Quantifier> {
    select(&[Quantifier::Any, Quantifier::All, Quantifier::None][..])
}

fn leaf() -> BoxedStrategy<Condition> {
    let day = || select(&Day::ALL[..]);
    let clock = || 0..=1440_u16;
    prop_oneof![
        (any::<bool>(), text(path())).prop_map(|(present, path)| Condition::Presence {
            present,
            path,
            span: at()
        }),
        (operand(), operator(), operand()).prop_map(|(left, operator, right)| {
            Condition::Comparison {
                left,
                operator,
                right,
                span: at(),
            }
        }),
        // `not` before these would be another operator.
        (select(&["in", "like", "in.x"][..]), operator()).prop_map(|(path, operator)| {
            Condition::Comparison {
                left: Operand::Path(spanned(Arc::from(path)), None),
                operator,
                right: Operand::ListName(spanned(Arc::from("@a"))),
                span: at(),
            }
        }),
        text(path()).prop_map(|path| Condition::Empty { path, span: at() }),
        (text(path()), operator(), any::<i64>()).prop_map(|(path, operator, number)| {
            Condition::Count {
                path,
                operator,
                number: spanned(number),
                span: at(),
            }
        }),
        (quantifier(), text(path()), operator(), operand()).prop_map(
            |(quantifier, path, operator, right)| Condition::Quantified {
                quantifier,
                path,
                operator,
                right,
                span: at(),
            }
        ),
        (
            text(string()),
            vec((day(), day()).prop_map(spanned), 0..3),
            option::of((clock(), clock()).prop_map(spanned))
        )
            .prop_map(|(zone, days, hours)| Condition::Time {
                zone,
                days,
                hours,
                span: at(),
            }),
        text(free_name()).prop_map(Condition::Reference),
    ]
    .boxed()
}

fn condition() -> BoxedStrategy<Condition> {
    leaf()
        .prop_recursive(4, 16, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 2..5).prop_map(Condition::And),
                vec(inner.clone(), 2..5).prop_map(Condition::Or),
                inner.clone().prop_map(|it| Condition::Not(Box::new(it))),
                (quantifier(), text(path()), inner).prop_map(|(quantifier, path, condition)| {
                    Condition::Where {
                        quantifier,
                        path,
                        condition: Box::new(condition),
                        span: at(),
                    }
                }),
            ]
        })
        .boxed()
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let kind = select(&[MatchKind::Equal, MatchKind::Under, MatchKind::Like][..]);
    let strings = prop_oneof![
        vec(text(string()), 1..5).prop_map(Strings::Written),
        text(list_name()).prop_map(Strings::List),
    ];
    (kind, strings).prop_map(|(kind, strings)| Matcher { kind, strings })
}

fn targets() -> impl Strategy<Value = TargetsForm> {
    let target = |resource| {
        matcher().prop_map(move |matcher| Target {
            resource,
            matcher,
            span: at(),
        })
    };
    let parts = prop_oneof![
        target(true).prop_map(|it| vec![it]),
        target(false).prop_map(|it| vec![it]),
        (target(true), target(false)).prop_map(|(a, b)| vec![a, b]),
        (target(false), target(true)).prop_map(|(a, b)| vec![a, b]),
    ];
    prop_oneof![
        Just(TargetsForm::Any),
        Just(TargetsForm::None),
        parts.prop_map(TargetsForm::Parts)
    ]
}

fn value() -> BoxedStrategy<Value> {
    prop_oneof![
        duration().prop_map(Value::AtMost),
        literals().prop_map(Value::List),
        list_name().prop_map(|name| Value::ListName(Arc::from(name))),
        literal().prop_map(Value::Literal),
        path().prop_map(|path| Value::Path(Arc::from(path))),
    ]
    .prop_recursive(2, 6, 3, |inner| parameters(inner).prop_map(Value::Map))
    .boxed()
}

fn parameters(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<Parameter>> {
    let name = text(prop_oneof![name(), string()]);
    let beyond = option::weighted(0.2, Just(())).prop_map(|it| it.map(|()| at()));
    let parameter = (name, vec(value.prop_map(spanned), 1..3), beyond);
    vec(parameter, 0..4).prop_map(|parameters| {
        let mut seen = std::collections::HashSet::new();
        let parameters = parameters
            .into_iter()
            .map(|(name, values, beyond)| Parameter {
                name,
                values,
                beyond,
            });
        parameters
            .filter(|it| seen.insert(it.name.clone().value) && &*it.name.value != "<<")
            .collect()
    })
}

fn clause() -> BoxedStrategy<Clause> {
    let token_type = || text(prop_oneof![name(), string()]);
    let issuer = (text(name()), option::weighted(0.3, token_type()))
        .prop_map(|(alias, token_type)| IssuerRef { alias, token_type });
    let word = text(select(&["named", "required", "optional"][..]).prop_map(str::to_owned));
    let form = prop_oneof![
        Just(ActorForm::None),
        Just(ActorForm::Client),
        (word, vec(text(name()), 1..4)).prop_map(|(word, from)| ActorForm::Token(word, from)),
    ];
    prop_oneof![
        1 => option::weighted(0.8, vec(issuer, 1..4)).prop_map(Clause::From),
        1 => option::weighted(0.8, matcher()).prop_map(Clause::By),
        1 => vec(targets(), 1..4).prop_map(Clause::To),
        1 => (form, any::<bool>()).prop_map(|(form, ignored)| Clause::Actor {
            form,
            may_act_ignored: ignored.then(at),
        }),
        1 => text(name()).prop_map(Clause::Via),
        1 => token_type().prop_map(Clause::Issue),
        3 => condition().prop_map(Clause::When),
        2 => (text(name()), parameters(value())).prop_map(|(processor, parameters)| Clause::Use {
            processor,
            parameters
        }),
        1 => vec(text(rule_name()), 1..4).prop_map(Clause::Overrides),
        1 => text(string()).prop_map(Clause::Because),
        1 => text(string()).prop_map(Clause::Tell),
        1 => text(name()).prop_map(Clause::Error),
    ]
    .boxed()
}

fn given() -> BoxedStrategy<GivenValue> {
    prop_oneof![
        literal().prop_map(GivenValue::Literal),
        literals().prop_map(GivenValue::List),
        free_name().prop_map(|word| GivenValue::Word(Arc::from(word))),
    ]
    .prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            fields(prop_oneof![name(), string()].boxed(), inner.clone())
                .prop_map(GivenValue::Fields),
            (
                text(free_name()),
                fields(prop_oneof![name(), string()].boxed(), inner)
            )
                .prop_map(|(issuer, fields)| GivenValue::Party(issuer, fields)),
        ]
    })
    .boxed()
}

fn fields(
    name: BoxedStrategy<String>,
    value: impl Strategy<Value = GivenValue>,
) -> impl Strategy<Value = Vec<Field>> {
    vec((text(name), value.prop_map(spanned)), 0..4).prop_map(|fields| {
        let mut seen = std::collections::HashSet::new();
        let fields = fields
            .into_iter()
            .map(|(name, value)| Field { name, value });
        fields
            .filter(|it| seen.insert(it.name.clone().value) && &*it.name.value != "<<")
            .collect()
    })
}

fn test() -> impl Strategy<Value = Test> {
    let by = || option::of(text(name()));
    let names = || prop_oneof![name(), string()].boxed();
    let expect = prop_oneof![
        (text(name()), by(), fields(names(), given())).prop_map(|(processor, by, fields)| {
            Expectation::Use {
                processor,
                by,
                fields,
            }
        }),
        (option::of(text(free_name())), by())
            .prop_map(|(code, by)| Expectation::Refuse { code, by }),
    ];
    (text(string()), fields(path(), given()), expect, doc()).prop_map(
        |(name, given, expect, doc)| Test {
            name,
            given,
            expect: spanned(expect),
            doc,
            span: at(),
        },
    )
}

fn rule_name() -> BoxedStrategy<String> {
    prop_oneof![
        name(),
        (name(), name()).prop_map(|(module, rule)| format!("{module}.{rule}"))
    ]
    .boxed()
}

fn claim() -> impl Strategy<Value = Claim> {
    // The words that may follow a claim name no processor in one.
    let used = || {
        let odd = ["use", "all", "prove", "scope", "issue"];
        let odd = select(odd.to_vec()).prop_map(str::to_owned);
        option::of(text(prop_oneof![free_name(), odd]))
    };
    let issued = select(&[Issued::Scope, Issued::Audience, Issued::Lifetime][..]);
    let rules = || vec(text(rule_name()), 1..4);
    let all = |names: &Vec<Text>| names.len() == 1 && &*names[0].value == "all";
    prop_oneof![
        (used(), option::of(condition()))
            .prop_map(|(processor, when)| Claim::NeverUse { processor, when }),
        (used(), condition()).prop_map(|(processor, when)| Claim::AlwaysUse { processor, when }),
        (
            issued.prop_map(spanned),
            operator(),
            operand(),
            option::of(condition())
        )
            .prop_map(|(what, operator, right, when)| Claim::NeverIssue {
                what,
                operator,
                right,
                when
            }),
        rules().prop_map(Claim::Disjoint),
        rules().prop_map(move |names| Claim::Reachable((!all(&names)).then_some(names))),
    ]
}

fn proof() -> impl Strategy<Value = Proof> {
    (text(string()), vec(claim().prop_map(spanned), 0..4), doc()).prop_map(|(name, claims, doc)| {
        Proof {
            name,
            claims,
            doc,
            span: at(),
        }
    })
}

fn item() -> impl Strategy<Value = Item> {
    let list = (text(list_name()), text(name()), literals(), doc()).prop_map(
        |(name, ty, members, doc)| {
            Item::List(ListDef {
                name,
                ty,
                members,
                doc,
                span: at(),
            })
        },
    );
    let def = (text(free_name()), condition(), doc()).prop_map(|(name, condition, doc)| {
        Item::Def(Def {
            name,
            condition,
            doc,
            span: at(),
        })
    });
    let kind = select(&[ItemKind::Rule, ItemKind::Deny][..]);
    let rule = (
        kind,
        text(name()),
        vec(clause().prop_map(spanned), 0..8),
        doc(),
    );
    let rule = rule.prop_map(|(kind, name, clauses, doc)| {
        Item::Rule(Rule {
            kind,
            name,
            clauses,
            doc,
            span: at(),
        })
    });
    prop_oneof![1 => list, 1 => def, 3 => rule, 1 => test().prop_map(Item::Test), 1 => proof().prop_map(Item::Proof)]
}

/// A file; rules may say a clause twice, and two items may have one name.
pub fn file() -> impl Strategy<Value = File> {
    let import = (
        vec(text(prop_oneof![name(), list_name()]), 1..4),
        text(name()),
    )
        .prop_map(|(names, module)| Import {
            names,
            module,
            span: at(),
        });
    (text(name()), vec(import, 0..3), vec(item(), 0..6)).prop_map(|(module, imports, items)| File {
        module,
        imports,
        items,
        comments: Vec::new(),
    })
}
