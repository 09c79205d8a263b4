//! One event's fields -> [`Decoded`]. The order of the judgements is fixed, so that an event with several faults is always refused for the same one.

use std::borrow::Cow;

use super::address::{self, Narrowed};
use super::field::{Fields, Known, Sent};
use super::{Beacon, Context, Decoded, Identity, Route, Unread, rules};
use crate::consent::signals::{PayloadSignals, Signal};
use crate::event::{Activity, EventId, Kind, Money, Network, Page, ScreenClass, SinceFirst};
use crate::limits;
use crate::outcome::{Refusal, Refused};
use crate::privacy::raw::{ClientIp, RawId, RawUserAgent};
use crate::site::Site;

/// Judges every known field and narrows what is kept. `read` is the first fault that was found while the fields were collected.
pub(super) fn decode<'a>(fields: &mut Fields<'a>, read: Result<(), Refusal>, context: &Context<'a>) -> Result<Decoded<'a>, Unread<'a>> {
    let site = site(fields, context);
    if let Err(refusal) = read {
        // Of two sites neither is told.
        let told = site.ok().filter(|_| refusal.field != Some(Known::Site.label()));
        return Err(Unread { site: told, refusal });
    }
    let site = site?;
    of_site(site, fields, context).map_err(|refusal| Unread { site: Some(site), refusal })
}

fn of_site<'a>(site: &'a Site, fields: &mut Fields<'a>, context: &Context<'a>) -> Result<Decoded<'a>, Refusal> {
    let signals = signals(fields);
    let What { kind, name, address } = what(fields, site, context)?;
    let identity = identity(fields, site, context)?;
    let beacon = Beacon {
        site,
        kind,
        name,
        page: address.page,
        kept_query: address.kept_query,
        campaign: address.campaign,
        paid_click: address.paid_click,
        referrer: address::referrer(text(fields, Known::Referrer, limits::URL_BYTES)?),
        props: fields.take_props(),
        value: money(fields)?,
        screen: ScreenClass::of_width(count(fields, Known::Width, limits::WIDTH_PIXELS)?),
        language: language(fields, context.route)?,
        engaged_millis: count(fields, Known::EngagedMillis, limits::ENGAGED_MILLIS)?,
        #[expect(clippy::cast_possible_truncation, reason = "at most 100, as just checked")]
        scroll_percent: count(fields, Known::ScrollPercent, 100)? as u8,
        entry: flag(fields, Known::Entry)?,
        app_version: text(fields, Known::AppVersion, limits::APP_VERSION_BYTES)?,
        os: text(fields, Known::Os, limits::OS_BYTES)?,
        device_model: text(fields, Known::DeviceModel, limits::DEVICE_MODEL_BYTES)?,
        network: word(fields, Known::Network, Network::from_label)?.unwrap_or(Network::Unknown),
        age_millis: age(fields)?,
        activity: activity(fields)?,
        id: id(fields, Known::Id)?.map(|id| EventId(id.into_owned().into())),
    };
    Ok(Decoded { beacon, signals, identity, unknown_fields: fields.unknown() })
}

fn site<'a>(fields: &mut Fields<'a>, context: &Context<'a>) -> Result<&'a Site, Refusal> {
    let Some(sent) = fields.take(Known::Site) else { return Err(Refusal::of(Known::Site.label(), Refused::Missing)) };
    let found = rules::text(sent, limits::SITE_BYTES).and_then(|id| context.sites.find(&id).ok_or(Refused::UnknownSite));
    found.map_err(|reason| Refusal::of(Known::Site.label(), reason))
}

/// Hands every signal to the reader of its field. None is ever passed over: what has the wrong type reaches the reader as it is written, and is unreadable.
fn signals(fields: &mut Fields<'_>) -> PayloadSignals {
    let mut signals = PayloadSignals::default();
    for (name, signal) in [
        (Known::DoNotTrack, Signal::DoNotTrack),
        (Known::GlobalPrivacyControl, Signal::GlobalPrivacyControl),
        (Known::Child, Signal::Child),
        (Known::OptOut, Signal::OptedOut),
        (Known::LimitAdTracking, Signal::AdvertisingRefused),
    ] {
        if let Some(sent) = fields.take_signal(name) {
            readable(&sent, &mut signals, |signals, text| signals.flag(signal, text));
        }
    }
    for (name, read) in [
        (Known::Consent, PayloadSignals::consent as fn(&mut PayloadSignals, &str)),
        (Known::AppTracking, PayloadSignals::app_tracking),
        (Known::AdvertisingId, PayloadSignals::advertising_id),
    ] {
        if let Some(sent) = fields.take_signal(name) {
            match sent {
                Sent::Literal(_) => signals.add(Signal::Unreadable),
                sent => readable(&sent, &mut signals, read),
            }
        }
    }
    signals
}

fn readable(sent: &Sent<'_>, signals: &mut PayloadSignals, read: impl FnOnce(&mut PayloadSignals, &str)) {
    match sent {
        Sent::Literal(text) => read(signals, text),
        Sent::Text(text) | Sent::Word(text) => read(signals, text.trim()),
        Sent::Null | Sent::Nested | Sent::Damaged => signals.add(Signal::Unreadable),
    }
}

/// What happened, and where.
struct What<'a> {
    kind: Kind,
    name: Cow<'a, str>,
    address: Narrowed<'a>,
}

fn what<'a>(fields: &mut Fields<'a>, site: &Site, context: &Context<'a>) -> Result<What<'a>, Refusal> {
    let kind = word(fields, Known::Kind, Kind::from_label)?;
    let name = required_text(fields, Known::Name, limits::NAME_BYTES)?;
    let screen = required_text(fields, Known::Screen, limits::URL_BYTES)?;
    let mut url = required_text(fields, Known::Url, limits::URL_BYTES)?;
    if url.is_none() && screen.is_none() {
        let bounded = |page| rules::bounded(Cow::Borrowed(page), limits::URL_BYTES);
        url = context.page.map(bounded).transpose().map_err(|reason| Refusal::of(Known::Url.label(), reason))?;
    }
    let kind = match (kind, &name, &screen, &url) {
        (Some(kind), _, _, _) => kind,
        (None, Some(_), _, _) => Kind::Event,
        (None, None, Some(_), _) => Kind::Screen,
        (None, None, None, Some(_)) => Kind::Pageview,
        (None, None, None, None) => return Err(Refusal::of(Known::Kind.label(), Refused::Missing)),
    };
    let fault = match kind {
        Kind::Event if name.is_none() => Some((Known::Name, Refused::Missing)),
        Kind::Pageview | Kind::Screen | Kind::Engagement if name.is_some() => Some((Known::Name, Refused::Invalid)),
        Kind::Pageview if url.is_none() => Some((Known::Url, Refused::Missing)),
        Kind::Screen if screen.is_none() => Some((Known::Screen, Refused::Missing)),
        Kind::Engagement if url.is_none() && screen.is_none() => Some((Known::Url, Refused::Missing)),
        _ if url.is_some() && screen.is_some() => Some((Known::Screen, Refused::Invalid)),
        Kind::Event | Kind::Pageview | Kind::Screen | Kind::Engagement => None,
    };
    if let Some((field, reason)) = fault {
        return Err(Refusal::of(field.label(), reason));
    }
    let address = match (url, screen) {
        (Some(url), _) => address::narrow(url, site).map_err(|reason| Refusal::of(Known::Url.label(), reason))?,
        (None, Some(screen)) => Narrowed { page: Page { host: "".into(), path: screen }, ..Narrowed::default() },
        (None, None) => Narrowed::default(),
    };
    Ok(What { kind, name: name.unwrap_or_default(), address })
}

fn identity<'a>(fields: &mut Fields<'a>, site: &Site, context: &Context<'_>) -> Result<Identity<'a>, Refusal> {
    let entrusted = site.secret.as_ref().zip(context.bearer).is_some_and(|(own, shown)| own.matches(shown));
    let mut claimed = |name: Known, bytes| match fields.take(name) {
        Some(_) if !entrusted => Err(Refusal::of(name.label(), Refused::SecretRequired)),
        Some(sent) => rules::text(sent, bytes).map(Some).map_err(|reason| Refusal::of(name.label(), reason)),
        None => Ok(None),
    };
    let client_ip = match claimed(Known::ClientIp, limits::ADDRESS_BYTES)? {
        Some(text) => Some(ClientIp::parse(&text).ok_or(Refusal::of(Known::ClientIp.label(), Refused::Invalid))?),
        None => None,
    };
    // Agents over their bound are cut, as the header is: they are long by nature.
    let client_agent = claimed(Known::ClientAgent, limits::HEAD_BYTES)?.map(|text| match text {
        Cow::Borrowed(text) => RawUserAgent::new(text.as_bytes()),
        Cow::Owned(text) => RawUserAgent::new(text.into_bytes()),
    });
    Ok(Identity {
        install_id: id(fields, Known::InstallId)?.map(RawId::new),
        session: id(fields, Known::Session)?.map(RawId::new),
        backend: entrusted,
        client_ip,
        client_agent,
    })
}

fn money(fields: &mut Fields<'_>) -> Result<Option<Money>, Refusal> {
    let value = fields.take(Known::Value).filter(|sent| !is_empty_word(sent));
    let currency = text(fields, Known::Currency, 8)?;
    let Some(value) = value else {
        return if currency.is_empty() { Ok(None) } else { Err(Refusal::of(Known::Value.label(), Refused::Missing)) };
    };
    let amount = rules::amount(&value).map_err(|reason| Refusal::of(Known::Value.label(), reason))?;
    if currency.is_empty() {
        return Err(Refusal::of(Known::Currency.label(), Refused::Missing));
    }
    rules::money(amount, &currency).map(Some).map_err(|reason| Refusal::of(Known::Currency.label(), reason))
}

/// Browsers send what their user typed into their settings, so there a strange tag is no language; an app or a backend is told.
fn language<'a>(fields: &mut Fields<'a>, route: Route) -> Result<Cow<'a, str>, Refusal> {
    let refused = |reason| Refusal::of(Known::Language.label(), reason);
    let tag = text(fields, Known::Language, limits::LANGUAGE_BYTES)?;
    let none_sent = tag.is_empty();
    match (rules::language(tag), route) {
        (Some(primary), _) => Ok(primary),
        (None, _) if none_sent => Ok("".into()),
        (None, Route::Page) => Ok("".into()),
        (None, Route::Api) => Err(refused(Refused::Invalid)),
    }
}

/// How long ago it happened. A clock that was set back makes a negative age: the event is then taken for new. Older than any day can be open is too old.
fn age(fields: &mut Fields<'_>) -> Result<u64, Refusal> {
    let refused = |reason| Refusal::of(Known::AgeMillis.label(), reason);
    match fields.take(Known::AgeMillis).filter(|sent| !is_empty_word(sent)) {
        Some(sent) => match u64::try_from(rules::integer(&sent).map_err(refused)?) {
            Ok(age) if age > limits::AGE_MILLIS => Err(refused(Refused::TooOld)),
            Ok(age) => Ok(age),
            Err(_negative) => Ok(0),
        },
        None => Ok(0),
    }
}

fn activity(fields: &mut Fields<'_>) -> Result<Activity, Refusal> {
    Ok(Activity {
        first_today: flag(fields, Known::FirstToday)?,
        first_this_week: flag(fields, Known::FirstThisWeek)?,
        first_this_month: flag(fields, Known::FirstThisMonth)?,
        since_first: word(fields, Known::SinceFirst, SinceFirst::from_label)?.unwrap_or(SinceFirst::Unknown),
    })
}

/// An optional text; empty when it was not sent.
fn text<'a>(fields: &mut Fields<'a>, name: Known, bytes: usize) -> Result<Cow<'a, str>, Refusal> {
    fields.take(name).map_or(Ok(Cow::Borrowed("")), |sent| rules::text(sent, bytes)).map_err(|reason| Refusal::of(name.label(), reason))
}

/// An optional text that, once sent, may not be empty.
fn required_text<'a>(fields: &mut Fields<'a>, name: Known, bytes: usize) -> Result<Option<Cow<'a, str>>, Refusal> {
    match fields.take(name) {
        Some(sent) => match rules::text(sent, bytes) {
            Ok(text) if text.is_empty() => Err(Refusal::of(name.label(), Refused::Invalid)),
            Ok(text) => Ok(Some(text)),
            Err(reason) => Err(Refusal::of(name.label(), reason)),
        },
        None => Ok(None),
    }
}

/// An optional id: opaque, but never empty.
fn id<'a>(fields: &mut Fields<'a>, name: Known) -> Result<Option<Cow<'a, str>>, Refusal> {
    required_text(fields, name, limits::ID_BYTES)
}

/// An optional word of a closed set; empty is the same as not sent.
fn word<T>(fields: &mut Fields<'_>, name: Known, find: fn(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
    let text = text(fields, name, limits::WORD_BYTES)?;
    if text.is_empty() {
        return Ok(None);
    }
    find(&text).map(Some).ok_or(Refusal::of(name.label(), Refused::Invalid))
}

fn count(fields: &mut Fields<'_>, name: Known, most: u32) -> Result<u32, Refusal> {
    let sent = fields.take(name).filter(|sent| !is_empty_word(sent));
    sent.map_or(Ok(0), |sent| rules::count(&sent, most)).map_err(|reason| Refusal::of(name.label(), reason))
}

fn flag(fields: &mut Fields<'_>, name: Known) -> Result<bool, Refusal> {
    let sent = fields.take(name).filter(|sent| !is_empty_word(sent));
    sent.map_or(Ok(false), |sent| rules::flag(&sent)).map_err(|reason| Refusal::of(name.label(), reason))
}

/// A query parameter without a value, as templates leave it behind: the same as none.
fn is_empty_word(sent: &Sent<'_>) -> bool {
    matches!(sent, Sent::Word(text) if text.is_empty())
}
