//! Lots drawn from a seed: the same seed makes the same traffic. `SplitMix64` (Steele, Lea, Flood, 2014): five lines, and good enough for made-up visitors.

/// A sequence of lots.
#[derive(Clone, Debug)]
pub(super) struct Lot(u64);

impl Lot {
    /// The sequence that `seed` and `stream` name.
    pub(super) fn of(seed: u64, stream: u64) -> Self {
        let mut lot = Self(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        lot.draw();
        lot
    }

    /// 64 bits.
    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }

    /// A place in a list of `length`.
    pub(super) fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap_or(u64::MAX))).unwrap_or(0)
    }

    /// True that often in a thousand times.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// From `least` to `most`, small ones far more often than large ones, as times on a page are.
    pub(super) fn skewed(&mut self, least: u64, most: u64) -> u64 {
        let reach = most.saturating_sub(least);
        let one = self.below(1_001);
        let other = self.below(1_001);
        least + reach * one / 1_000 * other / 1_000 * one / 1_000
    }

    /// One of `list`, each as often as its weight says; the first when all weigh nothing.
    pub(super) fn weighted<'l, T>(&mut self, list: &'l [T], weight: impl Fn(&T) -> u64) -> &'l T {
        let all = list.iter().map(&weight).sum();
        let mut left = self.below(all);
        let drawn = list.iter().find(|one| {
            let own = weight(one);
            let here = left < own;
            left = left.saturating_sub(own);
            here
        });
        drawn.unwrap_or(&list[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_lots_and_another_draws_others() {
        let drawn = |seed, stream| {
            (0..8)
                .map({
                    let mut lot = Lot::of(seed, stream);
                    move |_| lot.draw()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(drawn(1, 2), drawn(1, 2));
        assert_ne!(drawn(1, 2), drawn(2, 2));
        assert_ne!(drawn(1, 2), drawn(1, 3));
    }

    #[test]
    fn weights_are_kept() {
        let mut lot = Lot::of(1, 1);
        let drawn = (0..10_000).filter(|_| *lot.weighted(&["rare", "often"], |name| if *name == "rare" { 1 } else { 9 }) == "rare").count();
        assert!((800..1_200).contains(&drawn), "{drawn}");
        assert!((0..1_000).all(|_| (5..=50).contains(&lot.skewed(5, 50))));
    }
}
