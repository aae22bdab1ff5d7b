//! The page in a real browser, before a real exporter with a real prober: `pnwatch demo`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod driver;

use std::time::Duration;

use driver::{Browser, Demo};

/// What changes is to be seen within a second of the verdict; three times that on a busy machine.
const SEEN: Duration = Duration::from_secs(3);
/// A silence is told after three seconds.
const SILENCE_TOLD: Duration = Duration::from_secs(9);
/// How long a page may take to be there at all on a busy machine.
const LOADED: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_finding_appears_and_goes_before_the_readers_eyes() {
    let browser = Browser::open().await;
    let demo = Demo::start(&[]);
    browser.go(&demo.page).await;
    // The matrix: one vantage, one node, four accounts, three layers of which one has no meaning.
    browser
        .until(
            "document.querySelectorAll('[aria-labelledby=accounts-title] tbody tr').length === 4 \
             && document.querySelector('[aria-labelledby=nodes-title] tbody th')?.innerText.includes('host/this-machine') \
             && /ARP[^]*not applicable/.test(document.querySelector('[aria-labelledby=nodes-title] td')?.textContent)",
            LOADED,
        )
        .await;
    // What the reader holds stays in hand: focus survives the renewals.
    browser
        .run("document.querySelector('.matrix tbody a').focus()")
        .await;
    let (told, line) = demo.next("opened");
    let id = line["finding"]["id"].as_str().unwrap();
    let shown = format!("document.getElementById('finding-{id}')");
    browser.until(&shown, SEEN).await;
    println!("a finding was seen {:?} after it was told", told.elapsed());
    let account = line["finding"]["account"].as_str().unwrap();
    for holds in [
        format!("document.getElementById('headline')?.innerText.includes('account {account}')"),
        format!(
            "document.getElementById('announce')?.innerText.startsWith('Critical: account {account}')"
        ),
        "document.title.startsWith('(1)')".to_owned(),
        format!("{shown}.querySelectorAll('.evidence tbody tr').length > 0"),
        format!("{shown}.querySelector('.command code').textContent.includes('kubectl')"),
        "document.querySelector('td.down .layers li.down')?.innerText.includes('✕')".to_owned(),
        "document.activeElement.textContent === 'host/this-machine'".to_owned(),
    ] {
        browser.until(&holds, SEEN).await;
    }
    // The command is copied, or at least selected, by one press.
    browser
        .run(&format!("{shown}.querySelector('button.copy').click()"))
        .await;
    let pressed = format!("{shown}.querySelector('button.copy').dataset.said");
    browser.until(&pressed, SEEN).await;

    let closed = loop {
        let (told, line) = demo.next("closed");
        if line["finding"]["id"] == id {
            break told;
        }
    };
    let gone = format!("!{shown} && document.querySelector('ol.closed a[href$=\"{id}\"]')");
    browser.until(&gone, SEEN).await;
    println!("its end was seen {:?} after it was told", closed.elapsed());
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    // Without its exporter the page shows the past, and says so.
    drop(demo);
    browser
        .until(
            "document.body.classList.contains('is-stale') \
             && document.getElementById('stale').innerText.includes('No word from the exporter')",
            SILENCE_TOLD,
        )
        .await;
}

/// With `PNWATCH_SCREENSHOTS=DIR` the pictures of docs/ are taken anew.
#[tokio::test]
async fn it_fits_a_phone_and_a_desk_in_the_dark_and_in_the_light() {
    let browser = Browser::open().await;
    let demo = Demo::start(&["--fault", "black-hole"]);
    browser.go(&demo.page).await;
    browser
        .until("document.querySelector('.mood.critical')", LOADED)
        .await;
    let folder = std::env::var_os("PNWATCH_SCREENSHOTS").map(std::path::PathBuf::from);
    for scheme in ["light", "dark"] {
        for (width, most) in [(1280, 1_200), (360, 1_600)] {
            browser.resize(width, scheme).await;
            let fits = format!("document.documentElement.scrollWidth <= {width}");
            browser.until(&fits, SEEN).await;
            let picture = browser.picture(width, most).await;
            if let Some(folder) = &folder {
                let file = folder.join(format!("page-{width}-{scheme}.png"));
                std::fs::write(file, picture).unwrap();
            }
        }
    }
    // Every page that can be walked to from the first one fits as well.
    for path in [
        "accounts/acme",
        "nodes/demo-node",
        "vantages/host/this-machine",
        "vantages",
        "accounts",
        "runbooks",
        "runbooks/PNWrongTenant",
    ] {
        browser.go(&format!("{}{path}", demo.page)).await;
        browser
            .until(
                "document.querySelector('main h1') && document.documentElement.scrollWidth <= 360",
                LOADED,
            )
            .await;
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
