//! `towpath serve`: files in by forms and PUT, and out again, with curl.

use std::fs;
use std::os::unix::fs::symlink;

use sha2::{Digest, Sha256};

use crate::support::inbox::{noise, part};
use crate::support::scene::Scene;

#[test]
fn two_files_and_two_fields_in_one_request() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let (one, two) = (noise(1, 70_000), noise(2, 1_300_000));
    fs::write(scene.path("one"), &one).unwrap();
    fs::write(scene.path("two"), &two).unwrap();
    let url = inbox.at("/upload");
    let form = ["-F", "note=nightly", "-F", "file=@one", "-F", "other=@two;filename=two.bin", "-F", "host=db1", &url];
    let answer = scene.curl_answer(&form);
    answer.assert_status(201);
    assert_eq!(answer.stored(), ["one", "two.bin"]);
    let files = &answer.json()["files"];
    assert_eq!((&files[0]["field"], &files[1]["field"]), (&"file".into(), &"other".into()));
    assert_eq!((&files[0]["size"], &files[1]["size"]), (&70_000.into(), &1_300_000.into()));
    assert_eq!((inbox.read("one"), inbox.read("two.bin")), (one, two));
    assert_eq!(inbox.names(), ["one", "two.bin"]);
    assert!(inbox.stop().contains("stored two.bin (1300000 bytes) from 127.0.0.1:"));
}

#[test]
fn one_file_that_is_not_stored_is_told_and_the_others_are() {
    let scene = Scene::new();
    let inbox = scene.inbox(&["--max-file", "1000"]);
    fs::write(inbox.root.join("old"), "old").unwrap();
    let body = [part("a", b"a"), part("old", b"new"), part("long", &[b'x'; 1001]), part("b", b"b"), b"--b--".to_vec()];
    let answer = inbox.post(&body.concat());
    answer.assert_status(413);
    let json = answer.json();
    let told: Vec<_> = json["files"].as_array().unwrap().iter().map(|it| it["status"].as_u64().unwrap()).collect();
    assert_eq!(told, [201, 409, 413, 201]);
    assert_eq!(json["files"][1]["error"], "a file of that name is there already");
    assert_eq!(inbox.names(), ["a", "b", "old"]);
    assert_eq!(inbox.read("old"), b"old");
    inbox.stop();
}

#[test]
fn a_put_is_stored_under_its_name_and_verified() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let content = noise(3, 500_000);
    fs::write(scene.path("file"), &content).unwrap();
    let hard = "gr%C3%BCn%20%22x%22%3B%2500.bin";
    let put =
        scene.curl_answer(&["-T", "file", "-H", "Want-Repr-Digest: sha-256=1", &inbox.at(&format!("/files/{hard}"))]);
    put.assert_status(201);
    assert_eq!(inbox.names(), ["grün \"x\";%00.bin"]);
    assert!(inbox.read("grün \"x\";%00.bin") == content);
    let sha: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(put.json()["sha256"], sha.as_str());
    let digest = put.header("Repr-Digest").unwrap().to_owned();
    // The right one is taken, the wrong one isn't.
    let right = format!("Repr-Digest: {digest}");
    scene.curl_answer(&["-T", "file", "-H", &right, &inbox.at("/files/right")]).assert_status(201);
    fs::write(scene.path("file"), &content[1..]).unwrap();
    let wrong = scene.curl_answer(&["-T", "file", "-H", &right, &inbox.at("/files/wrong")]);
    assert!(wrong.assert_status(400).text().contains("SHA-256"), "{}", wrong.text());
    scene.curl_answer(&["-T", "file", "-H", "Repr-Digest: sha-256=:AAAA:", &inbox.at("/files/w")]).assert_status(400);
    scene.curl_answer(&["-T", "file", "-H", "Content-Range: bytes 0-9/20", &inbox.at("/files/w")]).assert_status(400);
    scene.curl_answer(&["-T", "file", "-H", "Content-Encoding: gzip", &inbox.at("/files/w")]).assert_status(415);
    // In chunks, whose length nobody knows.
    let chunks = ["-T", "file", "-H", "Transfer-Encoding: chunked", &inbox.at("/files/chunks")];
    scene.curl_answer(&chunks).assert_status(201);
    assert!(inbox.read("chunks") == content[1..]);
    assert_eq!(inbox.names().len(), 3);
    inbox.stop();
}

#[test]
fn a_taken_name_is_rejected_numbered_or_replaced() {
    let scene = Scene::new();
    fs::write(scene.path("new"), "new").unwrap();
    for (rule, form_status, put_status, want) in [
        ("reject", 409, 409, &[("a.txt", "old")][..]),
        ("rename", 201, 201, &[("a (1).txt", "new"), ("a (2).txt", "new"), ("a.txt", "old")]),
        ("replace", 201, 200, &[("a.txt", "new")]),
    ] {
        fs::create_dir(scene.path(rule)).unwrap();
        fs::write(scene.path(rule).join("a.txt"), "old").unwrap();
        let inbox = scene.inbox_in(rule, &["--on-conflict", rule]);
        let url = inbox.at("/upload");
        scene.curl_answer(&["-F", "file=@new;filename=a.txt", &url]).assert_status(form_status);
        let put = scene.curl_answer(&["-T", "new", &inbox.at("/files/a.txt")]);
        put.assert_status(put_status);
        assert_eq!(put.header("Location").is_some(), put_status < 300);
        let found: Vec<_> = inbox.names().into_iter().map(|name| (inbox.read(&name), name)).collect();
        let want: Vec<_> = want.iter().map(|(name, text)| (text.as_bytes().to_vec(), (*name).to_owned())).collect();
        assert_eq!(found, want, "{rule}");
        // Whatever the rule: who wants a new file only gets a new file only.
        let only_new = scene.curl_answer(&["-T", "new", "-H", "If-None-Match: *", &inbox.at("/files/a.txt")]);
        only_new.assert_status(412);
        inbox.stop();
    }
}

#[test]
fn a_change_is_made_only_to_the_version_that_was_meant() {
    let scene = Scene::new();
    let inbox = scene.inbox(&["--on-conflict", "replace", "--allow-delete"]);
    fs::write(scene.path("new"), "new").unwrap();
    fs::write(inbox.root.join("a"), "old").unwrap();
    let url = inbox.at("/files/a");
    let etag = scene.curl_answer(&["-I", &url]).header("ETag").unwrap().to_owned();
    let (same, other) = (format!("If-Match: {etag}"), "If-Match: \"x\"");
    scene.curl_answer(&["-T", "new", "-H", other, &url]).assert_status(412);
    scene.curl_answer(&["-T", "new", "-H", &same, &url]).assert_status(200);
    scene.curl_answer(&["-X", "DELETE", "-H", &same, &url]).assert_status(412);
    assert_eq!(inbox.names(), ["a"]);
    scene.curl_answer(&["-X", "DELETE", &url]).assert_status(204);
    scene.curl_answer(&["-X", "DELETE", &url]).assert_status(404);
    assert_eq!(inbox.names(), [""; 0]);
    inbox.stop();
}

#[test]
fn nothing_is_deleted_unless_that_is_allowed() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    fs::write(inbox.root.join("a"), "a").unwrap();
    let refused = scene.curl_answer(&["-X", "DELETE", &inbox.at("/files/a")]);
    assert_eq!(refused.assert_status(405).header("Allow"), Some("GET, HEAD, PUT, OPTIONS"));
    assert_eq!(inbox.names(), ["a"]);
    inbox.stop();
}

#[test]
fn a_file_is_given_whole_in_part_or_not_at_all() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let content = noise(5, 3_000_000);
    fs::write(inbox.root.join("a.html"), &content).unwrap();
    let url = inbox.at("/files/a.html");
    let whole = scene.curl_answer(&[&url]);
    assert!(whole.assert_status(200).body == content);
    for (name, value) in [
        ("Content-Type", "application/octet-stream"),
        ("Content-Disposition", "attachment; filename=\"a.html\"; filename*=UTF-8''a.html"),
        ("Content-Security-Policy", "default-src 'none'; sandbox"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Accept-Ranges", "bytes"),
        ("Content-Length", "3000000"),
    ] {
        assert_eq!(whole.header(name), Some(value));
    }
    let (etag, date) = (whole.header("ETag").unwrap(), whole.header("Last-Modified").unwrap());
    let head = scene.curl_answer(&["-I", &url]);
    assert_eq!((head.status, head.header("Content-Length"), head.body.len()), (200, Some("3000000"), 0));
    let get = |header: &str| scene.curl_answer(&["-H", header, &url]);
    let part = get("Range: bytes=10-19");
    assert_eq!((part.status, part.header("Content-Range")), (206, Some("bytes 10-19/3000000")));
    assert_eq!(part.body, &content[10..20]);
    assert!(get("Range: bytes=-1000000").body == content[2_000_000..]);
    assert_eq!(get("Range: bytes=3000000-").assert_status(416).header("Content-Range"), Some("bytes */3000000"));
    assert!(get("Range: bytes=0-1,1-2").assert_status(200).body == content);
    let ranged =
        |if_range: &str| scene.curl_answer(&["-r", "5-9", "-H", &format!("If-Range: {if_range}"), &url]).status;
    assert_eq!([ranged(etag), ranged(date), ranged("\"other\""), ranged("W/\"x\"")], [206, 206, 200, 200]);
    for (header, status) in [
        (format!("If-None-Match: \"x\", {etag}"), 304),
        (format!("If-None-Match: W/{etag}"), 304),
        ("If-None-Match: \"x\"".to_owned(), 200),
        (format!("If-Modified-Since: {date}"), 304),
        ("If-Modified-Since: Sun, 01 Jan 2006 00:00:00 GMT".to_owned(), 200),
        ("If-Match: \"x\"".to_owned(), 412),
        ("If-Unmodified-Since: Sun, 01 Jan 2006 00:00:00 GMT".to_owned(), 412),
        (format!("If-Match: {etag}"), 200),
    ] {
        get(&header).assert_status(status);
    }
    let digest = get("Want-Repr-Digest: sha-512=3, sha-256=9").header("Repr-Digest").unwrap().to_owned();
    scene
        .curl_answer(&["-T", "root/a.html", "-H", &format!("Repr-Digest: {digest}"), &inbox.at("/files/b")])
        .assert_status(201);
    assert_eq!(get("Want-Repr-Digest: sha-256=0").header("Repr-Digest"), None);
    inbox.stop();
}

#[test]
fn the_list_has_files_and_nothing_else() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    fs::write(inbox.root.join("a <b>.txt"), "12345").unwrap();
    fs::write(inbox.root.join(".towpath-upload-x"), "x").unwrap();
    fs::create_dir(inbox.root.join("folder")).unwrap();
    symlink("/etc/passwd", inbox.root.join("link")).unwrap();
    let list = scene.curl_answer(&[&inbox.at("/files/")]);
    let json = list.assert_status(200).json();
    let names: Vec<_> = json["files"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["a <b>.txt"]);
    assert_eq!(json["files"][0]["size"], 5);
    assert!(json["free_bytes"].as_u64().unwrap() > 0);
    let url = json["files"][0]["url"].as_str().unwrap();
    assert_eq!(scene.curl_answer(&[&inbox.at(url)]).body, b"12345");
    let html = scene.curl_answer(&["-H", "Accept: text/html", &inbox.at("/files/")]);
    assert!(html.text().contains(">a &lt;b&gt;.txt</a>") && html.text().contains("href=\"./a%20%3Cb%3E.txt\""));
    assert!(html.header("Content-Security-Policy").unwrap().contains("default-src 'none'"));
    for path in ["/files/link", "/files/folder", "/files/.towpath-upload-x", "/files/none"] {
        assert!(matches!(scene.curl_answer(&[&inbox.at(path)]).status, 400 | 404), "{path}");
    }
    assert_eq!(scene.curl_answer(&[&inbox.at("/healthz")]).text(), "ok\n");
    inbox.stop();
}

#[test]
fn several_files_come_back_as_one_form() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let content = noise(6, 200_000);
    fs::write(inbox.root.join("a\"b.bin"), &content).unwrap();
    fs::write(inbox.root.join("empty"), "").unwrap();
    let form = scene.curl_answer(&[&inbox.at("/form?file=a%22b.bin&file=empty")]);
    let boundary = form.assert_status(200).header("Content-Type").unwrap();
    let boundary = boundary.strip_prefix("multipart/form-data; boundary=").unwrap();
    let head = |name: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
    };
    let want = [
        head("a%22b.bin").as_bytes(),
        &content,
        b"\r\n",
        head("empty").as_bytes(),
        format!("\r\n--{boundary}--\r\n").as_bytes(),
    ]
    .concat();
    assert!(form.body == want);
    assert_eq!(form.header("Content-Length"), Some(want.len().to_string().as_str()));
    scene.curl_answer(&[&inbox.at("/form?file=empty&file=none")]).assert_status(404);
    scene.curl_answer(&[&inbox.at("/form")]).assert_status(400);
    scene.curl_answer(&[&inbox.at("/form?file=..%2Fx")]).assert_status(400);
    inbox.stop();
}

#[test]
fn fields_are_kept_beside_the_file_only_when_asked() {
    let scene = Scene::new();
    fs::write(scene.path("a"), "a").unwrap();
    for (root, flags, want) in [("plain", &[][..], &["a"][..]), ("kept", &["--keep-fields"], &["a", "a.fields.json"])] {
        fs::create_dir(scene.path(root)).unwrap();
        let inbox = scene.inbox_in(root, flags);
        let form = ["--form-string", "note=\"quoted\" ü", "-F", "file=@a", "-F", "note=again", &inbox.at("/upload")];
        scene.curl_answer(&form).assert_status(201);
        assert_eq!(inbox.names(), want);
        if root == "kept" {
            let record: serde_json::Value = serde_json::from_slice(&inbox.read("a.fields.json")).unwrap();
            assert_eq!(record["file"], "a");
            let fields =
                serde_json::json!([{ "name": "note", "value": "\"quoted\" ü" }, { "name": "note", "value": "again" }]);
            assert_eq!(record["fields"], fields);
        }
        inbox.stop();
    }
}
