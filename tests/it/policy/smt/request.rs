//! A request as constants of SMT-LIB, and what no request can be otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cambist::oauth::claims::{ClaimType, ClaimValue};
use cambist::oauth::token_type::TokenType;
use cambist::policy::rule::Constant;
use cambist::policy::schema::{AttributeRef, IssuerSchema, Schema};

use super::term::{
    LONGEST, NUMBER, Term, UriTerm, all, any, definitions, equal, implies, is_name, is_text,
    is_uri, literal, not, number, sum,
};

/// The most actors of a chain; no question of these counts further.
const HOPS: usize = 4;
/// What a constant can be.
#[derive(Clone, Copy)]
enum Sort {
    Text,
    Int,
    Bool,
    Ip,
}

impl Sort {
    fn name(self) -> String {
        match self {
            Self::Text => format!("(_ BitVec {})", 8 * LONGEST),
            Self::Int => format!("(_ BitVec {NUMBER})"),
            Self::Bool => "Bool".to_owned(),
            Self::Ip => "(_ BitVec 128)".to_owned(),
        }
    }
}

/// A construct that is not translated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OutOfReach(pub &'static str);

/// The value of an attribute.
#[derive(Clone, Debug)]
pub enum Value {
    Text(Term),
    Int(Term),
    Bool(Term),
    Uri(UriTerm),
    /// Whether it is one of version 6, and its number.
    Ip(Term, Term),
    /// Each member, and whether it is there.
    Set(Vec<(Term, Self)>),
    /// A chain of actors; whether each is there.
    Hops(Vec<Term>),
    /// Nothing to compare with.
    Party,
}

impl Value {
    pub fn of(constant: &Constant) -> Self {
        match constant {
            Constant::Text(text) => Self::Text(literal(text)),
            Constant::Int(of) => Self::Int(number(*of)),
            Constant::Bool(truth) => Self::Bool(truth.to_string()),
            Constant::Uri(uri) => Self::Uri(UriTerm::of(uri)),
            Constant::Ip(ip) => {
                let (six, of) = address(*ip);
                Self::Ip(six.to_string(), of)
            }
        }
    }

    /// Values of two types are never equal; of sets nobody asks.
    pub fn equal(&self, other: &Self) -> Term {
        match (self, other) {
            (Self::Text(one), Self::Text(other))
            | (Self::Int(one), Self::Int(other))
            | (Self::Bool(one), Self::Bool(other)) => equal(one, other),
            (Self::Uri(one), Self::Uri(other)) => one.equal(other),
            (Self::Ip(six, one), Self::Ip(other_six, other)) => {
                all([equal(six, other_six), equal(one, other)])
            }
            _ => "false".to_owned(),
        }
    }
}

/// Whether an address is one of version 6, and its number.
pub fn address(ip: IpAddr) -> (bool, Term) {
    match ip {
        IpAddr::V4(ip) => (false, wide(u32::from(ip).into())),
        IpAddr::V6(ip) => (true, wide(ip.into())),
    }
}

fn wide(address: u128) -> Term {
    format!("(_ bv{address} 128)")
}

/// The constants of one question.
pub struct Request<'s> {
    pub schema: &'s Schema,
    declared: BTreeSet<String>,
    script: String,
    /// How many members a question needs for each set: by path, and by what needs them.
    needs: BTreeMap<String, BTreeMap<String, usize>>,
    slots: BTreeMap<String, usize>,
    /// The most members of a set.
    most: usize,
    /// Whether a set has fewer members than the question needs.
    pub short: bool,
}

impl<'s> Request<'s> {
    /// For a first pass, which counts what sets need.
    pub fn new(schema: &'s Schema) -> Self {
        Self {
            schema,
            declared: BTreeSet::new(),
            script: String::new(),
            needs: BTreeMap::new(),
            slots: BTreeMap::new(),
            most: 1,
            short: false,
        }
    }

    /// For the second, with at most so many members of a set.
    pub fn again(&self, most: usize) -> Self {
        let mut again = Self::new(self.schema);
        again.most = most;
        let total = |path: &str| {
            self.needs
                .get(path)
                .map_or(0, |n| n.values().sum::<usize>())
        };
        for path in self.needs.keys() {
            // The effective scope is one of the other two.
            let of_scope = match path.as_str() {
                "scope" => continue,
                "request.scope" | "subject.scope" => total("scope"),
                _ => 0,
            };
            again.slots.insert(path.clone(), total(path) + of_scope);
        }
        for path in ["request.scope", "subject.scope"] {
            let of_scope = total("scope");
            again.slots.entry(path.to_owned()).or_insert(of_scope);
        }
        again
    }

    /// Members of a set that a test may rest on.
    pub fn need(&mut self, path: &str, test: String, members: usize) {
        self.needs
            .entry(path.to_owned())
            .or_default()
            .insert(test, members);
    }

    /// The declarations, and a proposition asserted.
    pub fn script(&self, asserted: &[Term]) -> String {
        let asserted = asserted.iter().map(|term| format!("(assert {term})\n"));
        let script = format!("{}{}", self.script, asserted.collect::<String>());
        format!("{}{script}", definitions(&script))
    }

    fn new_name(&mut self, name: &str) -> bool {
        self.declared.insert(name.to_owned())
    }

    pub fn assert(&mut self, term: &str) {
        if term != "true" {
            self.script.push_str(&format!("(assert {term})\n"));
        }
    }

    fn constant(&mut self, name: &str, sort: Sort) -> (Term, bool) {
        let new = self.new_name(name);
        if new {
            self.script
                .push_str(&format!("(declare-const |{name}| {})\n", sort.name()));
        }
        (format!("|{name}|"), new)
    }

    fn flag(&mut self, name: &str) -> (Term, bool) {
        self.constant(&format!("{name}?"), Sort::Bool)
    }

    /// A text, which is something where it is there.
    fn text_where(&mut self, there: &Term, name: &str, language: fn(&str) -> Term) -> Term {
        let (term, new) = self.constant(name, Sort::Text);
        if new {
            self.assert(&implies(there.clone(), language(&term)));
        }
        term
    }

    fn one_of<'n>(&mut self, name: &str, names: impl IntoIterator<Item = &'n str>) -> Term {
        let (term, new) = self.constant(name, Sort::Text);
        if new {
            let each = names.into_iter().map(|name| equal(&term, &literal(name)));
            let one = any(each);
            self.assert(&one);
        }
        term
    }

    fn int(&mut self, name: &str, least: i64, most: i64) -> Term {
        let (term, new) = self.constant(name, Sort::Int);
        if new {
            let (least, most) = (number(least), number(most));
            self.assert(&format!(
                "(and (bvsle {least} {term}) (bvsle {term} {most}))"
            ));
        }
        term
    }

    fn uri(&mut self, there: &Term, name: &str) -> UriTerm {
        let (hierarchical, new) = self.constant(&format!("{name}.hierarchical"), Sort::Bool);
        let uri = UriTerm {
            hierarchical,
            scheme: self.constant(&format!("{name}.scheme"), Sort::Text).0,
            authority: self.constant(&format!("{name}.authority"), Sort::Text).0,
            path: self.constant(&format!("{name}.path"), Sort::Text).0,
            queried: self.constant(&format!("{name}.queried"), Sort::Bool).0,
            query: self.constant(&format!("{name}.query"), Sort::Text).0,
        };
        if new {
            self.assert(&implies(there.clone(), is_uri(&uri)));
        }
        uri
    }

    fn slots(&mut self, path: &str) -> usize {
        let wanted = self.slots.get(path).copied().unwrap_or(1).max(1);
        self.short |= wanted > self.most;
        wanted.min(self.most)
    }

    fn set(&mut self, path: &str, language: fn(&str) -> Term) -> Value {
        let slots = self.slots(path);
        let slot = |slot| {
            let name = format!("{path}#{slot}");
            let there = self.flag(&name).0;
            let text = self.text_where(&there, &name, language);
            (there, Value::Text(text))
        };
        Value::Set((0..slots).map(slot).collect())
    }

    fn clients(&self) -> impl Iterator<Item = (Term, &'s cambist::policy::schema::ClientSchema)> {
        let clients = self.schema.clients.iter();
        clients.map(|client| (equal("|client.id|", &literal(client.id.as_str())), client))
    }

    pub fn client(&mut self) -> Term {
        let clients = self.schema.clients.iter();
        self.one_of("client.id", clients.map(|client| client.id.as_str()))
    }

    /// Whether a text is a name of the client's.
    pub fn is_clients(&mut self, text: &str) -> Term {
        self.client();
        let each = self.clients().map(|(is, client)| {
            let names = client.names.iter().map(|name| equal(text, &literal(name)));
            all([is, any(names)])
        });
        any(each)
    }

    fn client_attribute(&mut self, name: &str) -> Result<(Term, Value), OutOfReach> {
        self.client();
        let mut there = Vec::new();
        let mut value = literal("");
        for (is, client) in self.clients() {
            match client.attributes.get(name) {
                None => {}
                Some(ClaimValue::String(text)) => {
                    value = format!("(ite {is} {} {value})", literal(text));
                    there.push(is);
                }
                Some(_) => return Err(OutOfReach("attributes of clients that are no strings")),
            }
        }
        Ok((any(there), Value::Text(value)))
    }

    /// Whether a party is there at all.
    pub fn there(&mut self, party: &str) -> Term {
        match party {
            "subject" => "true".to_owned(),
            party => self.flag(party).0,
        }
    }

    pub fn issuer(&mut self, party: &str) -> Term {
        let issuers = self.schema.issuers.iter();
        self.one_of(
            &format!("{party}.issuer"),
            issuers.map(|issuer| issuer.alias.as_str()),
        )
    }

    /// Whether the party's issuer is such a one.
    pub fn issuer_is(&mut self, party: &str, such: impl Fn(&IssuerSchema) -> bool) -> Term {
        let term = self.issuer(party);
        let issuers = self.schema.issuers.iter().filter(|issuer| such(issuer));
        any(issuers.map(|issuer| equal(&term, &literal(issuer.alias.as_str()))))
    }

    pub fn token_type(&mut self, party: &str) -> Term {
        let schema = self.schema;
        let name = format!("{party}.token_type");
        let new = !self.declared.contains(&name);
        let types = schema.issuers.iter().flat_map(|i| &i.token_types);
        let types: BTreeSet<&str> = types.map(TokenType::name).collect();
        let term = self.one_of(&name, types);
        if new {
            for issuer in &schema.issuers {
                let is = self.issuer_is(party, |other| other.alias == issuer.alias);
                let types = issuer.token_types.iter();
                let types = any(types.map(|t| equal(&term, &literal(t.name()))));
                self.assert(&implies(is, types));
            }
        }
        term
    }

    fn claim(&mut self, party: &str, name: &str) -> Result<(Term, Value), OutOfReach> {
        let path = format!("{party}.claims.{name}");
        let declared = self.schema.issuers.iter();
        let declared: Vec<&IssuerSchema> = declared
            .filter(|issuer| issuer.claims.contains_key(name))
            .collect();
        let types = declared.iter().map(|issuer| issuer.claims[name].ty);
        let types: Vec<ClaimType> = types.collect();
        if declared.iter().any(|i| i.tenants.contains_key(name)) {
            return Err(OutOfReach("tenants"));
        }
        let Some(ty) = types.first().copied() else {
            return Ok(("false".to_owned(), Value::Party));
        };
        if types.iter().any(|other| *other != ty) {
            return Err(OutOfReach("claims of two types"));
        }
        let (there, new) = self.flag(&path);
        if new {
            let by = self.issuer_is(party, |issuer| issuer.claims.contains_key(name));
            let party_there = self.there(party);
            self.assert(&implies(there.clone(), all([party_there.clone(), by])));
            let required = self.issuer_is(party, |issuer| {
                issuer.claims.get(name).is_some_and(|claim| !claim.optional)
            });
            self.assert(&implies(all([party_there, required]), there.clone()));
        }
        let value = match ty {
            ClaimType::String => Value::Text(self.text_where(&there, &path, is_text)),
            ClaimType::Int => Value::Int(self.int(&path, i64::MIN, i64::MAX)),
            ClaimType::Bool => Value::Bool(self.constant(&path, Sort::Bool).0),
            ClaimType::Uri => Value::Uri(self.uri(&there, &path)),
            ClaimType::StringSet => self.set(&path, is_text),
        };
        Ok((there, value))
    }

    /// Something of a party that it may lack.
    fn may_have(&mut self, party: &str, name: &str) -> Term {
        let (flag, new) = self.flag(&format!("{party}.{name}"));
        let there = self.there(party);
        if new {
            self.assert(&implies(flag.clone(), there));
        }
        flag
    }

    fn of_party(&mut self, party: &str, name: &str) -> Result<(Term, Value), OutOfReach> {
        let path = format!("{party}.{name}");
        Ok(match name {
            "issuer" => (self.there(party), Value::Text(self.issuer(party))),
            "sub" => {
                let there = self.there(party);
                let text = self.text_where(&there, &path, is_name);
                (there, Value::Text(text))
            }
            "token_type" => (self.there(party), Value::Text(self.token_type(party))),
            "expires_in" => (self.there(party), Value::Int(self.int(&path, 1, 1 << 40))),
            "auth_age" => (
                self.may_have(party, name),
                Value::Int(self.int(&path, 0, 1 << 40)),
            ),
            "client_id" | "acr" => {
                let there = self.may_have(party, name);
                let text = self.text_where(&there, &path, is_text);
                (there, Value::Text(text))
            }
            "aud" | "amr" => (self.may_have(party, name), self.set(&path, is_text)),
            "scope" => {
                let there = self.may_have(party, name);
                if self.new_name(&format!("{path} of whom")) {
                    let with = self.issuer_is(party, |issuer| issuer.has_scope);
                    self.assert(&implies(there.clone(), with));
                }
                (there, self.set(&path, is_name))
            }
            _ => return Err(OutOfReach("an attribute of a party")),
        })
    }

    /// Whether each actor of the chain is there, the outermost first.
    pub fn hops(&mut self) -> Vec<Term> {
        let mut hops: Vec<Term> = Vec::new();
        for hop in 0..HOPS {
            let (there, new) = self.flag(&format!("hop{hop}"));
            if let (true, Some(before)) = (new, hops.last()) {
                let before = before.clone();
                self.assert(&implies(there.clone(), before));
            }
            hops.push(there);
        }
        hops
    }

    /// An actor of the past, or one to be: it has a `sub` or a `client_id`.
    pub fn identity(&mut self, of: &str, name: &str) -> (Term, Term) {
        let there = self.flag(of).0;
        let aliases = self.schema.issuers.iter().map(|i| i.alias.as_str());
        let issuer = self.one_of(&format!("{of}.issuer"), aliases.chain(["unknown"]));
        let (has_sub, new) = self.flag(&format!("{of}.sub"));
        let has_client_id = self.flag(&format!("{of}.client_id")).0;
        let sub = self.text_where(&has_sub, &format!("{of}.sub"), is_name);
        let client_id = self.text_where(&has_client_id, &format!("{of}.client_id"), is_name);
        let says_issuer = match of {
            // Only leave to act may be said without an issuer.
            "subject.may_act" => self.flag(&format!("{of}.issuer")).0,
            _ => there.clone(),
        };
        if new {
            for member in [&has_sub, &has_client_id, &says_issuer] {
                self.assert(&implies(member.clone(), there.clone()));
            }
            let one = any([has_sub.clone(), has_client_id.clone()]);
            self.assert(&implies(there, one));
        }
        match name {
            "issuer" => (says_issuer, issuer),
            "sub" => (has_sub, sub),
            _ => (has_client_id, client_id),
        }
    }

    pub fn may_act(&mut self) -> Term {
        self.flag("subject.may_act").0
    }

    /// Whether an attribute is there, and its value; of an actor that a quantifier looks at where there is
    /// one.
    pub fn attribute(
        &mut self,
        attribute: &AttributeRef,
        hop: Option<usize>,
    ) -> Result<(Term, Value), OutOfReach> {
        match attribute {
            AttributeRef::Claim(name) => self.claim("subject", name),
            AttributeRef::ActorClaim(name) => self.claim("actor", name),
            AttributeRef::ClientAttribute(name) => self.client_attribute(name),
            AttributeRef::Field(field) => {
                let name = field.path.strip_prefix("it.").unwrap();
                let (there, value) = self.identity(&format!("hop{}", hop.unwrap()), name);
                Ok((there, Value::Text(value)))
            }
            AttributeRef::Fixed(fixed) => self.fixed(fixed.path),
        }
    }

    pub fn fixed(&mut self, path: &str) -> Result<(Term, Value), OutOfReach> {
        let always = |value| Ok(("true".to_owned(), value));
        let schema = self.schema;
        match path {
            "client.id" => always(Value::Text(self.client())),
            "client.auth" => {
                if schema.clients.iter().any(|client| !client.auth.is_empty()) {
                    return Err(OutOfReach("methods of single clients"));
                }
                let methods = schema.auth_methods.iter().copied();
                always(Value::Text(self.one_of(path, methods)))
            }
            "subject.chain" => always(Value::Hops(self.hops())),
            "subject.chain.depth" => {
                let hops = self.hops();
                let one = |hop| format!("(ite {hop} {} {})", number(1), number(0));
                always(Value::Int(sum(hops.into_iter().map(one))))
            }
            "subject.act" => Ok((self.hops()[0].clone(), Value::Party)),
            "subject.may_act" => Ok((self.may_act(), Value::Party)),
            "conn.ip" => {
                let six = self.constant("conn.ip.6", Sort::Bool).0;
                let (of, new) = self.constant("conn.ip", Sort::Ip);
                if new {
                    // What stands for an address of version 4 is one.
                    let range = format!(
                        "(ite {six} (not (= ((_ extract 127 32) {of}) (_ bv65535 96))) (bvule {of} {}))",
                        wide(u32::MAX.into())
                    );
                    self.assert(&range);
                }
                always(Value::Ip(six, of))
            }
            "now" => always(Value::Int(self.int(path, 0, 1 << 36))),
            "resource" => {
                let slots = self.slots(path);
                let slot = |slot| {
                    let name = format!("{path}#{slot}");
                    let there = self.flag(&name).0;
                    let uri = self.uri(&there, &name);
                    (there, Value::Uri(uri))
                };
                always(Value::Set((0..slots).map(slot).collect()))
            }
            "audience" => always(self.set(path, is_name)),
            "request.scope" => Ok((self.flag(path).0, self.set(path, is_name))),
            "scope" => {
                let (sent, Value::Set(of_request)) = self.fixed("request.scope")? else {
                    unreachable!()
                };
                let (said, Value::Set(of_subject)) = self.fixed("subject.scope")? else {
                    unreachable!()
                };
                let of_request = of_request.into_iter();
                let of_request =
                    of_request.map(|(there, value)| (all([sent.clone(), there]), value));
                let of_subject = of_subject
                    .into_iter()
                    .map(|(there, value)| (all([not(sent.clone()), said.clone(), there]), value));
                always(Value::Set(of_request.chain(of_subject).collect()))
            }
            "request.grant_type" => {
                let types = schema.grant_types.iter().copied();
                always(Value::Text(self.one_of(path, types)))
            }
            "request.requested_token_type" => {
                let types = TokenType::names().chain(["urn:x:other"]);
                let value = Value::Text(self.one_of(path, types));
                Ok((self.flag(path).0, value))
            }
            path => {
                for of in ["subject.act.", "subject.may_act."] {
                    if let Some(name) = path.strip_prefix(of) {
                        let of = match of {
                            "subject.act." => "hop0",
                            _ => "subject.may_act",
                        };
                        self.hops();
                        let (there, value) = self.identity(of, name);
                        return Ok((there, Value::Text(value)));
                    }
                }
                match path.split_once('.') {
                    Some((party @ ("subject" | "actor"), name)) => self.of_party(party, name),
                    _ => Err(OutOfReach("an attribute")),
                }
            }
        }
    }

    /// The characters at which a `*` stops in patterns of an attribute.
    pub fn separators(&self, attribute: &AttributeRef) -> Result<String, OutOfReach> {
        let all = |name: &str| {
            let issuers = self.schema.issuers.iter();
            let claims = issuers.filter_map(|issuer| issuer.claims.get(name));
            let kinds: BTreeSet<&str> = claims.map(|claim| &*claim.separators).collect();
            match kinds.len() {
                0 | 1 => Ok(kinds.into_iter().collect()),
                _ => Err(OutOfReach("claims that are taken apart in two ways")),
            }
        };
        match attribute {
            AttributeRef::Fixed(fixed) => Ok(fixed.separators.to_owned()),
            AttributeRef::Field(field) => Ok(field.separators.to_owned()),
            AttributeRef::Claim(name) | AttributeRef::ActorClaim(name) => all(name),
            // Text without a form of its own.
            AttributeRef::ClientAttribute(_) => Ok(CLIENT_ATTRIBUTE.to_owned()),
        }
    }
}

/// Where a `*` stops in patterns of attributes of clients.
const CLIENT_ATTRIBUTE: &str = ":/";
