//! The cost of idle sessions for active ones: the same calls in the same process, before and after
//! many sessions were opened.

use anyhow::Result;

use super::timed::{closed_loop, warm_up};
use super::{CALL, Sample, Scale, memory, sample};
use crate::process::{Process, Under};
use crate::servers::{Places, Server};

const CONNECTIONS: usize = 32;

pub(super) async fn run(server: &Server, places: &Places, scale: &Scale) -> Result<Sample> {
    let process = Process::start(&server.command(places), Under::Nothing)?;
    let warm_up = warm_up(server, scale);
    let alone = closed_loop(CALL, CONNECTIONS, &process, warm_up, scale.measured).await?;
    let opened = memory::open(process.address, scale.crowd, scale.opened_within).await?;
    let among = closed_loop(CALL, CONNECTIONS, &process, warm_up, scale.measured).await?;
    let memory = process.memory()?;
    process.stop()?;
    Ok(sample([
        ("alone", alone["cpu"]),
        ("cpu", among["cpu"]),
        ("growth", among["cpu"] / alone["cpu"]),
        ("p99", among["p99"]),
        ("rate", among["rate"]),
        ("opened", opened as f64),
        ("memory", memory as f64),
    ]))
}
