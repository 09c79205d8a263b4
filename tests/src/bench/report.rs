//! The figures of a run: medians and spreads, as a table for people and as JSON for comparisons.

use std::fmt::Write;

/// One figure over all rounds.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What is measured, with its unit.
    pub name: String,
    /// A value per round.
    pub rounds: Vec<f64>,
}

impl Figure {
    /// A figure of these rounds.
    pub fn new(name: &str, rounds: Vec<f64>) -> Self {
        Self { name: name.to_owned(), rounds }
    }

    /// The middle value; of an even number of rounds the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            length if length % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    fn bound(&self, pick: fn(f64, f64) -> f64) -> f64 {
        self.rounds.iter().copied().reduce(pick).unwrap_or(f64::NAN)
    }
}

/// All figures as a table.
pub fn table(figures: &[Figure]) -> String {
    let mut text = format!("{:<66} {:>10} {:>10} {:>10}\n", "figure", "median", "min", "max");
    for figure in figures {
        let (min, max) = (figure.bound(f64::min), figure.bound(f64::max));
        writeln!(text, "{:<66} {:>10.2} {:>10.2} {:>10.2}", figure.name, figure.median(), min, max).expect("a String takes any text");
    }
    text
}

/// All figures as JSON: `{"figures": [{"name", "median", "rounds"}]}`.
pub fn json(figures: &[Figure]) -> String {
    let figures: Vec<_> = figures
        .iter()
        .map(|figure| serde_json::json!({ "name": figure.name, "median": figure.median(), "rounds": figure.rounds }))
        .collect();
    serde_json::json!({ "figures": figures }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((Figure::new("", vec![3.0, 1.0, 2.0]).median() - 2.0).abs() < f64::EPSILON);
        assert!((Figure::new("", vec![4.0, 1.0, 2.0, 3.0]).median() - 2.5).abs() < f64::EPSILON);
    }
}
