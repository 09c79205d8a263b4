//! The configuration as written -> as used: every value is judged here, once, in the order of the file.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::fault::{Fault, Promise};
use super::{
    ClickHouse, Config, DATABASE, DataFile, Engine, Log, LogFormat, Overrides, Password, Private, Proxy, Public, Spool, Store,
    Surroundings, sites, written,
};
use crate::leak;
use crate::limits;
use crate::privacy::proxy::{Networks, Trusted};

type Judged<T> = Result<T, Fault>;

/// Judges `written`; `overrides` win over it, `surroundings` fill in folders that nobody names.
pub(super) fn build(written: written::Written, overrides: &Overrides, surroundings: &Surroundings) -> Judged<Config> {
    let data_dir = overrides.data_dir.clone().or(written.data_dir).or_else(|| surroundings.data_dir());
    let data_dir = data_dir.ok_or_else(|| Fault::about("data_dir", "nobody says where to keep data: name a folder"))?;
    let key_dir = overrides.key_dir.clone().or(written.key_dir).unwrap_or_else(|| surroundings.key_dir());
    if key_dir.starts_with(&data_dir) && !leak::planted("widening_accepted") {
        return Err(Fault::of("key_dir", key_dir.display(), "must be outside data_dir").breaking(Promise::KeysApart));
    }
    let public = public(written.public, overrides)?;
    let private = private(written.private, overrides)?;
    Ok(Config {
        file: None,
        data_dir,
        key_dir,
        proxy: proxy(written.proxy)?,
        geo: geo(written.geo.as_deref()),
        store: store(written.engine, written.clickhouse)?,
        close_after_hours: close_after_hours(written.close_after_hours)?,
        spool: spool(&written.spool)?,
        user_agents: data_file(written.user_agents),
        crawlers: data_file(written.crawlers),
        log: log(&written.log)?,
        export_dir: written.export.map(export_dir).transpose()?,
        sites: Arc::new(sites::build(written.site, &private.host())?),
        public,
        private,
    })
}

fn public(written: written::Public, overrides: &Overrides) -> Judged<Public> {
    Ok(Public {
        listen: listen("public.listen", overrides.public_listen, written.listen, ([0, 0, 0, 0], 8080))?,
        url: written.url.map(|url| web_address("public.url", &url)).transpose()?,
        base_path: base_path(written.base_path.as_deref().unwrap_or(""))?,
        script_path: path("public.script_path", written.script_path.as_deref().unwrap_or("/h.js"))?,
        event_path: path("public.event_path", written.event_path.as_deref().unwrap_or("/e"))?,
        workers: workers(written.workers)?,
    })
}

fn private(written: written::Private, overrides: &Overrides) -> Judged<Private> {
    let listen = listen("private.listen", overrides.private_listen, written.listen, ([127, 0, 0, 1], 8081))?;
    if !listen.ip().is_loopback() && !written.insecure && !leak::planted("widening_accepted") {
        let allowed = "must be a loopback address (127.0.0.1 or [::1]), with a proxy that speaks TLS in front for access from elsewhere; \
                       or say private.insecure = true";
        return Err(Fault::of("private.listen", listen, allowed).breaking(Promise::OperatorOnly));
    }
    Ok(Private { listen, public_url: written.public_url.map(|url| web_address("private.public_url", &url)).transpose()? })
}

fn listen(key: &str, given: Option<SocketAddr>, written: Option<String>, default: ([u8; 4], u16)) -> Judged<SocketAddr> {
    match (given, written) {
        (Some(address), _) => Ok(address),
        (None, Some(text)) => {
            text.parse().map_err(|_| Fault::of(key, quoted(&text), "must be an address and a port, such as 127.0.0.1:8081"))
        }
        (None, None) => Ok(default.into()),
    }
}

/// An `http` or `https` address without a query; kept without the slash at its end.
fn web_address(key: &str, text: &str) -> Judged<Box<str>> {
    let uri = text.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none());
    let plain = uri.filter(|uri| uri.authority().is_some_and(|authority| !authority.as_str().contains('@')) && is_plain_path(uri.path()));
    match plain {
        Some(_) => Ok(text.trim_end_matches('/').into()),
        None => Err(Fault::of(key, quoted(text), "must be a web address such as https://stats.example.org")),
    }
}

fn base_path(text: &str) -> Judged<Box<str>> {
    match text.trim_end_matches('/') {
        "" => Ok("".into()),
        trimmed => path("public.base_path", trimmed),
    }
}

fn path(key: &str, text: &str) -> Judged<Box<str>> {
    if text.len() > 1 && text.starts_with('/') && !text.ends_with('/') && is_plain_path(text) && text.len() <= limits::PATH_BYTES {
        Ok(text.into())
    } else {
        Err(Fault::of(key, quoted(text), "must be a path such as /stats, of letters, digits and - . _ ~ /"))
    }
}

/// Of characters that need no escape, neither in a URL nor in the script tag's attribute.
fn is_plain_path(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)) && !path.contains("//")
}

fn workers(written: Option<i64>) -> Judged<NonZeroUsize> {
    let Some(count) = written else {
        let most = NonZeroUsize::new(limits::WORKERS).unwrap_or(NonZeroUsize::MIN);
        return Ok(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).min(most));
    };
    let given = usize::try_from(count).ok().filter(|count| *count <= limits::WORKERS).and_then(NonZeroUsize::new);
    given.ok_or_else(|| Fault::of("public.workers", count, format!("must be 1 to {}", limits::WORKERS)))
}

fn proxy(written: Option<written::Proxy>) -> Judged<Proxy> {
    let (trust, header) = match written {
        None => (None, None),
        Some(written::Proxy::Trust(trust)) => (Some(trust), None),
        Some(written::Proxy::WithHeader(written::ProxyHeader { trust, header })) => (trust, header),
    };
    let trusted = trust.map_or(Ok(Trusted::Loopback), trusted)?;
    let header = match header {
        None => HeaderName::from_static("x-forwarded-for"),
        Some(name) => {
            name.parse().map_err(|_| Fault::of("proxy.header", quoted(&name), "must be a header's name, such as X-Forwarded-For"))?
        }
    };
    Ok(Proxy { trusted, header })
}

fn trusted(written: written::Trust) -> Judged<Trusted> {
    match written {
        written::Trust::Preset(name) => match name.as_str() {
            "nobody" => Ok(Trusted::Nobody),
            "loopback" => Ok(Trusted::Loopback),
            "docker" => Ok(Trusted::Docker),
            "cloudflare" => Ok(Trusted::Cloudflare),
            _ => {
                let allowed =
                    "must be \"loopback\", \"docker\", \"cloudflare\", \"nobody\", or a list of networks such as [\"10.0.0.0/8\"]";
                Err(Fault::of("proxy", quoted(&name), allowed))
            }
        },
        written::Trust::Networks(networks) => {
            let everybody = networks.iter().find(|text| text.parse::<IpNet>().is_ok_and(|network| network.prefix_len() == 0));
            if let Some(everybody) = everybody.filter(|_| !leak::planted("widening_accepted")) {
                return Err(Fault::of("proxy", quoted(everybody), "must not be everybody").breaking(Promise::OwnAddress));
            }
            networks_of("proxy", &networks).map(Trusted::Networks)
        }
    }
}

pub(super) fn networks_of(key: &str, texts: &[String]) -> Judged<Networks> {
    Networks::parse(texts).map_err(|at| {
        let text = texts.get(at.0).map_or("", String::as_str);
        Fault::of(key, quoted(text), "must be a network such as 10.0.0.0/8 or 2001:db8::/32, or one address")
    })
}

fn geo(written: Option<&str>) -> Option<DataFile> {
    match written {
        None => Some(DataFile::Pinned),
        Some("off") => None,
        Some(path) => Some(DataFile::Named(PathBuf::from(path))),
    }
}

fn data_file(written: Option<PathBuf>) -> DataFile {
    written.map_or(DataFile::Pinned, DataFile::Named)
}

fn store(engine: written::Engine, clickhouse: Option<written::ClickHouse>) -> Judged<Store> {
    let Some(server) = clickhouse else {
        let memory_bytes = bytes("engine.memory_bytes", engine.memory_bytes, limits::ENGINE_MEMORY_BYTES)?;
        return Ok(Store::Embedded(Engine { library: data_file(engine.library), memory_bytes }));
    };
    if engine.library.is_some() || engine.memory_bytes.is_some() {
        return Err(Fault::about("engine", "has no meaning together with [clickhouse]: leave one of them out"));
    }
    let url = clickhouse_url(server.url.as_deref(), server.plaintext)?;
    let password = password(server.password, server.password_file)?;
    let database = server.database.unwrap_or_else(|| DATABASE.into());
    let is_name = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !is_name(&database) || database.len() > 64 {
        return Err(Fault::of("clickhouse.database", quoted(&database), "must be a name of letters, digits and _, at most 64 bytes"));
    }
    Ok(Store::Server(ClickHouse { url, user: server.user.unwrap_or_else(|| "default".into()).into(), password, database: database.into() }))
}

fn clickhouse_url(written: Option<&str>, plaintext: bool) -> Judged<Box<str>> {
    let allowed = "must be an address such as https://clickhouse.example.org:8443, without a user, a path or a query";
    let text = written.ok_or_else(|| Fault::about("clickhouse.url", allowed))?;
    let Some(uri) = text.parse::<Uri>().ok().filter(|uri| uri.query().is_none() && uri.path() == "/") else {
        return Err(Fault::about("clickhouse.url", allowed));
    };
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        _ if host.is_empty() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            // The value may hold a password: it is not repeated.
            Err(Fault::about("clickhouse.url", allowed))
        }
        Some("http") if !plaintext && !is_loopback(host) && !leak::planted("widening_accepted") => {
            let allowed =
                "must be https for another machine; or say clickhouse.plaintext = true, for a link that is private in another way";
            Err(Fault::of("clickhouse.url", quoted(text), allowed).breaking(Promise::NoPlainLink))
        }
        Some("http" | "https") => Ok(text.trim_end_matches('/').into()),
        _ => Err(Fault::about("clickhouse.url", allowed)),
    }
}

/// Whether `host`, as it stands in a URL, is this machine.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || format!("{host}:0").parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

fn password(written: Option<String>, file: Option<PathBuf>) -> Judged<Password> {
    let text = match (written, file) {
        (Some(_), Some(_)) => return Err(Fault::about("clickhouse.password_file", "has no meaning together with clickhouse.password")),
        (Some(password), None) => password,
        (None, Some(file)) => {
            let text = std::fs::read_to_string(&file).map_err(|cause| {
                Fault::of("clickhouse.password_file", file.display(), format!("must be a file that can be read ({cause})"))
            })?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        (None, None) => String::new(),
    };
    match HeaderValue::from_str(&text) {
        Ok(_) => Ok(Password(text.into())),
        Err(_) => Err(Fault::about("clickhouse.password", "must be of visible characters: it travels in a header")),
    }
}

fn close_after_hours(written: Option<i64>) -> Judged<u16> {
    let hours = written.unwrap_or(i64::from(limits::CLOSE_AFTER_HOURS_DEFAULT));
    let allowed = &limits::CLOSE_AFTER_HOURS;
    match u16::try_from(hours) {
        Ok(hours) if allowed.contains(&hours) || leak::planted("widening_accepted") => Ok(hours),
        _ => {
            let fault = Fault::of("close_after_hours", hours, format!("must be {} to {}", allowed.start(), allowed.end()));
            Err(if hours > i64::from(*allowed.end()) { fault.breaking(Promise::ShortLived) } else { fault })
        }
    }
}

fn spool(written: &written::Spool) -> Judged<Spool> {
    let max_bytes = bytes("spool.max_bytes", written.max_bytes, limits::SPOOL_BYTES)?;
    let (least, default, most) = limits::BEHIND_AFTER;
    let behind_after = match written.behind_after_seconds {
        None => default,
        Some(seconds) => {
            let given = u64::try_from(seconds).ok().map(Duration::from_secs).filter(|given| (least..=most).contains(given));
            let allowed = || format!("must be {} to {}", least.as_secs(), most.as_secs());
            given.ok_or_else(|| Fault::of("spool.behind_after_seconds", seconds, allowed()))?
        }
    };
    Ok(Spool { max_bytes, behind_after })
}

/// A size between the least and the most; the one in the middle is the default.
fn bytes(key: &str, written: Option<i64>, (least, default, most): (u64, u64, u64)) -> Judged<u64> {
    let Some(size) = written else { return Ok(default) };
    let given = u64::try_from(size).ok().filter(|size| (least..=most).contains(size));
    given.ok_or_else(|| Fault::of(key, size, format!("must be {least} to {most} bytes")))
}

fn export_dir(written: written::Export) -> Judged<PathBuf> {
    let allowed = "must be the absolute path of a folder that is there";
    let dir = written.dir.ok_or_else(|| Fault::about("export.dir", allowed))?;
    if dir.is_absolute() { Ok(dir) } else { Err(Fault::of("export.dir", dir.display(), allowed)) }
}

fn log(written: &written::Log) -> Judged<Log> {
    let level = match written.level.as_deref() {
        Some("error") => tracing::Level::ERROR,
        Some("warn") => tracing::Level::WARN,
        None | Some("info") => tracing::Level::INFO,
        Some("debug") => tracing::Level::DEBUG,
        Some("trace") => tracing::Level::TRACE,
        Some(other) => return Err(Fault::of("log.level", quoted(other), "must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\"")),
    };
    let format = match written.format.as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => return Err(Fault::of("log.format", quoted(other), "must be \"text\" or \"json\"")),
    };
    Ok(Log { level, format })
}

/// `text` as it stands in the file.
pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}
