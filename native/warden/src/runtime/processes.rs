//! `ps`: the processes of a sandbox as the host sees them. A guest's own are its own affair.

use super::store::Sandbox;
use super::{Failure, Outcome};
use std::process::Command;

/// `--format json` prints the pids, the table is `ps`'s own with the rows of these processes.
pub fn list(sandbox: &Sandbox, format: &str, ps_arguments: &[String]) -> Outcome {
    let mut pids = Vec::new();
    if sandbox.pid() != 0 {
        pids.push(sandbox.pid());
    }
    pids.extend(sandbox.monitor_pid());
    match format {
        "json" => println!("{}", serde_json::json!(pids)),
        "table" => print_table(&pids, ps_arguments)?,
        other => {
            return Err(Failure::new(format!("--format is json or table, not {other:?}")));
        }
    }
    Ok(0)
}

fn print_table(pids: &[i32], arguments: &[String]) -> Result<(), Failure> {
    let default = ["-ef".to_string()];
    let arguments = if arguments.is_empty() { &default } else { arguments };
    let output = Command::new("ps")
        .args(arguments)
        .output()
        .map_err(|error| Failure::new(format!("ps cannot be executed: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header
        .split_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| Failure::new("ps prints no column PID with these arguments"))?;
    println!("{header}");
    for line in lines {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid: i32| pids.contains(&pid)) {
            println!("{line}");
        }
    }
    Ok(())
}
