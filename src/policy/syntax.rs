//! Policy text ⇄ tree. The only place that names `pest`; it decides nothing.

pub mod ast;
pub mod comments;
mod layout;
mod limits;
mod parse;
mod pieces;
pub mod print;
mod slips;
pub mod word;

pub use parse::{Place, Values, claim, condition, given, parse, values};
pub use print::print;

mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "../grammar/policy.pest"]
    pub struct Grammar;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use pest::Parser;
    use pest::iterators::Pairs;

    use super::grammar::{Grammar, Rule};

    fn collect(pairs: Pairs<'_, Rule>, seen: &mut BTreeSet<String>) {
        for pair in pairs.flatten() {
            seen.insert(format!("{:?}", pair.as_rule()));
        }
    }

    /// Productions that leave no trace of their own in what was read.
    const SILENT: [&str; 8] = [
        "WHITESPACE",
        "COMMENT",
        "item",
        "clause",
        "reserved",
        "w_true",
        "w_false",
        "escape",
    ];
    /// Those that stand only where a part of a file is read by itself.
    const PARTS: [&str; 5] = [
        "only_items",
        "only_condition",
        "only_value",
        "only_given",
        "only_claim",
    ];

    #[test]
    fn every_production_of_the_grammar_is_read_in_some_golden() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let grammar = fs::read_to_string(root.join("grammar/policy.pest")).unwrap();
        let productions: BTreeSet<String> = grammar
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter(|(_, body)| body.trim_start().starts_with(['{', '@', '$']))
            .map(|(name, _)| name.trim().to_owned())
            .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
            .filter(|name| !SILENT.contains(&name.as_str()) && !PARTS.contains(&name.as_str()))
            .collect();
        assert!(productions.len() > 100, "{productions:?}");
        let mut seen = BTreeSet::new();
        for dir in ["parse", "check", "decide", "test"] {
            for entry in fs::read_dir(root.join("tests/data/policy").join(dir)).unwrap() {
                let text = fs::read_to_string(entry.unwrap().path()).unwrap();
                let input = text.split("----------\n").next().unwrap();
                let input = input.split("-- requests\n").next().unwrap();
                for file in input.split("-- file ") {
                    let at = file.find("policy 1 module").unwrap_or(0);
                    if let Ok(pairs) = Grammar::parse(Rule::file, &file[at..]) {
                        collect(pairs, &mut seen);
                    }
                }
            }
        }
        let missing: Vec<_> = productions.difference(&seen).collect();
        assert!(missing.is_empty(), "no golden has {missing:?}");
    }
}
