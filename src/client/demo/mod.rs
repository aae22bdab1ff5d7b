//! `pnwatch demo`: a small private network on loopback that really breaks, and the story of it
//! told as pnwatch finds it. Needs no root and nothing but this binary.
//!
//! Stand-ins for four accounts' caches listen on loopback; a real prober (vantage kind host) and
//! a real exporter watch them. Nothing is acted: what is told are the exporter's transitions.

mod scene;
mod story;
mod tell;

use std::time::Duration;

use pnwatch_core::finding::{Change, Transition};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use self::scene::Scene;
use self::story::{Act, Ledger, Script};
use self::tell::Teller;
use super::daemon::{runtime, signals};
use super::failure::{Failure, code};

/// How long a fault may take to be found, or to be closed, before the demo calls it missed.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the whole story takes without any pause.
const SHORTEST: Duration = Duration::from_secs(30);

/// Watch a small network on loopback break and recover
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End after this time (default: tell the story, then stay until Ctrl-C)
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasting: Option<Duration>,
    /// One JSON object per line instead of prose
    #[arg(long)]
    json: bool,
    /// Only this fault: black-hole, wrong-tenant, pod-dead, refused, server-error or not-http
    #[arg(long, value_name = "NAME", conflicts_with = "no_fault")]
    fault: Option<Act>,
    /// Break nothing
    #[arg(long)]
    no_fault: bool,
    /// Port of the page on 127.0.0.1; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
}

/// Plays the demo.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let teller = Teller::new(args.json);
    teller.say("pnwatch demo: four accounts' caches on loopback, one host that watches them");
    let script = match (args.no_fault, args.fault) {
        (true, _) => Script::default(),
        (false, Some(act)) => Script::of([act]),
        (false, None) => Script::of([Act::BlackHole, Act::WrongTenant, Act::PodDead]),
    };
    if let Some(lasting) = args.lasting
        && script.acts().len() > 1
        && lasting < SHORTEST
    {
        return Err(Failure::new(
            code::USAGE,
            format!(
                "--for {} is too short for the whole story; give it {} or more, or one fault by --fault NAME",
                humantime::format_duration(lasting),
                humantime::format_duration(SHORTEST)
            ),
        ));
    }
    runtime(2)?.block_on(async {
        let shutdown = signals()?;
        let began = Instant::now();
        let scene = Scene::set(args.port).await?;
        tokio::select! {
            told = perform(&scene, &script, args.lasting, began, &teller) => {
                scene.strike().await?;
                told
            }
            () = shutdown.requested() => {
                scene.strike().await?;
                teller.say("stopped");
                Ok(())
            }
        }
    })
}

async fn perform(
    scene: &Scene,
    script: &Script,
    lasting: Option<Duration>,
    began: Instant,
    teller: &Teller,
) -> Result<(), Failure> {
    let mut news = scene.transitions();
    teller.page(scene.page());
    teller.say("ARP has no meaning on loopback (not applicable); TCP and HTTP are checked");
    teller.say(&format!(
        "accounts: {}; first checks under way …",
        scene.accounts().join(", ")
    ));
    let mut ledger = Ledger::default();
    scene.until_all_reached(PATIENCE).await?;
    teller.say("healthy: every account is reached");

    let pause = lasting.map_or(Duration::from_secs(3), |whole| {
        // One pause before the first act, and one in each.
        let pauses = u32::try_from(script.acts().len() + 1).unwrap_or(1);
        (whole.saturating_sub(SHORTEST) / pauses).min(Duration::from_secs(5))
    });
    if !script.acts().is_empty() {
        // Whoever opens the page now sees it calm before it breaks.
        let calm = Instant::now() + pause;
        follow(&mut news, &mut ledger, teller, calm, |_| false).await?;
    }
    for act in script.acts() {
        teller.breaking(*act, Scene::account_of(*act));
        ledger.broken(*act, Scene::account_of(*act));
        scene.switch(*act, true).await;
        let found = |ledger: &Ledger| ledger.is_found(*act);
        follow(
            &mut news,
            &mut ledger,
            teller,
            Instant::now() + PATIENCE,
            found,
        )
        .await?;
        follow(
            &mut news,
            &mut ledger,
            teller,
            Instant::now() + pause,
            |_| false,
        )
        .await?;
        teller.mending(*act, Scene::account_of(*act));
        scene.switch(*act, false).await;
    }
    follow(
        &mut news,
        &mut ledger,
        teller,
        Instant::now() + PATIENCE,
        Ledger::is_settled,
    )
    .await?;
    if !script.acts().is_empty() {
        teller.say("recovered: every finding is closed");
    }
    if let Some(whole) = lasting {
        follow(&mut news, &mut ledger, teller, began + whole, |_| false).await?;
    } else {
        teller.say("watching on; end with Ctrl-C");
        let forever = Instant::now() + Duration::from_hours(24 * 365);
        follow(&mut news, &mut ledger, teller, forever, |_| false).await?;
    }
    let untrue = ledger.untrue();
    if untrue.is_empty() {
        teller.say(&ledger.summary());
        Ok(())
    } else {
        Err(Failure::of_lines(code::SOFTWARE, untrue.into_iter()))
    }
}

/// Takes news in until `enough`, or until the deadline.
async fn follow(
    news: &mut Receiver<std::sync::Arc<Transition>>,
    ledger: &mut Ledger,
    teller: &Teller,
    deadline: Instant,
    enough: impl Fn(&Ledger) -> bool,
) -> Result<(), Failure> {
    while !enough(ledger) {
        match timeout_at(deadline, news.recv()).await {
            Err(_) => return Ok(()),
            Ok(Ok(transition)) => {
                teller.transition(&transition);
                match transition.change {
                    Change::Opened | Change::Sharpened => ledger.seen(&transition.finding),
                    Change::Closed => ledger.closed(&transition.finding),
                }
            }
            Ok(Err(RecvError::Lagged(_))) => {}
            Ok(Err(RecvError::Closed)) => {
                return Err(Failure::new(code::SOFTWARE, "the exporter ended early"));
            }
        }
    }
    Ok(())
}
