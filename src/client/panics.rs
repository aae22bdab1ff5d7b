//! A panic is a fault of the program: one line, exit 70, and the supervisor starts it again.
//! A daemon that goes on with a dead task inside would look healthy and be blind.

use std::panic::PanicHookInfo;

use super::failure::code;

/// From now on a panic on any thread prints one line and ends the process.
pub(crate) fn one_line_and_exit() {
    std::panic::set_hook(Box::new(|info| {
        eprintln!("pnwatch: {}", line(info));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            eprintln!("{}", std::backtrace::Backtrace::force_capture());
        }
        std::process::exit(i32::from(code::SOFTWARE));
    }));
}

fn line(info: &PanicHookInfo<'_>) -> String {
    let said = info.payload_as_str().unwrap_or("no message");
    let said = said.replace(['\n', '\r'], " ");
    let place = info
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    format!("internal error at {place}: {said}; this is a bug: please report this line")
}

#[cfg(test)]
mod tests {
    /// Set in the child process that is to panic.
    const CHILD: &str = "PNWATCH_TEST_PANICS";

    #[test]
    fn a_panic_on_any_thread_is_one_line_and_exit_70() {
        if std::env::var_os(CHILD).is_some() {
            super::one_line_and_exit();
            let thread = std::thread::spawn(|| panic!("first\nsecond"));
            let _ = thread.join();
            return;
        }
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("client::panics::tests::a_panic_on_any_thread_is_one_line_and_exit_70")
            .env(CHILD, "1")
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(70), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.starts_with("pnwatch: internal error at src/client/panics.rs:"),
            "{said}"
        );
        assert!(said.contains("first second"), "{said}");
    }
}
