//! What a site's owner wants to know beyond what is counted for everybody: goals, funnels, properties, and which cuts are kept together.
//!
//! None of it changes what is collected. Days that are open are judged by what is declared now; a day that is closed keeps what was declared when it was closed.

/// Everything that a site declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// What visits are meant to reach, each by its own name.
    pub goals: Vec<Goal>,
    /// Ways that visits are meant to go, each by its own name.
    pub funnels: Vec<Funnel>,
    /// Keys of events' properties that figures may be cut by.
    pub properties: Vec<Box<str>>,
    /// Whether the usual pairs of cuts are kept of closed days.
    pub detail: Detail,
    /// Pairs that are kept besides.
    pub cubes: Vec<(&'static str, &'static str)>,
}

impl Declared {
    /// The names of the goals.
    pub fn goal_names(&self) -> impl Iterator<Item = &str> {
        self.goals.iter().map(|goal| &*goal.name)
    }

    /// The names of the steps of every funnel: `name/1`, `name/2` and so on.
    pub fn step_names(&self) -> impl Iterator<Item = String> {
        self.funnels.iter().flat_map(|funnel| (1..=funnel.steps.len()).map(|step| format!("{}/{step}", funnel.name)))
    }
}

/// Something that a visit is meant to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// How it is called in answers and on the page.
    pub name: Box<str>,
    /// What reaches it.
    pub at: Step,
    /// What a visit that reached it is worth; without it, what came with its events is summed.
    pub worth: Option<Worth>,
}

/// A way through the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funnel {
    /// How it is called.
    pub name: Box<str>,
    /// What a visit does one after the other, whatever is between.
    pub steps: Vec<Step>,
}

/// What a visit can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// See a page, or a screen: its name, or a path whose parts may be `*`.
    Page(Box<str>),
    /// Send an event of that name.
    Event(Box<str>),
}

impl Step {
    /// What it is about: the page, or the event's name.
    pub fn text(&self) -> &str {
        match self {
            Self::Page(text) | Self::Event(text) => text,
        }
    }
}

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worth {
    /// In units of the currency, as a decimal number.
    pub amount: Box<str>,
    /// The currency's code.
    pub currency: Box<str>,
}

/// How much of closed days is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Figures by one cut, and by the usual pairs of two.
    #[default]
    Pairs,
    /// Figures by one cut.
    Totals,
}
