//! What isn't there, or isn't a Docker daemon, or stops being one in the middle: each
//! is one line that says what to do.

use crate::support::docker::Daemon;
use crate::support::fake::Fake;
use crate::support::running::{Finished, Running};
use crate::support::scene::Scene;
use crate::support::skipped;

const PING: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nConnection: close\r\n";

/// `towpath docker WORDS` with a daemon that gives this body to whatever it is asked.
fn with_body(body: &str, words: &[&str]) -> Finished {
    with_answer(&format!("{PING}Content-Length: {}\r\n\r\n{body}", body.len()), words)
}

fn with_answer(answer: &str, words: &[&str]) -> Finished {
    let fake = Fake::saying(answer);
    at(&fake.url().replace("http:", "tcp:"), words)
}

fn at(host: &str, words: &[&str]) -> Finished {
    let scene = Scene::new();
    let mut command = scene.towpath();
    command.env("DOCKER_CONFIG", scene.dir()).env("DOCKER_HOST", host).arg("docker").args(words);
    Running::start(&mut command).finish()
}

#[test]
fn where_no_daemon_is_there_each_command_says_so() {
    let commands: [(&[&str], i32); 7] = [
        (&["ps"], 1),
        (&["images"], 1),
        (&["stop", "x"], 1),
        (&["logs", "x"], 1),
        (&["pull", "x"], 1),
        (&["commit", "x"], 1),
        (&["run", "x"], 125),
    ];
    for (words, code) in commands {
        at("tcp://127.0.0.1:1", words).assert_code(code).assert_one_line(&["no Docker daemon", "127.0.0.1:1"]);
    }
    at("unix:///no/such/socket", &["ps"]).assert_code(1).assert_one_line(&["/no/such/socket"]);
    at("ssh://host", &["ps"]).assert_code(1).assert_one_line(&["ssh://host"]);
    if !skipped("docker") {
        let theirs = Daemon::shared().docker().args(["-H", "tcp://127.0.0.1:1", "run", "x"]).output().unwrap();
        assert_eq!(theirs.status.code(), Some(125));
    }
}

#[test]
fn what_is_no_daemon_is_told_from_one() {
    for answer in
        ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "SSH-2.0-OpenSSH_9.2\r\n", "", "HTTP/1.1 200 OK\r\n"]
    {
        let fake = Fake::saying(answer);
        at(&fake.url().replace("http:", "tcp:"), &["ps"]).assert_code(1).assert_one_line(&["127.0.0.1"]);
    }
}

#[test]
fn half_an_answer_is_no_list() {
    for words in [&["ps"][..], &["images"]] {
        for body in ["", "[", "[{\"Id\":\"ab\"}", "{\"message\":\"x\"}", "null", "[{}]", "<html>", "[]]"] {
            with_body(body, words).assert_code(1).assert_one_line(&["can't list"]);
        }
        assert_eq!(with_body("[]", words).assert_code(0).out().lines().count(), 1);
    }
}

#[test]
fn what_a_daemon_says_gives_a_terminal_no_orders() {
    let body =
        r#"[{"Id":"ab\u001b[2J","Names":["/x\u001b[31m"],"Image":"\u0007","Status":"Up\u009b1m","Command":"\u001b"}]"#;
    for words in [&["ps"][..], &["ps", "-q"], &["ps", "--no-trunc"]] {
        let out = with_body(body, words).assert_code(0).out();
        assert!(out.contains("ab") && !out.chars().any(|c| c.is_control() && c != '\n'), "{out:?}");
    }
}

#[test]
fn a_pull_whose_end_is_not_proven_has_failed() {
    let half =
        ["", "{\"status\":\"Pull", "{}[", "nonsense", "{\"status\":\"x\"}\r\n{\"errorDetail\":{\"message\":\"torn\"}}"];
    for body in half {
        let failed = with_body(body, &["pull", "x:1"]);
        failed.assert_code(1).assert_one_line(&["can't pull x:1"]);
        assert_eq!(failed.out(), "", "{body:?}");
    }
    // The stream ends well, and what then is to be looked at is no image.
    with_body("{\"status\":\"Status: Downloaded\"}", &["pull", "x:1"]).assert_code(1).assert_one_line(&["x:1"]);
}

#[test]
fn an_answer_that_does_not_tell_its_end_is_no_whole_log_and_no_pull() {
    // What is a container to who asks for one is a terminal's output to who asks for its log.
    let body = r#"{"Id":"x","Config":{"Tty":true},"State":{"Running":false,"ExitCode":0}}"#;
    assert_eq!(with_body(body, &["logs", "x"]).assert_code(0).out(), body);
    let cut = with_answer(&format!("{PING}\r\n{body}"), &["logs", "x"]);
    assert_eq!(cut.assert_code(1).assert_one_line(&["can't read the log of x", "broke"]).out(), body);
    for end in ["", "0\r\n", "0\r\n\r"] {
        let body = format!("{PING}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n{end}", body.len());
        with_answer(&body, &["logs", "x"]).assert_code(1).assert_one_line(&["broke"]);
    }
    for body in ["{\"status\":\"Status: Downloaded\"}", ""] {
        let cut = with_answer(&format!("{PING}\r\n{body}"), &["pull", "x:1"]);
        cut.assert_code(1).assert_one_line(&["can't pull x:1", "broke"]);
    }
}
