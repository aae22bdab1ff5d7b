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

/// Pages that can be walked to from the first one.
const PLACES: [&str; 9] = [
    "accounts/acme",
    "nodes/demo-node",
    "vantages/host/this-machine",
    "paths/host/this-machine/tcp/account:acme/kura-acme/nodeport",
    "vantages",
    "accounts",
    "budgets",
    "runbooks",
    "runbooks/PNWrongTenant",
];
/// The Tab key (W3C `WebDriver` §17.4.2).
const TAB: &str = "\u{e004}";

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

/// Every page in both schemes, by the checker that auditors use.
#[tokio::test]
async fn the_accessibility_checker_finds_nothing() {
    let browser = Browser::open().await;
    let demo = Demo::start(&["--fault", "black-hole"]);
    browser.go(&demo.page).await;
    browser
        .until("document.querySelector('.mood.critical')", LOADED)
        .await;
    let axe = axe();
    let found = browser
        .run("return document.querySelector('.finding h3 a').getAttribute('href')")
        .await;
    let finding = found.as_str().unwrap().trim_start_matches('/').to_owned();
    let mut places = PLACES.map(str::to_owned).to_vec();
    places.push(String::new());
    places.push(finding);
    for place in &places {
        browser.go(&format!("{}{place}", demo.page)).await;
        browser
            .until("document.querySelector('main h1')", LOADED)
            .await;
        for (width, scheme) in [(1280, "light"), (360, "dark")] {
            browser.resize(width, scheme).await;
            let report = browser
                .wait_for(&format!(
                    "{axe}; const found = await axe.run(document, {{ resultTypes: ['violations'] }}); \
                     return found.violations.map(v => v.id + ': ' + v.help + ' @ ' + v.nodes.map(n => n.html).join(' | '));"
                ))
                .await;
            assert_eq!(
                report,
                serde_json::json!([]),
                "/{place} at {width} {scheme}"
            );
        }
    }
}

/// The checker, fetched once and checked by its hash.
fn axe() -> String {
    let got = std::process::Command::new("tests/browser/axe")
        .output()
        .unwrap();
    assert!(
        got.status.success(),
        "tests/browser/axe: {}",
        String::from_utf8_lossy(&got.stderr)
    );
    std::fs::read_to_string(String::from_utf8(got.stdout).unwrap().trim()).unwrap()
}

#[tokio::test]
async fn the_keyboard_reaches_everything_in_order() {
    let browser = Browser::open().await;
    let demo = Demo::start(&["--fault", "black-hole"]);
    browser.go(&demo.page).await;
    browser
        .until("document.querySelector('.finding button.copy')", LOADED)
        .await;
    // The first key leads past the bar to the state.
    browser.press(TAB).await;
    browser
        .until("document.activeElement.className === 'skip'", SEEN)
        .await;
    // Then everything that can be used, each with a visible mark, in the order of the page.
    let mut seen = Vec::new();
    for _ in 0..120 {
        browser.press(TAB).await;
        let on = browser
            .run(
                "const e = document.activeElement; if (e === document.body) return null; \
                 const r = e.getBoundingClientRect(), s = getComputedStyle(e); \
                 return [e.tagName, e.textContent.trim().slice(0, 40), r.width > 0, s.outlineStyle !== 'none']",
            )
            .await;
        if on.is_null() {
            break;
        }
        assert_eq!(on[2], true, "an invisible thing has the focus: {on}");
        assert_eq!(on[3], true, "the focus cannot be seen: {on}");
        seen.push(format!(
            "{} {}",
            on[0].as_str().unwrap(),
            on[1].as_str().unwrap()
        ));
    }
    for part in [
        "A ◉ pnwatch",
        "A account acme",
        "BUTTON Copy",
        "A Runbook",
        "A Budgets",
    ] {
        assert!(
            seen.iter().any(|on| on.starts_with(part)),
            "{part} cannot be reached by keys: {seen:#?}"
        );
    }
}

#[tokio::test]
async fn without_scripts_the_state_still_reads() {
    let browser = Browser::open().await;
    let demo = Demo::start(&["--fault", "black-hole"]);
    let (_, line) = demo.next("opened");
    let account = line["finding"]["account"].as_str().unwrap();
    browser.without_scripts().await;
    let deadline = std::time::Instant::now() + LOADED;
    loop {
        browser.go(&demo.page).await;
        let spoken = browser.spoken().await;
        let says = |role: &str, part: &str| {
            spoken
                .iter()
                .any(|(r, name)| r == role && name.contains(part))
        };
        if says("heading", &format!("account {account}"))
            && says("StaticText", "Without JavaScript this page does not move")
            && says("link", "Runbook PNAccountUnreachable")
            && says("columnheader", "Account")
        {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{spoken:#?}");
    }
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
        for (width, most) in [(2560, 1_300), (1280, 1_200), (360, 1_600)] {
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
    for path in PLACES {
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
