//! Who acts for whom: actor tokens, `may_act`, chains (RFC 8693 §4.1, §4.4).

use cambist::jose::Algorithm;
use serde_json::{Value, json};

use crate::support::{
    ACCESS_TOKEN, Answer, EXCHANGE, Gateway, Idp, JWT, NOW, REALM, SECRET, basic, claims, with,
};

/// The forms of `actor`, each a resource of its own.
const FORMS: [(&str, &str); 8] = [
    ("silent", ""),
    ("none", "actor none"),
    ("client", "actor client"),
    ("named", "actor named from agents, partner"),
    ("required", "actor required from agents, partner"),
    ("optional", "actor optional from agents, partner, idp"),
    ("dropped", "actor client"),
    (
        "ignored",
        "actor required from agents, partner, may_act ignored",
    ),
];

/// How each of its clients authenticates: with [`SECRET`].
const AUTH: &str = "{ client_secret_basic: { secret_sha256: \"sha256:XnHNtf3KpOeX0YZPj1WTCg:a_aTD8TXePldgb0ZgPpMUeQKI2P6j9uT4kDbdwlQl4E\" } }";

/// A gateway whose issuer `idp` may mean parties of `agents` in its `may_act`, but not of `partner`.
pub struct Court {
    pub gateway: Gateway,
    pub idp: Idp,
    pub agents: Idp,
    pub partner: Idp,
}

impl Court {
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// With further keys of the root file.
    async fn with(more: &str) -> Self {
        let idp = Idp::new("https://idp.example.com", Algorithm::ES256);
        let agents = Idp::new("https://agents.example.com", Algorithm::ES256);
        let partner = Idp::new("https://partner.example.com", Algorithm::EdDSA);
        let yaml = REALM
            .replace("OP", "127.0.0.1:1")
            .replace(
                "subjects: local }",
                "subjects: local, may_act_namespace: [agents], act_namespace: [agents] }\n  \
                 agents: { issuer: https://agents.example.com, jwks_file: agents.json, audience: client, scope: claim }",
            );
        // A client for each form, so that a refusal is about that form's rule alone.
        let client = |(name, _): &(&str, &str)| {
            format!(
                "  {name}: {{ identifiers: [\"https://{name}.client.example\"], auth: {AUTH} }}\n"
            )
        };
        let clients: String = FORMS.iter().map(client).collect();
        // What the next hop's client is addressed by.
        let next = |(name, _): &(&str, &str)| {
            format!(
                "  {name}: {{ under: https://named.example.com/next-{name}, audience: {name} }}\n"
            )
        };
        let resources: String = FORMS.iter().map(next).collect();
        let yaml = yaml
            .replace("clients:\n", &format!("clients:\n{clients}"))
            .replace("resources:\n", &format!("resources:\n{resources}"));
        let mut rules = "policy 1 module main\n".to_owned();
        for (name, actor) in FORMS {
            let dropped = if name == "dropped" {
                ", act: dropped"
            } else {
                ""
            };
            rules.push_str(&format!(
                "rule {name} {{\n  from idp, self\n  by client \"{name}\"\n  \
                 to resource under \"https://{name}.example.com\"\n  {actor}\n  \
                 use mint {{ scope: requested & subject.scope{dropped} }}\n}}\n"
            ));
        }
        let (one, two, three) = (idp.jwks(), agents.jwks(), partner.jwks());
        let files = [
            ("idp.json", &*one),
            ("agents.json", &*two),
            ("partner.json", &*three),
            ("op.secret", "secret-for-the-introspection-endpoint"),
        ];
        let gateway = Gateway::start(&format!("{more}{yaml}"), &rules, &files).await;
        Self {
            gateway,
            idp,
            agents,
            partner,
        }
    }

    pub async fn trade(&self, form: &str, subject: &str, actor: Option<&str>) -> Answer {
        self.trade_at(form, "api", subject, actor).await
    }

    pub async fn trade_at(
        &self,
        form: &str,
        path: &str,
        subject: &str,
        actor: Option<&str>,
    ) -> Answer {
        let resource = format!("https://{form}.example.com/{path}");
        let mut parameters = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("resource", &resource),
        ];
        if let Some(actor) = actor {
            parameters.push(("actor_token", actor));
            parameters.push(("actor_token_type", ACCESS_TOKEN));
        }
        self.post(form, &parameters).await
    }

    /// A request of the client that goes with a form.
    pub async fn post(&self, form: &str, parameters: &[(&str, &str)]) -> Answer {
        self.gateway
            .post(Some(&basic(form, SECRET)), parameters)
            .await
    }

    /// A subject token for the client that goes with a form.
    pub fn subject(&self, form: &str, changes: &Value) -> String {
        self.idp
            .token(&claims(with(&json!({ "aud": form }), changes)))
    }

    /// An actor token for that client.
    pub fn actor(&self, form: &str, changes: &Value) -> String {
        let bot = json!({ "sub": "bot", "aud": form, "jti": "actor-token" });
        self.agents.token(&claims(with(&bot, changes)))
    }

    /// The claims of what was issued.
    pub async fn opened(&self, what: &str, answer: &Answer) -> Value {
        self.gateway.issued(what, answer).await
    }

    /// Refused for this reason.
    pub fn refused(&self, what: &str, answer: &Answer, error: &str, reason: &str) {
        let record = self.gateway.last();
        assert_eq!(
            (answer.error().as_str(), &record["reason"]),
            (error, &json!(reason)),
            "{what}: {answer:?} {record:#}"
        );
        assert!(!answer.body.contains("access_token"), "{what}");
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Actor {
    No,
    Right,
    Wrong,
    ForeignNamesake,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum MayAct {
    No,
    /// Names the agent.
    Agent,
    /// Names the client.
    Client,
    /// Names somebody else.
    Other,
    Malformed,
}

/// What must come of one cell.
#[derive(PartialEq, Debug)]
enum Want {
    /// Issued; who is written down as acting now, and whether `may_act` is carried on.
    Issued(Option<Value>, bool),
    /// Refused for this reason.
    Refused(&'static str),
}

/// The rules of the language, said once more by hand: whoever changes the evaluator changes this too.
fn want(form: &str, actor: Actor, may_act: MayAct, depth: usize) -> Want {
    let agent = json!({ "iss": "https://agents.example.com", "sub": "bot" });
    let other = json!({ "iss": "https://agents.example.com", "sub": "other-bot" });
    let namesake = json!({ "iss": "https://partner.example.com", "sub": "bot" });
    let client = json!({ "iss": "https://as.example.com", "client_id": form });
    if may_act == MayAct::Malformed {
        return Want::Refused("claim_invalid");
    }
    let acting = match actor {
        Actor::No => client,
        Actor::Right => agent,
        Actor::Wrong => other,
        Actor::ForeignNamesake => namesake,
    };
    let named = match (may_act, actor) {
        (MayAct::No, _) => None,
        (MayAct::Agent, Actor::Right) | (MayAct::Client, Actor::No) => Some(true),
        _ => Some(false),
    };
    let brought = actor != Actor::No;
    let (lets_in, writes) = match form {
        "silent" | "none" => (!brought && depth == 0 && named.is_none(), false),
        "client" => (!brought && named != Some(false), true),
        "dropped" => (!brought && named != Some(false), false),
        "named" => (brought && named == Some(true), true),
        "required" => (brought && named != Some(false), true),
        "optional" => (named != Some(false), true),
        "ignored" => (brought, true),
        other => panic!("{other}"),
    };
    if !lets_in {
        return Want::Refused("no_rule_for_actor");
    }
    if writes && depth == 8 {
        return Want::Refused("chain_too_long");
    }
    let carried = !writes && named.is_some();
    Want::Issued(writes.then_some(acting), carried)
}

/// `act` with this many actors, as `idp` writes it: the outermost says its issuer, the others do not.
fn chain(depth: usize) -> Option<Value> {
    (1..=depth).rev().fold(None, |within, number| {
        let mut hop = json!({ "sub": format!("actor-{number}"), "exp": 1, "aud": "x" });
        if number == 1 {
            hop["iss"] = json!("https://agents.example.com");
        }
        if let Some(within) = within {
            hop["act"] = within;
        }
        Some(hop)
    })
}

/// The same as it is carried on: `iss` always, and nothing that does not identify.
fn carried(depth: usize) -> Option<Value> {
    (1..=depth).rev().fold(None, |within, number| {
        let iss = match number {
            1 => "https://agents.example.com",
            _ => "https://idp.example.com",
        };
        let mut hop = json!({ "iss": iss, "sub": format!("actor-{number}") });
        if let Some(within) = within {
            hop["act"] = within;
        }
        Some(hop)
    })
}

/// A1, rules 30–33: every actor × every `may_act` × chains of 0, 1, 3 and 8 actors × every form of header.
#[tokio::test]
async fn a1_rules_30_to_33_the_matrix_of_delegation() {
    let court = Court::start().await;
    let (mut issued, mut refused) = (0, 0);
    for (form, _) in FORMS {
        for actor in [
            Actor::No,
            Actor::Right,
            Actor::Wrong,
            Actor::ForeignNamesake,
        ] {
            let token = match actor {
                Actor::No => None,
                Actor::Right => Some((&court.agents, "bot", form)),
                Actor::Wrong => Some((&court.agents, "other-bot", form)),
                Actor::ForeignNamesake => Some((&court.partner, "bot", "https://as.example.com")),
            };
            let token = token.map(|(issuer, sub, aud)| {
                issuer.token(&claims(
                    json!({ "sub": sub, "aud": aud, "jti": "actor-token" }),
                ))
            });
            for may_act in [
                MayAct::No,
                MayAct::Agent,
                MayAct::Client,
                MayAct::Other,
                MayAct::Malformed,
            ] {
                let said = match may_act {
                    MayAct::No => None,
                    // Without `iss`: it is `may_act_namespace` that lets it mean `agents`.
                    MayAct::Agent => Some(json!({ "sub": "bot" })),
                    MayAct::Client => Some(json!({ "client_id": form })),
                    MayAct::Other => Some(json!({ "sub": "somebody", "client_id": form })),
                    MayAct::Malformed => Some(json!({ "sub": "bot", "unknown": "member" })),
                };
                for depth in [0, 1, 3, 8] {
                    let what = format!("{form} {actor:?} {may_act:?} {depth}");
                    let mut changes = json!({});
                    if let Some(act) = chain(depth) {
                        changes["act"] = act;
                    }
                    if let Some(said) = &said {
                        changes["may_act"] = said.clone();
                    }
                    let subject = court.subject(form, &changes);
                    let answer = court.trade(form, &subject, token.as_deref()).await;
                    match want(form, actor, may_act, depth) {
                        Want::Refused(reason) => {
                            court.refused(&what, &answer, "invalid_request", reason);
                            refused += 1;
                        }
                        Want::Issued(acting, keeps) => {
                            let claims = court.opened(&what, &answer).await;
                            let act = match (acting, carried(depth)) {
                                (None, before) => before,
                                (Some(mut acting), before) => {
                                    if let Some(before) = before {
                                        acting["act"] = before;
                                    }
                                    Some(acting)
                                }
                            };
                            assert_eq!(claims.get("act"), act.as_ref(), "{what}");
                            assert_eq!(claims["sub"], "alice", "{what}");
                            assert_eq!(
                                claims.get("may_act"),
                                said.as_ref().filter(|_| keeps),
                                "{what}"
                            );
                            issued += 1;
                        }
                    }
                }
            }
        }
    }
    println!("delegation: {issued} issued, {refused} refused");
    assert_eq!(issued + refused, 8 * 4 * 5 * 4);
    assert_eq!(issued, 85);
}

/// Rule 34: the actor token is verified like a subject token, by its own declared type.
#[tokio::test]
async fn rule_34_an_actor_token_is_verified_in_full() {
    let court = Court::start().await;
    let subject = court.subject("required", &json!({}));
    let actor = |changes: Value| court.actor("required", &changes);
    let good = court
        .trade("required", &subject, Some(&actor(json!({}))))
        .await;
    court.opened("good", &good).await;
    for (what, token, reason) in [
        ("expired", actor(json!({ "exp": NOW })), "token_expired"),
        (
            "not yet",
            actor(json!({ "nbf": NOW + 31 })),
            "token_not_yet_valid",
        ),
        (
            "for another client",
            actor(json!({ "aud": "agent-9" })),
            "audience_wrong",
        ),
        ("no aud", actor(json!({ "aud": null })), "claim_invalid"),
        ("no sub", actor(json!({ "sub": null })), "claim_invalid"),
        (
            "an actor of an actor",
            actor(json!({ "act": { "sub": "x" } })),
            "token_has_act",
        ),
        (
            "leave to act for the actor",
            actor(json!({ "may_act": { "sub": "x" } })),
            "token_has_may_act",
        ),
        (
            "bound",
            actor(json!({ "cnf": { "jkt": "x" } })),
            "token_has_cnf",
        ),
        ("an event", actor(json!({ "events": {} })), "token_is_event"),
        (
            "an ID token",
            actor(json!({ "nonce": "x", "typ": "ID" })),
            "token_of_other_kind",
        ),
        (
            "of an issuer that nobody knows",
            court
                .agents
                .token(&claims(json!({ "iss": "https://evil.example" }))),
            "issuer_unknown",
        ),
        (
            "signed by another issuer",
            court
                .partner
                .token(&claims(json!({ "iss": "https://agents.example.com" }))),
            "kid_unknown",
        ),
        (
            "a logout token",
            court.agents.typed("logout+jwt", &claims(json!({}))),
            "typ_wrong",
        ),
    ] {
        let answer = court.trade("required", &subject, Some(&token)).await;
        let record = court.gateway.last();
        assert_eq!(answer.error(), "invalid_request", "{what}: {answer:?}");
        let text = answer.json()["error_description"].to_string();
        assert!(text.contains("actor_token: "), "{what}: {text}");
        assert_eq!(record["reason"], reason, "{what}: {record:#}");
        assert_eq!(record["subject"]["sub"], "alice", "{what}");
        assert!(record["actor"]["token_sha256"].is_string(), "{what}");
    }
}

/// Rule 17: type and token come together.
#[tokio::test]
async fn rule_17_actor_token_and_its_type_come_together() {
    let court = Court::start().await;
    let subject = court.subject("optional", &json!({}));
    let actor = court.actor("optional", &json!({}));
    let base = [
        ("grant_type", EXCHANGE),
        ("subject_token", &*subject),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", "https://optional.example.com/api"),
    ];
    for extra in [
        [("actor_token", &*actor)].as_slice(),
        &[("actor_token_type", ACCESS_TOKEN)],
        &[("actor_token", &*actor), ("actor_token_type", "")],
        &[("actor_token", ""), ("actor_token_type", ACCESS_TOKEN)],
        &[
            ("actor_token", &*actor),
            ("actor_token_type", "access_token"),
        ],
        &[
            ("actor_token", &*actor),
            ("actor_token", &*actor),
            ("actor_token_type", ACCESS_TOKEN),
        ],
    ] {
        let parameters = [base.as_slice(), extra].concat();
        let answer = court.post("optional", &parameters).await;
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (400, "invalid_request"),
            "{extra:?}"
        );
    }
    // Both empty is neither.
    let empty = [("actor_token", ""), ("actor_token_type", "")];
    let answer = court
        .post("optional", &[base.as_slice(), &empty].concat())
        .await;
    court.opened("neither", &answer).await;
    // By its declared type.
    let typed = [("actor_token", &*actor), ("actor_token_type", JWT)];
    let answer = court
        .post("optional", &[base.as_slice(), &typed].concat())
        .await;
    court.opened("as jwt", &answer).await;
    assert_eq!(court.gateway.last()["asked"]["actor_token_type"], "jwt");
}

/// Rule 35: the actor's end is the token's end too.
#[tokio::test]
async fn rule_35_lifetime_ends_with_the_actor_token() {
    let court = Court::start().await;
    let subject = court.subject("required", &json!({}));
    for (left, lifetime) in [(600, 60), (59, 59), (1, 1)] {
        let actor = court.actor("required", &json!({ "exp": NOW + left }));
        let answer = court.trade("required", &subject, Some(&actor)).await;
        let claims = court.opened("bounded", &answer).await;
        assert_eq!(claims["exp"], NOW + lifetime);
    }
}

/// A1 and rule 33: what we issued is the next hop's subject, and its chain grows by one actor at each.
#[tokio::test]
async fn a1_rule_33_a_finished_delegation_stays_one_on_every_further_hop() {
    let court = Court::start().await;
    let actor = court.actor("named", &json!({}));
    let subject = court.subject("named", &json!({ "may_act": { "sub": "bot" } }));
    let bot = json!({ "iss": "https://agents.example.com", "sub": "bot" });
    // A token of our own, addressed to the client that goes with a form.
    let first = async |form: &str| {
        let path = format!("next-{form}");
        let answer = court.trade_at("named", &path, &subject, Some(&actor)).await;
        let claims = court.opened("the first hop", &answer).await;
        assert_eq!((&claims["aud"], &claims["act"]), (&json!(form), &bot));
        answer.token()
    };
    // Without a word about actors, nothing is let in that somebody acts for; and dropping the actor token
    // makes no ordinary token of it.
    for form in ["silent", "none", "named", "required", "ignored"] {
        let answer = court.trade(form, &first(form).await, None).await;
        court.refused(form, &answer, "invalid_request", "no_rule_for_actor");
    }
    let answer = court.trade("client", &first("named").await, None).await;
    court.refused(
        "for another client",
        &answer,
        "invalid_request",
        "audience_wrong",
    );
    let answer = court.trade("client", &first("client").await, None).await;
    let claims = court.opened("the next hop", &answer).await;
    assert_eq!(
        claims["act"],
        json!({ "iss": "https://as.example.com", "client_id": "client", "act": bot })
    );
    let granted = court.gateway.last()["granted"].clone();
    assert_eq!(
        granted["act"],
        json!({ "issuer": "self", "client_id": "client", "act": { "issuer": "agents", "sub": "bot" } })
    );
    let answer = court.trade("dropped", &first("dropped").await, None).await;
    let claims = court.opened("not written down", &answer).await;
    assert_eq!(claims["act"], bot);
}

/// Rule 31: who acted before gives no right; the current actor may, and a deny may refuse for any of them.
#[tokio::test]
async fn rule_31_earlier_actors_give_no_rights_but_may_be_refused_for() {
    let rules = "policy 1 module main
rule admins {
  from  idp
  by    client \"rs08\"
  to    resource under \"https://backend.example.com\"
  actor client
  when  subject.act.sub == \"admin\"
  use   mint
}
deny banned { when any subject.chain where (absent it.sub or it.sub == \"banned\") }
";
    let world = super::World::with(|yaml| yaml, rules).await;
    for (chain, reason) in [
        (vec!["admin"], None),
        (vec!["admin", "somebody"], None),
        (vec!["somebody", "admin"], Some("no_rule")),
        (vec!["somebody"], Some("no_rule")),
        (vec!["admin", "banned"], Some("denied")),
        (vec!["admin", "somebody", "banned"], Some("denied")),
        (vec!["banned"], Some("denied")),
    ] {
        let act = chain.iter().rev().fold(None, |within: Option<Value>, sub| {
            let mut hop = json!({ "sub": sub });
            if let Some(within) = within {
                hop["act"] = within;
            }
            Some(hop)
        });
        let token = world.idp.token(&claims(json!({ "act": act })));
        let answer = world.gateway.trade(&token).await;
        let what = format!("{chain:?}");
        match reason {
            None => drop(world.issued(&what, &answer).await),
            Some(reason) => world.refused(&what, &answer, "invalid_request", reason),
        }
    }
}

/// An issuer speaks for its own parties, and for those of others that its configuration names: nobody writes
/// an actor of ours, or of a third one, into a chain that we sign.
#[tokio::test]
async fn a1_nobody_writes_actors_of_another_issuer_into_a_chain() {
    let court = Court::start().await;
    for (act, reason) in [
        (json!({ "sub": "x" }), None),
        (
            json!({ "iss": "https://idp.example.com", "sub": "x" }),
            None,
        ),
        (
            json!({ "iss": "https://agents.example.com", "sub": "x" }),
            None,
        ),
        // Of whom nobody here knows anything: it stays `unknown`, and a deny may say so.
        (
            json!({ "iss": "https://elsewhere.example", "sub": "x" }),
            None,
        ),
        (
            json!({ "iss": "https://as.example.com", "client_id": "orders-api" }),
            Some("claim_invalid"),
        ),
        (
            json!({ "iss": "https://partner.example.com", "sub": "x" }),
            Some("claim_invalid"),
        ),
        (
            json!({ "sub": "x", "act": { "iss": "https://as.example.com", "client_id": "y" } }),
            Some("claim_invalid"),
        ),
    ] {
        let what = act.to_string();
        let answer = court
            .trade(
                "client",
                &court.subject("client", &json!({ "act": act })),
                None,
            )
            .await;
        match reason {
            None => drop(court.opened(&what, &answer).await),
            Some(reason) => court.refused(&what, &answer, "invalid_request", reason),
        }
    }
    let elsewhere = json!({ "act": { "iss": "https://elsewhere.example", "sub": "x" } });
    let answer = court
        .trade("client", &court.subject("client", &elsewhere), None)
        .await;
    let issued = court.opened("carried", &answer).await;
    assert_eq!(issued["act"]["act"], elsewhere["act"]);
    let recorded = &court.gateway.last()["granted"]["act"]["act"];
    assert_eq!(
        *recorded,
        json!({ "issuer": "unknown", "iss": "https://elsewhere.example", "sub": "x" })
    );
}

/// A `may_act` that names a client means the client's own token, not that of everybody who uses it.
#[tokio::test]
async fn a1_may_act_of_a_client_does_not_name_its_users() {
    let court = Court::start().await;
    let subject = court.subject("named", &json!({ "may_act": { "client_id": "app" } }));
    for (sub, client_id, lets_in) in [
        ("app", json!({ "client_id": "app" }), true),
        ("mallory", json!({ "client_id": "app" }), false),
        ("app", json!({ "client_id": "other" }), false),
        ("app", json!({}), false),
    ] {
        let actor = court.actor("named", &with(&json!({ "sub": sub }), &client_id));
        let answer = court.trade("named", &subject, Some(&actor)).await;
        let what = format!("{sub} {client_id}");
        match lets_in {
            true => drop(court.opened(&what, &answer).await),
            false => court.refused(&what, &answer, "invalid_request", "no_rule_for_actor"),
        }
    }
    let both = json!({ "may_act": { "sub": "mallory", "client_id": "app" } });
    let actor = court.actor("named", &json!({ "sub": "mallory", "client_id": "app" }));
    let answer = court
        .trade("named", &court.subject("named", &both), Some(&actor))
        .await;
    court.opened("named in full", &answer).await;
}

/// Whoever acts once more after itself is written down once: a client may come as often as it likes.
#[tokio::test]
async fn a_client_that_acts_again_is_not_written_down_twice() {
    let court = Court::start().await;
    let act = json!({ "iss": "https://as.example.com", "client_id": "client" });
    let snapshot = court.gateway.running.gateway.live.load();
    let own = json!({
        "iss": "https://as.example.com", "sub": "alice", "aud": "client", "client_id": "client",
        "iat": NOW - 5, "exp": NOW + 300, "jti": "own", "scope": "api", "act": act,
    });
    let now = cambist::oauth::NumericDate(NOW);
    let own = snapshot
        .first()
        .keys
        .signer(None, now)
        .unwrap()
        .compact("at+jwt", &own)
        .unwrap();
    let answer = court.trade("client", &own, None).await;
    assert_eq!(court.opened("again", &answer).await["act"], act);
}

/// What is refused on the next hop is not written into a token: a client's name is a name.
#[tokio::test]
async fn an_actor_of_no_usable_name_is_refused() {
    let court = Court::start().await;
    let subject = court.subject("required", &json!({}));
    let long = "x".repeat(1025);
    for (what, client_id) in [
        ("a line break", "a\nb"),
        ("nothing", ""),
        ("too long", &long),
    ] {
        let actor = court.actor("required", &json!({ "client_id": client_id }));
        let answer = court.trade("required", &subject, Some(&actor)).await;
        court.refused(what, &answer, "invalid_request", "claim_invalid");
    }
}

/// A `may_act` binds whoever comes, also the client without any actor token (A1), and the client itself
/// under any of its names.
#[tokio::test]
async fn a1_may_act_binds_without_an_actor_token() {
    let court = Court::start().await;
    for (said, lets_in) in [
        (json!({ "client_id": "client" }), true),
        (
            json!({ "client_id": "https://client.client.example" }),
            true,
        ),
        (
            json!({ "iss": "https://as.example.com", "sub": "client" }),
            true,
        ),
        (
            json!({ "iss": "https://as.example.com", "client_id": "client", "sub": "client" }),
            true,
        ),
        // A subject of `idp` that happens to be called like a client of ours.
        (json!({ "sub": "client" }), false),
        (
            json!({ "iss": "https://idp.example.com", "sub": "client" }),
            false,
        ),
        (
            json!({ "iss": "https://idp.example.com", "client_id": "client" }),
            false,
        ),
        (
            json!({ "iss": "https://nobody.example", "sub": "client" }),
            false,
        ),
        (json!({ "client_id": "CLIENT" }), false),
        (json!({ "client_id": "clien" }), false),
        (json!({ "client_id": "client", "sub": "alice" }), false),
    ] {
        let subject = court.subject("client", &json!({ "may_act": said }));
        let answer = court.trade("client", &subject, None).await;
        match lets_in {
            true => drop(court.opened(&said.to_string(), &answer).await),
            false => court.refused(
                &said.to_string(),
                &answer,
                "invalid_request",
                "no_rule_for_actor",
            ),
        }
    }
}

/// Without `iss`, a `may_act` means parties of the token's own issuer, whatever else is configured.
#[tokio::test]
async fn a_may_act_without_iss_names_parties_of_its_own_issuer() {
    let court = Court::start().await;
    let helper = json!({ "sub": "helper", "aud": "optional", "jti": "actor-token" });
    let helper = court.idp.token(&claims(helper));
    for (said, lets_in) in [("helper", true), ("another", false)] {
        let subject = court.subject("optional", &json!({ "may_act": { "sub": said } }));
        let answer = court.trade("optional", &subject, Some(&helper)).await;
        if lets_in {
            let claims = court.opened(said, &answer).await;
            let act = json!({ "iss": "https://idp.example.com", "sub": "helper" });
            assert_eq!(claims["act"], act);
        } else {
            court.refused(said, &answer, "invalid_request", "no_rule_for_actor");
        }
    }
}

/// What is written down for the operator: the actor and its token, never the token itself.
#[tokio::test]
async fn the_record_of_a_delegation_can_be_decided_again() {
    let court = Court::start().await;
    let subject = court.subject(
        "named",
        &json!({ "act": { "sub": "first" }, "may_act": { "sub": "bot" } }),
    );
    let actor = court.actor("named", &json!({ "client_id": "bot-runner" }));
    let answer = court.trade("named", &subject, Some(&actor)).await;
    court.opened("good", &answer).await;
    let record = court.gateway.last();
    assert_eq!(record["actor"]["issuer"], "agents");
    assert_eq!(record["actor"]["sub"], "bot");
    let context = &record["context"];
    assert_eq!(
        context["subject.chain"],
        json!([{ "issuer": "idp", "sub": "first" }])
    );
    assert_eq!(context["subject.may_act"], json!({ "sub": "bot" }));
    assert_eq!(context["actor.client_id"], "bot-runner");
    let snapshot = court.gateway.running.gateway.live.load();
    let facts = context.as_object().unwrap();
    let again = cambist::policy::facts::assemble(
        facts,
        &snapshot.first().schema,
        cambist::oauth::NumericDate(NOW),
    )
    .unwrap();
    let (_, permit) = snapshot
        .first()
        .policies
        .decide(&again)
        .permitted()
        .unwrap();
    assert_eq!(permit.rule().to_string(), "main.named");
    let whole = record.to_string();
    assert!(!whole.contains(&*subject) && !whole.contains(&*actor) && !whole.contains(SECRET));
    assert!(!whole.contains(&basic("named", SECRET)));
}

/// What `redact` hides of an actor is hidden wherever it can be read from.
#[tokio::test]
async fn redact_hides_actors_wherever_they_stand() {
    for (path, sentinel) in [
        ("actor.sub", "hidden-bot"),
        ("subject.may_act", "hidden-bot"),
        ("subject.may_act.sub", "hidden-bot"),
        ("subject.chain", "hidden-hop"),
        ("subject.act", "hidden-hop"),
        ("subject.act.sub", "hidden-hop"),
        ("subject.chain.depth", "hidden-hop"),
        ("actor.issuer", "hidden-bot"),
        ("subject.issuer", "hidden-hop"),
        ("client.id", "hidden-hop"),
        ("client.names", "hidden-bot"),
    ] {
        let court = Court::with(&format!("audit: {{ redact: [{path}] }}\n")).await;
        let said = json!({ "act": { "sub": "hidden-hop" }, "may_act": { "sub": "hidden-bot" } });
        let subject = court.subject("named", &said);
        let actor = court.actor("named", &json!({ "sub": "hidden-bot" }));
        let answer = court.trade("named", &subject, Some(&actor)).await;
        court.opened(path, &answer).await;
        let record = court.gateway.last();
        assert!(
            !record["context"].to_string().contains(sentinel),
            "{path}: {record:#}"
        );
        assert!(
            !record["granted"].to_string().contains(sentinel),
            "{path}: {record:#}"
        );
    }
    let court = Court::start().await;
    let subject = court.subject("dropped", &json!({ "may_act": { "client_id": "dropped" } }));
    let answer = court.trade("dropped", &subject, None).await;
    court.opened("carried on", &answer).await;
    assert_eq!(
        court.gateway.last()["granted"]["may_act"],
        json!({ "client_id": "dropped" })
    );
}
