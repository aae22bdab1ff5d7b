//! The stand-in as a program of its own; see [`pnwatch_standin::command_line`].

use std::process::ExitCode;

fn main() -> ExitCode {
    match pnwatch_standin::command_line::run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pnwatch-standin: {error}");
            ExitCode::from(match error {
                pnwatch_standin::command_line::CommandLineError::Usage { .. } => 64,
                _ => 1,
            })
        }
    }
}
