//! What a Streamable HTTP server and its session manager must do, by number, and which test shows
//! it: each test names its numbers in its doc comment (`/// Acceptance 29, 32.`), and this list
//! names every number. A number without a test is a hole, and a hole fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Whether a behaviour can be shown yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    /// By a test in this package.
    Now,
    /// With revision 2026-07-28, which is refused as a whole until it is served.
    WithModern,
}

use Due::{Now, WithModern};

const BEHAVIOURS: [(u16, Due, &str); 178] = [
    // Routing and eras.
    (1, WithModern, "a request of 2026-07-28 is served without initialize"),
    (2, WithModern, "an answer of 2026-07-28 carries no session id"),
    (3, Now, "initialize opens a session; one that asks for an unknown revision gets the newest served"),
    (4, WithModern, "the body decides the era, the header is the cross-check"),
    (5, WithModern, "header and body that disagree are refused"),
    (6, WithModern, "a 2026-07-28 body without the header is refused"),
    (7, WithModern, "a 2026-07-28 header without the body's claim is refused"),
    (8, WithModern, "a version unknown in both places is refused with those served"),
    (9, Now, "an unknown version header is refused with those served"),
    (10, Now, "a server of the session revisions tells a later client what it serves"),
    (11, Now, "server/discover leaves no session behind"),
    (12, Now, "server/discover in a session is a method that does not exist"),
    (13, WithModern, "removed methods do not exist in 2026-07-28"),
    (14, Now, "an unknown method is -32601 in a 200 answer"),
    (15, WithModern, "stray reserved keys are no claim to an era"),
    (16, WithModern, "client information is for display, capabilities are required"),
    (17, WithModern, "initialize with the claim of 2026-07-28 does not exist"),
    (18, Now, "initialize under a version header that is not served is refused"),
    (19, WithModern, "a notification without a claim follows the header"),
    (20, WithModern, "a notification of 2026-07-28 is taken and dropped"),
    (21, WithModern, "a batch and a posted answer are refused in 2026-07-28"),
    (22, WithModern, "the era can be asked for without consuming the body"),
    (23, Now, "a revision that is switched off is refused with those served"),
    (24, WithModern, "GET and DELETE of 2026-07-28 are not allowed"),
    (25, WithModern, "a missing capability has a code and a status of its own"),
    // Sessions.
    (26, Now, "initialize gives an id of visible ASCII"),
    (27, Now, "later requests reach the same session and its state"),
    (28, Now, "a request without a session is refused"),
    (29, Now, "an unknown session is 404 on POST, GET and DELETE"),
    (30, Now, "DELETE ends one session and no other"),
    (31, Now, "DELETE is 200, and 404 when there is nothing to end"),
    (32, Now, "DELETE without a session id is refused"),
    (33, Now, "DELETE cancels what runs and ends the streams"),
    (34, Now, "a JSON answer in flight is given when its session ends"),
    (35, Now, "a second initialize is refused; one with an unknown session is 404"),
    (36, Now, "initialize in a batch is refused"),
    (37, Now, "a refused opening leaves no session"),
    (38, Now, "a body over the limit is refused before a session exists"),
    (39, Now, "an opening that panics leaves no session"),
    (40, Now, "shutting down ends every session, with clients connected"),
    (41, Now, "after its end the service refuses with 503"),
    (42, Now, "the service is set up once, not for each session"),
    (43, Now, "hooks on open and close run once, may be async, and may refuse"),
    (44, Now, "ending twice is ending once"),
    (45, Now, "an end that races an opening or a call leaves nothing behind"),
    (46, Now, "sessions get their own messages only"),
    (47, Now, "a service without sessions gives no id and keeps nothing"),
    (48, Now, "at the limit the longest idle session makes room, else 503 with Retry-After"),
    // The reaper.
    (49, Now, "an idle session ends, then 404"),
    (50, Now, "requests keep a session, the clock starts when the last one ends"),
    (51, Now, "an open GET keeps a session"),
    (52, Now, "no time-out is allowed, zero is not"),
    (53, Now, "eviction takes the longest idle first"),
    (54, Now, "a client that is gone no longer keeps its session"),
    (55, Now, "after expiry a client can open anew"),
    // Ownership.
    (56, Now, "only the same principal reaches a session"),
    (57, Now, "anonymous and authenticated requests do not share sessions"),
    (58, Now, "another's session answers as an unknown one"),
    (59, Now, "a refused DELETE leaves the session alive"),
    (60, Now, "the principal is taken from each request anew"),
    // HTTP.
    (61, Now, "POST must accept both media types; without Accept it is served"),
    (62, Now, "wildcards and weights in Accept count"),
    (63, Now, "several Accept headers are one"),
    (64, Now, "JSON alone is enough where answers are JSON"),
    (65, Now, "GET must accept a stream"),
    (66, Now, "a body that is not declared as JSON is refused"),
    (67, Now, "a body that is no JSON is a parse error"),
    (68, Now, "JSON that is no message is an invalid request"),
    (69, Now, "ids are strings or integers"),
    (70, Now, "large integers are echoed exactly"),
    (71, Now, "depth and size of JSON are errors, never crashes"),
    (72, Now, "batches exist in 2025-03-26 only, and are not empty"),
    (73, Now, "a batch is answered as an array, has at most 100 messages, 202 without requests"),
    (74, Now, "notifications and answers are 202"),
    (75, Now, "the version header may be absent"),
    (76, Now, "a served version that differs from the agreed one is no fault"),
    (77, Now, "an unknown version is refused on GET and DELETE too"),
    (78, Now, "other methods are 405 with Allow"),
    (79, Now, "a header that stands twice is refused"),
    (80, Now, "errors echo the id, and never say null"),
    (81, Now, "every refusal reaches the hook"),
    (82, Now, "a body an outer layer has read is used"),
    (83, Now, "a handler that fails inside answers -32603 and tells nothing"),
    (84, Now, "calls with the same id are both answered, or refused where that is set"),
    // Security headers.
    (85, Now, "a host that is not allowed is refused"),
    (86, Now, "an origin that is not allowed is refused, none is fine"),
    (87, Now, "the guard is on by default and can be switched off"),
    (88, Now, "ports may be wildcards, IPv6 is a host"),
    (89, Now, "the guard comes before body and session"),
    (90, Now, "CORS answers configured origins and exposes the session header"),
    // Answers and streams.
    (91, Now, "a stream of a POST has one answer and ends with it"),
    (92, Now, "a JSON answer is one body"),
    (93, Now, "each message goes to one stream, its call's"),
    (94, Now, "a question comes before the result, on the call's stream"),
    (95, Now, "what a call streams is dropped and counted where answers are JSON"),
    (96, Now, "a question fails at once where answers are JSON"),
    (97, Now, "a notification without a listener goes nowhere, a question fails"),
    (98, Now, "streams are not cached and not buffered"),
    (99, Now, "quiet streams send comments, or none, whatever the interval"),
    (100, Now, "comments are no messages"),
    (101, Now, "a second GET takes over, or is refused where that is set"),
    (102, Now, "a stalled reader blocks no other"),
    (103, Now, "a client that crashes leaves its session usable"),
    (104, Now, "a disconnect does not cancel"),
    (105, Now, "a cancellation ends the stream without an answer"),
    // Resumption.
    (106, Now, "a stream begins with a priming event"),
    (107, Now, "what is primed can be resumed"),
    (108, Now, "older revisions get no priming event"),
    (109, Now, "every event has an id, or none has where nothing can be resumed"),
    (110, Now, "event ids are unique and name their stream, others are refused"),
    (111, Now, "a resumed stream gives what follows, in order, and goes on"),
    (112, Now, "another stream's and another session's events are out of reach"),
    (113, Now, "what is sent while nobody listens is delivered later"),
    (114, Now, "a finished stream is replayed and ends"),
    (115, Now, "nothing is missing and nothing doubled between replay and live"),
    (116, Now, "an unknown event id is 400"),
    (117, Now, "resuming what cannot be resumed is 400 and says why"),
    (118, Now, "resuming a live stream takes it over"),
    (119, Now, "a call can close its stream only where the client can come back"),
    (120, Now, "a call can be polled: closed and resumed several times"),
    (121, Now, "the standalone stream can be closed and opened again"),
    (122, Now, "kept events are bounded and freed with their session"),
    (123, Now, "a call cancelled while it writes ends its response"),
    (124, Now, "writers side by side keep order and stay apart"),
    // Without sessions.
    (125, Now, "no id is given, one that is sent is ignored"),
    (126, Now, "GET and DELETE are 405 with Allow"),
    (127, Now, "the client cannot be asked, progress works"),
    (128, Now, "nothing is kept after a request, and nothing promised that needs it"),
    (129, Now, "requests side by side do not mix, each has its own version"),
    // Details of 2026-07-28.
    (130, WithModern, "method and name headers must agree with the body"),
    (131, WithModern, "encoded headers are decoded strictly"),
    (132, WithModern, "parameter headers must agree with the arguments"),
    (133, WithModern, "a parameter header without its argument is refused"),
    (134, WithModern, "an unknown tool skips the check of its headers"),
    (135, WithModern, "the form of the answer is decided late"),
    (136, WithModern, "an error before the first byte has its status"),
    (137, Now, "an unknown tool, prompt or resource is -32602 in a 200 answer"),
    (138, WithModern, "no ids, no retry, no priming"),
    (139, WithModern, "a disconnect cancels"),
    (140, Now, "what is sent after the answer goes nowhere"),
    (141, WithModern, "a clean-up that hangs withholds no answer"),
    (142, Now, "listening is acknowledged first"),
    (143, Now, "listening is narrowed to what is served"),
    (144, Now, "listens are limited"),
    (145, Now, "nothing is lost before the acknowledgement"),
    (146, Now, "a listen has a result when the server closes it"),
    (147, Now, "a listen streams in JSON mode too"),
    (148, WithModern, "request state is sealed"),
    (149, WithModern, "one handler asks clients of both eras"),
    (150, Now, "shutting down ends GET streams at once and lets POSTs finish"),
    (151, Now, "a session that moves to another node keeps its id"),
    (152, Now, "hooks run once for each session"),
    // Traps.
    (153, Now, "event ids are given once, by the writer"),
    (154, Now, "a reader that ends does not end its successor"),
    (155, Now, "a slow engine delays one session only"),
    (156, Now, "a call longer than the idle time-out keeps its session and its answer"),
    (157, Now, "ten thousand refused openings leave nothing"),
    (158, WithModern, "a disconnect cancels whatever engine there is"),
    (159, Now, "a session is restored by any first message on another node"),
    (160, Now, "idle streams do not use up what calls need"),
    (161, Now, "the event a client names is not sent again, the answer waits for it"),
    (162, Now, "calls with the same id each get their own answer"),
    (163, Now, "one unread stream delays nothing else"),
    (164, Now, "a cancelled call stops, answers nothing and is in flight no more"),
    (165, Now, "DELETE cancels calls, ends streams and answers JSON requests"),
    (166, Now, "an array is refused where there are no batches"),
    (167, WithModern, "a stray session id does not disturb a 2026-07-28 request"),
    (168, Now, "JSON answers have a length; HEAD and OPTIONS make nothing"),
    (169, Now, "a panic ends its own call only"),
    (170, Now, "clients that stall hold bounded memory and are cut off"),
    (171, Now, "ten thousand sessions leave no memory behind"),
    // Beyond.
    (172, Now, "any extractor works in tools, resources and prompts"),
    (173, Now, "one announcement reaches both eras"),
    (174, Now, "a drain refuses, sends away, waits and reports"),
    (175, Now, "a hole is reported to the client that meets it"),
    (176, Now, "limits of a principal are named"),
    (177, Now, "sessions are listed, inspected and ended from code"),
    (178, Now, "forwarded hosts count from trusted proxies, a refusal names the setting"),
];

/// Every test function below a folder that names numbers, with its numbers.
fn claims(folder: &Path, found: &mut BTreeMap<u16, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            claims(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            claims_of(&fs::read_to_string(&path).unwrap(), &path, found);
        }
    }
}

fn claims_of(text: &str, path: &Path, found: &mut BTreeMap<u16, BTreeSet<String>>) {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(numbers) = line.strip_prefix("/// Acceptance ") else { continue };
        // A comment claims for the function right below it, which must be a test.
        let below = &lines[at..];
        let function = below.iter().find_map(|line| {
            let name = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))?;
            name.split('(').next()
        });
        let attributes: Vec<_> = below.iter().take_while(|line| !line.contains("fn ")).collect();
        let is_test = attributes.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
        let name = function.filter(|_| is_test).unwrap_or_else(|| panic!("{}: no test below {line:?}", path.display()));
        for number in numbers.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty()) {
            found.entry(number.parse().unwrap()).or_default().insert(name.to_owned());
        }
    }
}

#[test]
fn every_behaviour_that_is_due_has_a_test() {
    let mut found = BTreeMap::new();
    claims(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut found);
    let known: Vec<u16> = BEHAVIOURS.iter().map(|(number, ..)| *number).collect();
    assert_eq!(known, (1..=178).collect::<Vec<_>>(), "the list itself has a hole");
    let stray: Vec<_> = found.keys().filter(|number| !known.contains(number)).collect();
    assert!(stray.is_empty(), "tests name behaviours that do not exist: {stray:?}");
    let due = BEHAVIOURS.iter().filter(|(_, due, _)| *due == Now);
    let holes: Vec<_> = due.filter(|(number, ..)| !found.contains_key(number)).collect();
    assert!(holes.is_empty(), "{} without a test: {holes:#?}", holes.len());
}
