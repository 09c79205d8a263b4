//! `[[site.goal]]`, `[[site.funnel]]`, `properties`, `cubes` and `detail` -> [`Declared`].

use super::build::quoted;
use super::fault::Fault;
use super::written;
use crate::limits;
use crate::site::declared::{Declared, Detail, Funnel, Goal, Step, Worth};
use crate::store::closing;

type Judged<T> = Result<T, Fault>;

/// What a site declares, as it was written.
pub(super) struct Written {
    pub(super) goals: Vec<written::Goal>,
    pub(super) funnels: Vec<written::Funnel>,
    pub(super) properties: Vec<String>,
    pub(super) cubes: Vec<Vec<String>>,
    pub(super) detail: Option<String>,
}

pub(super) fn build(written: Written) -> Judged<Declared> {
    let Written { goals, funnels, properties, cubes, detail } = written;
    Ok(Declared {
        goals: within("goal", goals, limits::SITE_GOALS, goal, |goal| &goal.name)?,
        funnels: within("funnel", funnels, limits::SITE_FUNNELS, funnel, |funnel| &funnel.name)?,
        properties: within("properties", properties, limits::SITE_PROPERTIES, property, |key| key)?,
        cubes: self::cubes(cubes)?,
        detail: match detail.as_deref() {
            None | Some("pairs") => Detail::Pairs,
            Some("totals") => Detail::Totals,
            Some(other) => return Err(Fault::of("detail", quoted(other), "must be \"pairs\" or \"totals\"")),
        },
    })
}

/// At most so many, each with a name of its own.
fn within<W, T>(key: &str, written: Vec<W>, most: usize, judge: impl Fn(W) -> Judged<T>, name: impl Fn(&T) -> &str) -> Judged<Vec<T>> {
    if written.len() > most {
        return Err(Fault::of(key, format!("{} entries", written.len()), format!("must be at most {most} entries")));
    }
    let mut judged: Vec<T> = Vec::with_capacity(written.len());
    for entry in written {
        let entry = judge(entry)?;
        if judged.iter().any(|other| name(other) == name(&entry)) {
            return Err(Fault::of(key, quoted(name(&entry)), "must not stand twice"));
        }
        judged.push(entry);
    }
    Ok(judged)
}

fn goal(written: written::Goal) -> Judged<Goal> {
    let name = name("goal.name", written.name)?;
    let at = step("goal", written.page, written.event)?;
    let worth = written.value.as_deref().map(worth).transpose()?;
    Ok(Goal { name, at, worth })
}

fn funnel(written: written::Funnel) -> Judged<Funnel> {
    let name = name("funnel.name", written.name)?;
    let (least, most) = limits::FUNNEL_STEPS;
    if !(least..=most).contains(&written.steps.len()) {
        let found = format!("{} steps", written.steps.len());
        return Err(Fault::of("funnel.steps", found, format!("must be {least} to {most} pages or events in their order")));
    }
    let steps = written.steps.into_iter().map(|own| step("funnel.steps", own.page, own.event)).collect::<Judged<_>>()?;
    Ok(Funnel { name, steps })
}

/// A name is part of an address and of a table's values, where `/` parts a funnel's name from the number of a step.
fn name(key: &str, written: Option<String>) -> Judged<Box<str>> {
    let allowed = format!("must be a name of at most {} bytes, without / at any place and spaces at its ends", limits::DECLARED_NAME_BYTES);
    let name = written.ok_or_else(|| Fault::about(key, allowed.clone()))?;
    let well_formed = (1..=limits::DECLARED_NAME_BYTES).contains(&name.len())
        && name.trim() == name
        && !name.contains(|character: char| character == '/' || character.is_control());
    if well_formed { Ok(name.into()) } else { Err(Fault::of(key, quoted(&name), allowed)) }
}

fn step(key: &str, page: Option<String>, event: Option<String>) -> Judged<Step> {
    match (page, event) {
        (Some(page), None) => {
            let well_formed =
                (1..=limits::PATH_BYTES).contains(&page.len()) && !page.contains(['?', '#']) && !page.contains(char::is_control);
            let allowed = "must be a path whose parts may be *, such as /thanks or /shop/*/paid, or a screen's name";
            if well_formed { Ok(Step::Page(page.into())) } else { Err(Fault::of(&format!("{key}.page"), quoted(&page), allowed)) }
        }
        (None, Some(event)) => {
            let well_formed = (1..=limits::NAME_BYTES).contains(&event.len()) && !event.contains(char::is_control);
            let allowed = format!("must be an event's name, of at most {} bytes", limits::NAME_BYTES);
            if well_formed { Ok(Step::Event(event.into())) } else { Err(Fault::of(&format!("{key}.event"), quoted(&event), allowed)) }
        }
        (Some(_), Some(_)) | (None, None) => Err(Fault::about(key, "must name either a page or an event")),
    }
}

/// A number and a currency. It travels into tables as it stands here, so it is judged digit by digit.
fn worth(written: &str) -> Judged<Worth> {
    let judged = written.split_once(' ').filter(|(amount, currency)| {
        let (units, parts) = amount.split_once('.').unwrap_or((amount, "0"));
        let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let bounded = digits(units, 10) && digits(parts, 4) && units.parse().is_ok_and(|units: i64| units < limits::VALUE_UNITS);
        bounded && currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase())
    });
    let allowed = format!("must be an amount below {} and a currency's code, such as \"4.50 EUR\"", limits::VALUE_UNITS);
    let (amount, currency) = judged.ok_or_else(|| Fault::of("goal.value", quoted(written), allowed))?;
    Ok(Worth { amount: amount.into(), currency: currency.into() })
}

/// Keys as events carry them. What stands in front of the first `=` of a value is its key, so a key has none.
fn property(key: String) -> Judged<Box<str>> {
    let well_formed = (1..=limits::PROP_KEY_BYTES).contains(&key.len()) && !key.contains(|one: char| one == '=' || one.is_control());
    let allowed = format!("must be a property's key, of at most {} bytes and without =", limits::PROP_KEY_BYTES);
    if well_formed { Ok(key.into()) } else { Err(Fault::of("properties", quoted(&key), allowed)) }
}

fn cubes(written: Vec<Vec<String>>) -> Judged<Vec<(&'static str, &'static str)>> {
    if written.len() > limits::SITE_CUBES {
        let found = format!("{} entries", written.len());
        return Err(Fault::of("cubes", found, format!("must be at most {} pairs", limits::SITE_CUBES)));
    }
    let named = |name: &str| {
        closing::cuts().find(|cut| *cut == name).ok_or_else(|| {
            let all: Vec<&str> = closing::cuts().collect();
            Fault::of("cubes", quoted(name), format!("must be one of {}", all.join(", ")))
        })
    };
    let mut cubes = Vec::new();
    for pair in written {
        let [one, two] = &*pair else {
            return Err(Fault::of("cubes", format!("{pair:?}"), "must be pairs such as [\"page\", \"browser\"]"));
        };
        let (one, two) = (named(one)?, named(two)?);
        if one == two {
            return Err(Fault::of("cubes", format!("{pair:?}"), "must be of two different cuts"));
        }
        if !cubes.contains(&(one, two)) && !cubes.contains(&(two, one)) {
            cubes.push((one, two));
        }
    }
    Ok(cubes)
}
