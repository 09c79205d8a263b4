//! The figures of a run: medians and spreads, as a table for people and as JSON for comparisons.

use std::fmt::Write;

/// One figure over all rounds.
#[derive(Clone, Debug, serde::Deserialize)]
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

    /// The least of all rounds.
    pub fn least(&self) -> f64 {
        self.rounds.iter().copied().reduce(f64::min).unwrap_or(f64::NAN)
    }

    /// The most of all rounds.
    pub fn most(&self) -> f64 {
        self.rounds.iter().copied().reduce(f64::max).unwrap_or(f64::NAN)
    }
}

/// The first line of the table.
pub fn heading() -> String {
    format!("{:<82} {:>10} {:>10} {:>10}", "figure", "median", "min", "max")
}

impl std::fmt::Display for Figure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (min, max) = (self.least(), self.most());
        write!(formatter, "{:<82} {:>10.2} {min:>10.2} {max:>10.2}", self.name, self.median())
    }
}

/// All figures as a table.
pub fn table(figures: &[Figure]) -> String {
    let lines: Vec<String> = figures.iter().map(|figure| format!("{figure}\n")).collect();
    format!("{}\n{}", heading(), lines.concat())
}

/// All figures as JSON: `{"figures": [{"name", "median", "rounds"}]}`.
pub fn json(figures: &[Figure]) -> String {
    let figures: Vec<_> = figures
        .iter()
        .map(|figure| serde_json::json!({ "name": figure.name, "median": figure.median(), "rounds": figure.rounds }))
        .collect();
    serde_json::json!({ "figures": figures }).to_string()
}

/// The figures of such a file.
pub fn parse(json: &str) -> Result<Vec<Figure>, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct File {
        figures: Vec<Figure>,
    }
    serde_json::from_str::<File>(json).map(|file| file.figures)
}

/// Two runs side by side: for each figure of both, the medians, their ratio, and whether their rounds overlap, in which case there may be no difference.
pub fn compare(old: &[Figure], new: &[Figure]) -> String {
    let mut text = format!("{:<82} {:>10} {:>10} {:>7}  rounds\n", "figure", "old", "new", "ratio");
    for figure in new {
        let Some(before) = old.iter().find(|before| before.name == figure.name) else { continue };
        let apart = before.most() < figure.least() || figure.most() < before.least();
        let span = |figure: &Figure| format!("{:.2}..{:.2}", figure.least(), figure.most());
        let (median, was) = (figure.median(), before.median());
        writeln!(
            text,
            "{:<82} {was:>10.2} {median:>10.2} {:>7.3}  {} {} {}",
            figure.name,
            median / was,
            span(before),
            if apart { "apart from" } else { "overlap" },
            span(figure)
        )
        .expect("a String takes any text");
    }
    for (figures, others, which) in [(old, new, "old"), (new, old, "new")] {
        for figure in figures.iter().filter(|figure| others.iter().all(|other| other.name != figure.name)) {
            writeln!(text, "only in the {which} run: {}", figure.name).expect("a String takes any text");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((Figure::new("", vec![3.0, 1.0, 2.0]).median() - 2.0).abs() < f64::EPSILON);
        assert!((Figure::new("", vec![4.0, 1.0, 2.0, 3.0]).median() - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn two_runs_are_compared_figure_by_figure() {
        let run = |rounds: &[f64]| parse(&json(&[Figure::new("cost", rounds.to_vec())])).unwrap();
        assert!(compare(&run(&[10.0, 11.0]), &run(&[5.0, 6.0])).contains("0.524  10.00..11.00 apart from 5.00..6.00"));
        assert!(compare(&run(&[10.0, 12.0]), &run(&[11.0])).contains("1.000  10.00..12.00 overlap 11.00..11.00"));
        assert!(compare(&run(&[1.0]), &[]).contains("only in the old run: cost"));
    }
}
