//! Skills: lists, entries, folders and files, as clients of both eras see them, and how they are
//! read from folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mcp_http::server::{CacheHint, Skill, SkillError};
use mcp_http::{McpServer, McpService};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::{App, Client};

const REVIEW: &str =
    "---\nname: review\ndescription: Reviews code\nlicense: MIT\nmetadata:\n  version: '1.0'\n---\n# Review\n";

/// Writes files below a new folder.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, contents) in files {
        write(folder.path(), path, contents);
    }
    folder
}

fn write(root: &Path, path: &str, contents: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

fn library() -> TempDir {
    folder(&[
        ("README.md", b"Not a part of any skill."),
        ("review/SKILL.md", REVIEW.as_bytes()),
        ("review/templates/long.md", b"# Long"),
        ("review/templates/regional/eu.md", b"# EU"),
        ("review/.git/config", b"hidden"),
        ("acme/billing/refunds/SKILL.md", b"---\nname: refunds\ndescription: Refunds\n---\n"),
        ("acme/billing/refunds/a picture.png", b"\x89PNG\0"),
        ("acme/billing/refunds/inner/SKILL.md", b"---\nname: inner\ndescription: Inside\n---\n"),
    ])
}

fn app(library: &TempDir) -> App {
    let skills = Skill::all_in(library.path()).unwrap();
    App::of(McpService::builder(McpServer::<()>::new("skills", "1.0.0").with_skills(skills)))
}

#[expect(clippy::needless_pass_by_value, reason = "callers write json!(..) in place")]
fn request(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

async fn legacy(client: &Client, method: &str, params: Value) -> Value {
    client.post(request(method, params)).await.message().await
}

async fn modern(app: &App, method: &str, params: Value) -> Value {
    app.request(method, params).await.message().await
}

/// Returns the bytes of a resource, as a client of 2026-07-28 reads them.
async fn read(app: &App, uri: &str) -> (Vec<u8>, Value) {
    let answer = modern(app, "resources/read", json!({"uri": uri})).await;
    let contents = answer["result"]["contents"][0].clone();
    assert_eq!(contents["uri"], uri, "{answer}");
    let bytes = match contents["text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => STANDARD.decode(contents["blob"].as_str().unwrap()).unwrap(),
    };
    (bytes, contents["mimeType"].clone())
}

fn uris(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["uri"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_extension_is_declared_in_both_eras() {
    let library = library();
    let app = app(&library);
    let discovered = modern(&app, "server/discover", json!({})).await;
    let opened = app.post(crate::support::initialize("2025-11-25", json!({}))).await.json().await;
    for answer in [discovered, opened] {
        let capabilities = &answer["result"]["capabilities"];
        assert_eq!(capabilities["extensions"], json!({"io.modelcontextprotocol/skills": {"directoryRead": true}}));
        assert_eq!(capabilities["resources"], json!({"listChanged": true, "subscribe": true}));
    }
}

#[tokio::test(start_paused = true)]
async fn every_file_matches_its_entry() {
    let library = library();
    let app = app(&library);
    let list = modern(&app, "skills/list", json!({})).await["result"].clone();
    let client = app.open().await;
    assert_eq!(legacy(&client, "skills/list", json!({})).await["result"], json!({"skills": list["skills"]}));
    assert_eq!(
        (&list["resultType"], &list["ttlMs"], &list["cacheScope"]),
        (&json!("complete"), &json!(0), &json!("private"))
    );
    let skills = list["skills"].as_array().unwrap();
    assert_eq!(
        uris(&list["skills"]),
        [
            "skill://acme/billing/refunds/SKILL.md",
            "skill://acme/billing/refunds/inner/SKILL.md",
            "skill://review/SKILL.md"
        ]
    );
    assert_eq!(
        skills[2]["frontmatter"],
        json!({"name": "review", "description": "Reviews code", "license": "MIT", "metadata": {"version": "1.0"}})
    );
    assert_eq!(
        uris(&skills[0]["resources"]),
        [
            "skill://acme/billing/refunds/SKILL.md",
            "skill://acme/billing/refunds/a%20picture.png",
            "skill://acme/billing/refunds/inner/SKILL.md",
        ]
    );
    for skill in skills {
        let got = modern(&app, "skills/get", json!({"uri": skill["uri"]})).await["result"].clone();
        assert_eq!((&got["skill"], &got["ttlMs"], &got["cacheScope"]), (skill, &json!(0), &json!("private")));
        assert_eq!(
            legacy(&client, "skills/get", json!({"uri": skill["uri"]})).await["result"],
            json!({"skill": skill})
        );
        for file in skill["resources"].as_array().unwrap() {
            let (bytes, _) = read(&app, file["uri"].as_str().unwrap()).await;
            let digest = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            assert_eq!((&file["digest"], &file["size"]), (&json!(format!("sha256:{digest}")), &json!(bytes.len())));
        }
    }
    let (_, media_type) = read(&app, "skill://acme/billing/refunds/a%20picture.png").await;
    assert_eq!(media_type, "image/png");
    let listed = modern(&app, "resources/list", json!({})).await["result"]["resources"].clone();
    assert_eq!(
        listed[2],
        json!({"uri": "skill://review/SKILL.md", "name": "review", "description": "Reviews code",
            "mimeType": "text/markdown", "size": REVIEW.len()})
    );
    assert_eq!(listed.as_array().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_directory_lists_its_direct_children() {
    let library = library();
    let app = app(&library);
    let client = app.open().await;
    let root = json!([
        {"uri": "skill://review/SKILL.md", "name": "review", "description": "Reviews code", "mimeType": "text/markdown",
            "size": REVIEW.len()},
        {"uri": "skill://review/templates", "name": "templates", "mimeType": "inode/directory"},
    ]);
    let templates = json!([
        {"uri": "skill://review/templates/long.md", "name": "long.md", "mimeType": "text/markdown", "size": 6},
        {"uri": "skill://review/templates/regional", "name": "regional", "mimeType": "inode/directory"},
    ]);
    for (uri, wanted) in [("skill://review", root), ("skill://review/templates", templates)] {
        let params = json!({"uri": uri});
        let answer = modern(&app, "resources/directory/read", params.clone()).await["result"].clone();
        assert_eq!((&answer["resources"], &answer["resultType"]), (&wanted, &json!("complete")), "{uri}");
        assert_eq!(legacy(&client, "resources/directory/read", params).await["result"], json!({"resources": wanted}));
    }
    let picture = modern(&app, "resources/directory/read", json!({"uri": "skill://acme/billing/refunds"})).await;
    assert_eq!(picture["result"]["resources"][1]["name"], "a picture.png");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_served_is_an_invalid_parameter() {
    let library = library();
    let app = app(&library);
    for (method, uri) in [
        ("skills/get", "skill://unknown/SKILL.md"),
        ("skills/get", "skill://review"),
        ("skills/get", "skill://review/templates/long.md"),
        ("resources/directory/read", "skill://review/SKILL.md"),
        ("resources/directory/read", "skill://review/templates/"),
        ("resources/directory/read", "skill://unknown"),
        ("resources/directory/read", "skill://"),
        ("resources/directory/read", "skill:/"),
        ("resources/directory/read", "skill:"),
        ("resources/read", "skill://review"),
        ("resources/read", "skill://review/templates/../SKILL.md"),
        ("resources/read", "skill://review/%2E%2E/README.md"),
        ("resources/read", "skill://README.md"),
        ("resources/read", "skill://review/.git/config"),
        ("resources/read", "skill://review/../../../../etc/passwd"),
    ] {
        let reply = app.request(method, json!({"uri": uri})).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.error().await.0, -32602, "{method} {uri}");
    }
    assert_eq!(modern(&app, "skills/get", json!({})).await["error"]["code"], -32602);
    for method in ["skills/list", "resources/directory/read"] {
        let params = json!({"uri": "skill://review", "cursor": "!"});
        assert_eq!(modern(&app, method, params).await["error"]["message"], "Invalid cursor");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_skills_has_no_such_methods() {
    let server: McpServer = McpServer::new("plain", "1.0.0").resource("a:b", "b", async || "b");
    let app = App::of(McpService::builder(server));
    let client = app.open().await;
    for method in ["skills/list", "skills/get", "resources/directory/read"] {
        assert_eq!(app.request(method, json!({"uri": "a:b"})).await.error().await.0, -32601, "{method}");
        assert_eq!(legacy(&client, method, json!({"uri": "a:b"})).await["error"]["code"], -32601, "{method}");
    }
    let capabilities = modern(&app, "server/discover", json!({})).await["result"]["capabilities"].clone();
    assert_eq!(capabilities.get("extensions"), None);

    let empty: McpServer = McpServer::new("empty", "1.0.0").with_skills([]);
    let app = App::of(McpService::builder(empty));
    assert_eq!(modern(&app, "skills/list", json!({})).await["result"]["skills"], json!([]));
    let capabilities = modern(&app, "server/discover", json!({})).await["result"]["capabilities"].clone();
    assert!(capabilities["resources"].is_object() && capabilities["extensions"].is_object());
}

fn numbered(count: usize) -> Vec<Skill> {
    let skill =
        |at| Skill::new(format!("s{at:03}"), "One of many", "Body").file("notes/a.md", "a").file("notes/b.md", "b");
    (0..count).map(skill).collect()
}

/// Follows the cursors of a list to its end, and returns the URIs of each page.
async fn pages(app: &App, method: &str, list: &str, params: Value) -> Vec<Vec<String>> {
    let mut params = params;
    let mut pages = Vec::new();
    loop {
        let answer = modern(app, method, params.clone()).await["result"].clone();
        pages.push(uris(&answer[list]).into_iter().map(str::to_owned).collect());
        match answer.get("nextCursor") {
            Some(cursor) => params["cursor"] = cursor.clone(),
            None => return pages,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lists_and_directories_have_pages_and_hints() {
    let public = CacheHint::public(Duration::from_secs(60));
    let one = Skill::new("cached", "Cached", "Body").cache(CacheHint::private(Duration::from_secs(5)));
    let server: McpServer =
        McpServer::new("many", "1.0.0").with_skills(numbered(5)).with_skill(one).cache_skill_list(public).page_size(2);
    let app = App::of(McpService::builder(server));
    let lists = pages(&app, "skills/list", "skills", json!({})).await;
    assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(lists.concat().iter().collect::<BTreeSet<_>>().len(), 6);
    let list = modern(&app, "skills/list", json!({})).await["result"].clone();
    assert_eq!((&list["ttlMs"], &list["cacheScope"]), (&json!(60_000), &json!("public")));
    let skill = modern(&app, "skills/get", json!({"uri": "skill://cached/SKILL.md"})).await["result"].clone();
    assert_eq!((&skill["ttlMs"], &skill["cacheScope"]), (&json!(5000), &json!("private")));
    let file = modern(&app, "resources/read", json!({"uri": "skill://cached/SKILL.md"})).await["result"].clone();
    assert_eq!((&file["ttlMs"], &file["cacheScope"]), (&json!(5000), &json!("private")));

    let files = (0..5).fold(Skill::new("wide", "Wide", "Body"), |skill, at| skill.file(format!("{at}.md"), "x"));
    let app = App::of(McpService::builder(McpServer::<()>::new("wide", "1.0.0").with_skill(files).page_size(4)));
    let folders = pages(&app, "resources/directory/read", "resources", json!({"uri": "skill://wide"})).await;
    assert_eq!(folders[0], ["skill://wide/0.md", "skill://wide/1.md", "skill://wide/2.md", "skill://wide/3.md"]);
    assert_eq!(folders[1], ["skill://wide/4.md", "skill://wide/SKILL.md"]);
}

/// Entries with many files make pages shorter than the page size says.
#[tokio::test(start_paused = true)]
async fn a_page_of_large_entries_stays_small() {
    let large = |name: String| {
        (0..500).fold(Skill::new(name, "Large", "Body"), |skill, at| {
            skill.file(format!("{}/{at}.md", "a-long-name-of-a-folder".repeat(20)), "x")
        })
    };
    let skills = (0..9).map(|at| large(format!("s{at}")));
    let app = App::of(McpService::builder(McpServer::<()>::new("large", "1.0.0").with_skills(skills)));
    let lists = pages(&app, "skills/list", "skills", json!({})).await;
    assert!(lists.len() > 1 && lists.concat().len() == 9, "{lists:?}");
    let first = modern(&app, "skills/list", json!({})).await.to_string();
    assert!(first.len() < (1 << 20) + (1 << 10), "{}", first.len());
}

#[tokio::test(start_paused = true)]
async fn changed_skills_are_announced() {
    let library = library();
    let server: McpServer = McpServer::new("skills", "1.0.0").with_skills(Skill::all_in(library.path()).unwrap());
    let catalog = server.catalog();
    let app = App::of(McpService::builder(server));
    let client = app.open().await;
    let mut stream = client.listen_primed().await;
    let subscribed = json!({"uri": "skill://review/templates/long.md"});
    assert_eq!(legacy(&client, "resources/subscribe", subscribed.clone()).await["result"], json!({}));
    let reload = || catalog.set_skills(Skill::all_in(library.path()).unwrap());

    assert_eq!(reload(), Ok(false));
    assert!(stream.is_silent().await);
    write(library.path(), "review/templates/long.md", b"# Longer");
    assert_eq!(reload(), Ok(true));
    let seen = [stream.message().await.unwrap().json(), stream.message().await.unwrap().json()];
    let methods: Vec<_> = seen.iter().map(|message| message["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["notifications/resources/list_changed", "notifications/resources/updated"]);
    assert_eq!(seen[1]["params"], subscribed);
    assert_eq!(read(&app, "skill://review/templates/long.md").await.0, b"# Longer");

    fs::remove_dir_all(library.path().join("acme")).unwrap();
    assert_eq!(reload(), Ok(true));
    assert_eq!(stream.message().await.unwrap().json()["method"], "notifications/resources/list_changed");
    let list = modern(&app, "resources/list", json!({})).await["result"]["resources"].clone();
    assert_eq!(uris(&list), ["skill://review/SKILL.md"]);

    // A mistake changes nothing.
    write(library.path(), "review/SKILL.md", b"no front matter");
    Skill::all_in(library.path()).unwrap_err();
    assert_eq!(read(&app, "skill://review/SKILL.md").await.0, REVIEW.as_bytes());

    catalog.insert_skill(Skill::new("new", "New", "Body")).unwrap();
    assert!(catalog.remove_skill("skill://review/SKILL.md") && !catalog.remove_skill("skill://review/SKILL.md"));
    let list = modern(&app, "skills/list", json!({})).await["result"]["skills"].clone();
    assert_eq!(uris(&list), ["skill://new/SKILL.md"]);
    assert_eq!(
        modern(&app, "resources/read", json!({"uri": "skill://review/SKILL.md"})).await["error"]["code"],
        -32602
    );
}

#[tokio::test(start_paused = true)]
async fn skills_follow_a_server_whose_state_is_bound() {
    let server: McpServer<u8> = McpServer::new("skills", "1.0.0").with_skills(numbered(1));
    let catalog = server.catalog();
    let app = App::of(McpService::builder(server.with_state::<()>(1)));
    catalog.insert_skill(Skill::new("later", "Later", "Body").file("a.md", "a")).unwrap();
    let list = modern(&app, "skills/list", json!({})).await["result"]["skills"].clone();
    assert_eq!(uris(&list), ["skill://s000/SKILL.md", "skill://later/SKILL.md"]);
    assert_eq!(read(&app, "skill://later/a.md").await.0, b"a");
}

fn error(files: &[(&str, &[u8])]) -> SkillError {
    Skill::all_in(folder(files).path()).expect_err("a broken skill")
}

#[test]
fn broken_skills_are_named_with_their_reasons() {
    const GOOD: &[u8] = b"---\nname: a\ndescription: A\n---\n";
    let text =
        error(&[("a/SKILL.md", b"# A"), ("b/SKILL.md", b"---\nname: c\ndescription: C\n---\n"), ("c/x.md", b"")])
            .to_string();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].ends_with("a/SKILL.md: it does not begin with front matter, a line `---`"), "{text}");
    assert!(
        lines[1].ends_with("b/SKILL.md: its name is \"c\", and that of its folder \"b\": they must be equal"),
        "{text}"
    );
    assert_eq!(lines.len(), 2);
    assert!(error(&[("SKILL.md", GOOD)]).to_string().contains("use `Skill::from_folder`"));
    assert!(
        error(&[("A/SKILL.md", b"---\nname: A\ndescription: A\n---\n")]).to_string().contains("cannot name a skill")
    );
    let long = format!("---\nname: a\ndescription: {}\n---\n", "x".repeat(1025));
    assert!(error(&[("a/SKILL.md", long.as_bytes())]).to_string().contains("1 to 1,024 characters"));
    assert!(error(&[("a/SKILL.md", GOOD), ("a/b\\c", b"")]).to_string().contains("no backslash"));
    assert!(Skill::all_in("does/not/exist").unwrap_err().to_string().starts_with("does/not/exist: "));
    assert!(
        Skill::from_folder(folder(&[("x.md", b"")]).path()).unwrap_err().to_string().contains("it has no SKILL.md")
    );
    let one = folder(&[("a/SKILL.md", GOOD), ("a/x/y.md", b"y")]);
    assert_eq!(Skill::from_folder(one.path().join("a")).unwrap().name(), "a");
}

#[cfg(unix)]
#[test]
fn links_and_special_files_are_not_followed() {
    use std::os::unix::fs::symlink;
    let outside = folder(&[("secret.md", b"secret")]);
    for (link, target) in [("a/link.md", "secret.md"), ("a/folder", ""), ("a/SKILL.md", "secret.md")] {
        let library = folder(&[("a/SKILL.md", b"---\nname: a\ndescription: A\n---\n")]);
        let _ = fs::remove_file(library.path().join(link));
        symlink(outside.path().join(target), library.path().join(link)).unwrap();
        let text = Skill::all_in(library.path()).unwrap_err().to_string();
        assert!(text.contains(link) && text.contains("links are not followed"), "{text}");
    }
    let library = folder(&[("a/SKILL.md", b"---\nname: a\ndescription: A\n---\n")]);
    let _socket = std::os::unix::net::UnixListener::bind(library.path().join("a/socket")).unwrap();
    assert!(Skill::all_in(library.path()).unwrap_err().to_string().contains("neither a file nor a folder"));
    // The folder that the application names may be a link.
    let library = folder(&[("a/SKILL.md", b"---\nname: a\ndescription: A\n---\n")]);
    symlink(library.path().join("a"), library.path().join("b")).unwrap();
    assert_eq!(Skill::from_folder(library.path().join("b")).unwrap().name(), "a");
}

#[test]
fn skills_over_a_limit_are_rejected() {
    let library = folder(&[("a/SKILL.md", b"---\nname: a\ndescription: A\n---\n")]);
    let huge = fs::File::create(library.path().join("a/huge.bin")).unwrap();
    huge.set_len(1 << 40).unwrap();
    let text = Skill::all_in(library.path()).unwrap_err().to_string();
    assert!(text.contains("huge.bin: it is too large") && text.contains("Skill::MAX_BYTES"), "{text}");
    huge.set_len(Skill::MAX_BYTES as u64 - 1).unwrap();
    assert!(Skill::all_in(library.path()).unwrap_err().to_string().contains("`Skill::MAX_BYTES`"));
    huge.set_len(Skill::MAX_BYTES as u64 - 100).unwrap();
    Skill::all_in(library.path()).unwrap();

    let files = |count: usize| (0..count).map(|at| (format!("a/{at}"), at)).collect::<Vec<_>>();
    for (count, is_allowed) in [(511, true), (512, false)] {
        let library = folder(&[("a/SKILL.md", b"---\nname: a\ndescription: A\n---\n")]);
        files(count).iter().for_each(|(path, _)| write(library.path(), path, b""));
        let read = Skill::all_in(library.path());
        assert_eq!(read.is_ok(), is_allowed, "{read:?}");
    }
    let deep = format!("{}SKILL.md", "d/".repeat(40));
    assert!(error(&[(&deep, b"")]).to_string().contains("more than 32 folders deep"));
}

/// A mistake in a value is found at the line that registers the skill.
#[test]
fn broken_values_are_rejected_where_they_are_registered() {
    let new = || Skill::new("a", "A", "Body");
    let broken: Vec<Vec<Skill>> = vec![
        vec![Skill::new("A", "A", "")],
        vec![Skill::new("a", "", "")],
        vec![new().file("../b", "")],
        vec![new().file("SKILL.md", "")],
        vec![new().file("b", "").file("b", "")],
        vec![new().prefix("a/../b")],
        vec![new(), new()],
        vec![new().file("inner/SKILL.md", "one"), Skill::new("inner", "I", "two").prefix("a")],
    ];
    for (at, skills) in broken.into_iter().enumerate() {
        let result = std::panic::catch_unwind(|| McpServer::<()>::new("doc", "1").with_skills(skills));
        assert!(result.is_err(), "row {at} was accepted");
    }
    let taken = std::panic::catch_unwind(|| {
        McpServer::<()>::new("doc", "1")
            .resource("skill://a/SKILL.md", "a", async || "")
            .with_skill(Skill::new("a", "A", ""))
    });
    assert!(taken.is_err());
}
