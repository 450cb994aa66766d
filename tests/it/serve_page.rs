//! The page of a served folder, driven in a real Chromium.

use std::fs;

use crate::support::browser::Page;
use crate::support::scene::Scene;
use crate::support::skipped;
use crate::support::wait::until;

const WIDE: (u32, u32) = (1280, 800);
const NARROW: (u32, u32) = (390, 844);

/// Drops files, each of `[name, text]`, as a hand would.
fn drop_files(page: &Page, files: &str) {
    page.eval(&format!(
        "(() => {{ const data = new DataTransfer();
           for (const [name, text] of {files}) data.items.add(new File([text], name));
           for (const type of ['dragenter', 'dragover', 'drop'])
             document.body.dispatchEvent(new DragEvent(type, {{ bubbles: true, cancelable: true, dataTransfer: data }}));
           return 1; }})()"
    ));
}

#[test]
fn dropped_files_are_sent_listed_and_given_back() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let page = Page::open(&scene, &inbox.url, WIDE);
    page.wait_text("#none", "Nothing is here yet");
    let hard = "grün & <b>\"100%\"?#.txt";
    let files = serde_json::json!([["a.txt", "alpha"], [hard, "beta"], ["empty", ""]]).to_string();
    drop_files(&page, &files);
    until("three stored files", || page.eval("document.querySelectorAll('li[data-state=stored]').length") == 3);
    page.wait_text("#total", "3 stored");
    page.wait_text("#count", "3 files");
    for (name, content) in [("a.txt", "alpha"), (hard, "beta"), ("empty", "")] {
        assert_eq!(inbox.read(name), content.as_bytes(), "{name}");
    }
    // What the list links to is what was sent.
    let fetched = page.eval_promise(
        "Promise.all([...document.querySelectorAll('td.name a')].map(async a => [a.textContent, a.download, await (await fetch(a.href)).text()]))",
    );
    let mut fetched: Vec<[String; 3]> = serde_json::from_value(fetched).unwrap();
    fetched.sort_unstable();
    let expect = |name: &str, text: &str| [name.to_owned(), name.to_owned(), text.to_owned()];
    assert_eq!(fetched, [expect("a.txt", "alpha"), expect("empty", ""), expect(hard, "beta")]);
    // Names stay text.
    assert_eq!(page.eval("document.querySelectorAll('td b, li b').length"), 0);
    assert_eq!(page.complaints(), [""; 0]);
    inbox.stop();
}

#[test]
fn a_taken_name_fails_with_its_reason_and_the_others_go_on() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    fs::write(inbox.root.join("a.txt"), "old").unwrap();
    let page = Page::open(&scene, &inbox.url, WIDE);
    page.wait_text("#count", "1 file");
    drop_files(&page, "[['a.txt', 'new'], ['b.txt', 'beta']]");
    page.wait_text("li[data-state=failed] .told", "a file of that name is there already");
    page.wait("li[data-state=stored]");
    page.wait_text("#total", "1 stored, 1 failed");
    assert_eq!((inbox.read("a.txt"), inbox.read("b.txt")), (b"old".to_vec(), b"beta".to_vec()));
    // By the keyboard alone: the list of what was sent goes.
    page.eval("(document.querySelector('#clear').focus(), 1)");
    page.key("Enter");
    until("an empty list", || !page.has("#sending-part"));
    assert_eq!(page.eval("document.activeElement.id"), "choose");
    inbox.stop();
}

#[test]
fn progress_is_shown_and_a_cancelled_upload_leaves_nothing() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let page = Page::open(&scene, &inbox.url, WIDE);
    page.wait_text("#none", "Nothing is here yet");
    // Slow enough to be seen, on any machine.
    page.slow_down(200_000);
    page.eval(
        "(() => { const data = new DataTransfer(); data.items.add(new File([new Uint8Array(8 << 20)], 'big.bin'));
           document.dispatchEvent(new DragEvent('drop', { cancelable: true, dataTransfer: data })); return 1; })()",
    );
    page.wait("li[data-state=sending]");
    until("progress", || page.eval("document.querySelector('#sending progress').value > 0") == true);
    page.wait_text("li .told", "/s");
    assert!(page.eval("document.title").as_str().unwrap().contains('%'));
    page.click("li button");
    page.wait_text("li[data-state=cancelled] .told", "nothing of it is stored");
    page.slow_down(-1);
    until("the server's end of it", || inbox.run.err().contains("not stored: big.bin"));
    assert_eq!(inbox.names(), [""; 0]);
    // Again, at full speed.
    page.click("li button");
    page.wait("li[data-state=stored]");
    assert_eq!(inbox.read("big.bin").len(), 8 << 20);
    inbox.stop();
}

#[test]
fn a_file_is_deleted_where_that_is_allowed() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let inbox = scene.inbox(&["--allow-delete"]);
    fs::write(inbox.root.join("a.txt"), "alpha").unwrap();
    fs::write(inbox.root.join("b.txt"), "beta").unwrap();
    let page = Page::open(&scene, &inbox.url, WIDE);
    page.wait_text("#count", "2 files");
    page.eval("(window.confirm = () => true, 1)");
    page.click("button[aria-label='Delete a.txt']");
    page.wait_text("#count", "1 file");
    assert_eq!(inbox.names(), ["b.txt"]);
    inbox.stop();
}

#[test]
fn a_stored_page_does_not_run_as_ours() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    fs::write(inbox.root.join("evil.html"), "<script>document.title = 'ran'</script>").unwrap();
    let page = Page::open(&scene, &inbox.url, WIDE);
    page.wait_text("#count", "1 file");
    page.eval(
        "(() => { const frame = document.createElement('iframe'); frame.src = 'files/evil.html'; document.body.append(frame); return 1; })()",
    );
    until("a refusal", || page.complaints().iter().any(|line| line.contains("Content Security Policy")));
    assert_eq!(page.eval("document.title"), "Files");
    inbox.stop();
}

/// What the page looks like, for `docs/`: `TOWPATH_TEST_SCREENSHOTS=1` writes it there.
#[test]
fn it_fits_a_wide_window_and_a_phone() {
    if skipped("browser") {
        return;
    }
    let scene = Scene::new();
    let inbox = scene.inbox(&["--allow-delete"]);
    let night = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_792_900_000);
    for (number, (name, size)) in [
        ("orders-2026-11-21.sql.gz", 48_211_033),
        ("orders-2026-11-20.sql.gz", 47_903_112),
        ("web1 access log, a name that is long enough to need more than one line on a phone.txt", 1_482_204),
        ("README", 812),
    ]
    .into_iter()
    .enumerate()
    {
        let file = fs::File::create(inbox.root.join(name)).unwrap();
        file.set_len(size).unwrap();
        file.set_modified(night - std::time::Duration::from_secs(3_600 * number as u64)).unwrap();
    }
    let page = Page::open(&scene, &inbox.url, WIDE);
    page.wait_text("#count", "4 files");
    drop_files(&page, "[['invoice.pdf', 'x'.repeat(250000)], ['README', 'another']]");
    page.wait_text("#total", "1 stored, 1 failed");
    page.wait_text("#count", "5 files");
    page.slow_down(400_000);
    page.eval(
        "(() => { const data = new DataTransfer(); data.items.add(new File([new Uint8Array(16 << 20)], 'photos.zip'));
           document.dispatchEvent(new DragEvent('drop', { cancelable: true, dataTransfer: data })); return 1; })()",
    );
    until("some of it", || {
        page.eval("document.querySelector('li[data-state=sending] progress').value > 500000") == true
    });
    for (name, size) in [("files-wide.png", WIDE), ("files-narrow.png", NARROW)] {
        page.resize(size);
        assert_eq!(page.eval("document.documentElement.scrollWidth"), size.0, "it doesn't fit {size:?}");
        page.eval("(document.querySelector('#facts').textContent = '128 GiB free').length");
        let png = page.screenshot();
        assert!(png.starts_with(b"\x89PNG"));
        if std::env::var_os("TOWPATH_TEST_SCREENSHOTS").is_some_and(|value| value == "1") {
            fs::write(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name), png).unwrap();
        }
    }
    page.click("li[data-state=sending] button");
    page.wait("li[data-state=cancelled]");
    inbox.stop();
}
