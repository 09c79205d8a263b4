//! The vote table of the design, taken over every signal, every place it can stand in, every malformed form and every policy of a site.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use super::*;
use crate::beacon::Identity;
use crate::beacon::samples;
use crate::consent::signals::PayloadSignals;
use crate::site::Site;

/// What is expected of one case, worst first: the order in which votes beat each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Vote {
    Drop,
    Anonymous,
    Pseudonymous,
}

/// How a signal votes, given the policy.
#[derive(Clone, Copy, Debug)]
enum Says {
    Nothing,
    Granted,
    Refuses,
    Gpc,
    Advertising,
}

enum Place {
    Headers(&'static [(&'static str, &'static [u8])]),
    Payload(fn(&mut PayloadSignals)),
}

/// Every signal in every place and form.
fn signals() -> Vec<(Place, Says)> {
    use Place::{Headers, Payload};
    use Says::{Advertising, Gpc, Granted, Nothing, Refuses};
    vec![
        (Headers(&[]), Nothing),
        (Headers(&[("dnt", b"1")]), Refuses),
        (Headers(&[("dnt", b"0")]), Nothing),
        (Headers(&[("dnt", b"0, 1")]), Refuses),
        (Headers(&[("dnt", b"0"), ("dnt", b"1")]), Refuses),
        (Headers(&[("DNT", b"")]), Refuses),
        (Headers(&[("dnt", b"unset")]), Refuses),
        (Headers(&[("dnt", b"\xff")]), Refuses),
        (Headers(&[("sec-gpc", b"1")]), Gpc),
        (Headers(&[("sec-gpc", b"0")]), Nothing),
        (Headers(&[("sec-gpc", b"0,1")]), Gpc),
        (Headers(&[("sec-gpc", b"1"), ("sec-gpc", b"0")]), Gpc),
        (Headers(&[("sec-gpc", b"true")]), Refuses),
        (Headers(&[("sec-gpc", b"?1")]), Refuses),
        (Headers(&[("sec-gpc", b"1, ?1")]), Refuses),
        (Headers(&[("sec-gpc", b"\x80")]), Refuses),
        (Payload(|says| says.flag(Signal::DoNotTrack, "1")), Refuses),
        (Payload(|says| says.flag(Signal::DoNotTrack, "true")), Refuses),
        (Payload(|says| says.flag(Signal::DoNotTrack, "0")), Nothing),
        (Payload(|says| says.flag(Signal::DoNotTrack, "maybe")), Refuses),
        (Payload(|says| says.flag(Signal::GlobalPrivacyControl, "1")), Gpc),
        (Payload(|says| says.flag(Signal::GlobalPrivacyControl, "false")), Nothing),
        (Payload(|says| says.flag(Signal::GlobalPrivacyControl, "?1")), Refuses),
        (Payload(|says| says.flag(Signal::OptedOut, "1")), Refuses),
        (Payload(|says| says.flag(Signal::OptedOut, "0")), Nothing),
        (Payload(|says| says.flag(Signal::Child, "1")), Refuses),
        (Payload(|says| says.flag(Signal::Child, "false")), Nothing),
        (Payload(|says| says.flag(Signal::Child, "7")), Refuses),
        (Payload(|says| says.consent("granted")), Granted),
        (Payload(|says| says.consent("denied")), Refuses),
        (Payload(|says| says.consent("analytics_denied")), Refuses),
        (Payload(|says| says.consent("advertising_denied")), Advertising),
        (Payload(|says| says.consent("GRANTED")), Refuses),
        (Payload(|says| says.consent("")), Refuses),
        (Payload(|says| says.app_tracking("denied")), Advertising),
        (Payload(|says| says.app_tracking("authorized")), Nothing),
        (Payload(|says| says.app_tracking("?")), Refuses),
        (Payload(|says| says.flag(Signal::AdvertisingRefused, "1")), Advertising),
        (Payload(|says| says.advertising_id("00000000-0000-0000-0000-000000000000")), Advertising),
        (Payload(|says| says.advertising_id("38400000-8cf0-11bd-b23e-10b96e40000d")), Nothing),
        (Payload(|says| says.add(Signal::Unreadable)), Refuses),
    ]
}

fn policies() -> Vec<Policy> {
    let mut all = Vec::new();
    for basis in [
        Basis::Exempt(Ceiling::Pseudonymous),
        Basis::Exempt(Ceiling::Anonymous),
        Basis::Consent(Lowered::Drop),
        Basis::Consent(Lowered::Anonymous),
    ] {
        for child_directed in [false, true] {
            for on_gpc in [Lowered::Drop, Lowered::Anonymous] {
                for on_advertising_refused in [Lowered::Drop, Lowered::Anonymous] {
                    all.push(Policy { basis, child_directed, on_gpc, on_advertising_refused });
                }
            }
        }
    }
    all
}

/// The table of the design, written a second time and in another way: each saying votes by itself, and the minimum is taken.
fn expected(policy: Policy, sayings: &[Says]) -> Vote {
    let lowered = |to| if to == Lowered::Drop { Vote::Drop } else { Vote::Anonymous };
    let granted = sayings.iter().any(|says| matches!(says, Says::Granted));
    let ceiling = match policy.basis {
        _ if policy.child_directed => Vote::Drop,
        Basis::Exempt(Ceiling::Anonymous) => Vote::Anonymous,
        Basis::Consent(to) if !granted => lowered(to),
        Basis::Exempt(Ceiling::Pseudonymous) | Basis::Consent(_) => Vote::Pseudonymous,
    };
    let votes = sayings.iter().map(|says| match says {
        Says::Nothing | Says::Granted => Vote::Pseudonymous,
        Says::Refuses => Vote::Drop,
        Says::Gpc => lowered(policy.on_gpc),
        Says::Advertising => lowered(policy.on_advertising_refused),
    });
    votes.min().unwrap_or(Vote::Pseudonymous).min(ceiling)
}

fn outcome(site: &Site, places: &[&Place]) -> Vote {
    let (mut headers, mut payload) = (HeaderMap::new(), PayloadSignals::default());
    for place in places {
        match place {
            Place::Headers(pairs) => {
                for (name, value) in *pairs {
                    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                    headers.append(name, HeaderValue::from_bytes(value).unwrap());
                }
            }
            Place::Payload(say) => say(&mut payload),
        }
    }
    let decoded = Decoded { beacon: samples::pageview(site), signals: payload, identity: Identity::default(), unknown_fields: 0 };
    match gate(decoded, HeaderSignals::read(&headers)) {
        Err(_) => Vote::Drop,
        Ok(consented) => match consented.level() {
            Level::Anonymous => Vote::Anonymous,
            Level::Pseudonymous => Vote::Pseudonymous,
        },
    }
}

#[test]
fn the_lowest_vote_wins_for_every_pair_of_signals_under_every_policy() {
    let all = signals();
    let mut seen = [0_usize; 3];
    for policy in policies() {
        let site = Site { policy, ..samples::site("example.org") };
        for (first, one) in &all {
            for (second, two) in &all {
                let (got, want) = (outcome(&site, &[first, second]), expected(policy, &[*one, *two]));
                assert_eq!(got, want, "{policy:?} {one:?} {two:?}");
                seen[want as usize] += 1;
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 500), "the table must reach every outcome, it reached {seen:?}");
}

#[test]
fn the_reason_that_is_counted_names_the_signal() {
    type Say = fn(&mut PayloadSignals);
    let exempt = samples::site("example.org");
    let asking = Site { policy: Policy { basis: Basis::Consent(Lowered::Drop), ..exempt.policy }, ..samples::site("example.org") };
    let table: &[(&Site, Say, Dropped)] = &[
        (&exempt, |says| says.add(Signal::Child), Dropped::Child),
        (&exempt, |says| says.add(Signal::DoNotTrack), Dropped::DoNotTrack),
        (&exempt, |says| says.add(Signal::OptedOut), Dropped::OptedOut),
        (&exempt, |says| says.add(Signal::ConsentDenied), Dropped::ConsentDenied),
        (&exempt, |says| says.add(Signal::AnalyticsRefused), Dropped::ConsentDenied),
        (&exempt, |says| says.add(Signal::GlobalPrivacyControl), Dropped::GlobalPrivacyControl),
        (&exempt, |says| says.add(Signal::Unreadable), Dropped::UnreadableSignal),
        (&asking, |_| {}, Dropped::ConsentMissing),
    ];
    for (site, say, reason) in table {
        let mut signals = PayloadSignals::default();
        say(&mut signals);
        let decoded = Decoded { beacon: samples::pageview(site), signals, identity: Identity::default(), unknown_fields: 0 };
        assert_eq!(gate(decoded, HeaderSignals::default()).err(), Some(*reason));
    }
}

#[test]
fn an_install_id_needs_a_grant() {
    let site = samples::site("example.org");
    for (text, granted) in [("granted", true), ("advertising_denied", false)] {
        let mut signals = PayloadSignals::default();
        signals.consent(text);
        let decoded = Decoded { beacon: samples::pageview(&site), signals, identity: Identity::default(), unknown_fields: 0 };
        assert_eq!(gate(decoded, HeaderSignals::default()).map(|consented| consented.granted()).ok(), Some(granted), "{text}");
    }
}
