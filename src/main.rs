//! `pnwatch`: the one command.
//!
//! Reads the command line, hands over to a daemon or to a client command, and turns whatever
//! goes wrong into one line per fault and an exit code (sysexits.h).

mod client;

use std::process::ExitCode;

fn main() -> ExitCode {
    client::panics::one_line_and_exit();
    match client::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
