//! The public routes: which path is what, which methods it knows, and how a request for it is answered.

use hyper::body::{Body, Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};

use super::limits::Room;
use super::request::{self, Arrival, BatchHead, Protocol};
use super::response::{self, Answered, Fault};
use super::script::Constant;
use super::share::{self, Door};
use super::watch::{Stage, Watch};
use super::{Answer, Intake, Shared};
use crate::beacon::batch::Coding;
use crate::consent::signals::HeaderSignals;
use crate::privacy::raw::Peer;

/// Where the public routes are, as the configuration names them: each path is complete and starts with a slash.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The beacon; the pixel is the same with `.gif`.
    pub event: String,
    /// Batches.
    pub batch: String,
    /// The script.
    pub script: String,
    /// What is kept and for how long.
    pub privacy: String,
}

impl Default for Paths {
    fn default() -> Self {
        Self::under("", "/h.js", "/e")
    }
}

impl Paths {
    /// The routes under `base` (empty, or `/stats`), with the script and the beacon under names of the operator's choice.
    pub fn under(base: &str, script: &str, event: &str) -> Self {
        Self {
            event: format!("{base}{event}"),
            batch: format!("{base}/v1/events"),
            script: format!("{base}{script}"),
            privacy: format!("{base}/privacy.json"),
        }
    }
}

/// What the public listener serves besides taking events. Made once from the configuration, shared by all workers.
#[derive(Debug)]
pub struct Pages {
    paths: Paths,
    pixel: String,
    script: Constant,
    privacy: Constant,
    gpc: Constant,
    share: Option<Door>,
}

/// The Global Privacy Control support resource (GPC specification, 4): requests with `Sec-GPC: 1` are obeyed.
const GPC: &str = "{\"gpc\":true,\"lastUpdate\":\"2026-01-01\"}";
/// The one path that is not under the base path: it belongs to the origin (RFC 8615).
const GPC_PATH: &str = "/.well-known/gpc.json";

impl Pages {
    /// `script` is the minified script, `privacy` the rendered privacy.json.
    pub fn new(paths: Paths, script: impl Into<Bytes>, privacy: impl Into<Bytes>) -> Self {
        const DAY: &str = "public, max-age=86400";
        const HOUR: &str = "public, max-age=3600";
        Self {
            pixel: format!("{}.gif", paths.event),
            script: Constant::new(script.into(), "text/javascript; charset=utf-8", DAY),
            privacy: Constant::new(privacy.into(), "application/json", HOUR),
            gpc: Constant::new(Bytes::from_static(GPC.as_bytes()), "application/json", DAY),
            share: None,
            paths,
        }
    }

    /// The same, and what is behind `door`.
    #[must_use]
    pub fn with_share(self, door: Door) -> Self {
        Self { share: Some(door), ..self }
    }

    /// Paths are compared byte for byte: nothing is decoded, no dots are resolved, no slash is forgiven.
    fn find(&self, path: &str) -> Option<Resource<'_>> {
        match path {
            _ if path == self.paths.event => Some(Resource::Events(Protocol::Beacon)),
            _ if path == self.paths.batch => Some(Resource::Events(Protocol::Batch)),
            _ if path == self.pixel => Some(Resource::Events(Protocol::Pixel)),
            _ if path == self.paths.script => Some(Resource::Constant(&self.script)),
            _ if path == self.paths.privacy => Some(Resource::Constant(&self.privacy)),
            GPC_PATH => Some(Resource::Constant(&self.gpc)),
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Resource<'a> {
    Events(Protocol),
    Constant(&'a Constant),
}

impl Resource<'_> {
    fn methods(self) -> &'static str {
        match self {
            Self::Events(Protocol::Beacon | Protocol::Batch) => "POST, OPTIONS",
            Self::Events(Protocol::Pixel) | Self::Constant(_) => "GET, HEAD, OPTIONS",
        }
    }

    fn knows(self, method: &Method) -> bool {
        match self {
            Self::Events(Protocol::Beacon | Protocol::Batch) => method == Method::POST,
            // A pixel asked for with HEAD would be an event without an image: it is answered, and not counted.
            Self::Events(Protocol::Pixel) | Self::Constant(_) => method == Method::GET || method == Method::HEAD,
        }
    }

    /// Headers that a page of another origin may send here.
    fn headers_allowed(self) -> &'static str {
        match self {
            Self::Events(Protocol::Batch) => "content-type, content-encoding, authorization, idempotency-key",
            Self::Events(Protocol::Beacon | Protocol::Pixel) | Self::Constant(_) => "content-type",
        }
    }
}

/// Answers one request.
pub(super) async fn handle<I: Intake>(shared: &Shared<I>, peer: &Peer, watch: &Watch, request: Request<Incoming>) -> Answered {
    watch.begin_request();
    let (head, mut body) = request.into_parts();
    let judged = judge(shared, peer, watch, (&head, &mut body)).await;
    // What is left of a body that nobody read must not be taken for the next request.
    let unread = watch.stage() == Stage::Body && !body.is_end_stream();
    #[cfg(feature = "leaky")]
    let target = head.uri.path().parse().ok().filter(|_| crate::leak::planted("target_in_answer"));
    // Who waits for a commit waits without them: the next request takes the same memory while it is still in the processor's cache.
    drop((head, body));
    let mut answered = match judged {
        Ok(Judged::Answered(answered)) => answered,
        Ok(Judged::Taken(protocol, taken)) => response::answer(protocol, taken.await),
        Err(fault) => {
            if let Some(reason) = fault.refused() {
                shared.intake.refuse(reason);
            }
            response::fault(fault)
        }
    };
    #[cfg(feature = "leaky")]
    if let Some(target) = target {
        answered.headers_mut().insert("headcount-target", target);
    }
    if unread || watch.is_last() {
        response::close(answered.headers_mut());
    }
    watch.enter(Stage::Answer);
    shared.counts.answered(answered.status());
    answered
}

/// A request that was read as far as it is read at all.
enum Judged<T> {
    Answered(Answered),
    /// Its events are in the pipeline's hands.
    Taken(Protocol, T),
}

async fn judge<I: Intake>(
    shared: &Shared<I>,
    peer: &Peer,
    watch: &Watch,
    (head, body): (&Parts, &mut Incoming),
) -> Result<Judged<impl Future<Output = Answer> + use<I>>, Fault> {
    if watch.bare_line_feed() {
        return Err(Fault::BadRequest);
    }
    request::check_head(head)?;
    let Some(resource) = shared.pages.find(head.uri.path()) else {
        // Looked for last, so that it costs no event anything.
        let behind = shared.pages.share.as_ref().and_then(|door| Some((door, door.rest_of(head.uri.path())?)));
        let (door, rest) = behind.ok_or(Fault::NotFound)?;
        let asked = share::Request { head, body, rest, room: Room::new(&shared.lease) };
        return Ok(Judged::Answered(door.answer(asked, watch, shared.clock.now()).await));
    };
    if head.method == Method::OPTIONS {
        return Ok(Judged::Answered(response::preflight(resource.methods(), resource.headers_allowed())));
    }
    if !resource.knows(&head.method) {
        return Ok(Judged::Answered(response::allowed(StatusCode::METHOD_NOT_ALLOWED, resource.methods())));
    }
    match resource {
        Resource::Constant(constant) => Ok(Judged::Answered(constant.answer(&head.headers))),
        Resource::Events(Protocol::Pixel) if head.method == Method::HEAD => {
            Ok(Judged::Answered(response::answer(Protocol::Pixel, Answer::Taken(None))))
        }
        Resource::Events(protocol) => Ok(Judged::Taken(protocol, take(shared, peer, watch, (protocol, head, body)).await?)),
    }
}

/// Turns a request into an [`Arrival`] and has the pipeline take it.
async fn take<I: Intake>(
    shared: &Shared<I>,
    peer: &Peer,
    watch: &Watch,
    (protocol, head, body): (Protocol, &Parts, &mut Incoming),
) -> Result<impl Future<Output = Answer> + use<I>, Fault> {
    let headers: &HeaderMap = &head.headers;
    let mut room = Room::new(&shared.lease);
    let (batch, body) = match protocol {
        Protocol::Pixel => (BatchHead::NONE, Bytes::new()),
        Protocol::Beacon | Protocol::Batch => {
            let encoding = request::check_content(protocol, headers)?;
            let batch = if protocol == Protocol::Batch { request::batch_head(encoding, headers)? } else { BatchHead::NONE };
            (batch, request::collect(protocol.body_bytes_max(), body, watch, &mut room).await?)
        }
    };
    watch.enter(Stage::Answer);
    let arrival = Arrival {
        protocol,
        body,
        encoding: batch.encoding,
        query: head.uri.query().filter(|_| protocol == Protocol::Pixel).unwrap_or_default(),
        page: if protocol == Protocol::Pixel { request::referring_page(headers) } else { None },
        signals: HeaderSignals::read(headers),
        visitor: shared.intake.visitor(peer, headers),
        received: shared.clock.now(),
        bearer: batch.bearer,
        idempotency_key: batch.idempotency_key,
        room,
    };
    debug_assert!(protocol == Protocol::Batch || arrival.encoding == Coding::Identity, "only batches are packed");
    Ok(shared.intake.take(arrival))
}
