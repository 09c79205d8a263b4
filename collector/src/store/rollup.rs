//! The rollup of open days: its dimensions, and the select that turns events into cells.

/// One way to cut a site's day: its name in the column `dimension`, and the text of an event that it cuts by, in SQL over a row of `events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// The name.
    pub name: &'static str,
    /// The expression.
    pub text: &'static str,
}

/// The whole site.
pub const ALL: &str = "all";

/// The hours of its day.
pub const HOUR: &str = "hour";

/// Not a dimension: the cell that proves that the rollup has a batch. Its value is `node/batch`.
pub const BATCH: &str = "~batch";

/// Every dimension. The whole-site cell comes first and the batch's proof last; between them the order is free, and a new one is a new line.
pub const DIMENSIONS: &[Dimension] = &[
    Dimension { name: ALL, text: "''" },
    Dimension { name: HOUR, text: "leftPad(toString(source.hour), 2, '0')" },
    Dimension { name: "page", text: "source.page" },
    Dimension { name: "source", text: "source.source" },
    Dimension { name: "channel", text: "source.channel" },
    Dimension { name: "referrer", text: "source.referrer" },
    Dimension { name: "utm_source", text: "source.utm_source" },
    Dimension { name: "utm_medium", text: "source.utm_medium" },
    Dimension { name: "utm_campaign", text: "source.utm_campaign" },
    Dimension { name: "utm_content", text: "source.utm_content" },
    Dimension { name: "utm_term", text: "source.utm_term" },
    Dimension { name: "country", text: "source.country" },
    Dimension { name: "browser", text: "source.browser" },
    Dimension { name: "os", text: "source.os" },
    Dimension { name: "device", text: "source.device" },
    Dimension { name: "screen", text: "source.screen" },
    Dimension { name: "language", text: "source.language" },
    Dimension { name: "app_version", text: "source.app_version" },
    Dimension { name: "device_model", text: "source.device_model" },
    Dimension { name: "network", text: "source.network" },
    Dimension { name: "since_first", text: "source.since_first" },
    Dimension { name: "event", text: "source.name" },
    Dimension { name: BATCH, text: "concat(toString(source.node), '/', toString(source.batch))" },
];

/// The view that runs the select over every insert into `events`.
pub const VIEW: &str = "rollup_open_view";

/// The select over `source`: a table, or a subquery in brackets.
pub fn select(source: &str) -> String {
    let list = |of: fn(&Dimension) -> String| DIMENSIONS.iter().map(of).collect::<Vec<_>>().join(", ");
    super::migrate::without_comments(include_str!("../../../schema/rollup_open.sql"))
        .replace("{source}", source)
        .replace("{marker}", &(DIMENSIONS.len() - 1).to_string())
        .replace("{dimensions}", &list(|dimension| format!("'{}'", dimension.name)))
        .replace("{texts}", &list(|dimension| dimension.text.to_owned()))
}

/// The value of a batch's [`BATCH`] cell.
pub fn batch_value(node: u64, batch: u64) -> String {
    format!("{node}/{batch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_site_is_first_and_the_proof_of_a_batch_is_last() {
        assert_eq!(DIMENSIONS.first().map(|dimension| dimension.name), Some(ALL));
        assert_eq!(DIMENSIONS.last().map(|dimension| dimension.name), Some(BATCH));
        let names: std::collections::HashSet<_> = DIMENSIONS.iter().map(|dimension| dimension.name).collect();
        assert_eq!(names.len(), DIMENSIONS.len());
    }

    #[test]
    fn every_capped_text_is_a_dimension() {
        for capped in crate::row::Capped::ALL {
            assert!(DIMENSIONS.iter().any(|dimension| dimension.name == capped.label()), "{}", capped.label());
        }
    }

    #[test]
    fn the_select_has_no_gap_left() {
        let select = select("events");
        assert!(!select.contains(['{', '}', '?']), "{select}");
        assert!(select.contains("FROM events AS source"));
    }
}
