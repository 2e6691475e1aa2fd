//! The page in a real browser, over a real daemon: on a phone and on a screen, light and dark, with
//! and without scripts, by keyboard. Chromium is found by `CHROMIUM` or on the `PATH`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

mod browser;
mod world;

use self::browser::{Browser, Tab};
use self::world::World;
use serde_json::{Value, json};
use std::time::Duration;

/// The promised weight of the home page with its style and script.
const MOST_BYTES: usize = 100 * 1_024;

/// Waits until there is something, for at most half a minute: less than a page waits for its stream
/// before it connects again by itself.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..300 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("there is no {what} after half a minute");
}

/// Guarantees that every page fits a phone and a screen in light and dark, says its first thing on
/// the first screen, can be read, complains of nothing and asks no other host.
#[tokio::test]
#[ignore = "needs chromium"]
async fn pages_look_right_on_every_screen() {
    let (world, browser) = (World::start().await, Browser::start().await);
    let mut tab = browser.tab().await;
    let incident = world.incident().await.unwrap();
    let run = world.failed_run().await.unwrap();
    let paths = ["/", "/slos/broken-up", "/probes/broken", "/changes"].map(str::to_owned);
    let paths: Vec<String> = paths
        .into_iter()
        .chain([format!("/runs/{run}"), format!("/incidents/{incident}")])
        .collect();
    for (width, scheme) in [(390, "light"), (390, "dark"), (1_440, "light"), (1_440, "dark")] {
        tab.screen(width, scheme).await;
        for path in &paths {
            tab.open(&format!("{}{path}", world.page)).await;
            let place = format!("{path} at {width}, {scheme}");
            let seen = tab.value(include_str!("looks.js")).await;
            assert!(seen["scroll_width"].as_u64() <= Some(width.into()), "{place}: {seen:#}");
            assert_eq!(seen["heading_is_on_the_first_screen"], json!(true), "{place}: {seen:#}");
            assert_eq!(seen["pale"], json!([]), "{place}: {seen:#}");
            let trouble = trouble(&tab, &world.page);
            assert!(trouble.is_empty(), "{place}: {trouble:#?}");
        }
    }
}

/// Guarantees that without scripts the same verdict and the same tables are there.
#[tokio::test]
#[ignore = "needs chromium"]
async fn pages_need_no_script() {
    const SAID: &str = "JSON.stringify([document.querySelector('h1').textContent, \
        [...document.querySelectorAll('.budgets th.name a, .probe h3')].map(e => e.textContent), \
        document.querySelectorAll('.budgets td').length])";
    let (world, browser) = (World::start().await, Browser::start().await);
    let mut tab = browser.tab().await;
    tab.open(&world.page).await;
    let with = tab.value(SAID).await;
    let disabled = json!({ "value": true });
    let _ = tab.call("Emulation.setScriptExecutionDisabled", disabled).await;
    tab.open(&world.page).await;
    assert_eq!(tab.value("document.getElementById('live').textContent").await, json!(""));
    assert_eq!(tab.value(SAID).await, with);
    assert!(with.as_str().unwrap().contains("Paging: broken-up"), "{with}");
}

/// Guarantees that an open page shows a new run by itself, without being loaded again.
#[tokio::test]
#[ignore = "needs chromium"]
async fn an_open_page_stays_current() {
    const NEWEST: &str = "document.querySelector('[data-key=fine] a.run').getAttribute('href')";
    let (world, browser) = (World::start().await, Browser::start().await);
    let mut tab = browser.tab().await;
    tab.open(&world.page).await;
    let _ = tab.value("window.stayed = true").await;
    // One change may be that of the stream's opening; the second is an event's.
    let mut tab = Some(tab);
    for _ in 0..2 {
        let before = tab.as_mut().unwrap().value(NEWEST).await;
        wait_for("newer run on the page", async || {
            (tab.as_mut()?.value(NEWEST).await != before).then_some(())
        })
        .await;
    }
    let mut tab = tab.unwrap();
    assert_eq!(tab.value("window.stayed").await, json!(true), "it was loaded again");
    assert_eq!(tab.value("document.getElementById('live').className").await, json!("live"));
    assert_eq!(trouble(&tab, &world.page), Vec::<String>::new());
}

/// Guarantees that the keyboard reaches the skip link first, that it leads to the content, and that
/// every stop is visible.
#[tokio::test]
#[ignore = "needs chromium"]
async fn the_keyboard_is_enough() {
    const FOCUS: &str = "(() => { const e = document.activeElement, r = e.getBoundingClientRect(); \
        return [e.className, e.id, r.width > 0 && r.height > 0 && r.bottom > 0]; })()";
    let (world, browser) = (World::start().await, Browser::start().await);
    let mut tab = browser.tab().await;
    tab.screen(1_440, "light").await;
    tab.open(&world.page).await;
    tab.press("Tab", 9).await;
    assert_eq!(tab.value(FOCUS).await, json!(["skip", "", true]));
    tab.press("Tab", 9).await;
    assert_eq!(tab.value(FOCUS).await, json!(["brand", "", true]));
    let _ = tab.value("document.querySelector('.skip').focus()").await;
    tab.press("Enter", 13).await;
    let _ = tab.value("document.querySelector('.skip').click()").await;
    assert_eq!(tab.value(FOCUS).await, json!(["", "main", true]));
    tab.press("Tab", 9).await;
    let inside = "document.getElementById('main').contains(document.activeElement)";
    assert_eq!(tab.value(inside).await, json!(true));
}

/// Guarantees the promised weight: page, style and script together, as they are sent.
#[tokio::test]
#[ignore = "needs chromium"]
async fn the_page_is_light() {
    let (world, mut weight) = (World::start().await, 0);
    for path in ["/", "/page/style.css", "/page/script.js"] {
        weight += world.weight(path).await;
    }
    assert!(weight < MOST_BYTES, "{weight} bytes");
}

/// What a page complained of: exceptions, errors, requests that failed or went elsewhere.
fn trouble(tab: &Tab, home: &str) -> Vec<String> {
    let wrong = |event: &Value| {
        let params = &event["params"];
        match event["method"].as_str()? {
            "Runtime.exceptionThrown" => Some(params.to_string()),
            "Runtime.consoleAPICalled" if params["type"] == "error" => Some(params.to_string()),
            "Log.entryAdded" if params["entry"]["level"] == "error" => Some(params.to_string()),
            // What was under way when the page was left is cancelled.
            "Network.loadingFailed" if params["canceled"] != json!(true) => {
                Some(params.to_string())
            }
            "Network.responseReceived" if params["response"]["status"].as_u64() >= Some(400) => {
                Some(params["response"]["url"].to_string())
            }
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str()?;
                let ours = url.starts_with(home) || url.starts_with("data:");
                (!ours).then(|| format!("a request to {url}"))
            }
            _ => None,
        }
    };
    tab.events().iter().filter_map(wrong).collect()
}
