//! The command line and what stands behind each command.

mod arguments;
mod check;
#[cfg(any(feature = "prober", feature = "exporter"))]
mod daemon;
#[cfg(feature = "demo")]
mod demo;
mod explain;
mod failure;
mod gate;
mod monitor;
#[cfg(feature = "prober")]
mod once;
pub(crate) mod panics;
mod rules;
mod status;

use std::ffi::OsString;
use std::io::Write as _;

use self::arguments::Command;
pub(crate) use self::failure::Failure;

/// Does what the command line says.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    match arguments::read(arguments)? {
        None => Ok(()),
        #[cfg(feature = "prober")]
        Some(Command::Probe(file)) => daemon::probe(&file.config),
        #[cfg(feature = "exporter")]
        Some(Command::Serve(file)) => daemon::serve(&file.config),
        #[cfg(feature = "demo")]
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Gate(arguments)) => gate::run(&arguments),
        #[cfg(feature = "prober")]
        Some(Command::Once(arguments)) => once::run(&arguments),
        #[cfg(feature = "prober")]
        Some(Command::RelayParser(arguments)) => daemon::relay_parser(arguments.vms),
        #[cfg(feature = "prober")]
        Some(Command::ReadOutputs) => daemon::read_outputs(),
        Some(Command::Status(arguments)) => status::run(&arguments),
        Some(Command::Explain(arguments)) => explain::run(&arguments),
        Some(Command::Check(check)) => check::run(&check),
        Some(Command::Rules(arguments)) => rules::run(&arguments),
        Some(Command::Completions(for_whom)) => {
            // A reader that went away (`pnwatch completions bash | head`) is no fault.
            let _ = std::io::stdout().write_all(&arguments::completions(for_whom.shell));
            Ok(())
        }
    }
}
