//! The rules of single values: what is a text, a number, a flag, an amount of money, a language. Each says yes with the value, or why not.

use std::borrow::Cow;

use super::field::Sent;
use crate::event::Money;
use crate::limits;
use crate::outcome::Refused;

/// A text of at most `bytes` once it is trimmed, without control characters. It may be empty.
pub(super) fn text(sent: Sent<'_>, bytes: usize) -> Result<Cow<'_, str>, Refused> {
    match sent {
        Sent::Text(text) | Sent::Word(text) => bounded(text, bytes),
        Sent::Damaged => Err(Refused::Invalid),
        Sent::Null | Sent::Literal(_) | Sent::Nested => Err(Refused::WrongType),
    }
}

/// `text` trimmed, if it holds its bound and no control character (C0, DEL, C1).
pub(super) fn bounded(text: Cow<'_, str>, bytes: usize) -> Result<Cow<'_, str>, Refused> {
    let text = trimmed(text);
    if text.len() > bytes {
        return Err(Refused::TooLong);
    }
    if has_control(&text) { Err(Refused::Invalid) } else { Ok(text) }
}

/// Whether `text` holds a control character.
pub(super) fn has_control(text: &str) -> bool {
    // Every byte is looked at, whatever the one before was: that way many are looked at at once.
    let plain = text.bytes().fold(true, |plain, byte| plain & (b' '..0x7f).contains(&byte));
    !plain && text.chars().any(char::is_control)
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// `true` or `false`; 1 and 0 are taken for them, because scripts that count their bytes send those.
pub(super) fn flag(sent: &Sent<'_>) -> Result<bool, Refused> {
    match literal(sent)? {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Refused::Invalid),
    }
}

/// Floating point is exact up to here, and every bound of ours lies far below.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A whole number; `5e1` and `50.0` are whole. `-0` is refused: no honest counter makes it, and what it becomes depends on who reads it.
pub(super) fn integer(sent: &Sent<'_>) -> Result<i64, Refused> {
    let text = number(sent)?;
    if let Ok(whole) = text.parse::<i64>() {
        return if whole == 0 && text.starts_with('-') { Err(Refused::Invalid) } else { Ok(whole) };
    }
    let value: f64 = text.parse().map_err(|_| Refused::Invalid)?;
    if value.abs() > EXACT {
        return Err(Refused::OutOfRange);
    }
    if value.fract() != 0.0 || (value == 0.0 && value.is_sign_negative()) {
        return Err(Refused::Invalid);
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, as just checked")]
    Ok(value as i64)
}

/// A whole number from 0 to `most`.
pub(super) fn count(sent: &Sent<'_>, most: u32) -> Result<u32, Refused> {
    let whole = integer(sent)?;
    u32::try_from(whole).ok().filter(|count| *count <= most).ok_or(Refused::OutOfRange)
}

/// The text of a number in JSON's grammar.
fn number<'s>(sent: &'s Sent<'_>) -> Result<&'s str, Refused> {
    let text = literal(sent)?;
    if text.starts_with(['t', 'f']) && matches!(sent, Sent::Literal(_)) {
        return Err(Refused::WrongType);
    }
    if is_number(text) { Ok(text) } else { Err(Refused::Invalid) }
}

fn literal<'s>(sent: &'s Sent<'_>) -> Result<&'s str, Refused> {
    match sent {
        Sent::Literal(text) => Ok(text),
        Sent::Word(text) => Ok(text),
        Sent::Damaged => Err(Refused::Invalid),
        Sent::Null | Sent::Text(_) | Sent::Nested => Err(Refused::WrongType),
    }
}

/// Whether `text` is a number by RFC 8259, section 6. A JSON literal is one already; a query parameter may be anything (`inf`, `0x10`, `+1`).
fn is_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = rest.split_once(['e', 'E']).map_or((rest, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An amount in ten-thousandths. A text is taken at its word: at most four decimals, no exponent, exact. A number comes out of somebody's floating point
/// (0.1 + 0.2), so it is rounded to four decimals, half away from zero.
pub(super) fn amount(sent: &Sent<'_>) -> Result<i64, Refused> {
    let ten_thousandths = match sent {
        Sent::Text(text) => exact_amount(text.trim())?,
        Sent::Word(text) => exact_amount(text)?,
        Sent::Null | Sent::Literal(_) | Sent::Nested | Sent::Damaged => rounded_amount(number(sent)?)?,
    };
    if (-MOST..=MOST).contains(&ten_thousandths) { Ok(ten_thousandths) } else { Err(Refused::OutOfRange) }
}

const SCALE: i64 = 10_000;
const MOST: i64 = limits::VALUE_UNITS * SCALE;

fn exact_amount(text: &str) -> Result<i64, Refused> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    if !digits(whole) || !digits(fraction) || fraction.len() > 4 {
        return Err(Refused::Invalid);
    }
    let units: i64 = whole.parse().map_err(|_| Refused::OutOfRange)?;
    let parts = fraction.bytes().chain(std::iter::repeat(b'0')).take(4).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let amount = units.checked_mul(SCALE).and_then(|units| units.checked_add(parts)).ok_or(Refused::OutOfRange)?;
    match (negative, amount) {
        (true, 0) => Err(Refused::Invalid), // -0, as in `integer`.
        (true, amount) => Ok(-amount),
        (false, amount) => Ok(amount),
    }
}

fn rounded_amount(text: &str) -> Result<i64, Refused> {
    match exact_amount(text) {
        Err(Refused::Invalid) => {}
        exact_or_over => return exact_or_over,
    }
    let value: f64 = text.parse().map_err(|_| Refused::Invalid)?;
    if value == 0.0 && value.is_sign_negative() {
        return Err(Refused::Invalid);
    }
    #[expect(clippy::cast_precision_loss, reason = "the bound is far below 2^53 units")]
    if value.abs() > limits::VALUE_UNITS as f64 {
        return Err(Refused::OutOfRange);
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 1e9 units in ten-thousandths, as just checked")]
    #[expect(clippy::cast_precision_loss, reason = "10,000 is exact")]
    Ok((value * SCALE as f64).round() as i64)
}

/// The alphabetic codes of ISO 4217 that money is paid in. A closed list: each currency that an event names is a cell of its own in the rollup.
const CURRENCIES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC \
    CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR \
    KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP \
    PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS \
    VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

/// An amount and its currency, by its ISO 4217 code in either case.
pub(super) fn money(ten_thousandths: i64, currency: &str) -> Result<Money, Refused> {
    let letters: [u8; 3] = currency.as_bytes().try_into().map_err(|_| Refused::Invalid)?;
    let currency = letters.map(|letter| letter.to_ascii_uppercase());
    let known = CURRENCIES.split(' ').any(|code| code.as_bytes() == currency);
    if known { Ok(Money { ten_thousandths, currency }) } else { Err(Refused::Invalid) }
}

/// The primary subtag of a language tag (RFC 5646, section 2.2.1) in lower case: `de` of `de-DE` and of `de_AT`. `None` when it is no such tag.
pub(super) fn language(tag: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let mut subtags = tag.split(['-', '_']);
    let primary = subtags.next().unwrap_or_default();
    let well_formed = |subtag: &str| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !(2..=3).contains(&primary.len()) || !primary.bytes().all(|byte| byte.is_ascii_alphabetic()) || !subtags.all(well_formed) {
        return None;
    }
    let length = primary.len();
    let primary = match tag {
        Cow::Borrowed(tag) => Cow::Borrowed(&tag[..length]),
        Cow::Owned(mut tag) => {
            tag.truncate(length);
            Cow::Owned(tag)
        }
    };
    Some(lower(primary))
}

/// `text` with its ASCII letters in lower case; borrowed when it is so already.
pub(super) fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(text.to_ascii_lowercase()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_true_false_one_or_zero() {
        for (literal, verdict) in [
            ("true", Ok(true)),
            ("1", Ok(true)),
            ("false", Ok(false)),
            ("0", Ok(false)),
            ("2", Err(Refused::Invalid)),
            ("-0", Err(Refused::Invalid)),
            ("1.0", Err(Refused::Invalid)),
        ] {
            assert_eq!(flag(&Sent::Literal(literal)), verdict, "{literal}");
            assert_eq!(flag(&Sent::Word(literal.into())), verdict, "{literal}");
        }
        assert_eq!(flag(&Sent::Text("true".into())), Err(Refused::WrongType));
        assert_eq!(flag(&Sent::Word("yes".into())), Err(Refused::Invalid));
    }

    #[test]
    fn an_integer_is_whole_finite_and_never_minus_zero() {
        for (literal, verdict) in [
            ("0", Ok(0)),
            ("50", Ok(50)),
            ("-7", Ok(-7)),
            ("5e1", Ok(50)),
            ("50.0", Ok(50)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("9223372036854775808", Err(Refused::OutOfRange)),
            ("18446744073709551616", Err(Refused::OutOfRange)),
            ("1e999", Err(Refused::OutOfRange)),
            ("-1e999", Err(Refused::OutOfRange)),
            ("-0", Err(Refused::Invalid)),
            ("-0.0", Err(Refused::Invalid)),
            ("-0e5", Err(Refused::Invalid)),
            ("0.5", Err(Refused::Invalid)),
        ] {
            assert_eq!(integer(&Sent::Literal(literal)), verdict, "{literal}");
            assert_eq!(integer(&Sent::Word(literal.into())), verdict, "{literal}");
        }
        for word in ["", "NaN", "nan", "inf", "Infinity", "+1", "0x10", "01", "1.", ".5", "1e", "1_000", " 1", "1e+"] {
            assert_eq!(integer(&Sent::Word(word.into())), Err(Refused::Invalid), "{word}");
        }
        assert_eq!(integer(&Sent::Literal("true")), Err(Refused::WrongType));
        assert_eq!(integer(&Sent::Text("5".into())), Err(Refused::WrongType));
    }

    #[test]
    fn money_is_exact_in_texts_and_rounded_in_numbers() {
        let text = |text: &'static str| amount(&Sent::Text(text.into()));
        let number = |text| amount(&Sent::Literal(text));
        for (written, verdict) in [
            ("12.34", Ok(123_400)),
            ("0.0001", Ok(1)),
            ("-5", Ok(-50_000)),
            ("1000000000", Ok(10_000_000_000_000)),
            ("1000000000.0001", Err(Refused::OutOfRange)),
            ("99999999999999999999", Err(Refused::OutOfRange)),
            ("922337203685477.5808", Err(Refused::OutOfRange)),
            ("-0", Err(Refused::Invalid)),
            ("-0.00", Err(Refused::Invalid)),
        ] {
            assert_eq!(text(written), verdict, "{written}");
            assert_eq!(number(written), verdict, "{written}");
        }
        for written in ["", "12,34", "1.23456", "1e3", "12.", ".5", "--1", "+1", "0x1", "NaN"] {
            assert_eq!(text(written), Err(Refused::Invalid), "{written}");
        }
        assert_eq!(number("0.30000000000000004"), Ok(3_000));
        assert_eq!(number("1.00005"), Ok(10_001));
        assert_eq!(number("-1.00005"), Ok(-10_001));
        assert_eq!(number("1e3"), Ok(10_000_000));
        assert_eq!(number("1e999"), Err(Refused::OutOfRange));
        assert_eq!(number("-0e0"), Err(Refused::Invalid));
        assert_eq!(amount(&Sent::Literal("true")), Err(Refused::WrongType));
    }

    #[test]
    fn a_currency_is_one_that_exists() {
        assert_eq!(money(1, "eur").map(|money| money.currency), Ok(*b"EUR"));
        for currency in ["", "EU", "EURO", "E1R", "€", "XYZ"] {
            assert_eq!(money(1, currency), Err(Refused::Invalid), "{currency}");
        }
    }

    #[test]
    fn a_language_is_its_primary_subtag() {
        for (tag, primary) in [("de", "de"), ("DE-at", "de"), ("pt_BR", "pt"), ("zh-Hant-TW", "zh"), ("gsw", "gsw")] {
            assert_eq!(language(tag.into()).as_deref(), Some(primary), "{tag}");
            assert_eq!(language(Cow::Owned(tag.to_owned())).as_deref(), Some(primary), "{tag}");
        }
        for tag in ["", "d", "deutsch", "*", "d3", "de-", "de--AT", "de-AT;q=1", "de,en"] {
            assert_eq!(language(tag.into()), None, "{tag}");
        }
    }

    #[test]
    fn a_text_is_trimmed_bounded_and_free_of_control_characters() {
        assert_eq!(bounded("  a b\u{a0}".into(), 3).as_deref(), Ok("a b"));
        assert_eq!(bounded(Cow::Owned(" a b ".into()), 3).as_deref(), Ok("a b"));
        assert_eq!(bounded("abcd".into(), 3), Err(Refused::TooLong));
        for text in ["a\0b", "a\nb", "a\u{7f}b", "a\u{85}b"] {
            assert_eq!(bounded(text.into(), 9), Err(Refused::Invalid), "{text:?}");
        }
    }
}
