//! Starts the parser: this very program again, as nobody, with two descriptors and nothing else.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::RelaySettings;
use crate::unprivileged::as_nobody;

/// Starts it with the listening socket as its input and its end of the pair as its output. It
/// is killed when the handle is dropped, and ends by itself when the other end closes.
pub(super) fn parser(
    settings: &RelaySettings,
    listener: TcpListener,
    pipe: UnixStream,
) -> io::Result<Child> {
    let mut command = Command::new(&settings.program);
    command
        .args(["relay-parser", "--vms", &settings.vms.to_string()])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::from(OwnedFd::from(pipe)));
    as_nobody(&mut command);
    command.spawn()
}
