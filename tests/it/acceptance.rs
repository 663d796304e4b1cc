//! The acceptance list: what a Streamable HTTP server and its session manager must do, by number.
//! Each test names its numbers in its doc comment (`/// Acceptance 29, 32.`). This list contains
//! every number, and a number without a test fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const BEHAVIOURS: &[(u16, &str)] = &[
    // Routing and eras.
    (1, "a request of 2026-07-28 is served without initialize"),
    (2, "an answer of 2026-07-28 carries no session id"),
    (3, "initialize opens a session; an unknown revision gets the newest served"),
    (4, "the body decides the era, the header is the cross-check"),
    (5, "header and body that disagree are rejected"),
    (6, "a 2026-07-28 body without the header is rejected"),
    (7, "a 2026-07-28 header without the body's claim is rejected"),
    (8, "a version unknown in both places is rejected with those served"),
    (9, "an unknown version header is rejected with those served"),
    (10, "a server of the session revisions lists its revisions for a later client"),
    (11, "server/discover leaves no session behind"),
    (12, "server/discover in a session is a method that does not exist"),
    (13, "removed methods do not exist in 2026-07-28"),
    (14, "an unknown method is -32601 in a 200 answer"),
    (15, "stray reserved keys are no claim to an era"),
    (16, "client information is for display, capabilities are required"),
    (17, "initialize with the claim of 2026-07-28 does not exist"),
    (18, "initialize under a version header that is not served is rejected"),
    (19, "a notification without a claim follows the header"),
    (20, "a notification of 2026-07-28 is accepted and dropped"),
    (21, "a batch and a posted answer are rejected in 2026-07-28"),
    (22, "the era can be determined without consuming the body"),
    (23, "a revision that is switched off is rejected with those served"),
    (24, "GET and DELETE of 2026-07-28 are not allowed"),
    (25, "a missing capability has a code and a status of its own"),
    // Sessions.
    (26, "initialize returns an id of visible ASCII"),
    (27, "later requests reach the same session and its state"),
    (28, "a request without a session is rejected"),
    (29, "an unknown session is 404 on POST, GET and DELETE"),
    (30, "DELETE ends one session and no other"),
    (31, "DELETE is 200, and 404 when there is nothing to end"),
    (32, "DELETE without a session id is rejected"),
    (33, "DELETE cancels what runs and ends the streams"),
    (34, "a JSON answer in flight is sent when its session ends"),
    (35, "a second initialize is rejected; one with an unknown session is 404"),
    (36, "initialize in a batch is rejected"),
    (37, "a rejected opening leaves no session"),
    (38, "a body over the limit is rejected before a session exists"),
    (39, "an opening that panics leaves no session"),
    (40, "shutting down ends every session, with clients connected"),
    (41, "after its end the service rejects with 503"),
    (42, "the service is set up once, not for each session"),
    (43, "hooks on open and close run once, may be async, and may reject"),
    (44, "ending twice is ending once"),
    (45, "an end that races an opening or a call leaves nothing behind"),
    (46, "sessions get their own messages only"),
    (47, "a service without sessions issues no id and keeps nothing"),
    (48, "at the limit the longest idle session is evicted, else 503 with Retry-After"),
    // The reaper.
    (49, "an idle session ends, then 404"),
    (50, "requests keep a session, the clock starts when the last one ends"),
    (51, "an open GET keeps a session"),
    (52, "no time-out is allowed, zero is not"),
    (53, "eviction takes the longest idle first"),
    (54, "a client that is gone no longer keeps its session"),
    (55, "after expiry a client can open anew"),
    // Ownership.
    (56, "only the same principal reaches a session"),
    (57, "anonymous and authenticated requests do not share sessions"),
    (58, "another's session answers as an unknown one"),
    (59, "a rejected DELETE leaves the session alive"),
    (60, "the principal is taken from each request anew"),
    // HTTP.
    (61, "POST must accept both media types; without Accept it is served"),
    (62, "wildcards and weights in Accept count"),
    (63, "several Accept headers are one"),
    (64, "JSON alone is enough where answers are JSON"),
    (65, "GET must accept a stream"),
    (66, "a body that is not declared as JSON is rejected"),
    (67, "a body that is no JSON is a parse error"),
    (68, "JSON that is no message is an invalid request"),
    (69, "ids are strings or integers"),
    (70, "large integers are echoed exactly"),
    (71, "depth and size of JSON are errors, never crashes"),
    (72, "batches exist in 2025-03-26 only, and are not empty"),
    (73, "a batch is answered as an array, has at most 100 messages, 202 without requests"),
    (74, "notifications and answers are 202"),
    (75, "the version header may be absent"),
    (76, "a served version that differs from the agreed one is no fault"),
    (77, "an unknown version is rejected on GET and DELETE too"),
    (78, "other methods are 405 with Allow"),
    (79, "a duplicate header is rejected"),
    (80, "errors echo the id, and never say null"),
    (81, "every rejection reaches the hook"),
    (82, "a body an outer layer has read is used"),
    (83, "a handler that fails inside answers -32603 without details"),
    (84, "calls with the same id are both answered, or rejected where that is set"),
    // Security headers.
    (85, "a host that is not allowed is rejected"),
    (86, "an origin that is not allowed is rejected, none is fine"),
    (87, "the guard is on by default and can be switched off"),
    (88, "ports may be wildcards, IPv6 is a host"),
    (89, "the guard comes before body and session"),
    (90, "CORS answers configured origins and exposes the session header"),
    // Answers and streams.
    (91, "a stream of a POST has one answer and ends with it"),
    (92, "a JSON answer is one body"),
    (93, "each message goes to one stream, its call's"),
    (94, "a request to the client precedes the result, on the call's stream"),
    (95, "what a call streams is dropped and counted where answers are JSON"),
    (96, "a request to the client fails at once in JSON mode"),
    (97, "a notification without a reader is dropped, a request to the client fails"),
    (98, "streams are not cached and not buffered"),
    (99, "quiet streams send comments, or none, whatever the interval"),
    (100, "comments are no messages"),
    (101, "a second GET takes over, or is rejected where that is set"),
    (102, "a stalled reader blocks no other"),
    (103, "a client that crashes leaves its session usable"),
    (104, "a disconnect does not cancel"),
    (105, "a cancellation ends the stream without an answer"),
    // Resumption.
    (106, "a stream begins with a priming event"),
    (107, "what is primed can be resumed"),
    (108, "older revisions get no priming event"),
    (109, "every event has an id, or none has where nothing can be resumed"),
    (110, "event ids are unique and name their stream, others are rejected"),
    (111, "a resumed stream sends what follows, in order, and continues"),
    (112, "another stream's and another session's events are out of reach"),
    (113, "events without a reader are delivered later"),
    (114, "a finished stream is replayed and ends"),
    (115, "nothing is missing and nothing doubled between replay and live"),
    (116, "an unknown event id is 400"),
    (117, "resuming what cannot be resumed is 400 and says why"),
    (118, "resuming a live stream takes it over"),
    (119, "a call can close its stream only where the client can come back"),
    (120, "a call can be polled: closed and resumed several times"),
    (121, "the standalone stream can be closed and opened again"),
    (122, "kept events are bounded and freed with their session"),
    (123, "a call cancelled while it writes ends its response"),
    (124, "writers side by side keep order and stay apart"),
    // Without sessions.
    (125, "no id is issued, one that is sent is ignored"),
    (126, "GET and DELETE are 405 with Allow"),
    (127, "requests to the client fail, progress works"),
    (128, "nothing is kept after a request, and nothing promised that needs it"),
    (129, "requests side by side do not mix, each has its own version"),
    // Details of 2026-07-28.
    (130, "method and name headers must agree with the body"),
    (131, "encoded headers are decoded strictly"),
    (132, "parameter headers must agree with the arguments"),
    (133, "a parameter header without its argument is rejected"),
    (134, "an unknown tool skips the check of its headers"),
    (135, "the form of the answer is decided late"),
    (136, "an error before the first byte has its status"),
    (137, "an unknown tool, prompt or resource is -32602 in a 200 answer"),
    (138, "no ids, no retry, no priming"),
    (139, "a disconnect cancels"),
    (140, "what is sent after the answer is dropped"),
    (141, "a clean-up that hangs withholds no answer"),
    (142, "listening is acknowledged first"),
    (143, "listening is narrowed to what is served"),
    (144, "listens are limited"),
    (145, "nothing is lost before the acknowledgement"),
    (146, "a listen has a result when the server closes it"),
    (147, "a listen streams in JSON mode too"),
    (148, "request state is sealed"),
    (149, "one handler sends requests to clients of both eras"),
    (150, "shutting down ends GET streams at once and lets POSTs finish"),
    (151, "a session that moves to another node keeps its id"),
    (152, "hooks run once for each session"),
    // Traps.
    (153, "event ids are assigned once, by the writer"),
    (154, "a reader that ends does not end its successor"),
    (155, "a slow engine delays one session only"),
    (156, "a call longer than the idle time-out keeps its session and its answer"),
    (157, "ten thousand rejected openings leave nothing"),
    (158, "a disconnect cancels whatever engine there is"),
    (159, "a session is restored by any first message on another node"),
    (160, "idle streams do not use up what calls need"),
    (161, "the event a client names is not sent again, the answer waits for it"),
    (162, "calls with the same id each get their own answer"),
    (163, "one unread stream delays nothing else"),
    (164, "a cancelled call stops, answers nothing and is in flight no more"),
    (165, "DELETE cancels calls, ends streams and answers JSON requests"),
    (166, "an array is rejected where there are no batches"),
    (167, "a stray session id does not disturb a 2026-07-28 request"),
    (168, "JSON answers have a length; HEAD and OPTIONS make nothing"),
    (169, "a panic ends its own call only"),
    (170, "clients that stall hold bounded memory and are cut off"),
    (171, "ten thousand sessions leave no memory behind"),
    // Beyond the protocol.
    (172, "any extractor works in tools, resources and prompts"),
    (173, "one announcement reaches both eras"),
    (174, "a drain rejects, detaches, waits and reports"),
    (175, "a hole is reported to the client that meets it"),
    (176, "limits of a principal are named"),
    (177, "sessions are listed, inspected and ended from code"),
    (178, "forwarded hosts count from trusted proxies, a rejection names the setting"),
    // Difficulties of released clients, proxies and users.
    (179, "lists of tools hold no boolean schemas"),
    (180, "the priming event is an id and empty data, `retry` comes where the server closes"),
    (181, "every message is an event named `message`"),
    (182, "characters that end lines for some are escaped in events"),
    (183, "a service of sessions rejects 2026-07-28 without its codes"),
    (184, "a rejection before the body was read reaches a client that goes on sending"),
    (185, "whole numbers with a fraction are integers"),
    (186, "a resource has every spelling of its URI"),
    (187, "clients that declare tasks can subscribe to them"),
    (188, "arguments that are an enum are one object in the list"),
    (189, "a slash at the end of the path is served as the path"),
    (190, "progress that does not rise is not sent"),
    (191, "a task says what it does now, and waits on after an answer that does not fit"),
    (192, "an empty header counts as none"),
    (193, "structured content has any shape, wrapped for the session revisions"),
    (194, "a number that JSON does not have is a failed call"),
    (195, "null for an optional member is absent, and no answer names a type of Rust"),
    (196, "one function makes the CORS layer of an endpoint"),
    (197, "an encoded body is rejected by name, with Accept-Encoding"),
    (198, "a byte order mark is ignored, other spellings of localhost are loopback names"),
    (199, "an id of up to 1,024 bytes is echoed, a longer one is rejected with a text that names the bound"),
    (200, "an argument is repeated by one header with one value"),
    (201, "a mismatch says both values, cut and escaped"),
    (202, "programs print errors for people"),
    (203, "what a handler cannot take is found where it is registered"),
    (204, "an error of an application's own says what it was made to say"),
    (205, "a handler reads what its request says of itself"),
    // The suite itself.
    (206, "what a test reads of the log does not depend on the tests beside it"),
];

/// Collects every test function below a folder whose doc comment names numbers, with these numbers.
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
        // The comment belongs to the function right below it, which must be a test.
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
fn every_behaviour_has_a_test() {
    let mut found = BTreeMap::new();
    claims(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut found);
    let known: Vec<u16> = BEHAVIOURS.iter().map(|(number, _)| *number).collect();
    assert_eq!(known[..178], (1..=178).collect::<Vec<_>>(), "the list itself has a hole");
    assert!(known.is_sorted_by(|a, b| a < b), "the list is not in order");
    let stray: Vec<_> = found.keys().filter(|number| !known.contains(number)).collect();
    assert!(stray.is_empty(), "tests name behaviours that do not exist: {stray:?}");
    let holes: Vec<_> = BEHAVIOURS.iter().filter(|(number, _)| !found.contains_key(number)).collect();
    assert!(holes.is_empty(), "{} without a test: {holes:#?}", holes.len());
}
