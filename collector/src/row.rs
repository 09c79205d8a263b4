//! The bytes of a stored row: `RowBinary`, one column after the other, as the table's column list names them.
//!
//! One list per table is both the column list and the encoder, so that the two cannot drift. A segment's header carries the column list it was
//! written with, and the insert names it: a table that has gained columns since still takes the segment.
//! Format: <https://clickhouse.com/docs/interfaces/formats/RowBinary>.

pub mod stored;

use std::borrow::Cow;

use crate::clock::{Day, UnixMillis, Zone};
use crate::event::Event;
use crate::outcome::Outcome;

/// The segment that a row lies in: both numbers stand in every row, so that a batch can be counted again in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The spool folder's own number, drawn at random when it was made.
    pub node: u64,
    /// The segment's number within its node; never used twice.
    pub batch: u64,
}

/// How the rows of one table are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLayout {
    /// The table's name.
    pub table: &'static str,
    /// Raised by one whenever `columns` changes.
    pub schema_id: u32,
    /// Name and ClickHouse type of each column, in the order of the bytes.
    pub columns: &'static [(&'static str, &'static str)],
}

impl TableLayout {
    /// The column names as an insert states them: `node, batch, ...`.
    pub fn column_list(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// A table that segments are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// `events`, and through its view `rollup_open`.
    Events,
    /// `outcomes_daily`.
    Outcomes,
}

impl Table {
    /// Every table, in the order of `as usize`.
    pub const ALL: [Self; 2] = [Self::Events, Self::Outcomes];

    /// How its rows are laid out now; a segment states the columns it was written with.
    pub fn layout(self) -> TableLayout {
        match self {
            Self::Events => EVENTS,
            Self::Outcomes => OUTCOMES,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.layout().table
    }

    /// The table of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

/// Makes a [`TableLayout`] and the function that writes its rows from one list of `column: type = value`.
macro_rules! layout {
    (
        $(#[$about:meta])* $layout:ident, table $table:literal, schema $schema:literal,
        fn $write:ident($out:ident, $($parameter:ident: $type:ty),*) { $($column:ident: $cell:ty = $value:expr,)* }
    ) => {
        $(#[$about])*
        pub const $layout: TableLayout = TableLayout {
            table: $table,
            schema_id: $schema,
            columns: &[$((stringify!($column), <$cell as Cell>::TYPE),)*],
        };

        fn $write($out: &mut Vec<u8>, $($parameter: $type),*) {
            $(<$cell as Cell>::put($out, $value);)*
        }
    };
}

layout! {
    /// Table `events`: one row an event.
    EVENTS, table "events", schema 1,
    fn write_event(out, event: &Event<'_>, zone: &Zone, stamp: Stamp) {
        node: UInt64 = stamp.node,
        batch: UInt64 = stamp.batch,
        zone: Text = zone.name().as_bytes(),
        day: Date = event.day,
        site: Text = event.site.id.as_bytes(),
        time: DateTime64 = event.time,
        hour: UInt8 = zone.hour_of(event.time),
        visitor: UInt64 = event.visitor.map_or(0, |pseudonym| pseudonym.0.get()),
        kind: Text = event.kind.label().as_bytes(),
        name: Text = event.name.as_bytes(),
        host: Text = event.page.host.as_bytes(),
        page: Text = event.page.path.as_bytes(),
        source: Text = event.source.name.as_bytes(),
        channel: Text = event.source.channel.label().as_bytes(),
        referrer: Text = event.source.referrer.as_bytes(),
        utm_source: Text = event.campaign.source.as_bytes(),
        utm_medium: Text = event.campaign.medium.as_bytes(),
        utm_campaign: Text = event.campaign.name.as_bytes(),
        utm_content: Text = event.campaign.content.as_bytes(),
        utm_term: Text = event.campaign.term.as_bytes(),
        country: Text = &event.country.0,
        browser: Text = event.device.browser.as_bytes(),
        browser_major: UInt16 = event.device.browser_major,
        os: Text = event.device.os.as_bytes(),
        os_major: UInt16 = event.device.os_major,
        device: Text = event.device.class.label().as_bytes(),
        screen: Text = event.device.screen.label().as_bytes(),
        language: Text = event.language.as_bytes(),
        app_version: Text = event.device.app_version.as_bytes(),
        device_model: Text = event.device.model.as_bytes(),
        network: Text = event.device.network.label().as_bytes(),
        props: Props = &event.props,
        value: Amount = event.value.map_or(0, |money| money.ten_thousandths),
        currency: Text = event.value.as_ref().map_or(&[], |money| &money.currency),
        engaged_ms: UInt32 = event.engaged_millis,
        scroll_pct: UInt8 = event.scroll_percent,
        entry: Flag = event.entry,
        first_today: Flag = event.activity.first_today,
        first_this_week: Flag = event.activity.first_this_week,
        first_this_month: Flag = event.activity.first_this_month,
        since_first: Text = event.activity.since_first.label().as_bytes(),
    }
}

layout! {
    /// Table `outcomes_daily`: how many events of a site and day met an outcome, as one segment saw it; summed when read.
    OUTCOMES, table "outcomes_daily", schema 1,
    fn write_outcome(out, row: &OutcomeCount<'_>, zone: &Zone, stamp: Stamp) {
        node: UInt64 = stamp.node,
        batch: UInt64 = stamp.batch,
        zone: Text = zone.name().as_bytes(),
        day: Date = row.day,
        site: Text = row.site.as_bytes(),
        reason: Text = row.outcome.label().as_bytes(),
        count: UInt64 = row.count,
    }
}

impl<'a> Event<'a> {
    /// Appends this event's row of table `events`. `zone` is the site's.
    pub fn encode(&self, out: &mut Vec<u8>, zone: &Zone, stamp: Stamp) {
        write_event(out, self, zone, stamp);
    }

    /// The texts that fill the rollup and that a sender is free to choose, each with its dimension: what the cap on distinct values looks at,
    /// and where it writes `(other)` before the row is framed. An empty text makes no cell.
    pub fn capped_dimensions_mut(&mut self) -> [(Capped, &mut Cow<'a, str>); Capped::COUNT] {
        [
            (Capped::Page, &mut self.page.path),
            (Capped::Source, &mut self.source.name),
            (Capped::Referrer, &mut self.source.referrer),
            (Capped::UtmSource, &mut self.campaign.source),
            (Capped::UtmMedium, &mut self.campaign.medium),
            (Capped::UtmCampaign, &mut self.campaign.name),
            (Capped::UtmContent, &mut self.campaign.content),
            (Capped::UtmTerm, &mut self.campaign.term),
            (Capped::Browser, &mut self.device.browser),
            (Capped::Os, &mut self.device.os),
            (Capped::Language, &mut self.language),
            (Capped::AppVersion, &mut self.device.app_version),
            (Capped::DeviceModel, &mut self.device.model),
            (Capped::Event, &mut self.name),
        ]
    }
}

/// How often one outcome was met by events of one site and day.
#[derive(Clone, Copy, Debug)]
pub struct OutcomeCount<'a> {
    /// The site, or [`UNKNOWN_SITE`].
    pub site: &'a str,
    /// The calendar day in the zone of the segment.
    pub day: Day,
    /// What was met.
    pub outcome: Outcome,
    /// How often since the last row.
    pub count: u64,
}

impl OutcomeCount<'_> {
    /// Appends this count's row of table `outcomes_daily`.
    pub fn encode(&self, out: &mut Vec<u8>, zone: &Zone, stamp: Stamp) {
        write_outcome(out, self, zone, stamp);
    }
}

/// The site under which events for no configured site are counted.
pub const UNKNOWN_SITE: &str = "(unknown)";

/// What a text becomes when its dimension has no room for another distinct value.
pub const OTHER: &str = "(other)";

macro_rules! capped {
    ($($(#[$doc:meta])* $variant:ident => $label:literal,)*) => {
        /// A dimension of the rollup whose values are open-ended, so that their number is capped per site and day.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Capped { $($(#[$doc])* $variant,)* }

        impl Capped {
            /// Every capped dimension, in the order of their `as usize`.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in the rollup's `dimension` column.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// The dimension of that name.
            pub fn from_label(text: &str) -> Option<Self> {
                match text { $($label => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

capped! {
    /// A page's path or a screen's name.
    Page => "page",
    /// The source's name.
    Source => "source",
    /// The referring host.
    Referrer => "referrer",
    /// Campaign tag.
    UtmSource => "utm_source",
    /// Campaign tag.
    UtmMedium => "utm_medium",
    /// Campaign tag.
    UtmCampaign => "utm_campaign",
    /// Campaign tag.
    UtmContent => "utm_content",
    /// Campaign tag.
    UtmTerm => "utm_term",
    /// Browser family.
    Browser => "browser",
    /// Operating system family.
    Os => "os",
    /// Primary language.
    Language => "language",
    /// App version.
    AppVersion => "app_version",
    /// Device model.
    DeviceModel => "device_model",
    /// The name of an event.
    Event => "event",
}

/// A column's type: its name in ClickHouse, and how a value becomes `RowBinary` bytes.
trait Cell {
    const TYPE: &'static str;
    type Value<'v>;
    fn put(out: &mut Vec<u8>, value: Self::Value<'_>);
}

macro_rules! integers {
    ($($cell:ident: $value:ty,)*) => {$(
        struct $cell;
        impl Cell for $cell {
            const TYPE: &'static str = stringify!($cell);
            type Value<'v> = $value;
            fn put(out: &mut Vec<u8>, value: $value) {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
    )*};
}

integers! { UInt8: u8, UInt16: u16, UInt32: u32, UInt64: u64, }

/// A yes or no.
struct Flag;

impl Cell for Flag {
    const TYPE: &'static str = "Bool";
    type Value<'v> = bool;

    fn put(out: &mut Vec<u8>, value: bool) {
        out.push(u8::from(value));
    }
}

/// A calendar day.
struct Date;

impl Cell for Date {
    const TYPE: &'static str = "Date";
    type Value<'v> = Day;

    fn put(out: &mut Vec<u8>, value: Day) {
        UInt16::put(out, value.0);
    }
}

/// An instant, to the millisecond.
struct DateTime64;

impl Cell for DateTime64 {
    const TYPE: &'static str = "DateTime64(3, 'UTC')";
    type Value<'v> = UnixMillis;

    fn put(out: &mut Vec<u8>, value: UnixMillis) {
        out.extend_from_slice(&value.0.to_le_bytes());
    }
}

/// Ten-thousandths of a currency's unit.
struct Amount;

impl Cell for Amount {
    const TYPE: &'static str = "Decimal(18, 4)";
    type Value<'v> = i64;

    fn put(out: &mut Vec<u8>, value: i64) {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A text. `LowCardinality(String)` would be smaller on disk, but it doubles what an insert costs the engine (5.2 instead of 2.6 microseconds a row),
/// and a raw row lives two days.
struct Text;

impl Cell for Text {
    const TYPE: &'static str = "String";
    type Value<'v> = &'v [u8];

    fn put(out: &mut Vec<u8>, value: &[u8]) {
        put_length(out, value.len());
        out.extend_from_slice(value);
    }
}

/// An event's properties.
struct Props;

impl Cell for Props {
    const TYPE: &'static str = "Map(String, String)";
    type Value<'v> = &'v [(Cow<'v, str>, Cow<'v, str>)];

    fn put(out: &mut Vec<u8>, value: &[(Cow<'_, str>, Cow<'_, str>)]) {
        put_length(out, value.len());
        for (key, text) in value {
            Text::put(out, key.as_bytes());
            Text::put(out, text.as_bytes());
        }
    }
}

/// A length as an unsigned LEB128 number.
fn put_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests;
