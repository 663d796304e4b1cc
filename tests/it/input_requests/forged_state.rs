//! Forged rounds: request states that were made for another call or by another server, and answers
//! that are invalid.

use serde_json::{Value, json};

use super::{Round, accept, assert_requests, plain, text};
use crate::support::{App, call};

const UNUSABLE: &str = "Invalid params: `requestState` cannot be used";

/// Calls `greet` with arguments in a text that no serialiser would write.
async fn greet(app: &App, arguments: &str, asked: Option<&Value>) -> Value {
    let round = Round::tool(app, "greet").with("arguments", json!("<arguments>"));
    let round = match asked {
        Some(asked) => round.again(asked, json!({"user_name": accept(json!({"name": "Ann"}))})),
        None => round,
    };
    round.rewritten(|text| text.replace("\"<arguments>\"", arguments)).await.json().await
}

/// A request state is bound to the exact arguments, even where parsers disagree on numbers and
/// repeated members.
///
/// Acceptance 148.
#[tokio::test(start_paused = true)]
async fn request_state_is_bound_to_exact_arguments() {
    let app = plain();
    for (one, other) in [
        // These numbers exceed a double, alone and beside other members.
        (r#"{"n":1e999}"#, r#"{"n":2e999}"#),
        (r#"{"n":1e999,"seat":1}"#, r#"{"n":1e999,"seat":2}"#),
        (r#"{"n":18446744073709551617}"#, r#"{"n":18446744073709551618}"#),
        (r#"{"n":0.10000000000000000001}"#, r#"{"n":0.1}"#),
        // The handler may use either of the two members.
        (r#"{"n":1,"n":2}"#, r#"{"n":3,"n":2}"#),
        (r#"{"n":1,"n":2}"#, r#"{"n":2,"n":1}"#),
        (r#"{"n":1,"n":2}"#, r#"{"n":2}"#),
        (r#"{"n":[1,[2]]}"#, r#"{"n":[1,2]}"#),
        (r#"{"n":"1"}"#, r#"{"n":1}"#),
        ("null", "{}"),
        ("[]", "{}"),
    ] {
        for (made_for, used_for) in [(one, other), (other, one)] {
            let asked = greet(&app, made_for, None).await;
            if made_for == "[]" {
                continue;
            }
            assert_requests(&asked, &["user_name"]);
            assert_eq!(text(&greet(&app, made_for, Some(&asked)).await), "Hello, Ann!", "{made_for}");
            assert_eq!(
                greet(&app, used_for, Some(&asked)).await["error"]["message"],
                UNUSABLE,
                "{made_for} {used_for}"
            );
        }
    }
}

/// Spaces, escapes and the order of members do not matter.
///
/// Acceptance 148.
#[tokio::test(start_paused = true)]
async fn request_state_ignores_the_spelling_of_arguments() {
    let app = plain();
    let asked = greet(&app, r#"{"a":[1,{"y":null,"x":"ü"}],"b":"\/"}"#, None).await;
    let again = greet(&app, r#"{ "b" : "/", "\u0061" : [1, {"x":"\u00fc", "y":null}] }"#, Some(&asked)).await;
    assert_eq!(text(&again), "Hello, Ann!");
}

/// A shortened, repeated or padded request state cannot be used.
///
/// Acceptance 148.
#[tokio::test(start_paused = true)]
async fn altered_request_states_are_rejected() {
    let app = plain();
    let asked = Round::tool(&app, "greet").answer().await;
    let sealed = asked["result"]["requestState"].as_str().unwrap();
    let cut = (0..sealed.len()).map(|length| sealed[..length].to_owned());
    let longer = [format!("{sealed}{sealed}"), format!("{sealed}="), format!(" {sealed}"), format!("{sealed}AAAA")];
    for wrong in cut.chain(longer) {
        let rejected = Round::tool(&app, "greet").with("requestState", json!(wrong)).answer().await;
        assert_eq!(rejected["error"]["message"], UNUSABLE, "{wrong}");
    }
}

/// Such a state and its answers are ignored: the list is returned, and the session's user is asked.
///
/// Acceptance 148.
#[tokio::test(start_paused = true)]
async fn unrelated_requests_ignore_request_state() {
    let app = plain();
    let asked = Round::tool(&app, "greet").answer().await;
    let listed = Round::new(&app, "tools/list", "", json!({})).again(&asked, json!({})).answer().await;
    assert!(listed["result"]["tools"].is_array(), "{listed}");
    let client = app.open().await;
    let mut message = call(1, "greet", json!({}));
    message["params"]["requestState"] = asked["result"]["requestState"].clone();
    message["params"]["inputResponses"] = json!({"user_name": accept(json!({"name": "Ann"}))});
    let mut stream = client.post(message).await.sse();
    let mut event = stream.next_any().await.unwrap();
    while event.primes() {
        event = stream.next_any().await.unwrap();
    }
    assert_eq!(event.json()["method"], "elicitation/create", "the user still gets the request");
}

/// A hundred thousand answers, and an answer of 4 MB, are accepted. Invalid answers are rejected.
///
/// Acceptance 148, 149.
#[tokio::test(start_paused = true)]
async fn input_responses_of_any_shape_are_handled() {
    let app = plain();
    let asked = Round::tool(&app, "greet").answer().await;
    let mut many: serde_json::Map<String, Value> = (0..100_000).map(|n| (n.to_string(), json!(n))).collect();
    many.insert("user_name".to_owned(), accept(json!({"name": "Ann"})));
    assert_eq!(text(&Round::tool(&app, "greet").again(&asked, many.into()).answer().await), "Hello, Ann!");

    let large = json!({"user_name": accept(json!({"name": "x".repeat(4_000_000)}))});
    let answer = Round::tool(&app, "greet").again(&asked, large).answer().await;
    assert_eq!(text(&answer).len(), "Hello, !".len() + 4_000_000);

    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let round = Round::tool(&app, "greet").again(&asked, json!({"user_name": "<deep>", "other": "<deep>"}));
    let answer = round.rewritten(|text| text.replace("\"<deep>\"", &deep)).await.json().await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");

    // The last of two members counts, as in most parsers.
    let round = Round::tool(&app, "greet").again(&asked, json!({"user_name": accept(json!({"name": "Ann"}))}));
    let twice = round.rewritten(|text| text.replace(r#""inputResponses":{"#, r#""inputResponses":{"user_name":7,"#));
    assert_eq!(text(&twice.await.json().await), "Hello, Ann!");
}

/// The size of what a client has to carry is limited, even where its own answer made it large.
///
/// Acceptance 149.
#[tokio::test(start_paused = true)]
async fn answers_too_large_for_the_state_fail() {
    let app = plain();
    let asked = Round::tool(&app, "book").answer().await;
    let large = json!({"elicitation-1": accept(json!({"name": "x".repeat(70_000)}))});
    let answer = Round::tool(&app, "book").again(&asked, large).answer().await;
    assert_eq!(answer["error"]["code"], -32603);
    assert_eq!(
        answer["error"]["message"],
        "Too much input: the request state is over 65536 bytes, the limit of the server's setting `InputRequests::max_state_bytes`"
    );
}
