//! What can go wrong with a call, by order or by chance.

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spool) enum Call {
    MakeFolder,
    Create,
    Open,
    Lock,
    Allocate,
    Write,
    Read,
    Sync,
    SyncFolder,
    Truncate,
    Length,
    Rename,
    Remove,
    Exists,
    List,
}

impl Call {
    /// Whether it leaves the disk as it is, so that a crash before it is a crash before the next.
    pub(super) fn only_looks(self) -> bool {
        matches!(self, Self::Open | Self::Lock | Self::Read | Self::Length | Self::Exists | Self::List)
    }

    /// What may become of it on a bad day.
    pub(super) fn error(self, draw: u64) -> i32 {
        match self {
            Self::Allocate | Self::Create | Self::MakeFolder | Self::Write if draw.is_multiple_of(2) => NO_SPACE,
            _ => IO_ERROR,
        }
    }
}

/// Error numbers of Linux.
pub(in crate::spool) const IO_ERROR: i32 = 5;
pub(in crate::spool) const NO_SPACE: i32 = 28;
pub(super) const INTERRUPTED: i32 = 4;
pub(super) const NOT_FOUND: i32 = 2;
pub(super) const EXISTS: i32 = 17;
pub(super) const WOULD_BLOCK: i32 = 11;

#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) call: Call,
    pub(super) skipped: u32,
    pub(super) errno: i32,
}

/// How often a call does not do as it is told, in thousandths, drawn from `seed`.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::spool) struct Chances {
    /// Fails.
    pub(in crate::spool) fails: u64,
    /// Is interrupted by a signal before it did anything.
    pub(in crate::spool) interrupted: u64,
    /// Reads or writes less than was asked for.
    pub(in crate::spool) short: u64,
    /// Where chance begins.
    pub(in crate::spool) seed: u64,
}

/// A number that looks drawn at random and follows from `seed` (splitmix64).
pub(in crate::spool) fn draw(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
