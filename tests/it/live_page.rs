//! The page of a live run, driven in a real Chromium.

use rustix::process::Signal;

use crate::support::browser::Page;
use crate::support::live::{LINGER, Live};
use crate::support::proxy::Proxy;
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::until;

const WIDE: (u32, u32) = (1280, 800);
const NARROW: (u32, u32) = (390, 844);

#[test]
fn lines_appear_as_they_are_written_and_the_end_with_its_code() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let script = "echo one; await a; echo two >&2; await b; echo three; exit 3";
    let live = scene.serve(&[LINGER, &["--once", "demo"]].concat(), script);
    let page = Page::open(&scene, &live.url, WIDE);
    page.wait_text("#lines", "one");
    page.wait("#state[data-state=running]");
    page.wait("#connection[data-now=live]");
    assert_eq!((page.text("#state-text"), page.text("#key")), ("Running".to_owned(), "demo".to_owned()));
    assert!(page.text("#command").starts_with("sh -c "), "{}", page.text("#command"));
    assert!(!page.has("#lines .mark"));
    scene.touch("a");
    page.wait_text("#lines", "two");
    assert!(page.has("#lines .line.err[data-n='2']"), "stderr isn't marked");
    assert!(page.has("#lines .line[data-n='1']:not(.err)"));
    scene.touch("b");
    page.wait("#state[data-state=failed]");
    assert_eq!(page.text("#state-text"), "Failed with exit code 3");
    page.wait_text("#lines .mark.failed", "exit code 3");
    assert_eq!(page.lines(), ["one", "two", "three"]);
    page.wait("#connection[data-now=done]");
    assert!(page.eval("document.title").as_str().unwrap().contains("exit code 3"));
    assert_eq!(page.complaints(), [""; 0]);
    // Who comes late sees the same.
    page.go_to(&live.url);
    page.wait("#state[data-state=failed]");
    page.wait("#lines .mark.failed");
    assert_eq!(page.lines(), ["one", "two", "three"]);
    assert_eq!(live.dismiss(&scene), Some(3));
}

#[test]
fn a_success_is_told_too_and_so_is_a_signal() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let live = scene.serve(LINGER, "exit 0");
    let page = Page::open(&scene, &live.url, WIDE);
    page.wait("#state[data-state=success]");
    assert_eq!(page.text("#state-text"), "Success");
    page.wait("#lines .mark.success");
    let killed = scene.serve(LINGER, "kill -KILL $$");
    page.go_to(&killed.url);
    page.wait_text("#state-text", "signal 9");
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
fn text_stays_text_whatever_it_says() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let texts = [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "</div></main><h1>out</h1>",
        "&lt;b&gt; &amp; \"quoted\" 'so'",
        "javascript:alert(1)",
    ];
    std::fs::write(scene.path("lines"), texts.join("\n") + "\n").unwrap();
    // In the command too, and as an event of the stream.
    let script =
        "cat lines; printf 'event: end\\ndata: {\"exit_code\":0}\\n\\n'; : '<script>alert(2)</script>'; await go";
    let live = scene.serve(LINGER, script);
    let page = Page::open(&scene, &live.url, WIDE);
    page.wait_text("#count-lines", "8 lines");
    until("the lines", || page.lines().len() == 8);
    assert_eq!(page.lines()[..5], texts);
    assert_eq!(page.lines()[5], "event: end");
    assert!(page.has("#state[data-state=running]"));
    assert!(page.text("#command").contains("<script>alert(2)</script>"));
    // Nothing of it became an element.
    assert_eq!(page.eval("document.querySelectorAll('#lines script, #lines img, #lines h1, h1 script').length"), 0);
    assert_eq!(page.eval("document.querySelectorAll('script').length"), 1);
    assert_eq!(page.complaints(), [""; 0]);
    // And if it did, the policy would not let it run.
    page.eval("document.body.append(Object.assign(document.createElement('img'), { src: 'http://192.0.2.1/x' })) ?? 1");
    until("a violation of the policy", || {
        page.complaints().iter().any(|line| line.contains("Content Security Policy"))
    });
    scene.touch("go");
    assert_eq!(live.dismiss(&scene), Some(0));
}

#[test]
fn search_goes_from_match_to_match() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let live = scene.serve(LINGER, "for i in $(seq 1 500); do echo \"line $i\"; done");
    let page = Page::open(&scene, &live.url, WIDE);
    page.wait_text("#count-lines", "500 lines");
    page.wait("#state[data-state=success]");
    // By the keyboard alone.
    page.key("/");
    page.type_text("LINE 7");
    page.wait_text("#search-count", "11 lines");
    page.key("Enter");
    page.wait_text("#search-count", "11 of 11");
    page.wait_text(".line.now", "line 79");
    page.key("Enter");
    page.wait_text("#search-count", "1 of 11");
    page.wait_text(".line.now", "line 7");
    assert_eq!(page.attribute("#follow", "aria-pressed"), "false");
    page.key("Escape");
    assert_eq!(page.text("#search-count"), "");
    // A regex, and one that is none.
    page.click("#search");
    page.type_text("/^line (1|2)$/");
    page.wait_text("#search-count", "1 of 2");
    page.key("Escape");
    page.click("#search");
    page.type_text("/(/");
    page.wait_text("#search-error", "Not a valid regex");
    page.key("Escape");
    page.wait("#search-error[hidden], body:not(:has(#search-error:not([hidden])))");
    // Back to the end.
    page.key("e");
    until("following", || page.attribute("#follow", "aria-pressed") == "true");
    page.wait_text("#lines", "line 500");
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
fn a_filter_shows_or_hides_lines_as_they_come() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let script = "for i in $(seq 1 500); do echo \"line $i\"; done; await go; echo line 501 0; echo none; exit 3";
    let live = scene.serve(LINGER, script);
    let page = Page::open(&scene, &live.url, WIDE);
    page.wait_text("#count-lines", "500 lines");
    page.key("f");
    page.type_text("0");
    page.wait_text("#count-shown", "86 of 500 shown");
    scene.touch("go");
    page.wait_text("#count-shown", "87 of 502 shown");
    page.wait("#lines .mark.failed");
    until("only matching lines", || page.lines().iter().all(|line| line.contains('0')));
    page.eval("(() => { const mode = document.querySelector('#filter-mode'); mode.value = 'hide'; mode.dispatchEvent(new Event('change')); return 1; })()");
    page.wait_text("#count-shown", "415 of 502 shown");
    until("only other lines", || page.lines().iter().all(|line| !line.contains('0')));
    page.key("Escape");
    until("no filter", || !page.has("#count-shown"));
    page.wait_text("#lines", "line 501 0");
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
fn a_pause_holds_new_lines_and_follow_can_be_left() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let script = "seq 1 200; await a; seq 201 300; await b; echo last; exit 3";
    let live = scene.serve(LINGER, script);
    let page = Page::open(&scene, &live.url, WIDE);
    page.wait_text("#lines", "200");
    page.key("p");
    page.wait("#pause[data-paused=true]");
    scene.touch("a");
    page.wait_text("#count-held", "100 lines held");
    assert!(!page.lines().iter().any(|line| line == "201"));
    page.click("#pause");
    page.wait_text("#lines", "300");
    assert!(!page.has("#count-held"));
    // Up by a page: new lines no longer move what is read.
    page.eval("(document.querySelector('#lines').scrollTop = 0) + 1");
    until("not following", || page.attribute("#follow", "aria-pressed") == "false");
    page.wait_text("#lines", "1\n2\n3\n");
    page.wait("#jump");
    scene.touch("b");
    page.wait("#state[data-state=failed]");
    page.wait_text("#jump", "1 new line");
    assert_eq!(page.eval("document.querySelector('#lines').scrollTop"), 0);
    page.click("#jump");
    page.wait_text("#lines", "last");
    page.wait("#follow[aria-pressed=true]");
    // The view's switches.
    let wraps = page.attribute("#wrap", "aria-pressed");
    page.key("w");
    assert_ne!(page.attribute("#wrap", "aria-pressed"), wraps);
    page.key("l");
    assert_eq!(page.attribute("#numbers", "aria-pressed"), "true");
    page.key("?");
    page.wait("#help[open]");
    page.key("Escape");
    until("no help", || !page.has("#help"));
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
fn what_is_no_longer_kept_is_marked() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let live = scene.serve(&[LINGER, &["--keep", "64KiB"]].concat(), "seq 1 20000; exit 3");
    live.wait_ended(&scene);
    let page = Page::open(&scene, &live.url, WIDE);
    page.wait("#state[data-state=failed]");
    page.wait("#count-lost");
    // The mark is where the lines are missing, far above the end.
    page.eval("(document.querySelector('#lines').scrollTop = 0) + 1");
    page.wait("#lines .mark.gap");
    let mark = page.text("#lines .mark.gap");
    assert!(mark.contains("lost") && mark.contains("no longer kept"), "{mark}");
    assert_eq!(page.complaints(), [""; 0]);
}

#[test]
fn a_lost_connection_is_told_and_resumed_and_another_run_is_never_taken_for_it() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let live = scene.serve(LINGER, "echo one; await a; echo two; exec sleep 1000");
    let proxy = Proxy::to(live.address());
    let page = Page::open(&scene, &proxy.url(), WIDE);
    page.wait_text("#lines", "one");
    proxy.aim(None);
    proxy.cut();
    page.wait("#state[data-state=lost]");
    page.wait("#connection[data-now=lost]");
    assert_eq!(page.text("#state-text"), "Reconnecting");
    page.wait_text("#lost", "Connection lost");
    scene.touch("a");
    live.run.wait_out("two");
    proxy.aim(Some(live.address()));
    // It tries by itself too, and may have been quicker.
    page.click_if_there("#retry");
    page.wait_text("#lines", "two");
    page.wait("#state[data-state=running]");
    until("no notice", || !page.has("#lost"));
    assert_eq!(page.lines(), ["one", "two"]);
    // Then it is gone, and another is in its place.
    let second = scene.serve(LINGER, "echo other; exit 0");
    live.run.send(Signal::KILL);
    proxy.aim(Some(second.address()));
    page.wait_text("#another", "This is another run");
    page.wait_text("#lines", "other");
    assert!(page.has("#lines .mark.other"), "nothing between the runs");
    page.wait("#state[data-state=success]");
}

#[test]
fn a_token_opens_the_page_and_its_stream_by_a_password() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    std::fs::write(scene.path("token"), "s3cret\n").unwrap();
    let live = scene.serve(&[LINGER, &["--token-file", &scene.name("token")]].concat(), "echo one; exec sleep 1000");
    let proxy = Proxy::to(live.address());
    let page = Page::open(&scene, &proxy.url().replace("://", "://me:s3cret@"), WIDE);
    page.wait_text("#lines", "one");
    page.wait("#state[data-state=running]");
    // Cut, it asks for the status: without an answer it would say so.
    proxy.cut();
    page.wait("#connection[data-now=lost]");
    page.wait("#connection[data-now=live]");
    assert_eq!(page.lines(), ["one"]);
    assert!(page.eval("performance.getEntriesByType('resource').some(it => it.name.endsWith('/status'))") == true);
}

/// What a run's page looks like, for `docs/`: `TOWPATH_TEST_SCREENSHOTS=1` writes it there.
#[test]
fn it_fits_a_wide_window_and_a_phone() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    scene.script("nightly-backup", BACKUP);
    let live = picture_run(&scene);
    let page = Page::open(&scene, &live.url, WIDE);
    page.wait_text("#lines", "retrying");
    scene.touch("retried");
    page.wait_text("#lines", "17 s more");
    page.key("/");
    page.type_text("orders");
    page.wait_text("#search-count", "lines");
    page.key("Enter");
    page.key("Enter");
    page.wait(".line.now");
    assert_fits(&page, WIDE);
    picture(&page, "page-wide.png");

    page.resize(NARROW);
    page.go_to(&live.url);
    page.wait("#find-toggle");
    assert!(!page.has("#search"), "the fields take the phone's screen");
    page.click("#find-toggle");
    page.wait("#search");
    page.type_text("retry");
    page.wait_text("#search-count", "line");
    page.click("#find-toggle");
    until("no fields", || !page.has("#search"));
    scene.touch("go");
    page.wait("#state[data-state=failed]");
    page.wait("#lines .mark.failed");
    assert_fits(&page, NARROW);
    picture(&page, "page-narrow.png");
    assert_eq!(page.complaints(), [""; 0]);
}

const BACKUP: &str = r#"#!/bin/bash
say() { printf '\e[2m02:00:%s\e[0m %b\n' "$1" "$2"; }
say 00 'dump of \e[1morders\e[0m begins, 4 tables'
second=1
for table in orders:18,204 order_lines:96,511 customers:7,340 invoices:18,177; do
    say 0$second "\e[36m${table%:*}\e[0m: reading"
    say 0$((second + 1)) "\e[36m${table%:*}\e[0m: ${table#*:} rows, \e[32mok\e[0m"
    second=$((second + 2))
done
say 17 'packing into orders-2026-11-21.tar.zst'
say 29 'packed: 166.8 MiB to 48.2 MiB (ratio 3.5)'
say 30 'uploading to s3://archive/nightly/orders-2026-11-21.tar.zst'
for part in 1 2 3 4 5 6; do say 3$part "part $part of 7: \e[32mstored\e[0m"; done
echo 'part 7 of 7: 503 Slow Down, retrying in 2 s' >&2
until [ -e retried ]; do sleep 0.02; done
say 41 'part 7 of 7: \e[33mslow\e[0m, 0.4 MiB/s; at this rate it takes 17 s more, and uploads end at 03:00:00 (see upload_until in the settings)'
until [ -e go ]; do sleep 0.02; done
echo 'part 7 of 7: 503 Slow Down, giving up after 5 tries' >&2
exit 3
"#;

fn picture_run(scene: &Scene) -> Live {
    let flags = [&["-v", "--listen", "127.0.0.1:0", "--once", "nightly-backup"], LINGER].concat();
    let run = scene.start(&flags, &["./nightly-backup", "--to", "s3://archive/nightly"]);
    run.wait_err("live at http://");
    let url = run.err().split("live at ").nth(1).unwrap().lines().next().unwrap().to_owned();
    Live { run, url }
}

/// Nothing sticks out of the window, and every control is within it.
#[track_caller]
fn assert_fits(page: &Page, (width, height): (u32, u32)) {
    assert!(page.eval("document.documentElement.scrollWidth").as_u64().unwrap() <= width.into());
    assert!(page.eval("document.documentElement.scrollHeight").as_u64().unwrap() <= height.into());
    let outside = page.eval(
        "[...document.querySelectorAll('header, footer, #acts, #acts > *, #find, #lines')].filter(it => it.checkVisibility())
            .filter(it => { const box = it.getBoundingClientRect(); return box.left < 0 || box.right > innerWidth || box.bottom > innerHeight + 1; })
            .map(it => it.id || it.tagName)",
    );
    assert_eq!(outside, serde_json::json!([]), "outside the window");
}

fn picture(page: &Page, name: &str) {
    // The picture is of no particular machine.
    page.eval("(document.querySelector('#host').textContent = 'web1').length");
    let png = page.screenshot();
    assert!(png.starts_with(b"\x89PNG"));
    if std::env::var_os("TOWPATH_TEST_SCREENSHOTS").is_some_and(|value| value == "1") {
        std::fs::write(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name), png).unwrap();
    }
}
