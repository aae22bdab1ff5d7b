//! F13: the operating system keeps this one process off the local network.
//!
//! macOS 15 asks people which programs may use the local network; a program that may not gets
//! `EHOSTUNREACH` at once, while the same address answers ARP and the route is right (Apple
//! TN3179). Nobody else is affected: a fault of the probe, never of the network. Pure.

use core::time::Duration;

/// A denial comes from the socket layer, without waiting for anything.
const AT_ONCE: Duration = Duration::from_millis(1);
/// An answer to ARP this old still shows that the address is there.
const FRESH: Duration = Duration::from_secs(2);

/// What is known of a connection that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// This system denies single processes the local network at all.
    pub possible: bool,
    /// The error was `EHOSTUNREACH`.
    pub unreachable: bool,
    /// From the start to the error.
    pub after: Duration,
    /// An unbound look-up leaves by the PN device; `None` = not known.
    pub route: Option<bool>,
    /// How long ago the address answered ARP.
    pub heard: Option<Duration>,
}

/// Whether the system denied this process the local network.
pub fn is_denied(seen: &Denial) -> bool {
    seen.possible
        && seen.unreachable
        && seen.after < AT_ONCE
        && seen.route != Some(false)
        && seen.heard.is_some_and(|ago| ago <= FRESH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENIED: Denial = Denial {
        possible: true,
        unreachable: true,
        after: Duration::from_micros(40),
        route: Some(true),
        heard: Some(Duration::from_millis(700)),
    };

    #[test]
    fn it_takes_every_sign_at_once() {
        assert!(is_denied(&DENIED));
        assert!(is_denied(&Denial {
            route: None,
            ..DENIED
        }));
        for other in [
            Denial {
                possible: false,
                ..DENIED
            },
            Denial {
                unreachable: false,
                ..DENIED
            },
            Denial {
                after: Duration::from_millis(3),
                ..DENIED
            },
            Denial {
                route: Some(false),
                ..DENIED
            },
            Denial {
                heard: None,
                ..DENIED
            },
            Denial {
                heard: Some(Duration::from_secs(3)),
                ..DENIED
            },
        ] {
            assert!(!is_denied(&other), "{other:?}");
        }
    }
}
