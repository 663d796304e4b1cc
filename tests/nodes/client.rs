//! A client that moves from node to node, and the checks of what it received: messages without a
//! gap, each once, and the answer last.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use socket2::{Domain, Socket, Type};

use crate::everything::ACCEPT;
use crate::response::Response;

/// The answer to a call whose node died.
pub(crate) const NODE_LOST: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"The server that ran this call is gone","data":{"reason":"node_lost"}}}"#;

/// How long a call may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(180);

/// Counts what has arrived at all clients together.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    messages: AtomicUsize,
    /// Calls that have received a message.
    calls: AtomicUsize,
}

impl Arrived {
    pub(crate) fn messages(&self) -> usize {
        self.messages.load(Ordering::Relaxed)
    }
}

/// A client with a session, and a call in it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) session: String,
    /// The parameters of the call.
    pub(crate) params: String,
    /// The number of steps of the call, if it reports progress.
    pub(crate) steps: usize,
    /// The end of each message, and the text of the answer, if they are long.
    pub(crate) says: String,
    pub(crate) answers: String,
    /// The nodes the client uses, in turn.
    pub(crate) nodes: Vec<String>,
    pub(crate) turn: usize,
    /// The number of connections the client still closes after a few messages.
    pub(crate) hops: usize,
    /// The client's connections have a small window.
    pub(crate) is_narrow: bool,
    /// How long a connection may be silent.
    pub(crate) silence: Duration,
    /// The id of the first event, which precedes all messages.
    pub(crate) first_id: String,
    pub(crate) last_id: String,
    /// The steps that have arrived, in the order of their messages.
    pub(crate) seen: Vec<usize>,
    /// The number of messages that the server reported as lost.
    pub(crate) named_lost: usize,
    /// The latency of each stamped message, in microseconds.
    pub(crate) delays: Vec<u64>,
    /// When the newest stamped message was sent, and when the newest response began, in
    /// microseconds of the clock.
    pub(crate) newest_sent: u64,
    pub(crate) response_begun: u64,
    pub(crate) answer: Option<String>,
    /// The server answered that the session does not exist.
    pub(crate) is_gone: bool,
    /// The server answered that the events do not exist.
    pub(crate) is_expired: bool,
    /// How often the client resumed.
    pub(crate) resumed: usize,
}

impl Call {
    /// Creates a call with so many steps of so many milliseconds.
    pub(crate) fn progress(session: String, steps: usize, delay_ms: usize, nodes: &[String]) -> Self {
        Self::sized(session, steps, delay_ms, nodes, (0, 0))
    }

    /// Like [`progress`](Self::progress), with `sizes` more bytes in each message and in the
    /// answer.
    pub(crate) fn sized(
        session: String,
        steps: usize,
        delay_ms: usize,
        nodes: &[String],
        (message, answer): (usize, usize),
    ) -> Self {
        let arguments = format!(
            r#"{{"steps":{steps},"delay_ms":{delay_ms},"stamped":true,"message_bytes":{message},"answer_bytes":{answer}}}"#
        );
        let call = format!(r#"{{"name":"progress","arguments":{arguments},"_meta":{{"progressToken":"p"}}}}"#);
        Self { steps, says: numbers(message), answers: numbers(answer), ..Self::new(session, &call, nodes) }
    }

    pub(crate) fn new(session: String, params: &str, nodes: &[String]) -> Self {
        Self {
            session,
            params: params.to_owned(),
            steps: 0,
            says: String::new(),
            answers: String::new(),
            nodes: nodes.to_vec(),
            turn: 0,
            hops: usize::MAX,
            is_narrow: false,
            silence: Duration::from_secs(90),
            first_id: String::new(),
            last_id: String::new(),
            seen: Vec::new(),
            named_lost: 0,
            delays: Vec::new(),
            newest_sent: 0,
            response_begun: 0,
            answer: None,
            is_gone: false,
            is_expired: false,
            resumed: 0,
        }
    }

    /// Stays connected to its node for as long as possible.
    pub(crate) fn faithful(self) -> Self {
        Self { hops: 0, ..self }
    }

    /// Makes the call, and resumes it until there is an answer.
    pub(crate) fn follow(mut self, arrived: &Arrived) -> Self {
        let start = Instant::now();
        let mut patience = 3;
        while self.answer.is_none() && !self.is_gone && !self.is_expired {
            assert!(start.elapsed() < PATIENCE, "no answer after {:?}", self.seen.last());
            if !self.listen(if self.hops > 0 { patience } else { usize::MAX }, arrived) {
                thread::sleep(Duration::from_millis(50));
            }
            self.hops = self.hops.saturating_sub(1);
            // A client without an id can wait for the first one only at the node it called.
            self.turn += usize::from(!self.last_id.is_empty());
            patience = patience % 40 + 7;
        }
        self
    }

    /// Reads one response, up to `patience` messages. Returns `false` if there was none.
    pub(crate) fn listen(&mut self, patience: usize, arrived: &Arrived) -> bool {
        let Some(mut lines) = self.send() else { return false };
        let Some(head) = line(&mut lines) else { return false };
        if !head.contains("200 OK") {
            self.rejected(&head, &mut lines);
            return false;
        }
        self.response_begun = now();
        self.resumed += usize::from(!self.last_id.is_empty());
        self.read(&mut lines, patience, arrived);
        true
    }

    /// Sends the call, or resumes it.
    pub(crate) fn send(&self) -> Option<BufReader<Response>> {
        let node = &self.nodes[self.turn % self.nodes.len()];
        let mut stream = if self.is_narrow { narrow(node) } else { TcpStream::connect(node) }.ok()?;
        stream.set_read_timeout(Some(self.silence)).unwrap();
        stream.write_all(self.request(node).as_bytes()).ok()?;
        Some(BufReader::new(Response::new(stream)))
    }

    /// Checks a rejection: it either carries `Retry-After` or says that nothing is left to resume.
    fn rejected(&mut self, status: &str, lines: &mut impl BufRead) {
        let mut headers = Vec::new();
        while let Some(header) = line(lines).filter(|line| !line.is_empty()) {
            headers.push(header.to_ascii_lowercase());
        }
        match &status[9..12] {
            "503" => assert!(headers.iter().any(|header| header.starts_with("retry-after: ")), "{headers:?}"),
            "404" => self.is_gone = true,
            "400" => self.is_expired = true,
            _ => panic!("{status} at {:?}: {:?}", self.seen.last(), line(lines)),
        }
    }

    /// Reads events until the response ends, the answer arrives, or `patience` events have come.
    pub(crate) fn read(&mut self, lines: &mut impl BufRead, patience: usize, arrived: &Arrived) {
        let (mut id, mut data, mut taken) = (None, None, 0);
        let start = Instant::now();
        while let Some(line) = line(lines) {
            // A stream on which only comments arrive counts as silent.
            assert!(start.elapsed() < PATIENCE, "no answer after {:?}", self.seen.last());
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(text.to_owned());
            } else if line.is_empty() {
                // The end of an event. An incomplete event does not count.
                if let Some(id) = id.take() {
                    if self.first_id.is_empty() {
                        self.first_id.clone_from(&id);
                    }
                    self.last_id = id;
                }
                if let Some(data) = data.take() {
                    let was_quiet = !self.has_spoken();
                    self.take(&data);
                    arrived.calls.fetch_add(usize::from(was_quiet && self.has_spoken()), Ordering::Relaxed);
                    arrived.messages.fetch_add(usize::from(!data.is_empty()), Ordering::Relaxed);
                    taken += 1;
                }
            }
            if self.answer.is_some() || taken > patience {
                break;
            }
        }
    }

    fn request(&self, node: &str) -> String {
        let session = &self.session;
        if !self.last_id.is_empty() {
            let id = &self.last_id;
            return format!(
                "GET /mcp HTTP/1.1\r\nHost: {node}\r\nAccept: text/event-stream\r\nMcp-Session-Id: {session}\r\n\
                 Last-Event-ID: {id}\r\nConnection: close\r\n\r\n"
            );
        }
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}}"#, self.params);
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {node}\r\n{ACCEPT}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Mcp-Session-Id: {session}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn take(&mut self, data: &str) {
        assert!(self.answer.is_none(), "{data} comes after the answer");
        if data.contains(r#""id":1,"#) {
            self.answer = Some(data.to_owned());
        } else if let Some(step) = number_after(data, r#""progress":"#) {
            assert!(data.contains(&self.says), "step {step} says something else");
            self.seen.push(usize::try_from(step).unwrap());
            if let Some(sent) = number_after(data, " at ") {
                self.newest_sent = sent;
                self.delays.push(now().saturating_sub(sent));
            }
        } else if let Some(lost) = number_after(data, r#""reason":"events_lost","lost":"#) {
            assert!(lost > 0, "{data}");
            self.named_lost += usize::try_from(lost).unwrap();
        } else {
            assert!(data.is_empty(), "{data}");
        }
    }

    /// Returns `true` once the call has reported progress or ended.
    fn has_spoken(&self) -> bool {
        !self.seen.is_empty() || self.answer.is_some()
    }

    // Checks.

    /// Checks that the messages have no gap and no duplicate.
    #[track_caller]
    pub(crate) fn is_whole(&self) {
        assert!(!self.is_gone, "its session is gone after {:?}", self.seen.last());
        assert!(!self.is_expired, "its events are gone after {:?}", self.seen.last());
        self.is_in_order();
    }

    /// Checks the messages up to the end of the call, whatever that end was: no gap and no
    /// duplicate.
    #[track_caller]
    pub(crate) fn is_in_order(&self) {
        assert_eq!(self.named_lost, 0);
        assert!(self.seen.iter().copied().eq(1..=self.seen.len()), "{:?}", self.seen);
    }

    /// Checks that every step arrived, then the result.
    #[track_caller]
    pub(crate) fn is_done(&self, steps: usize) {
        self.is_whole();
        assert_eq!(self.seen.len(), steps);
        let answer = self.answer.as_deref().unwrap();
        let beginning = answer.chars().take(200).collect::<String>();
        assert!(answer.contains(r#""result""#), "{beginning}");
        assert!(self.answer_is_whole(), "{} bytes, not {}: {beginning}", answer.len(), self.answers.len());
    }

    /// Returns `true` if the answer has the expected text and no other.
    pub(crate) fn answer_is_whole(&self) -> bool {
        let text = self.answer.as_deref().and_then(|answer| answer.split_once(r#""text":""#)).map(|(_, text)| text);
        let text = text.and_then(|text| text.split_once('"')).map(|(text, _)| text);
        text.is_some_and(|text| self.answers.is_empty() || text == self.answers)
    }

    /// Checks that some steps arrived, then the error for a lost node.
    #[track_caller]
    pub(crate) fn is_lost(&self) {
        self.is_whole();
        assert!(!self.seen.is_empty());
        assert_eq!(self.answer.as_deref(), Some(NODE_LOST));
    }
}

/// Returns the same numbers as the tool, so that a missing, duplicate or moved part is noticed.
fn numbers(bytes: usize) -> String {
    let mut text: String = (0..bytes.div_ceil(8)).map(|n| format!("{n:07} ")).collect();
    text.truncate(bytes);
    text
}

/// Opens a connection with a small window, so that the system's buffers hold little.
fn narrow(node: &str) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(4 << 10)?;
    let address: SocketAddr = node.parse().unwrap();
    socket.connect(&address.into())?;
    Ok(socket.into())
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    u64::try_from(now).unwrap()
}

fn number_after(text: &str, before: &str) -> Option<u64> {
    let (_, rest) = text.split_once(before)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Returns a complete line without its end. A line that was cut off does not count.
pub(crate) fn line(lines: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    lines.read_line(&mut line).ok().filter(|length| *length > 0)?;
    line.strip_suffix('\n').map(|line| line.trim_end_matches('\r').to_owned())
}

/// Follows the calls of many clients. Runs `cruelty` once each call has received a message, and
/// `after` messages have arrived in total.
pub(crate) fn follow_all(calls: Vec<Call>, after: usize, cruelty: impl FnOnce()) -> Vec<Call> {
    let (arrived, quiet) = (Arrived::default(), calls.iter().filter(|call| !call.has_spoken()).count());
    thread::scope(|scope| {
        let clients: Vec<_> = calls.into_iter().map(|call| scope.spawn(|| call.follow(&arrived))).collect();
        loop {
            let are_over = clients.iter().all(thread::ScopedJoinHandle::is_finished);
            if arrived.messages() >= after && arrived.calls.load(Ordering::Relaxed) >= quiet {
                break;
            }
            assert!(!are_over, "over before anything happened");
            thread::sleep(Duration::from_millis(1));
        }
        cruelty();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}
