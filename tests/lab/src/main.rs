//! `pnwatch-lab`: see the README of this folder.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("standin") {
        return match pnwatch_standin::command_line::run(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("pnwatch-lab standin: {error}");
                ExitCode::from(64)
            }
        };
    }
    ExitCode::from(64)
}
