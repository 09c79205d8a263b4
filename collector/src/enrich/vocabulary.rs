//! The texts that a pattern can capture, where they are finitely many.
//!
//! uap-core's patterns name most families themselves (`(Firefox)/(\d+)`), but some copy whatever an agent says (`^(.{0,200})/(\d+) CFNetwork`). Only what a pattern
//! spells out may be stored: a family is looked up here, and one that is not in the vocabulary is as good as none.

use std::collections::HashSet;

use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, HirKind};

/// More spellings than this count as infinitely many: the longest list of names in one pattern has about a hundred.
const SPELLINGS: usize = 1_000;

/// Family names that the data file spells out: some 20 KB, which live as long as the process, so that a classified agent is a few words to copy.
#[derive(Default)]
pub(super) struct Vocabulary(HashSet<&'static str>);

impl Vocabulary {
    /// Adds the families that `pattern` can give: its `template` with `$1` to `$9` filled in, or without a template its first group.
    pub(super) fn learn(&mut self, pattern: &str, template: Option<&str>) {
        let Ok(pattern) = regex_syntax::parse(pattern) else { return };
        let families = (1..=9).try_fold(vec![template.unwrap_or("$1").to_owned()], |families, index| fill(families, index, &pattern));
        let families = families.unwrap_or_default();
        for family in families.iter().map(|family| family.trim()).filter(|family| !family.is_empty()) {
            if !self.0.contains(family) {
                self.0.insert(String::leak(family.to_owned()));
            }
        }
    }

    /// `family`, if the data file spells it out, else nothing.
    pub(super) fn find(&self, family: &str) -> &'static str {
        self.0.get(family).copied().unwrap_or("")
    }
}

/// `families` with the placeholder of group `index` replaced by everything that the group can capture; `None` where that is without end.
fn fill(families: Vec<String>, index: u32, pattern: &Hir) -> Option<Vec<String>> {
    let placeholder = format!("${index}");
    if !families.iter().any(|family| family.contains(&placeholder)) {
        return Some(families);
    }
    let texts = spellings(group(pattern, index)?)?;
    let filled = families.iter().flat_map(|family| texts.iter().map(|text| family.replace(&placeholder, text)));
    Some(filled.take(SPELLINGS).collect())
}

/// The part of `pattern` that is captured as group `index`.
fn group(pattern: &Hir, index: u32) -> Option<&Hir> {
    match pattern.kind() {
        HirKind::Capture(capture) if capture.index == index => Some(&capture.sub),
        HirKind::Capture(capture) => group(&capture.sub, index),
        HirKind::Repetition(repetition) => group(&repetition.sub, index),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().find_map(|part| group(part, index)),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => None,
    }
}

/// Every text that `pattern` can match as a whole, when there are few. An anchor in it may rule some of them out.
pub(super) fn spellings(pattern: &Hir) -> Option<Vec<String>> {
    let mut extractor = Extractor::new();
    extractor.limit_total(SPELLINGS).limit_literal_len(256);
    let sequence = extractor.extract(pattern);
    let exact = sequence.is_exact();
    sequence.literals()?.iter().map(|literal| String::from_utf8(literal.as_bytes().to_vec()).ok().filter(|_| exact)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(pattern: &str, template: Option<&str>) -> Vec<String> {
        let mut vocabulary = Vocabulary::default();
        vocabulary.learn(pattern, template);
        let mut families: Vec<String> = vocabulary.0.iter().map(ToString::to_string).collect();
        families.sort();
        families
    }

    #[test]
    fn only_what_a_pattern_spells_out_is_learned() {
        for (pattern, template, families) in [
            (r"(Firefox)/(\d+)", None, vec!["Firefox"]),
            ("(Opera|OPR)/", None, vec!["OPR", "Opera"]),
            (r"^(.{0,200})/(\d+) CFNetwork", None, vec![]),
            (r"(\w+)bot/", Some("$1 robot"), vec![]),
            (r"\w+ (Collector|Explorer)", Some("$1 for ArcGIS"), vec!["Collector for ArcGIS", "Explorer for ArcGIS"]),
            (r"\w+", Some("Fixed"), vec!["Fixed"]),
            ("([Ww]get)", None, vec!["Wget", "wget"]),
            ("(a*)", None, vec![]),
        ] {
            assert_eq!(learned(pattern, template), families, "{pattern}");
        }
    }
}
