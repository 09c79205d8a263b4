//! The C functions of libchdb that are used, behind types that cannot be used wrongly. All unsafe code of the crate is here.
//!
//! Signatures are those of `chdb.h` of version 26.7. The header's own rules, kept by the types: every handle is destroyed exactly once, and
//! a connection runs one statement at a time, so streams borrow their connection mutably.
#![expect(unsafe_code, reason = "a C library is called; each call says why it is sound")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;

use crate::exception::Exception;

/// What is returned for data of a result: opaque to us.
#[repr(C)]
struct RawResult {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawInsert {
    _opaque: [u8; 0],
}

type RawConnection = *mut c_void;

/// The names and values of a statement's parameters as the library wants them: four arrays side by side.
#[derive(Default)]
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
}

impl Parameters {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self { pairs }
    }

    fn arrays(&self) -> [(Vec<*const c_char>, Vec<usize>); 2] {
        let array = |part: fn(&(String, String)) -> &String| {
            let pointers = self.pairs.iter().map(|pair| part(pair).as_ptr().cast()).collect();
            (pointers, self.pairs.iter().map(|pair| part(pair).len()).collect())
        };
        [array(|pair| &pair.0), array(|pair| &pair.1)]
    }
}

macro_rules! functions {
    ($($field:ident: $type:ty = $symbol:literal;)*) => {
        /// The functions, looked up once when the library is loaded.
        struct Functions { $($field: $type,)* }

        impl Functions {
            fn find(library: &libloading::Library) -> Result<Self, libloading::Error> {
                // SAFETY: each type is the signature that chdb.h gives for the symbol; the pointers are kept no longer than the library,
                // which is never unloaded.
                unsafe { Ok(Self { $($field: *library.get::<$type>($symbol)?,)* }) }
            }
        }
    };
}

type Statement<Handle> = unsafe extern "C" fn(
    RawConnection,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const *const c_char,
    *const usize,
    *const *const c_char,
    *const usize,
    usize,
) -> *mut Handle;

functions! {
    set_signal_handlers: unsafe extern "C" fn(c_int) = b"chdb_set_signal_handlers_enabled\0";
    version: unsafe extern "C" fn() -> *const c_char = b"chdb_version\0";
    connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut RawConnection = b"chdb_connect\0";
    close: unsafe extern "C" fn(*mut RawConnection) = b"chdb_close_conn\0";
    query: Statement<RawResult> = b"chdb_query_with_params_n\0";
    stream: Statement<RawResult> = b"chdb_stream_query_with_params_n\0";
    fetch: unsafe extern "C" fn(RawConnection, *mut RawResult) -> *mut RawResult = b"chdb_stream_fetch_result\0";
    cancel: unsafe extern "C" fn(RawConnection, *mut RawResult) = b"chdb_stream_cancel_query\0";
    result_buffer: unsafe extern "C" fn(*mut RawResult) -> *const u8 = b"chdb_result_buffer\0";
    result_length: unsafe extern "C" fn(*mut RawResult) -> usize = b"chdb_result_length\0";
    result_error: unsafe extern "C" fn(*mut RawResult) -> *const c_char = b"chdb_result_error\0";
    result_destroy: unsafe extern "C" fn(*mut RawResult) = b"chdb_destroy_query_result\0";
    insert: unsafe extern "C" fn(RawConnection, *const c_char, usize, *const c_char, usize) -> *mut RawInsert = b"chdb_stream_insert_n\0";
    insert_append: unsafe extern "C" fn(*mut RawInsert, *const c_void, usize) -> c_int = b"chdb_stream_append\0";
    insert_done: unsafe extern "C" fn(*mut RawInsert) -> *mut RawResult = b"chdb_stream_done\0";
    insert_error: unsafe extern "C" fn(*mut RawInsert) -> *const c_char = b"chdb_stream_insert_error\0";
    insert_destroy: unsafe extern "C" fn(*mut RawInsert) = b"chdb_destroy_insert_stream\0";
}

/// libchdb, loaded into this process. It stays loaded: ClickHouse's threads outlive its last connection.
pub(crate) struct Library {
    functions: Functions,
}

impl Library {
    /// Loads the library from `path` and takes its signal handlers off, which would catch what belongs to the process.
    pub(crate) fn load(path: &Path) -> Result<Self, libloading::Error> {
        // SAFETY: loading runs the library's initialisers; it is the pinned libchdb (the fetcher checks its sha512), which is built for this.
        let library = unsafe { libloading::Library::new(path) }?;
        let functions = Functions::find(&library)?;
        std::mem::forget(library);
        // SAFETY: no argument is a pointer, and no connection is open yet.
        unsafe { (functions.set_signal_handlers)(0) };
        Ok(Self { functions })
    }

    /// The library's own version, for example `26.7.3`.
    pub(crate) fn version(&self) -> String {
        // SAFETY: returns a static, NUL-terminated string.
        unsafe { text((self.functions.version)()) }.unwrap_or_default()
    }

    /// Opens a connection. The first one of a process boots ClickHouse with `arguments` (`--path=...` and server settings).
    pub(crate) fn connect(&self, arguments: &[CString]) -> Option<Connection<'_>> {
        let mut texts: Vec<*mut c_char> = arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(texts.len()).ok()?;
        // SAFETY: `texts` holds `count` NUL-terminated strings that live through the call; the library copies them and changes none.
        let handle = unsafe { (self.functions.connect)(count, texts.as_mut_ptr()) };
        NonNull::new(handle).map(|handle| Connection { library: self, handle })
    }
}

/// An open connection; dropping it closes it. Closing the last one shuts ClickHouse down.
pub(crate) struct Connection<'a> {
    library: &'a Library,
    handle: NonNull<RawConnection>,
}

// SAFETY: chdb.h promises that opening, closing and querying are safe from any thread; only simultaneous use of one connection is not, and
// every use takes `&mut self`.
unsafe impl Send for Connection<'_> {}

impl Connection<'_> {
    fn raw(&self) -> RawConnection {
        // SAFETY: chdb_connect returned a valid pointer to the connection, and it is valid until chdb_close_conn.
        unsafe { *self.handle.as_ptr() }
    }

    fn start(
        &mut self,
        function: Statement<RawResult>,
        sql: &str,
        format: &str,
        parameters: &Parameters,
    ) -> Result<QueryResult<'_>, Exception> {
        let [(names, name_lengths), (values, value_lengths)] = parameters.arrays();
        // SAFETY: every pointer goes with its length and lives through the call (chdb.h: strings need no NUL); the four arrays have the
        // same number of elements, which is passed.
        let handle = unsafe {
            function(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                names.as_ptr(),
                name_lengths.as_ptr(),
                values.as_ptr(),
                value_lengths.as_ptr(),
                names.len(),
            )
        };
        QueryResult::take(&self.library.functions, handle)
    }

    /// Runs `sql` to its end and holds its whole result.
    pub(crate) fn query(&mut self, sql: &str, format: &str, parameters: &Parameters) -> Result<QueryResult<'_>, Exception> {
        self.start(self.library.functions.query, sql, format, parameters)
    }

    /// Starts a SELECT whose result is fetched a block at a time.
    pub(crate) fn stream(&mut self, sql: &str, format: &str, parameters: &Parameters) -> Result<QueryStream<'_>, Exception> {
        let connection = self.raw();
        let result = self.start(self.library.functions.stream, sql, format, parameters)?;
        Ok(QueryStream { connection, result, finished: false })
    }

    /// Starts an INSERT (`sql` without its FORMAT clause) whose rows are appended in `format`.
    pub(crate) fn insert(&mut self, sql: &str, format: &str) -> Result<InsertStream<'_>, Exception> {
        let functions = &self.library.functions;
        // SAFETY: pointers go with their lengths and live through the call.
        let handle = unsafe { (functions.insert)(self.raw(), sql.as_ptr().cast(), sql.len(), format.as_ptr().cast(), format.len()) };
        let handle = NonNull::new(handle).ok_or_else(Exception::unknown)?;
        let stream = InsertStream { functions, handle };
        match stream.error() {
            Some(exception) => Err(exception),
            None => Ok(stream),
        }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle came from chdb_connect and is closed once; streams and results borrow the connection, so none is left.
        unsafe { (self.library.functions.close)(self.handle.as_ptr()) }
    }
}

/// The result of a statement, or one block of it, as formatted bytes.
pub(crate) struct QueryResult<'a> {
    functions: &'a Functions,
    handle: NonNull<RawResult>,
}

impl<'a> QueryResult<'a> {
    fn take(functions: &'a Functions, handle: *mut RawResult) -> Result<Self, Exception> {
        let result = Self { functions, handle: NonNull::new(handle).ok_or_else(Exception::unknown)? };
        // SAFETY: the handle is valid until it is destroyed; the text is copied before that.
        match unsafe { text((functions.result_error)(result.handle.as_ptr())) } {
            Some(message) => Err(Exception::new(message)),
            None => Ok(result),
        }
    }

    /// The formatted bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the handle is valid; buffer and length describe memory that the result owns until it is destroyed.
        unsafe {
            let length = (self.functions.result_length)(self.handle.as_ptr());
            let buffer = (self.functions.result_buffer)(self.handle.as_ptr());
            if length == 0 || buffer.is_null() { &[] } else { std::slice::from_raw_parts(buffer, length) }
        }
    }
}

impl Drop for QueryResult<'_> {
    fn drop(&mut self) {
        // SAFETY: destroyed once, and nothing borrows it any more.
        unsafe { (self.functions.result_destroy)(self.handle.as_ptr()) }
    }
}

/// A SELECT under way. Dropped before its end it is cancelled.
pub(crate) struct QueryStream<'a> {
    connection: RawConnection,
    result: QueryResult<'a>,
    finished: bool,
}

impl QueryStream<'_> {
    /// The next block, a whole document of the format; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<QueryResult<'_>>, Exception> {
        let functions = self.result.functions;
        // SAFETY: connection and stream are valid: the stream borrows the connection, and `&mut self` serialises the calls.
        let handle = unsafe { (functions.fetch)(self.connection, self.result.handle.as_ptr()) };
        let block = QueryResult::take(functions, handle).inspect_err(|_| self.finished = true)?;
        self.finished = block.bytes().is_empty();
        Ok((!self.finished).then_some(block))
    }
}

impl Drop for QueryStream<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // SAFETY: as in `next`; the result itself is destroyed after this, by its own drop.
            unsafe { (self.result.functions.cancel)(self.connection, self.result.handle.as_ptr()) }
        }
    }
}

/// An INSERT under way. Only [`InsertStream::commit`] makes it count; dropped before that it is cancelled.
pub(crate) struct InsertStream<'a> {
    functions: &'a Functions,
    handle: NonNull<RawInsert>,
}

impl InsertStream<'_> {
    fn error(&self) -> Option<Exception> {
        // SAFETY: the handle is valid until drop; the text is copied.
        unsafe { text((self.functions.insert_error)(self.handle.as_ptr())) }.map(Exception::new)
    }

    /// Appends a piece of the rows, cut anywhere. Waits while the engine is behind.
    pub(crate) fn append(&mut self, piece: &[u8]) -> Result<(), Exception> {
        // SAFETY: pointer and length are one slice, which the library copies.
        let state = unsafe { (self.functions.insert_append)(self.handle.as_ptr(), piece.as_ptr().cast(), piece.len()) };
        if state == 0 { Ok(()) } else { Err(self.error().unwrap_or_else(Exception::unknown)) }
    }

    /// Says that the rows are complete, and waits until they are in the table.
    pub(crate) fn commit(self) -> Result<(), Exception> {
        // SAFETY: the handle is valid, and this is the last use but for drop.
        let handle = unsafe { (self.functions.insert_done)(self.handle.as_ptr()) };
        QueryResult::take(self.functions, handle).map(drop)
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        // SAFETY: destroyed once; chdb.h: an insert that was not finished is cancelled by this.
        unsafe { (self.functions.insert_destroy)(self.handle.as_ptr()) }
    }
}

/// Copies a C string; `None` for a null pointer.
///
/// # Safety
/// `pointer` is null or points to a NUL-terminated string that lives through the call.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: the caller promises it.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

/// Ends the process at once, without running the destructors of ClickHouse's statics: its threads are still using them.
pub(crate) fn exit_now(status: c_int) -> ! {
    unsafe extern "C" {
        fn _exit(status: c_int) -> !;
    }
    // SAFETY: POSIX; takes a number and does not return.
    unsafe { _exit(status) }
}
