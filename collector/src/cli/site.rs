//! `headcount site add`: one more `[[site]]` in the operator's file, which keeps its comments and is never seen half-written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use crate::config::{Config, ConfigError, Located, Overrides, Surroundings};
use crate::instance::{self, Reload};

/// A site to be added.
pub(super) struct Addition<'a> {
    /// Its id and first host.
    pub(super) domain: &'a str,
    /// Its zone, if not UTC.
    pub(super) timezone: Option<&'a str>,
}

/// Why a site was not added; the file is as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum SiteError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{}: is not TOML", file.display())]
    NotToml {
        file: PathBuf,
        #[source]
        cause: toml_edit::TomlError,
    },
    #[error("{}: `site` is written as {found}; write it as [[site]] and try again", file.display())]
    OtherForm { file: PathBuf, found: &'static str },
    #[error("{}: cannot be written", file.display())]
    Unwritable {
        file: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// Adds the site, has a running collector read the file again, and prints the tag. A file that would not be right afterwards is not written.
pub(super) fn add(
    addition: &Addition<'_>,
    overrides: &Overrides,
    surroundings: &Surroundings,
    out: &mut dyn Write,
) -> Result<(), SiteError> {
    let Located { file, .. } = Config::locate(overrides, surroundings)?;
    let before = read(&file)?;
    let after = with_site(&before, addition, &file)?;
    let config = Config::parse(&after, Some(&file), overrides, surroundings)?;
    let unwritable = |cause| SiteError::Unwritable { file: file.clone(), cause };
    replace(&file, &after).map_err(unwritable)?;

    writeln!(out, "{} is in {}.", addition.domain, file.display())?;
    let told = match instance::reload(&config.data_dir) {
        Reload::Told => "The running collector has been told to read it.",
        Reload::NotRunning => "No collector is running; the next start reads it.",
        Reload::OutOfReach => "A collector is running, but not where this process may tell it: send it SIGHUP.",
    };
    writeln!(out, "{told}\n\nPaste this into the pages of {}:\n\n  {}\n", addition.domain, config.script_tag(addition.domain))?;
    if config.public.url.is_none() {
        writeln!(out, "The address in it is this machine's: say `url` in the [public] section of the file, and the tag will carry that.")?;
    }
    Ok(())
}

/// A file that is not there is an empty one: the first site makes it.
fn read(file: &Path) -> Result<String, SiteError> {
    match fs::read_to_string(file) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|cause| ConfigError::Unreadable { file: file.to_path_buf(), cause }.into()),
    }
}

fn with_site(before: &str, addition: &Addition<'_>, file: &Path) -> Result<String, SiteError> {
    let mut document: DocumentMut = before.parse().map_err(|cause| SiteError::NotToml { file: file.to_path_buf(), cause })?;
    let sites = document.entry("site").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let found = sites.type_name();
    let sites = sites.as_array_of_tables_mut().ok_or_else(|| SiteError::OtherForm { file: file.to_path_buf(), found })?;
    let mut site = Table::new();
    site.insert("id", value(addition.domain));
    if let Some(timezone) = addition.timezone {
        site.insert("timezone", value(timezone));
    }
    sites.push(site);
    Ok(document.to_string())
}

/// Writes a whole new file beside the old one and renames it over that: a reader sees one or the other, also after a power cut.
pub(super) fn replace(file: &Path, text: &str) -> io::Result<()> {
    // A link stays a link: what it points to is replaced.
    let file = if file.exists() { file.canonicalize()? } else { file.to_path_buf() };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let new = folder.join(name);
    // It may hold a password: for its owner only, unless the old one was open to others.
    let mut open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    if let Ok(old) = fs::metadata(&file) {
        open.set_permissions(old.permissions())?;
    }
    open.write_all(text.as_bytes())?;
    open.sync_all()?;
    fs::rename(&new, &file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(before: &str, domain: &str) -> Result<String, SiteError> {
        with_site(before, &Addition { domain, timezone: None }, Path::new("headcount.toml"))
    }

    #[test]
    fn comments_and_order_of_the_file_stay() {
        let before = "# Mine.\nclose_after_hours = 30 # short\n\n[[site]]\nid = \"example.org\" # first\n";
        assert_eq!(added(before, "example.net").unwrap(), format!("{before}\n[[site]]\nid = \"example.net\"\n"));
    }

    #[test]
    fn sites_in_another_form_are_left_alone() {
        let told = added("site = [{ id = \"example.org\" }]", "example.net").unwrap_err().to_string();
        assert_eq!(told, "headcount.toml: `site` is written as array; write it as [[site]] and try again");
    }

    /// A folder of its own for each test, gone at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("headcount-site-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn add(&self, domain: &str, timezone: Option<&str>) -> Result<String, SiteError> {
            let overrides = Overrides { data_dir: Some(self.0.clone()), ..Overrides::default() };
            let mut out = Vec::new();
            add(&Addition { domain, timezone }, &overrides, &Surroundings::default(), &mut out)?;
            Ok(String::from_utf8(out).unwrap())
        }

        fn text(&self) -> String {
            fs::read_to_string(self.0.join("headcount.toml")).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_first_site_makes_the_file_and_the_tag_is_printed() {
        let folder = Folder::new("first");
        let told = folder.add("example.org", Some("Europe/Berlin")).unwrap();
        assert_eq!(folder.text(), "[[site]]\nid = \"example.org\"\ntimezone = \"Europe/Berlin\"\n");
        assert!(told.contains(r#"<script defer src="http://localhost:8080/h.js" data-site="example.org"></script>"#), "{told}");
        assert!(told.contains("No collector is running"), "{told}");
    }

    #[test]
    fn what_would_be_wrong_is_not_written() {
        let folder = Folder::new("wrong");
        folder.add("example.org", None).unwrap();
        let before = folder.text();
        for (domain, timezone, told) in [
            ("example.org", None, "must not stand twice"),
            ("https://example.org", None, "must be the site's domain"),
            ("example.net", Some("Mars/Olympus"), "must be a name of the IANA time zone database"),
        ] {
            let error = folder.add(domain, timezone).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
            assert_eq!(folder.text(), before);
        }
    }

    #[test]
    fn a_file_keeps_its_permissions_and_a_new_one_is_its_owners() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("mode");
        let mode = || fs::metadata(folder.0.join("headcount.toml")).unwrap().permissions().mode() & 0o777;
        folder.add("example.org", None).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(folder.0.join("headcount.toml"), fs::Permissions::from_mode(0o640)).unwrap();
        folder.add("example.net", None).unwrap();
        assert_eq!(mode(), 0o640);
    }
}
