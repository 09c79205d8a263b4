//! The README of an export: what lies where, what each column is, and a first question.

use std::fmt::Write;

use crate::store::export::{Column, Exported};

const HEAD: &str = "# Figures of Headcount

Finished figures of closed days, as Parquet: counts that name nobody. Headcount writes them after each closing of a day, keeps them for 25 months at most, and
owns this folder: what is changed here is written over.

A file appears under its name when it is whole. When a later closing releases figures of a week or month, the month's files are replaced.

| | |
|---|---|
| `v1/figures/site=SITE/month=YYYY-MM/figures.parquet` | every figure of a site and month |
| `v1/outcomes/site=SITE/month=YYYY-MM/outcomes.parquet` | how many events came on closed days, and what became of them |
| `v1/days.parquet` | the closed days |

`v1` is the version of the columns below; what does not fit them would be written into `v2`. `site` and `month` are in the folders' names, as Hive has them: most tools read them as columns.

With DuckDB, in this folder:

```sql
SELECT day, visitors, visits, pageviews FROM read_parquet('v1/figures/*/*/*.parquet', hive_partitioning = true)
WHERE site = 'example.org' AND dimension = 'all' ORDER BY day;
```

## What to know

* A value that fewer than *k* visitors of a day shared is not named with its day. If it has k visitor-days in its week, there is a row with `span = 'week'`, else perhaps one of its month. The rows of a
  day, its week and its month never tell the same twice: over a whole month, add them all up. What the site's `all` has beyond the named rows is of values that are not named.
* Visitors are told apart for one day. A sum over days is of visitor-days.
* Rows of a pair (`dimension2` not empty) are rounded at random to multiples of k, so that no small number can be found by subtraction.
* Whole days of a site without pseudonyms have `entries` in the place of visitors and visits.
";

/// The text.
pub(super) fn text() -> String {
    let mut text = HEAD.to_owned();
    for (table, title) in [(Exported::Figures, "figures"), (Exported::Outcomes, "outcomes"), (Exported::Days, "days")] {
        // Writing to a text does not fail.
        let _ = write!(text, "\n## The columns of {title}\n\n| column | what it is |\n|---|---|\n");
        for Column { name, meaning, .. } in table.columns() {
            let _ = writeln!(text, "| `{name}` | {meaning} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_explained() {
        let text = text();
        for table in [Exported::Figures, Exported::Outcomes, Exported::Days] {
            assert!(table.columns().iter().all(|column| text.contains(&format!("| `{}` | {} |", column.name, column.meaning))));
        }
    }
}
