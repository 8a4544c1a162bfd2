//! Every code of a finding, with its title and its page. The table behind `cambist reference`, and the
//! rules of a SARIF log. A code keeps its meaning for ever; one that is given up is not used again.
//!
//! E01xx text, E02xx names and types, E03xx absence, E04xx trust, E05xx rules together, E06xx
//! parameters, E07xx tests and proofs, E10xx cambist.yaml.

/// What a code means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code {
    /// The code: `E0204`.
    pub code: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// What it means and what to do, in Markdown; it begins with the code and the title.
    pub page: &'static str,
}

/// The code in capitals, if there is one of that name.
#[must_use]
pub fn find(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|entry| entry.code == code)
}

macro_rules! page {
    ($code:literal, $title:literal) => {
        Code {
            code: $code,
            title: $title,
            page: include_str!(concat!("pages/", $code, ".md")),
        }
    };
}

/// All codes, in order.
pub static CODES: &[Code] = &[
    page!("E0100", "the text is not of the language"),
    page!("E0101", "the text is too large or nested too deep"),
    page!("E0102", "another version of the language"),
    page!("E0103", "a number is out of range"),
    page!("E0104", "an invisible character"),
    page!("E0105", "policy YAML cannot be read"),
    page!("E0110", "`and` and `or` are mixed"),
    page!("E0111", "a name that the language reserves"),
    page!("E0120", "a rule lacks a clause"),
    page!("E0121", "something is written twice"),
    page!("E0122", "a clause does not belong here"),
    page!("E0123", "an error that a deny cannot answer"),
    page!("E0124", "a deny that would refuse everything"),
    page!("E0125", "text that a client cannot be told"),
    page!("E0202", "types do not fit"),
    page!("E0203", "not in this build"),
    page!("E0204", "unknown attribute"),
    page!("E0205", "an import that cannot be resolved"),
    page!("E0206", "a name is used twice"),
    page!("E0207", "a name that is not there"),
    page!("E0208", "an operator that does not apply"),
    page!("E0209", "a cycle"),
    page!("E0210", "a URI is not canonical"),
    page!("E0211", "a URI or pattern that cannot be"),
    page!("E0212", "an IP address or prefix that cannot be"),
    page!("E0213", "a wildcard in the wrong place of a host"),
    page!("E0214", "a time that cannot be"),
    page!("E0215", "no list or def of that name"),
    page!("E0216", "nothing uses it"),
    page!("E0217", "earlier actors in a rule"),
    page!("E0218", "an instant that cannot be read"),
    page!("E0219", "a pattern that no client's id fits"),
    page!("E0310", "absence would open something"),
    page!("E0311", "always present"),
    page!("E0312", "a parameter that may have no value"),
    page!("E0330", "asking for more slips past a deny"),
    page!("E0331", "another spelling of a target slips past a deny"),
    page!("E0332", "the same target by audience slips past a deny"),
    page!("E0401", "the tenant of a shared issuer is not fixed"),
    page!("E0403", "a leave to act is ignored"),
    page!("E0405", "subjects of a foreign issuer need a name here"),
    page!("E0406", "two issuers may get the same subject"),
    page!("E0407", "more scope than the subject has"),
    page!("E0501", "two rules select different outcomes"),
    page!("E0502", "no request matches"),
    page!("E0503", "a rule that is never selected"),
    page!("E0504", "rules that override each other in a circle"),
    page!("E0505", "a deny cannot be overridden"),
    page!("E0506", "a condition that always holds"),
    page!("E0507", "an `overrides` without effect"),
    page!("E0601", "unknown parameter"),
    page!("E0602", "a parameter cannot have this value"),
    page!("E0603", "attributes side by side"),
    page!("E0605", "longer than the processor allows"),
    page!("E0606", "a token for no target needs an audience"),
    page!("E0607", "one audience for several hosts"),
    page!("E0608", "tokens without scope need a ceiling"),
    page!("E0609", "beyond subject needs a ceiling"),
    page!("E0610", "an issuer gives no such token"),
    page!("E0611", "a processor makes no such token"),
    page!("E0612", "a processor does not take such a token"),
    page!("E0613", "a claim that is not for a policy to set"),
    page!("E0614", "a processor cannot say who acts"),
    page!("E0701", "a test failed"),
    page!("E0702", "a test that cannot be run"),
    page!("E0703", "a test that expects what cannot be"),
    page!("E0704", "a proof that cannot be asked"),
    page!("E0705", "a proof fails"),
    page!("E0901", "more than is worked out"),
    page!("E0902", "it cannot be proved"),
    page!("E0903", "nothing is unknown by that name"),
    page!("E1001", "not the YAML that is read here"),
    page!("E1002", "unknown key"),
    page!("E1003", "a key or claim is written twice"),
    page!("E1004", "a value of the wrong shape"),
    page!("E1005", "something is missing"),
    page!("E1006", "a value that cannot be"),
    page!("E1007", "a file or variable that cannot be read"),
    page!("E1008", "not in this build"),
    page!("E1009", "open to the network"),
    page!("E1010", "a secret that everybody can read"),
    page!("E1011", "an unusable key"),
    page!("E1012", "a key that does not last"),
    page!("E1013", "a secret short enough to be guessed"),
    page!("E1014", "a key that is not used"),
    page!("E1016", "the manifest does not fit"),
    page!("E1017", "not a file for the audit"),
    page!("E1018", "the directory of the audit is not there"),
    page!("E1019", "every request comes from the proxy"),
    page!("E1020", "realms that cannot be told apart"),
    page!("E1021", "in the wrong file"),
    page!("E1022", "a certificate that cannot serve"),
    page!("E1023", "an expired certificate"),
    page!("E1030", "a client that anybody can be"),
    page!("E1031", "tokens of every tenant"),
    page!("E1040", "keys that cannot be had now"),
    page!("E1041", "an introspection endpoint that is of no use"),
];
