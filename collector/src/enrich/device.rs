//! What kind of machine: from a browser's agent by a short table, or from what an app says of itself.

use std::borrow::Cow;

use DeviceClass::{Console, Desktop, Mobile, Other, Tablet, Television};

use crate::event::DeviceClass;

/// uap-core's names of systems, and what everybody calls them today.
pub(super) const RENAMED: &[(&str, &str)] = &[("Mac OS X", "macOS"), ("Chrome OS", "ChromeOS"), ("Web0S", "webOS")];

/// The usual name of the system that uap-core calls `family`.
pub(super) fn usual_name(family: &str) -> &str {
    RENAMED.iter().find(|(theirs, _)| *theirs == family).map_or(family, |(_, ours)| ours)
}

/// Words of agents, and what they tell; the first that occurs decides. Televisions, consoles and cars say `Android` or `Linux` as well, tablets say `Android` without
/// `Mobile`, and an iPad that asks for desktop pages cannot be told from a Mac.
const WORDS: &[(&str, DeviceClass)] = &[
    ("SMART-TV", Television),
    ("SmartTV", Television),
    ("Smart-TV", Television),
    ("Smart TV", Television),
    ("GoogleTV", Television),
    ("Android TV", Television),
    ("AndroidTV", Television),
    ("AppleTV", Television),
    ("Apple TV", Television),
    ("tvOS", Television),
    ("HbbTV", Television),
    ("Web0S", Television),
    ("WebOS/TV", Television),
    ("webOS.TV", Television),
    ("NetCast", Television),
    ("NETTV", Television),
    ("BRAVIA", Television),
    ("VIDAA", Television),
    ("Roku", Television),
    ("CrKey", Television),
    ("Chromecast", Television),
    ("; AFT", Television),
    ("Viera", Television),
    (" TV ", Television),
    ("TV Build", Television),
    ("PlayStation", Console),
    ("PLAYSTATION", Console),
    ("Xbox", Console),
    ("Nintendo", Console),
    ("Kindle/", Other),
    ("Kobo", Other),
    ("PocketBook/", Other),
    ("QtCarBrowser", Other),
    ("Tesla/", Other),
    ("Watch", Other),
    ("SM-R", Other),
    ("OculusBrowser", Other),
    ("iPad", Tablet),
    ("PlayBook", Tablet),
    ("Tablet;", Tablet),
    ("Tablet ", Tablet),
    ("Silk/", Tablet),
    ("SM-T", Tablet),
    ("SM-X", Tablet),
    ("Lenovo TB", Tablet),
    ("; KF", Tablet),
    ("iPhone", Mobile),
    ("iPod", Mobile),
    ("Windows Phone", Mobile),
    ("IEMobile", Mobile),
    ("BlackBerry", Mobile),
    ("BB10", Mobile),
    ("KAIOS", Mobile),
    ("KaiOS", Mobile),
    ("Opera Mini", Mobile),
    ("Opera Mobi", Mobile),
    ("UCWEB", Mobile),
    ("J2ME", Mobile),
    ("MIDP", Mobile),
    ("Symbian", Mobile),
    ("SymbOS", Mobile),
    ("Series60", Mobile),
    ("Nokia", Mobile),
    ("webOS/", Mobile),
    ("Mobile", Mobile),
    ("Android", Tablet),
    ("Windows", Desktop),
    ("Macintosh", Desktop),
    ("CrOS", Desktop),
    ("X11", Desktop),
    ("Linux", Desktop),
    ("FreeBSD", Desktop),
    ("OpenBSD", Desktop),
];

/// What kind of machine the browser that speaks as `agent` runs on.
pub(super) fn class_of_agent(agent: &str) -> DeviceClass {
    WORDS.iter().find(|(word, _)| agent.contains(word)).map_or(DeviceClass::Unknown, |(_, class)| *class)
}

/// A system as an app names it, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct System {
    /// Its usual name, or empty.
    pub name: Cow<'static, str>,
    /// Its major version, or 0.
    pub major: u16,
}

/// Systems by their usual names, with the kind of machine they run on.
const SYSTEMS: &[(&str, DeviceClass)] = &[
    ("Android", Mobile),
    ("Android TV", Television),
    ("Android Auto", Other),
    ("ChromeOS", Desktop),
    ("Debian", Desktop),
    ("Fedora", Desktop),
    ("Fire OS", Tablet),
    ("FreeBSD", Desktop),
    ("HarmonyOS", Mobile),
    ("iOS", Mobile),
    ("iPadOS", Tablet),
    ("KaiOS", Mobile),
    ("Linux", Desktop),
    ("macOS", Desktop),
    ("Nintendo Switch", Console),
    ("PlayStation", Console),
    ("Roku OS", Television),
    ("Tizen", Television),
    ("tvOS", Television),
    ("Ubuntu", Desktop),
    ("VIDAA", Television),
    ("visionOS", Other),
    ("watchOS", Other),
    ("Wear OS", Other),
    ("webOS", Television),
    ("Windows", Desktop),
    ("Xbox", Console),
];

/// Other ways in which SDKs write the names of `SYSTEMS`.
const ALSO: &[(&str, &str)] = &[
    ("iPhone OS", "iOS"),
    ("iPhone", "iOS"),
    ("iPad OS", "iPadOS"),
    ("Mac OS X", "macOS"),
    ("Mac OS", "macOS"),
    ("OS X", "macOS"),
    ("Darwin", "macOS"),
    ("Windows NT", "Windows"),
    ("Win32", "Windows"),
    ("Chrome OS", "ChromeOS"),
    ("CrOS", "ChromeOS"),
    ("FireOS", "Fire OS"),
    ("Harmony OS", "HarmonyOS"),
    ("Apple TV OS", "tvOS"),
    ("GNU/Linux", "Linux"),
];

/// Takes `Android 15`, `iOS 18.1` or `Windows NT 10.0` apart. A name that nobody knows is kept as it is written, if it is words only.
pub(super) fn system(text: &str) -> System {
    let (written, version) = text.split_at(text.find(|letter: char| letter.is_ascii_digit()).unwrap_or(text.len()));
    let written = written.trim().trim_end_matches([' ', '/', '-', '_', '(']);
    let version = version.split(|letter: char| !letter.is_ascii_digit()).next();
    let major = version.and_then(|version| version.parse().ok()).unwrap_or(0);
    let usual = ALSO.iter().find(|(also, _)| also.eq_ignore_ascii_case(written)).map(|(_, usual)| *usual);
    let usual = usual.or_else(|| SYSTEMS.iter().map(|(name, _)| *name).find(|name| name.eq_ignore_ascii_case(written)));
    let words_only = written.chars().all(|letter| letter.is_ascii_alphabetic() || letter == ' ');
    let name = match usual {
        Some(usual) => Cow::Borrowed(usual),
        None if words_only => Cow::Owned(written.to_owned()),
        None => Cow::Borrowed(""),
    };
    System { name, major }
}

/// What kind of machine an app runs on, by its system's usual name and its model.
pub(super) fn class_of_app(system: &str, model: &str) -> DeviceClass {
    let named = |word: &str| model.contains(word);
    if named("iPad") || named("Tab") || named("Pad ") || model.ends_with("Pad") || model.starts_with("SM-T") || model.starts_with("SM-X") {
        Tablet
    } else if named("iPhone") {
        Mobile
    } else if named("TV") {
        Television
    } else {
        SYSTEMS.iter().find(|(name, _)| *name == system).map_or(DeviceClass::Unknown, |(_, class)| *class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apps_system_is_taken_apart() {
        for (text, name, major) in [
            ("Android 15", "Android", 15),
            ("android 9", "Android", 9),
            ("iOS 18.1", "iOS", 18),
            ("iPhone OS 17.6.1", "iOS", 17),
            ("iPadOS 18.1", "iPadOS", 18),
            ("macOS 15.1", "macOS", 15),
            ("Mac OS X 10.15.7", "macOS", 10),
            ("Windows NT 10.0", "Windows", 10),
            ("Windows", "Windows", 0),
            ("Ubuntu 24.04", "Ubuntu", 24),
            ("Linux-6.1", "Linux", 6),
            ("visionOS 2", "visionOS", 2),
            ("Fuchsia 22", "Fuchsia", 22),
            ("Android 99999999", "Android", 0),
            ("15", "", 15),
            ("", "", 0),
            ("p@ter's phone 3", "", 3),
        ] {
            assert_eq!(system(text), System { name: name.into(), major }, "{text}");
        }
    }

    #[test]
    fn an_apps_class_follows_from_system_and_model() {
        for (system, model, class) in [
            ("Android", "Pixel 8", Mobile),
            ("Android", "Galaxy Tab S9", Tablet),
            ("Android", "SM-X710", Tablet),
            ("Android", "Xiaomi Pad 6", Tablet),
            ("Android", "BRAVIA 4K TV", Television),
            ("iOS", "iPhone15,2", Mobile),
            ("iOS", "iPad13,4", Tablet),
            ("iPadOS", "", Tablet),
            ("macOS", "MacBookPro18,1", Desktop),
            ("Windows", "", Desktop),
            ("tvOS", "AppleTV11,1", Television),
            ("watchOS", "Watch6,1", Other),
            ("Fuchsia", "", DeviceClass::Unknown),
            ("", "iPhone15,2", Mobile),
            ("", "", DeviceClass::Unknown),
        ] {
            assert_eq!(class_of_app(system, model), class, "{system} {model}");
        }
    }
}
