//! The forms in which an address or a text may stand somewhere.

#![expect(clippy::disallowed_types, reason = "these addresses are planted: nobody has them")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As people write it.
    Text,
    /// In capitals, or without any.
    OtherCase,
    /// Two bytes a character, as Windows and `JavaScript` do.
    Utf16,
    /// Backwards.
    Reversed,
    /// Two hexadecimal digits a byte, in either case.
    Hex,
    /// `%xx` for each byte, in either case.
    Percent,
    /// Base64 of either alphabet, wherever it begins in what was encoded.
    Base64,
    /// The address as one number.
    Decimal,
    /// The address's bytes.
    Packed,
    /// The address's bytes, least first.
    PackedReversed,
    /// The network of the address, /24 or /64, in any of these forms.
    Network,
    /// The network's bytes, in either order.
    NetworkPacked,
}

/// Bytes to search for.
#[derive(Debug)]
pub(super) struct Needle {
    pub(super) secret: String,
    pub(super) form: Form,
    pub(super) bytes: Vec<u8>,
}

impl Needle {
    /// Whether it may well stand somewhere by chance.
    pub(super) fn is_short(&self) -> bool {
        self.bytes.len() < 6
    }
}

/// Every form of `text`.
pub(super) fn of_text(text: &str) -> Vec<Needle> {
    let needle = |form, bytes| Needle { secret: text.to_owned(), form, bytes };
    written(text).into_iter().map(|(form, bytes)| needle(form, bytes)).collect()
}

/// Every form of a pseudonym.
pub(super) fn of_number(number: u64) -> Vec<Needle> {
    let mut forms = packed(&number.to_be_bytes(), &[]);
    forms.extend(written(&number.to_string()));
    forms.into_iter().map(|(form, bytes)| Needle { secret: number.to_string(), form, bytes }).collect()
}

/// Every form of `address` and of its network.
pub(super) fn of_address(address: IpAddr) -> Vec<Needle> {
    let (own, network) = match address {
        IpAddr::V4(address) => (of_v4(address), of_v4(Ipv4Addr::from_bits(address.to_bits() & !0xff))),
        IpAddr::V6(address) => (of_v6(address), of_v6_network(address)),
    };
    let as_network = |(form, bytes): (Form, Vec<u8>)| match form {
        Form::Packed | Form::PackedReversed => (Form::NetworkPacked, bytes),
        _ => (Form::Network, bytes),
    };
    let mut forms = own;
    forms.extend(network.into_iter().map(as_network));
    if let IpAddr::V4(address) = address {
        let [a, b, c, _] = address.octets();
        forms.push((Form::Network, format!("{a}.{b}.{c}.").into_bytes()));
    }
    forms.into_iter().map(|(form, bytes)| Needle { secret: address.to_string(), form, bytes }).collect()
}

fn of_v4(address: Ipv4Addr) -> Vec<(Form, Vec<u8>)> {
    let bits = address.to_bits();
    let mut forms = written(&address.to_string());
    let [a, b, c, d] = address.octets();
    forms.push((Form::Reversed, format!("{d}.{c}.{b}.{a}").into_bytes()));
    forms.extend(packed(&address.octets(), &[bits.to_string(), bits.swap_bytes().to_string()]));
    forms
}

fn of_v6(address: Ipv6Addr) -> Vec<(Form, Vec<u8>)> {
    let bits = address.to_bits();
    let mut forms = written(&address.to_string());
    let groups = address.segments().map(|group| format!("{group:04x}")).join(":");
    forms.extend([(Form::Text, groups.clone().into_bytes()), (Form::OtherCase, groups.to_ascii_uppercase().into_bytes())]);
    forms.extend(packed(&address.octets(), &[bits.to_string(), bits.swap_bytes().to_string()]));
    forms
}

/// The first eight bytes: what a household gets.
fn of_v6_network(address: Ipv6Addr) -> Vec<(Form, Vec<u8>)> {
    let [a, b, c, d, ..] = address.segments();
    let octets = address.octets();
    let first: [u8; 8] = *octets.first_chunk().expect("an address has sixteen bytes");
    let mut forms = written(&format!("{a:x}:{b:x}:{c:x}:{d:x}:"));
    forms.extend(packed(&first, &[u64::from_be_bytes(first).to_string(), u64::from_le_bytes(first).to_string()]));
    forms
}

fn packed(bytes: &[u8], decimals: &[String]) -> Vec<(Form, Vec<u8>)> {
    let backwards: Vec<u8> = bytes.iter().rev().copied().collect();
    let mut forms = vec![(Form::Packed, bytes.to_vec()), (Form::PackedReversed, backwards.clone())];
    forms.extend(decimals.iter().map(|decimal| (Form::Decimal, decimal.clone().into_bytes())));
    for order in [bytes, &backwards] {
        forms.extend(hex(order).map(|hex| (Form::Hex, hex.into_bytes())));
        forms.extend(base64(order).into_iter().map(|text| (Form::Base64, text)));
    }
    forms
}

fn written(text: &str) -> Vec<(Form, Vec<u8>)> {
    let bytes = text.as_bytes();
    let mut forms = vec![
        (Form::Text, bytes.to_vec()),
        (Form::Reversed, bytes.iter().rev().copied().collect()),
        (Form::Utf16, text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ];
    let other = [text.to_ascii_lowercase(), text.to_ascii_uppercase()];
    forms.extend(other.into_iter().filter(|other| other != text).map(|other| (Form::OtherCase, other.into_bytes())));
    forms.extend(hex(bytes).map(|hex| (Form::Hex, hex.into_bytes())));
    forms.extend(percent(bytes).map(|text| (Form::Percent, text.into_bytes())));
    forms.extend(base64(bytes).into_iter().map(|text| (Form::Base64, text)));
    forms
}

fn hex(bytes: &[u8]) -> [String; 2] {
    let lower = each(bytes, |byte| format!("{byte:02x}"));
    [lower.to_ascii_uppercase(), lower]
}

/// Every byte escaped, in either case, and only those that URLs do not allow.
fn percent(bytes: &[u8]) -> [String; 3] {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let needed = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let lower = each(bytes, |byte| format!("%{byte:02x}"));
    [lower.to_ascii_uppercase(), lower, each(bytes, needed)]
}

fn each(bytes: &[u8], write: impl Fn(u8) -> String) -> String {
    bytes.iter().copied().map(write).collect::<Vec<_>>().concat()
}

/// The characters that depend on `bytes` alone, for each place at which they may begin within a group of three.
fn base64(bytes: &[u8]) -> Vec<Vec<u8>> {
    const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut texts = Vec::new();
    for before in 0..3 {
        let padded = [&[0; 3][..before], bytes].concat();
        let bit = |at: usize| padded[at / 8] >> (7 - at % 8) & 1;
        let first = (before * 8).div_ceil(6);
        let whole = padded.len() * 8 / 6;
        let value = |character: usize| (0..6).fold(0, |value, at| value << 1 | usize::from(bit(character * 6 + at)));
        let text: Vec<u8> = (first..whole).map(|character| STANDARD[value(character)]).collect();
        let of_urls = text
            .iter()
            .map(|character| match character {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        texts.push(text);
        texts.push(of_urls);
    }
    texts
}
