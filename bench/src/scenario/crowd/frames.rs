//! WebSocket frames as a client sees them: unmasked ones in, masked ones out. Pure: bytes to frames and back.
//!
//! By hand, because a library's buffers for each socket would be what is measured: here a socket that waits keeps nothing but
//! the beginning of a frame whose end has not come yet. Only what the contract has: whole text frames, pings and pongs,
//! closes; no extension.

/// The longest payload that a server may send here.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// A client must mask what it sends. A mask of zeros is one, too, and leaves the payload as it is; its only purpose, to
/// keep proxies from mistaking payloads for requests, does not matter to a load test.
const MASK: [u8; 4] = [0; 4];
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// In place of a length: the length is in so many bytes that follow.
const TWO_BYTES: u8 = 0x7e;
const EIGHT_BYTES: u8 = 0x7f;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Text(&'a str),
    Ping(&'a [u8]),
    Pong,
    /// With its code, if it has one.
    Close(Option<u16>),
}

/// What came is no frame that the contract knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAFrame {
    #[error("a frame of kind {0:#04x}")]
    Kind(u8),
    #[error("a masked frame")]
    Masked,
    #[error("a frame of {0} bytes")]
    TooLong(u64),
    #[error("a text that is not UTF-8")]
    NotText,
}

/// The first frame in these bytes and how many of them it takes; `None` if its end has not come yet.
pub fn first(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, NotAFrame> {
    let [kind, length, rest @ ..] = bytes else { return Ok(None) };
    if length & MASKED != 0 {
        return Err(NotAFrame::Masked);
    }
    let (length, extended) = match (*length, rest) {
        (TWO_BYTES, [high, low, ..]) => (u64::from(u16::from_be_bytes([*high, *low])), 2),
        (EIGHT_BYTES, rest) if let Some(length) = rest.first_chunk() => (u64::from_be_bytes(*length), 8),
        (TWO_BYTES | EIGHT_BYTES, _) => return Ok(None),
        (short, _) => (u64::from(short), 0),
    };
    let Some(payload_length) = usize::try_from(length).ok().filter(|length| *length <= MAX_PAYLOAD) else {
        return Err(NotAFrame::TooLong(length));
    };
    let Some(payload) = rest.get(extended..extended + payload_length) else { return Ok(None) };
    let frame = match kind ^ FIN {
        TEXT => Frame::Text(std::str::from_utf8(payload).map_err(|_| NotAFrame::NotText)?),
        CLOSE => Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        PING => Frame::Ping(payload),
        PONG => Frame::Pong,
        _ => return Err(NotAFrame::Kind(*kind)),
    };
    Ok(Some((frame, 2 + extended + payload_length)))
}

/// A text frame of a client's.
pub fn text(payload: &str) -> Vec<u8> {
    frame(TEXT, payload.as_bytes())
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    frame(PONG, payload)
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![FIN | kind];
    match payload.len() {
        short @ 0..126 => bytes.push(MASKED | u8::try_from(short).unwrap_or(0)),
        long => {
            bytes.push(MASKED | TWO_BYTES);
            // Nothing that a client says is as long as 64 KiB.
            bytes.extend(u16::try_from(long).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's frame.
    fn unmasked(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = frame(kind, payload);
        bytes[1] &= !MASKED;
        let mask_at = if payload.len() < 126 { 2 } else { 4 };
        bytes.drain(mask_at..mask_at + 4);
        bytes
    }

    #[test]
    fn a_frame_is_read_when_its_end_has_come_and_not_before() {
        for length in [0, 5, 125, 126, 4000] {
            let payload = "x".repeat(length);
            let mut bytes = unmasked(TEXT, payload.as_bytes());
            for end in 0..bytes.len() {
                assert_eq!(first(&bytes[..end]), Ok(None), "{end} of {length}");
            }
            let whole = bytes.len();
            bytes.extend(unmasked(PING, b"?"));
            assert_eq!(first(&bytes), Ok(Some((Frame::Text(&payload), whole))));
            assert_eq!(first(&bytes[whole..]), Ok(Some((Frame::Ping(b"?"), 3))));
        }
    }

    #[test]
    fn a_close_tells_its_code() {
        let closed = unmasked(CLOSE, &[0x0f, 0xa2, b'x']);
        assert_eq!(first(&closed).unwrap().unwrap().0, Frame::Close(Some(4002)));
        assert_eq!(first(&unmasked(CLOSE, &[])).unwrap().unwrap().0, Frame::Close(None));
    }

    #[test]
    fn what_the_contract_does_not_know_is_an_error() {
        assert_eq!(first(&unmasked(2, b"binary")), Err(NotAFrame::Kind(0x82)));
        assert_eq!(first(&[TEXT, 0]), Err(NotAFrame::Kind(TEXT)), "the first part of several");
        assert_eq!(first(&text("a client's")), Err(NotAFrame::Masked));
        assert_eq!(first(&unmasked(TEXT, &[0xff])), Err(NotAFrame::NotText));
        let mut endless = vec![FIN | TEXT, 127];
        endless.extend(u64::MAX.to_be_bytes());
        assert_eq!(first(&endless), Err(NotAFrame::TooLong(u64::MAX)));
    }

    #[test]
    fn what_is_sent_is_masked() {
        assert_eq!(text("hi"), [0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
        assert_eq!(text(&"x".repeat(300))[..4], [0x81, 0xfe, 1, 44]);
        assert_eq!(pong(b""), [0x8a, 0x80, 0, 0, 0, 0]);
    }
}
