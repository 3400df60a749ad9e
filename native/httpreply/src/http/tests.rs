use super::*;
use crate::boot::{HOSTNAME_LIMIT, MONITOR_LIMIT};

const ABOUT: About<'static> = About {
    mode: "unikernel",
    monitor: Some("spt"),
    hostname: None,
};

/// Feeds `input` in pieces of `piece` bytes; all that was answered, and whether the connection ended.
fn talk(input: &[u8], piece: usize) -> (String, bool) {
    let mut connection = Connection::new();
    let (mut output, mut closed) = (Vec::new(), false);
    for mut bytes in input.chunks(piece) {
        while !bytes.is_empty() {
            let step = connection.step(bytes, &ABOUT, 12_345);
            assert!(step.consumed > 0 || step.reply.is_some(), "a step makes progress");
            assert!(
                step.consumed == bytes.len() || step.reply.is_some(),
                "only an answer interrupts"
            );
            assert!(
                !closed || (step.reply.is_none() && step.close),
                "nothing follows the last answer"
            );
            bytes = &bytes[step.consumed..];
            output.extend(step.reply.iter().flat_map(|reply| reply.as_bytes()));
            closed = step.close;
        }
    }
    (String::from_utf8(output).unwrap(), closed)
}

fn status_of(input: &str) -> (u16, bool) {
    let (output, closed) = talk(input.as_bytes(), input.len());
    let status = output
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok());
    (status.unwrap_or(0), closed)
}

#[test]
fn the_root_says_how_it_runs() {
    let (output, closed) = talk(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1000);
    let body = "httpreply\nmode: unikernel\nmonitor: spt\nuptime: 12.345 s\n";
    assert!(
        output.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"),
        "{output}"
    );
    assert!(
        output.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
        "{output}"
    );
    assert!(output.ends_with(&format!("\r\n\r\n{body}")), "{output}");
    assert!(!closed);
}

#[test]
fn the_root_is_json_for_who_accepts_it() {
    let with = |accept: &str| {
        talk(
            format!("GET /?x=1 HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n").as_bytes(),
            7,
        )
        .0
    };
    for accept in ["application/json", "text/html, Application/JSON;q=0.5"] {
        let output = with(accept);
        assert!(
            output.contains("\r\nContent-Type: application/json\r\n"),
            "{output}"
        );
        let body =
            "{\"name\":\"httpreply\",\"mode\":\"unikernel\",\"monitor\":\"spt\",\"uptimeSeconds\":12.345}\n";
        assert!(output.ends_with(body), "{output}");
    }
    for accept in [
        "*/*",
        "application/json;q=0",
        "application/json; q=0.000",
        "application/jsonp",
    ] {
        assert!(with(accept).ends_with("uptime: 12.345 s\n"), "{accept}");
    }
}

#[test]
fn health_is_ok() {
    assert!(
        talk(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 1000)
            .0
            .ends_with("\r\n\r\nok\n")
    );
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    for path in ["/", "/healthz", "/none"] {
        let ask = |method| {
            talk(
                format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(),
                1000,
            )
            .0
        };
        let (get, head) = (ask("GET"), ask("HEAD"));
        assert_eq!(
            Some(head.as_str()),
            get.find("\r\n\r\n").map(|end| &get[..end + 4])
        );
    }
}

#[test]
fn each_fault_has_its_status_and_ends_the_connection_where_nothing_can_follow() {
    let host = "Host: a\r\n";
    let cases: &[(&str, u16, bool)] = &[
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, false),
        ("GET / HTTP/1.1\nHost: a\n\n", 200, false),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, false),
        (
            "GET http://a:80/healthz?x HTTP/1.1\r\nHost: a\r\n\r\n",
            200,
            false,
        ),
        ("GET HTTP://a HTTP/1.1\r\nHost: a\r\n\r\n", 200, false),
        ("GET / HTTP/1.7\r\nHost: a\r\n\r\n", 200, false),
        ("GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 404, false),
        ("GET //healthz HTTP/1.1\r\nHost: a\r\n\r\n", 404, false),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", 405, false),
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 405, false),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 405, false),
        ("GET / HTTP/1.1\r\n\r\n", 400, true),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, true),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, true),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400, true),
        ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400, true),
        ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", 400, true),
        ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400, true),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ("GET /\r\nHost: a\r\n\r\n", 400, true),
        ("GET none HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ("GET / HTTP/1\r\nHost: a\r\n\r\n", 400, true),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, true),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            400,
            true,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            400,
            true,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
            true,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            true,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            411,
            true,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n",
            405,
            false,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n",
            413,
            true,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            413,
            true,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            405,
            true,
        ),
    ];
    for &(request, status, closes) in cases {
        assert_eq!(status_of(request), (status, closes), "{request:?}");
    }
    let filler = "x".repeat(HEAD_LIMIT);
    assert_eq!(
        status_of(&format!("GET /{filler} HTTP/1.1\r\n{host}\r\n")),
        (431, true)
    );
    assert_eq!(
        status_of(&format!("GET / HTTP/1.1\r\n{host}Cookie: {filler}\r\n\r\n")),
        (431, true)
    );
}

#[test]
fn a_head_of_exactly_the_limit_is_served() {
    let frame = "GET / HTTP/1.1\r\nHost: a\r\nCookie: \r\n\r\n";
    let exact = frame.replace(
        "Cookie: ",
        &format!("Cookie: {}", "x".repeat(HEAD_LIMIT - frame.len())),
    );
    assert_eq!((exact.len(), status_of(&exact)), (HEAD_LIMIT, (200, false)));
    assert_eq!(status_of(&exact.replace("Cookie: ", "Cookie: x")), (431, true));
}

#[test]
fn a_connection_lives_as_the_version_and_the_field_say() {
    let with = |version: &str, field: &str| {
        let (output, closed) = talk(
            format!("GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n").as_bytes(),
            1000,
        );
        assert_eq!(output.contains("\r\nConnection: close\r\n"), closed);
        assert_eq!(output.contains("\r\nConnection: keep-alive\r\n"), !closed);
        closed
    };
    assert!(!with("1.1", ""));
    assert!(with("1.1", "Connection: Close\r\n"));
    assert!(with("1.1", "Connection: upgrade, close\r\n"));
    assert!(with("1.0", ""));
    assert!(!with("1.0", "Connection: Keep-Alive\r\n"));
    assert!(with("1.0", "Connection: keep-alive, close\r\n"));
}

#[test]
fn pipelined_requests_are_answered_in_turn_however_they_are_cut() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n\
        GET /x HTTP/1.1\r\nHost: a\r\n\r\nHEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n";
    let (whole, closed) = talk(input, input.len());
    let statuses: Vec<_> = whole
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &whole[at + 9..at + 12])
        .collect();
    assert_eq!((statuses, closed), (vec!["200", "405", "200", "404"], true));
    for piece in 1..input.len() {
        assert_eq!(talk(input, piece).0, whole, "in pieces of {piece}");
    }
}

#[test]
fn the_longest_answer_fits() {
    let (monitor, hostname) = ("m".repeat(MONITOR_LIMIT), "h".repeat(HOSTNAME_LIMIT));
    let about = About {
        mode: "unikernel",
        monitor: Some(&monitor),
        hostname: Some(&hostname),
    };
    for accept in ["", "Accept: application/json\r\n"] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{accept}\r\n");
        let step = Connection::new().step(request.as_bytes(), &about, u64::MAX);
        let reply = step.reply.unwrap();
        let text = core::str::from_utf8(reply.as_bytes()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            body.ends_with('\n') && head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{text}"
        );
        assert!(text.len() < REPLY_LIMIT);
    }
}

/// xorshift64*: enough to vary, and the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % limit
    }
}

/// Splits a stream of answers by their own framing; panics if it is not one.
fn split_answers(mut text: &str) -> usize {
    let mut count = 0;
    while !text.is_empty() {
        let (head, rest) = text.split_once("\r\n\r\n").expect("a head");
        let length: usize = head
            .split("Content-Length: ")
            .nth(1)
            .and_then(|tail| tail.split("\r\n").next())
            .unwrap()
            .parse()
            .unwrap();
        assert!(head.starts_with("HTTP/1.1 "), "{head}");
        text = &rest[length..];
        count += 1;
    }
    count
}

#[test]
fn mutated_requests_never_break_the_framing_and_the_cut_never_matters() {
    let seed = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabcGET http://a/healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\nPOST * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
    let spice: &[&[u8]] = &[
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b":",
        b" ",
        b"\0",
        b"Host: b\r\n",
        b"99999999999",
        b"Transfer-Encoding: x\r\n",
        b"\xff",
        b",",
        b"HTTP/1.1",
    ];
    let mut random = Random(0x7219_0d5e_ed15_c0de);
    for _ in 0..20_000 {
        let mut input = seed.to_vec();
        for _ in 0..1 + random.below(6) {
            if input.len() < 2 {
                break;
            }
            let at = random.below(input.len());
            match random.below(4) {
                0 => input[at] = u8::try_from(random.below(256)).unwrap(),
                1 => drop(input.remove(at)),
                2 => drop(input.splice(at..at, spice[random.below(spice.len())].iter().copied())),
                _ => input.truncate(at.max(1)),
            }
        }
        // A HEAD answer announces a length without a body; mutation hardly makes one, and it would end the check.
        if input.windows(5).any(|window| window == b"HEAD ") {
            continue;
        }
        let (whole, closed) = talk(&input, input.len());
        split_answers(&whole);
        assert_eq!(
            talk(&input, 1 + random.below(9)),
            (whole, closed),
            "{:?}",
            String::from_utf8_lossy(&input)
        );
    }
}
