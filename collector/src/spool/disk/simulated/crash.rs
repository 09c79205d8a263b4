//! The power goes: what of the changes that were not synced is on the disk when it comes back.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{Change, Content, Disk, Folder, Inode, Moment, NameChange, Number, State, apply, draw};

/// What a crash leaves of the changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spool) enum Unsynced {
    /// Nothing.
    Lost,
    /// Everything.
    Kept,
    /// Any blocks of this many bytes, by chance.
    Torn(usize),
    /// Any of them, each whole, by chance.
    Some,
}

/// What a crash leaves, and where chance begins.
#[derive(Clone, Copy, Debug)]
pub(in crate::spool) struct Survivors {
    /// Of writes and lengths.
    pub(in crate::spool) content: Unsynced,
    /// Of names.
    pub(in crate::spool) names: Unsynced,
    pub(in crate::spool) seed: u64,
}

impl Moment {
    /// The disk as it comes back after the power went at this moment.
    pub(in crate::spool) fn after_crash(&self, survivors: Survivors) -> Disk {
        let mut seed = survivors.seed;
        let mut state = self.state.image();
        // The halves of one change survive or not together.
        let mut fates = HashMap::new();
        for change in std::mem::take(&mut state.names) {
            let survives = *fates.entry(change.change).or_insert_with(|| survives(survivors.names, &mut seed));
            if survives {
                keep(&mut state, &change);
            }
        }
        for inode in state.inodes.iter_mut().filter(|inode| inode.is_unsynced()) {
            match Arc::make_mut(inode) {
                Inode::File(content) => *content = content.after_crash(survivors.content, &mut seed),
                Inode::Folder(Folder { now, durable }) => now.clone_from(durable),
            }
        }
        Disk::holding(state)
    }

    /// The disk as the next process finds it when the power stays on and the process alone is killed: as it was.
    pub(in crate::spool) fn after_kill(&self) -> Disk {
        Disk::holding(self.state.image())
    }

    /// What distinguishes it from others: two moments that agree lead to the same.
    pub(in crate::spool) fn fingerprint(&self) -> (usize, u64) {
        (self.mark, self.state.version)
    }
}

impl Disk {
    /// What is on a disk that came back after the power went, where nothing is unsynced: two that agree lead to the same.
    pub(in crate::spool) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.state().hash_from(0, &mut hasher);
        hasher.finish()
    }
}

impl State {
    /// Goes by what a name leads to and not by its number: whatever has no name any more is no part of it.
    fn hash_from(&self, inode: Number, hasher: &mut DefaultHasher) {
        match &*self.inodes[inode] {
            Inode::File(content) => Some(&content.durable).hash(hasher),
            Inode::Folder(folder) => {
                None::<&Vec<u8>>.hash(hasher);
                folder.durable.len().hash(hasher);
                for (name, child) in &folder.durable {
                    name.hash(hasher);
                    self.hash_from(*child, hasher);
                }
            }
        }
    }
}

fn keep(state: &mut State, change: &NameChange) {
    apply(&mut state.folder_mut(change.folder).durable, change);
}

fn survives(unsynced: Unsynced, seed: &mut u64) -> bool {
    match unsynced {
        Unsynced::Lost => false,
        Unsynced::Kept => true,
        Unsynced::Torn(_) | Unsynced::Some => draw(seed).is_multiple_of(2),
    }
}

impl Inode {
    fn is_unsynced(&self) -> bool {
        match self {
            Self::File(content) => content.poisoned || !content.changes.is_empty() || content.now != content.durable,
            Self::Folder(folder) => folder.now != folder.durable,
        }
    }
}

impl Content {
    fn after_crash(&self, unsynced: Unsynced, seed: &mut u64) -> Self {
        let mut durable = self.durable.clone();
        for change in &self.changes {
            match (unsynced, change) {
                (Unsynced::Torn(block), Change::Bytes { offset, bytes }) => tear(&mut durable, *offset, bytes, block, seed),
                _ if survives(unsynced, seed) => change.apply(&mut durable),
                _ => {}
            }
        }
        Self { now: durable.clone(), durable, ..Self::default() }
    }
}

/// Keeps any blocks of a write; a block begins where it does on the disk.
fn tear(durable: &mut Vec<u8>, offset: usize, bytes: &[u8], block: usize, seed: &mut u64) {
    let mut from = 0;
    while from < bytes.len() {
        let until = bytes.len().min(((offset + from) / block + 1) * block - offset);
        if draw(seed).is_multiple_of(2) {
            Change::Bytes { offset: offset + from, bytes: bytes[from..until].to_vec() }.apply(durable);
        }
        from = until;
    }
}
