//! What visits reach: the SQL of a site's goals and funnels over a row of events that `schema/visits.sql` and the statements about single events share.
//!
//! A step is a condition on one event. Its text travels in one parameter with those of all the others, so a statement is made of constants and numbers.

use clickhouse::query::Query;

use crate::site::declared::{Declared, Step};

/// The SQL over events, and the values of the parameters that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// `{texts:Array(String)}`: what the steps are about, as paths, names and patterns.
    pub(crate) texts: Vec<String>,
    /// `{goals:Array(String)}`: the names of the goals.
    pub(crate) goals: Vec<String>,
    /// `{funnels:Array(String)}`: the names of the funnels.
    pub(crate) funnels: Vec<String>,
    /// A condition for each goal.
    of_goals: Vec<String>,
    /// The conditions of the steps of each funnel.
    of_funnels: Vec<Vec<String>>,
    /// The amount and the currency of a goal that is worth as much each time.
    worths: Vec<Option<(String, String)>>,
    /// Whether a goal is an event, which may bring an amount.
    events: Vec<bool>,
}

impl Reached {
    /// For a site that declares this.
    pub(crate) fn of(declared: &Declared) -> Self {
        let mut reached = Self::default();
        for goal in &declared.goals {
            let condition = reached.condition(&goal.at);
            reached.of_goals.push(condition);
            reached.goals.push(goal.name.to_string());
            reached.worths.push(goal.worth.as_ref().map(|worth| (worth.amount.to_string(), worth.currency.to_string())));
            reached.events.push(matches!(goal.at, Step::Event(_)));
        }
        for funnel in &declared.funnels {
            let steps = funnel.steps.iter().map(|step| reached.condition(step)).collect();
            reached.of_funnels.push(steps);
            reached.funnels.push(funnel.name.to_string());
        }
        reached
    }

    /// `query` with the parameters.
    pub(crate) fn bound(&self, query: Query) -> Query {
        query.param("texts", &self.texts).param("goals", &self.goals).param("funnels", &self.funnels)
    }

    /// Whether an event does the step.
    fn condition(&mut self, step: &Step) -> String {
        let (text, condition): (String, fn(usize) -> String) = match step {
            Step::Event(name) => (name.to_string(), |at| format!("(kind = 'event' AND name = {{texts:Array(String)}}[{at}])")),
            Step::Page(path) if !path.split('/').any(|part| part == "*") => (path.to_string(), |at| {
                format!("(kind IN ('pageview', 'screen') AND cutQueryString(page) = {{texts:Array(String)}}[{at}])")
            }),
            Step::Page(path) => (pattern(path), |at| {
                format!("(kind IN ('pageview', 'screen') AND match(cutQueryString(page), {{texts:Array(String)}}[{at}]))")
            }),
        };
        self.texts.push(text);
        condition(self.texts.len())
    }

    /// The names of the goals that a visit has reached, over the events of a visit.
    pub(crate) fn goals(&self) -> String {
        if self.of_goals.is_empty() {
            return "CAST([], 'Array(String)')".to_owned();
        }
        let times = self.of_goals.iter().map(|condition| format!("countIf({condition})")).collect::<Vec<_>>().join(", ");
        format!("arrayFilter((goal, times) -> times > 0, {{goals:Array(String)}}, [{times}])")
    }

    /// The steps that a visit has done, as `name/number`, over the events of a visit in the order of `number`.
    pub(crate) fn steps(&self) -> String {
        if self.of_funnels.is_empty() {
            return "CAST([], 'Array(String)')".to_owned();
        }
        // In the order of the visit, one event after the other: each does the next step or none. Behind the last step there is nothing to be done.
        let far = |steps: &Vec<String>| {
            format!(
                "arrayFold((far, done) -> far + done[far + 1], arrayMap(event -> event.2, arraySort(groupArrayIf((number, [{}]), {}))), toUInt64(0))",
                steps.join(", "),
                steps.join(" OR ")
            )
        };
        let far = self.of_funnels.iter().map(far).collect::<Vec<_>>().join(", ");
        format!(
            "arrayFlatten(arrayMap((funnel, far) -> arrayMap(step -> concat(funnel, '/', toString(step)), range(1, far + 1)), \
             {{funnels:Array(String)}}, [{far}]))"
        )
    }

    /// What goals have brought, as (goal, currency, amount), over the events of a visit.
    pub(crate) fn amounts(&self) -> String {
        let of_goal = |(index, condition): (usize, &String)| {
            let at = index + 1;
            match (&self.worths[index], self.events[index]) {
                // Both are digits and letters, as the configuration has judged.
                (Some((amount, currency)), _) => Some(format!(
                    "if(countIf({condition}) > 0, [({{goals:Array(String)}}[{at}], '{currency}', toDecimal128('{amount}', 4))], [])"
                )),
                (None, true) => Some(format!(
                    "arrayMap(paid -> ({{goals:Array(String)}}[{at}], paid.1, paid.2), CAST(sumMapIf(map(currency, toDecimal128(value, 4)), \
                     {condition} AND currency != ''), 'Array(Tuple(String, Decimal(38, 4)))'))"
                )),
                (None, false) => None,
            }
        };
        let all: Vec<String> = self.of_goals.iter().enumerate().filter_map(of_goal).collect();
        if all.is_empty() {
            return format!("CAST([], '{AMOUNTS}')");
        }
        format!("CAST(arrayConcat({}), '{AMOUNTS}')", all.join(", "))
    }

    /// The names of the goals that one event reaches.
    pub(crate) fn goals_of_event(&self) -> String {
        if self.of_goals.is_empty() {
            return "CAST([], 'Array(String)')".to_owned();
        }
        let conditions = self.of_goals.join(", ");
        format!("arrayFilter((goal, is_reached) -> is_reached, {{goals:Array(String)}}, [{conditions}])")
    }

    /// What the goals that one event reaches have brought.
    pub(crate) fn amounts_of_event(&self) -> String {
        let of_goal = |(index, condition): (usize, &String)| {
            let at = index + 1;
            let (currency, amount) = match (&self.worths[index], self.events[index]) {
                (Some((amount, currency)), _) => (format!("'{currency}'"), format!("toDecimal128('{amount}', 4)")),
                (None, true) => ("currency".to_owned(), "toDecimal128(value, 4)".to_owned()),
                (None, false) => return None,
            };
            Some(format!("if({condition} AND {currency} != '', [({{goals:Array(String)}}[{at}], {currency}, {amount})], [])"))
        };
        let all: Vec<String> = self.of_goals.iter().enumerate().filter_map(of_goal).collect();
        if all.is_empty() {
            return format!("CAST([], '{AMOUNTS}')");
        }
        format!("CAST(arrayConcat({}), '{AMOUNTS}')", all.join(", "))
    }
}

/// The type of amounts by goal and currency.
const AMOUNTS: &str = "Array(Tuple(String, String, Decimal(38, 4)))";

/// A path whose parts may be `*`, as a regular expression: any one part that is not empty, and at the end also all that follow.
fn pattern(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let last = parts.len() - 1;
    let part = |(index, part): (usize, &&str)| match *part {
        "*" if index == last => "[^/].*".to_owned(),
        "*" => "[^/]+".to_owned(),
        text => escaped(text),
    };
    format!("^{}$", parts.iter().enumerate().map(part).collect::<Vec<_>>().join("/"))
}

/// `text` so that an expression means it as it stands.
fn escaped(text: &str) -> String {
    let one = |character: char| if character.is_ascii_punctuation() { vec!['\\', character] } else { vec![character] };
    text.chars().flat_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_what_routes_mean() {
        for (path, expected) in
            [("/shop/*/paid", r"^/shop/[^/]+/paid$"), ("/news/*", r"^/news/[^/].*$"), ("/a.b*/*", r"^/a\.b\*/[^/].*$"), ("*", "^[^/].*$")]
        {
            assert_eq!(pattern(path), expected);
        }
    }
}
