//! Parsing of a request's head: the line and the fields that matter here (RFC 9112, 3 and 5; RFC 9110, 7.2, 7.6.1, 12.5.1).

/// Most bytes of a request's body that are read and thrown away. A longer body is answered with 413.
pub const BODY_LIMIT: u64 = 64 * 1024;

/// A status code that this server sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    LengthRequired,
    ContentTooLarge,
    HeadTooLarge,
    VersionNotSupported,
}

impl Status {
    /// The code and its phrase, as on the status line.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::LengthRequired => "411 Length Required",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// What is asked to be done. Methods are case-sensitive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    Get,
    Head,
    Other,
}

/// A well-formed head.
#[derive(Debug, Eq, PartialEq)]
pub struct Head<'a> {
    pub method: Method,
    /// The target's path, without authority and query, not percent-decoded; `*` as it is.
    pub path: &'a [u8],
    /// Whether the connection outlives the answer.
    pub keep_alive: bool,
    /// Whether `Accept` names `application/json`.
    pub accepts_json: bool,
    /// Bytes of body that follow, at most [`BODY_LIMIT`].
    pub body: u64,
}

/// Parses a whole head, from the request line to the empty line. Lines end in CRLF or LF.
///
/// # Errors
/// The status with which to refuse: 400 for what is malformed or ambiguous, 411 for a body of unstated length, 413 for one
/// too long, 505 for another major version.
pub fn parse(head: &[u8]) -> Result<Head<'_>, Status> {
    let mut lines = head
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (method, path, minor) = parse_request_line(lines.next().unwrap_or_default())?;
    let mut fields = Fields::default();
    for line in lines.take_while(|line| !line.is_empty()) {
        fields.add(line)?;
    }
    // Exactly one Host in 1.1 (RFC 9112, 3.2); a length beside a coding smells of smuggling (6.1).
    if (minor >= 1 && fields.hosts == 0) || (fields.is_coded && fields.length.is_some()) {
        return Err(Status::BadRequest);
    }
    if fields.is_coded {
        return Err(Status::LengthRequired);
    }
    let body = fields.length.unwrap_or(0);
    if body > BODY_LIMIT {
        return Err(Status::ContentTooLarge);
    }
    // Whoever waits for 100 (Continue) gets the final answer instead and may never send the body: no way to go on.
    let awaits_continue = fields.expects && body > 0;
    let keep_alive = !fields.says_close && !awaits_continue && (minor >= 1 || fields.says_keep_alive);
    Ok(Head {
        method,
        path,
        keep_alive,
        accepts_json: fields.accepts_json,
        body,
    })
}

fn parse_request_line(line: &[u8]) -> Result<(Method, &[u8], u8), Status> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Status::BadRequest);
    };
    let is_visible = target.iter().all(|byte| (0x21..=0x7e).contains(byte));
    if !is_token(method) || !is_visible {
        return Err(Status::BadRequest);
    }
    let minor = match version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] => minor - b'0',
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Status::VersionNotSupported);
        }
        _ => return Err(Status::BadRequest),
    };
    let method = match method {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        _ => Method::Other,
    };
    Ok((method, path_of(target).ok_or(Status::BadRequest)?, minor))
}

/// The path of a target in origin, absolute or asterisk form (RFC 9112, 3.2).
fn path_of(target: &[u8]) -> Option<&[u8]> {
    let rest = match target {
        b"*" => return Some(target),
        [b'/', ..] => target,
        _ => {
            let scheme = b"http://".len();
            let is_http = target.len() > scheme && target[..scheme].eq_ignore_ascii_case(b"http://");
            let after = target.get(scheme..).filter(|_| is_http)?;
            let authority = after
                .iter()
                .position(|byte| matches!(byte, b'/' | b'?'))
                .unwrap_or(after.len());
            if authority == 0 {
                return None;
            }
            &after[authority..]
        }
    };
    let path = rest.split(|&byte| byte == b'?').next().unwrap_or_default();
    Some(if path.is_empty() { b"/" } else { path })
}

#[derive(Default)]
struct Fields {
    hosts: u32,
    length: Option<u64>,
    is_coded: bool,
    expects: bool,
    says_close: bool,
    says_keep_alive: bool,
    accepts_json: bool,
}

impl Fields {
    fn add(&mut self, line: &[u8]) -> Result<(), Status> {
        let colon = line
            .iter()
            .position(|&byte| byte == b':')
            .ok_or(Status::BadRequest)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // A space before the colon or at the line's start (folding) is no token (RFC 9112, 5.1 and 5.2).
        let is_text = value
            .iter()
            .all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f));
        if !is_token(name) || !is_text {
            return Err(Status::BadRequest);
        }
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("host") {
            self.hosts += 1;
            if self.hosts > 1 {
                return Err(Status::BadRequest);
            }
        } else if is("content-length") {
            let length = parse_length(value)?;
            if self.length.is_some_and(|earlier| earlier != length) {
                return Err(Status::BadRequest);
            }
            self.length = Some(length);
        } else if is("transfer-encoding") {
            self.is_coded = true;
        } else if is("expect") {
            self.expects = true;
        } else if is("connection") {
            for option in elements(value) {
                self.says_close |= option.eq_ignore_ascii_case(b"close");
                self.says_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is("accept") {
            self.accepts_json |= elements(value).any(is_json);
        }
        Ok(())
    }
}

/// The elements of a comma-separated list, without the space around them.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether an element of `Accept` is `application/json` with a weight above zero.
fn is_json(element: &[u8]) -> bool {
    let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let is_named = parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/json"));
    let is_refused = parts.any(|part| {
        part.len() > 2
            && part[..2].eq_ignore_ascii_case(b"q=")
            && part[2..].iter().all(|byte| matches!(byte, b'0' | b'.'))
    });
    is_named && !is_refused
}

/// Digits only; a number too large for any machine is too long a body, not a malformed one.
fn parse_length(value: &[u8]) -> Result<u64, Status> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Status::BadRequest);
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    value.iter().try_fold(0, add).ok_or(Status::ContentTooLarge)
}

/// RFC 9110, 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}
