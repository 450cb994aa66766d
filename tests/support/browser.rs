//! Debian's Chromium, without a window, on a page.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use headless_chrome::protocol::cdp::Emulation::SetDeviceMetricsOverride;
use headless_chrome::protocol::cdp::Network;
use headless_chrome::protocol::cdp::Page::CaptureScreenshotFormatOption;
use headless_chrome::protocol::cdp::types::Event;
use headless_chrome::{Browser, LaunchOptions, Tab};
use serde_json::Value;

use super::scene::Scene;
use super::wait::{PATIENCE, eventually, until};

const CHROMIUM: &str = "/usr/bin/chromium";

/// The browser talks to nobody but the page's server.
const FLAGS: [&str; 6] = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
];

/// A page in a browser of its own, which ends with it.
pub(crate) struct Page {
    tab: Arc<Tab>,
    /// What the browser's log says: violations of the policy, failed requests, errors.
    log: Arc<Mutex<Vec<String>>>,
    _browser: Browser,
}

impl Page {
    /// Opens a page in a window of this size.
    #[track_caller]
    pub(crate) fn open(scene: &Scene, url: &str, (width, height): (u32, u32)) -> Page {
        assert!(
            Path::new(CHROMIUM).exists(),
            "no {CHROMIUM}: install it (on Debian: apt-get install chromium), or leave the browser's tests out with TOWPATH_TEST_SKIP=browser"
        );
        let (name, value) = scene.mark();
        let environment = HashMap::from([(name.to_owned(), value.to_owned())]);
        let options = LaunchOptions::default_builder()
            .path(Some(CHROMIUM.into()))
            // Its sandbox doesn't work for root; what it shows is our own page.
            .sandbox(false)
            .user_data_dir(Some(scene.path("browser")))
            .idle_browser_timeout(PATIENCE * 10)
            .process_envs(Some(environment))
            .args(FLAGS.iter().map(OsStr::new).collect())
            .build()
            .unwrap();
        let browser = Browser::new(options).unwrap_or_else(|error| panic!("Chromium doesn't start: {error:#}"));
        let tab = browser.new_tab().unwrap();
        tab.set_default_timeout(PATIENCE);
        let page = Page { tab, log: Arc::default(), _browser: browser };
        page.listen();
        page.resize((width, height));
        page.go_to(url);
        page
    }

    fn listen(&self) {
        let log = self.log.clone();
        self.tab.enable_log().unwrap();
        self.tab.enable_runtime().unwrap();
        let listener = move |event: &Event| match event {
            Event::LogEntryAdded(event) => {
                let entry = &event.params.entry;
                log.lock().unwrap().push(format!("{:?}: {}", entry.source, entry.text));
            }
            Event::RuntimeExceptionThrown(event) => {
                log.lock().unwrap().push(format!("exception: {:?}", event.params.exception_details));
            }
            _ => {}
        };
        self.tab.add_event_listener(Arc::new(listener)).unwrap();
    }

    /// Goes to another page, and waits until its script has begun.
    #[track_caller]
    pub(crate) fn go_to(&self, url: &str) {
        self.tab.navigate_to(url).unwrap();
        until("the page", || self.has("#connection, #drop"));
    }

    /// Makes the window another size; a narrow one is a phone's.
    pub(crate) fn resize(&self, (width, height): (u32, u32)) {
        let metrics = SetDeviceMetricsOverride {
            width,
            height,
            device_scale_factor: 1.0,
            mobile: width < 500,
            scale: None,
            screen_width: None,
            screen_height: None,
            position_x: None,
            position_y: None,
            dont_set_visible_size: None,
            screen_orientation: None,
            viewport: None,
            display_feature: None,
            device_posture: None,
        };
        self.tab.call_method(metrics).unwrap();
    }

    /// The value of an expression, as JSON has it.
    #[track_caller]
    pub(crate) fn eval(&self, expression: &str) -> Value {
        self.eval_promise(&format!("Promise.resolve({expression})"))
    }

    /// What a promise gives, as JSON has it.
    #[track_caller]
    pub(crate) fn eval_promise(&self, promise: &str) -> Value {
        let text = format!("({promise}).then(JSON.stringify)");
        let result = self.tab.evaluate(&text, true).unwrap_or_else(|error| panic!("{promise}: {error:#}"));
        result.value.and_then(|value| serde_json::from_str(value.as_str()?).ok()).unwrap_or(Value::Null)
    }

    /// Whether there is such an element, and it is to be seen.
    #[track_caller]
    pub(crate) fn has(&self, selector: &str) -> bool {
        self.eval(&format!("!!document.querySelector({selector:?})?.checkVisibility()")) == true
    }

    /// An element's text; empty if there is none, or it isn't to be seen.
    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let found = self.eval(&format!("document.querySelector({selector:?})?.innerText ?? ''"));
        found.as_str().unwrap_or_default().trim().to_owned()
    }

    /// An element's attribute.
    #[track_caller]
    pub(crate) fn attribute(&self, selector: &str, name: &str) -> String {
        let found = self.eval(&format!("document.querySelector({selector:?})?.getAttribute({name:?})"));
        found.as_str().unwrap_or_default().to_owned()
    }

    /// The texts of the lines that are in the DOM.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<String> {
        let found = self.eval("[...document.querySelectorAll('#lines .line')].map(line => line.textContent)");
        found.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// Waits until an element's text contains this.
    #[track_caller]
    pub(crate) fn wait_text(&self, selector: &str, text: &str) {
        let mut last = String::new();
        eventually(format!("{text:?} in {selector}"), || {
            let now = self.text(selector);
            if now != last {
                eprintln!("{selector}: {now:?}"); // shown if the wait is in vain
                last.clone_from(&now);
            }
            now.contains(text).then_some(())
        });
    }

    /// Waits until there is such an element to be seen.
    #[track_caller]
    pub(crate) fn wait(&self, selector: &str) {
        until(selector, || self.has(selector));
    }

    /// Clicks in an element's middle.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        self.tab.find_element(selector).unwrap().click().unwrap_or_else(|error| panic!("{selector}: {error:#}"));
    }

    /// Clicks where an element may be that goes by itself at any moment.
    pub(crate) fn click_if_there(&self, selector: &str) {
        if let Ok(element) = self.tab.find_element(selector) {
            let _ = element.click();
        }
    }

    /// Presses a key: `a`, `Enter`, `Escape`.
    pub(crate) fn key(&self, name: &str) {
        self.tab.press_key(name).unwrap();
    }

    /// Types into what has the focus.
    pub(crate) fn type_text(&self, text: &str) {
        self.tab.type_str(text).unwrap();
    }

    /// Holds what is sent to so many bytes a second; -1 for as many as come.
    pub(crate) fn slow_down(&self, bytes: i32) {
        let enable = Network::Enable {
            max_total_buffer_size: None,
            max_resource_buffer_size: None,
            max_post_data_size: None,
            report_direct_socket_traffic: None,
            enable_durable_messages: None,
        };
        self.tab.call_method(enable).unwrap();
        let conditions = Network::EmulateNetworkConditions {
            offline: false,
            latency: 0.0,
            download_throughput: -1.0,
            upload_throughput: bytes.into(),
            connection_Type: None,
            packet_loss: None,
            packet_queue_length: None,
            packet_reordering: None,
        };
        self.tab.call_method(conditions).unwrap();
    }

    /// A picture of what is to be seen, as PNG.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        self.tab.capture_screenshot(CaptureScreenshotFormatOption::Png, None, None, true).unwrap()
    }

    /// What the browser complained of.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}
