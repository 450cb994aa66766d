//! Many uploads at once, some of which stall, and races for one name.

use std::io::Write;
use std::thread;

use crate::support::inbox::{noise, part, read_answer};
use crate::support::scene::Scene;
use crate::support::wait::until;

#[test]
fn of_64_uploads_half_stall_and_the_others_arrive_whole() {
    let scene = Scene::new();
    let inbox = scene.inbox(&[]);
    let descriptors = inbox.descriptors();
    let content = |n: u64| noise(n, 300_000);
    let head = |length: usize| {
        format!(
            "POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\
             Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
    };
    let answers: Vec<(u64, u16)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..64_u64)
            .map(|n| {
                let (inbox, content, head) = (&inbox, &content, &head);
                scope.spawn(move || {
                    let body = [part(&n.to_string(), &content(n)), b"--b--".to_vec()].concat();
                    let mut stream = inbox.connect();
                    stream.write_all(head(body.len()).as_bytes()).unwrap();
                    let stalls = n % 2 == 1;
                    // Each at another place.
                    let sent = if stalls { body.len() * usize::try_from(n).unwrap() / 64 } else { body.len() };
                    stream.write_all(&body[..sent]).unwrap();
                    (n, read_answer(&mut stream).status)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for (n, status) in answers {
        assert_eq!(status, if n % 2 == 1 { 408 } else { 201 }, "{n}");
        if n % 2 == 0 {
            assert!(inbox.read(&n.to_string()) == content(n), "{n}");
        }
    }
    assert_eq!(inbox.names().len(), 32);
    until("nothing left open", || inbox.descriptors() <= descriptors);
    inbox.stop();
}

#[test]
fn of_many_who_want_one_name_each_gets_what_the_rule_says() {
    let scene = Scene::new();
    for (rule, stored, names) in [("reject", 1, 1), ("rename", 8, 8), ("replace", 8, 1)] {
        std::fs::create_dir(scene.path(rule)).unwrap();
        let inbox = scene.inbox_in(rule, &["--on-conflict", rule]);
        let statuses: Vec<u16> = thread::scope(|scope| {
            let clients: Vec<_> = (0..8_u8)
                .map(|n| {
                    let inbox = &inbox;
                    scope.spawn(move || {
                        inbox.post(&[part("a.bin", &vec![b'0' + n; 200_000]), b"--b--".to_vec()].concat()).status
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), stored, "{rule}: {statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 201 | 409)), "{rule}: {statuses:?}");
        assert_eq!(inbox.names().len(), names, "{rule}");
        for name in inbox.names() {
            let content = inbox.read(&name);
            assert!(content == vec![content[0]; 200_000], "{rule}: {name} is mixed");
        }
        inbox.stop();
    }
}
