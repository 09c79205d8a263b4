//! The bytes of one file: how it reads now, and what the disk itself has of what was changed since the last sync.
//!
//! A page that was never written is zeros and takes no memory. When a page is changed, what the disk has of it is put aside, until a sync makes that
//! moot. A sync that fails marks the changed pages as lost: the file reads on as it was written, and no later sync will put them on the disk, as on
//! Linux; only writing them again will.

use std::collections::BTreeMap;

use super::loss::Survivors;

/// The unit in which a file is cached and synced.
pub(super) const PAGE: usize = 4_096;
/// The unit that a disk writes whole.
pub(super) const SECTOR: usize = 512;

type Page = Box<[u8; PAGE]>;

/// A file's bytes. Offsets and lengths are bytes.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    pages: BTreeMap<u64, Page>,
    length: u64,
    /// The pages that a power cut may put back.
    unsynced: BTreeMap<u64, Unsynced>,
    synced_length: u64,
}

#[derive(Debug)]
struct Unsynced {
    /// What the disk has; `None` is zeros.
    before: Option<Page>,
    lost: bool,
}

impl Bytes {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that a sync has to write.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        (self.unsynced.len() * PAGE) as u64
    }

    pub(super) fn read(&self, offset: u64, size: usize) -> Vec<u8> {
        let size = usize::try_from(self.length.saturating_sub(offset)).map_or(size, |left| left.min(size));
        let mut read = vec![0; size];
        for Piece { page, within, from, length } in pieces(offset, size) {
            if let Some(page) = self.pages.get(&page) {
                read[from..from + length].copy_from_slice(&page[within..within + length]);
            }
        }
        read
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for Piece { page, within, from, length } in pieces(offset, bytes.len()) {
            self.put_aside(page);
            let page = self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE]));
            page[within..within + length].copy_from_slice(&bytes[from..from + length]);
        }
        self.length = self.length.max(offset + bytes.len() as u64);
    }

    /// Makes the file this long, with zeros at the end if it was shorter.
    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.length {
            let whole = length.div_ceil(PAGE as u64);
            let beyond: Vec<u64> = self.pages.range(whole..).map(|(page, _)| *page).collect();
            for page in beyond {
                self.put_aside(page);
                self.pages.remove(&page);
            }
            if let Ok(kept @ 1..) = usize::try_from(length % PAGE as u64) {
                self.write(length, &vec![0; PAGE - kept]);
            }
        }
        self.length = length;
    }

    /// The disk has everything that was not lost.
    pub(super) fn sync(&mut self) {
        self.unsynced.retain(|_, unsynced| unsynced.lost);
        self.synced_length = self.length;
    }

    /// The disk has nothing more than before, and the system forgets that it should have.
    pub(super) fn fail_sync(&mut self) {
        for unsynced in self.unsynced.values_mut() {
            unsynced.lost = true;
        }
    }

    /// What a power cut leaves.
    pub(super) fn cut(&mut self, survivors: &mut Survivors) {
        let length = if self.length != self.synced_length && survivors.keep_length() { self.length } else { self.synced_length };
        for (number, unsynced) in std::mem::take(&mut self.unsynced) {
            let mut page = unsynced.before;
            if !unsynced.lost {
                survivors.keep_sectors(|sector| {
                    let range = sector * SECTOR..(sector + 1) * SECTOR;
                    let page = page.get_or_insert_with(|| Box::new([0; PAGE]));
                    match self.pages.get(&number) {
                        Some(written) => page[range.clone()].copy_from_slice(&written[range]),
                        None => page[range].fill(0),
                    }
                });
            }
            match page {
                Some(page) => self.pages.insert(number, page),
                None => self.pages.remove(&number),
            };
        }
        // What stands behind the end does not come back should the file grow again.
        self.length = self.length.max(self.synced_length);
        self.set_length(length);
        self.unsynced.clear();
        self.synced_length = length;
    }

    fn put_aside(&mut self, page: u64) {
        let known = self.unsynced.entry(page).or_insert_with(|| Unsynced { before: self.pages.get(&page).cloned(), lost: false });
        known.lost = false;
    }
}

/// The part of a range that lies in one page.
struct Piece {
    page: u64,
    /// Where it begins in the page ...
    within: usize,
    /// ... and in the range.
    from: usize,
    length: usize,
}

fn pieces(offset: u64, size: usize) -> impl Iterator<Item = Piece> {
    let mut from = 0;
    std::iter::from_fn(move || {
        (from < size).then(|| {
            let at = offset + from as u64;
            let within = usize::try_from(at % PAGE as u64).expect("less than a page");
            let piece = Piece { page: at / PAGE as u64, within, from, length: (PAGE - within).min(size - from) };
            from += piece.length;
            piece
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::Loss;
    use super::*;

    fn cut(bytes: &mut Bytes, loss: Loss) -> Vec<u8> {
        bytes.cut(&mut Survivors::of(loss));
        bytes.read(0, 100_000)
    }

    #[test]
    fn what_was_synced_is_there_after_a_cut_and_nothing_else() {
        let mut bytes = Bytes::default();
        bytes
            .write(4_000, b"across two pages, and that is all of it; this much must come back after the power was cut, wherever it stands");
        bytes.sync();
        let synced = bytes.read(0, 100_000);
        bytes.write(4_090, b"NOT SYNCED");
        bytes.write(20_000, b"nor this");
        assert_eq!(bytes.length(), 20_008);
        assert_eq!(cut(&mut bytes, Loss::Everything), synced);
        bytes.set_length(10);
        assert_eq!(cut(&mut bytes, Loss::Everything), synced, "a cut before the sync of a truncation undoes it");
        bytes.set_length(10);
        bytes.sync();
        bytes.set_length(5_000);
        bytes.sync();
        assert_eq!(cut(&mut bytes, Loss::Everything), vec![0; 5_000], "what was cut off does not come back");
    }

    #[test]
    fn a_page_whose_sync_failed_is_lost_until_it_is_written_again() {
        let mut bytes = Bytes::default();
        bytes.write(0, b"old");
        bytes.sync();
        bytes.write(0, b"new");
        bytes.fail_sync();
        assert_eq!(bytes.read(0, 9), b"new");
        bytes.sync();
        assert_eq!(cut(&mut bytes, Loss::Everything), b"old");
        bytes.write(0, b"new");
        bytes.fail_sync();
        bytes.write(1, b"e");
        bytes.sync();
        assert_eq!(cut(&mut bytes, Loss::Everything), b"new");
    }

    #[test]
    fn a_torn_page_has_whole_sectors_of_before_and_after() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut bytes = Bytes::default();
            bytes.write(0, &[1; PAGE]);
            bytes.sync();
            bytes.write(0, &[2; PAGE]);
            let left = cut(&mut bytes, Loss::Some { seed, tear_bytes: SECTOR });
            for sector in left.chunks(SECTOR) {
                assert!(sector.iter().all(|byte| *byte == sector[0]));
            }
            seen.insert(left.chunks(SECTOR).map(|sector| sector[0]).collect::<Vec<_>>());
        }
        assert!(seen.len() > 20, "{} ways to tear a page", seen.len());
    }
}
