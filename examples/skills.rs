//! A folder of skills at http://127.0.0.1:3000/mcp, which is read again when it changes.
//!
//! `cargo run --features skills --example skills -- 127.0.0.1:3000 examples/skills`

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use mcp_http::server::{Catalog, Skill};
use mcp_http::{McpListener, McpServer, mcp_router};

/// How often the folder is read again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skills: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (address, folder) = arguments();
    let server = McpServer::new("skills", "1.0.0").with_skills(Skill::all_in(&folder)?);
    std::thread::spawn({
        let catalog = server.catalog();
        move || reload(&catalog, &folder)
    });
    let app = Router::new().nest("/mcp", mcp_router(server));
    let listener = McpListener::bind(address).await?;
    println!("listening on http://{}/mcp", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// Reads the folder again from time to time. Clients learn of what changed. While a skill has a
/// mistake, the last good ones stay.
fn reload(catalog: &Catalog, folder: &str) {
    loop {
        std::thread::sleep(RELOAD_INTERVAL);
        let reloaded = Skill::all_in(folder).map_err(Box::<dyn Error>::from);
        match reloaded.and_then(|skills| Ok(catalog.set_skills(skills)?)) {
            Ok(true) => println!("the skills changed"),
            Ok(false) => {}
            Err(error) => eprintln!("skills: {error}"),
        }
    }
}

/// Returns the address to listen on and the folder: the first two arguments, or the defaults.
fn arguments() -> (String, String) {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    (address, arguments.next().unwrap_or_else(|| "examples/skills".to_owned()))
}
