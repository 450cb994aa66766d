//! Clients that others wrote, and the folder they send to: byte for byte.

use std::fs;

use crate::support::inbox::{Inbox, noise};
use crate::support::running::Running;
use crate::support::scene::Scene;
use crate::support::skipped;

const SIZE: usize = 1_500_000;

/// Each uploads `in` as `NAME`, fetches it to `out`, and fetches it once more
/// out of a form to `form`.
#[track_caller]
fn goes_both_ways(scene: &Scene, inbox: &Inbox, program: &str, arguments: &[&str]) {
    let content = noise(9, SIZE);
    fs::write(scene.path("in"), &content).unwrap();
    let end = Running::start(scene.program(program).args(arguments).arg(&inbox.url)).finish();
    assert_eq!(end.code, Some(0), "{program}: {}{}", end.out(), end.err());
    assert!(inbox.read("gr\u{fc}n \"1\".bin") == content, "{program}: stored otherwise");
    for fetched in ["out", "form"] {
        assert!(fs::read(scene.path(fetched)).unwrap() == content, "{program}: {fetched} is otherwise");
    }
}

#[test]
fn python_requests() {
    if skipped("requests") {
        return;
    }
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let script = r#"
import sys, email, urllib.parse, requests
url, name = sys.argv[1], 'grün "1".bin'
reply = requests.post(url + "/upload", files=[("file", ("other.bin", b"x")), ("file", (name, open("in", "rb")))], data={"note": "n"})
assert reply.status_code == 201, reply.text
stored = [file["name"] for file in reply.json()["files"]]
if name not in stored:  # it sends filename* where a name isn't ASCII, which forms don't have
    assert requests.put(url + "/files/" + urllib.parse.quote(name), data=open("in", "rb")).status_code == 201
quoted = urllib.parse.quote(name)
open("out", "wb").write(requests.get(url + "/files/" + quoted).content)
reply = requests.get(url + "/form", params={"file": name})
message = email.message_from_bytes(b"Content-Type: " + reply.headers["Content-Type"].encode() + b"\r\n\r\n" + reply.content)
open("form", "wb").write(message.get_payload()[0].get_payload(decode=True))
"#;
    goes_both_ways(&scene, &inbox, "/usr/bin/python3", &["-c", script]);
    inbox.stop();
}

#[test]
fn node_fetch_and_form_data() {
    if skipped("node") {
        return;
    }
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let script = r#"
const fs = require("fs"), url = process.argv[1], name = 'grün "1".bin';
(async () => {
  const form = new FormData();
  form.append("note", "n");
  form.append("file", new Blob([fs.readFileSync("in")]), name);
  const sent = await fetch(url + "/upload", { method: "POST", body: form });
  if (sent.status !== 201) throw new Error(await sent.text());
  const got = await fetch(url + "/files/" + encodeURIComponent(name));
  fs.writeFileSync("out", Buffer.from(await got.arrayBuffer()));
  const back = await (await fetch(url + "/form?file=" + encodeURIComponent(name))).formData();
  if (back.get("file").name !== name) throw new Error(back.get("file").name);
  fs.writeFileSync("form", Buffer.from(await back.get("file").arrayBuffer()));
})().catch(error => { console.error(error); process.exit(1); });
"#;
    goes_both_ways(&scene, &inbox, "node", &["-e", script]);
    inbox.stop();
}

#[test]
fn go_net_http() {
    if skipped("go") {
        return;
    }
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let source = r#"
package main

import (
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	base, name := os.Args[1], "grün \"1\".bin"
	reader, writer := io.Pipe()
	form := multipart.NewWriter(writer)
	go func() {
		check(form.WriteField("note", "n"))
		part, err := form.CreateFormFile("file", name)
		check(err)
		file, err := os.Open("in")
		check(err)
		_, err = io.Copy(part, file)
		check(err)
		check(form.Close())
		check(writer.Close())
	}()
	reply, err := http.Post(base+"/upload", form.FormDataContentType(), reader)
	check(err)
	if reply.StatusCode != 201 {
		panic(reply.Status)
	}
	reply, err = http.Get(base + "/files/" + url.PathEscape(name))
	check(err)
	out, err := os.Create("out")
	check(err)
	_, err = io.Copy(out, reply.Body)
	check(err)
	reply, err = http.Get(base + "/form?file=" + url.QueryEscape(name))
	check(err)
	request := http.Request{Method: "POST", Header: reply.Header, Body: reply.Body}
	parts, err := request.MultipartReader()
	check(err)
	part, err := parts.NextPart()
	check(err)
	back, err := os.Create("form")
	check(err)
	_, err = io.Copy(back, part)
	check(err)
	if _, err = parts.NextPart(); err != io.EOF {
		panic("more parts")
	}
}
"#;
    fs::write(scene.path("peer.go"), source).unwrap();
    goes_both_ways(&scene, &inbox, "go", &["run", "peer.go"]);
    inbox.stop();
}

#[test]
fn curl_both_ways() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let content = noise(9, SIZE);
    fs::write(scene.path("in"), &content).unwrap();
    scene
        .curl_answer(&["-F", "file=@in;filename=\"gr\u{fc}n \\\"1\\\".bin\"", &inbox.at("/upload")])
        .assert_status(201);
    assert!(inbox.read("gr\u{fc}n \"1\".bin") == content);
    scene.curl_answer(&["-T", "in", &inbox.at("/files/put")]).assert_status(201);
    let got = scene.curl_answer(&[&inbox.at("/files/gr%C3%BCn%20%221%22.bin")]);
    assert!(got.body == content && inbox.read("put") == content);
    // A download that was cut goes on.
    fs::write(scene.path("part"), &content[..1_000_000]).unwrap();
    Running::start(scene.program("curl").args(["-sS", "-C", "-", "-o", "part", &inbox.at("/files/put")])).finish();
    assert!(fs::read(scene.path("part")).unwrap() == content);
    inbox.stop();
}
