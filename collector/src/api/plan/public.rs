//! What is planned for everybody who has a link: closed days, one cut at most, and never an hour.

use super::{Parameter, Planning, one_value_of_closed_days};
use crate::api::question::{Dimension, Values};
use crate::api::refusal::{Reason, Refusal};
use crate::api::template::{self, Hours, Operand, PublicCut};
use crate::leak;
use crate::store::rollup::ALL;

impl Planning<'_> {
    /// The cells of closed days as everybody may see them.
    pub(super) fn public(&mut self) -> Result<String, Refusal> {
        if self.hours() == Hours::Each {
            return Err(Refusal::at("interval", Reason::NotStored).allowing(["day", "week", "month"]));
        }
        let query = self.query;
        let mut cut: Vec<Dimension> = query.dimensions.clone();
        for (index, filter) in query.filters.iter().enumerate() {
            if !query.dimensions.contains(&filter.dimension) {
                one_value_of_closed_days(filter, index)?;
                cut.push(filter.dimension);
            }
            self.parameters.push((format!("filter{index}"), Parameter::Texts(filter.values.clone())));
        }
        cut.dedup();
        self.kept_of_closed_days(cut.len())?;
        // Cells that cannot be added up have no rest that would hide a small one.
        if cut.len() > 1 || cut.iter().any(|own| own.values == Values::Many) {
            let allowed = Dimension::all().filter(|own| own.values == Values::One).map(|own| own.name);
            return Err(Refusal::at("dimensions", Reason::NotStored).allowing(allowed));
        }
        let (weight, threshold) = self.threshold();
        self.bind("threshold", Parameter::Number(if leak::planted("small_counts_shared") { 0 } else { threshold }));
        self.text("dimension1", cut.first().map_or(ALL, |own| own.name));
        let conditions = self.conditions(|_| true, |_| Operand::Text("part.name".to_owned()));
        let cut = match (cut.first(), query.dimensions.first()) {
            (None, _) => PublicCut::WholeSite,
            (Some(cut), None) => PublicCut::Hidden(*cut),
            (Some(cut), Some(_)) => PublicCut::Shown(*cut),
        };
        Ok(template::public(cut, weight, &conditions, &self.needed()))
    }
}
