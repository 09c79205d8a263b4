//! A search for what must not be anywhere: planted addresses, agents and ids, in every form in which a program would write them.

#![expect(clippy::disallowed_types, reason = "these addresses are planted: nobody has them")]

mod forms;
mod parts;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use aho_corasick::AhoCorasick;

pub use forms::Form;
use forms::Needle;

/// Something planted that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// What was planted.
    pub secret: String,
    /// The form that it was found in.
    pub form: Form,
    /// Where: a file, or the name of what was searched.
    pub place: String,
}

/// Searches for everything planted at once.
#[derive(Debug)]
pub struct Scanner {
    needles: Vec<Needle>,
    automaton: AhoCorasick,
}

impl Scanner {
    /// Searches for `addresses` and their networks (/24 and /64), and for `texts`.
    ///
    /// # Panics
    ///
    /// When there is too much to search for.
    pub fn new(addresses: &[IpAddr], texts: &[&str]) -> Self {
        let mut needles: Vec<Needle> = addresses.iter().flat_map(|address| forms::of_address(*address)).collect();
        needles.extend(texts.iter().flat_map(|text| forms::of_text(text)));
        let automaton = AhoCorasick::new(needles.iter().map(|needle| &needle.bytes)).expect("a few thousand needles are not too many");
        Self { needles, automaton }
    }

    /// Searches for numbers of 64 bits, such as pseudonyms.
    ///
    /// # Panics
    ///
    /// When there is too much to search for.
    pub fn of_numbers(numbers: &[u64]) -> Self {
        let needles: Vec<Needle> = numbers.iter().flat_map(|number| forms::of_number(*number)).collect();
        let automaton = AhoCorasick::new(needles.iter().map(|needle| &needle.bytes)).expect("a few thousand needles are not too many");
        Self { needles, automaton }
    }

    /// What stands in `bytes`, which are called `place`.
    ///
    /// Four bytes stand somewhere in any few gigabytes of random data, keyed hashes for example. So a form as short as that counts only if two of the
    /// addresses are there in it: whatever writes one visitor's address writes another's too.
    pub fn bytes(&self, place: &str, bytes: &[u8]) -> Vec<Hit> {
        let found: BTreeSet<usize> = self.automaton.find_overlapping_iter(bytes).map(|found| found.pattern().as_usize()).collect();
        let found: Vec<&Needle> = found.into_iter().map(|index| &self.needles[index]).collect();
        let another = |one: &Needle| found.iter().any(|other| other.form == one.form && other.secret != one.secret);
        let counts = |needle: &&&Needle| !needle.is_short() || another(needle);
        let hit = |needle: &&Needle| Hit { secret: needle.secret.clone(), form: needle.form, place: place.to_owned() };
        found.iter().filter(counts).map(hit).collect()
    }

    /// What stands in the files below `folder`, and in their names. Columns of ClickHouse are unpacked. A file that vanishes meanwhile is passed over.
    ///
    /// # Errors
    ///
    /// When the folder or a file that is there cannot be read.
    pub fn tree(&self, folder: &Path) -> io::Result<Vec<Hit>> {
        let mut hits = Vec::new();
        let Some(entries) = unless_gone(std::fs::read_dir(folder))? else { return Ok(hits) };
        for entry in entries {
            let path = entry?.path();
            let place = path.display().to_string();
            hits.extend(self.bytes("a file's name", path.file_name().unwrap_or_default().as_encoded_bytes()));
            let Some(kind) = unless_gone(path.symlink_metadata())?.map(|metadata| metadata.file_type()) else { continue };
            if kind.is_dir() {
                hits.extend(self.tree(&path)?);
            } else if kind.is_file() {
                let Some(content) = unless_gone(std::fs::read(&path))? else { continue };
                hits.extend(self.bytes(&place, parts::unpacked(&content).as_deref().unwrap_or(&content)));
            }
        }
        Ok(hits)
    }
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
