//! What a stranger with a link can cost: each bound of a share link is hit, and events are taken all the same.

use hyper::StatusCode;
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::limits::{SHARE_ANSWERS_BYTES, SHARE_BURST, SHARE_QUESTION_BYTES, SHARE_WAITING};
use crate::server::private::Reply;
use crate::server::share::{Asked, Door, Opened};

/// A listener with the links `a` and `b`, and what comes through them.
fn start() -> (Server, Receiver<Asked>) {
    let judge = |token: &[u8], _now| {
        let id = ["a", "b"].into_iter().find(|id| id.as_bytes() == token)?;
        Some(Opened { id: id.to_owned(), site: "a.example".into() })
    };
    let (door, asked) = Door::new("", Box::new(judge), Bytes::from_static(b"<p>"), Vec::new());
    let pages = Pages::new(Paths::default(), "count(heads);", "{}").with_share(door);
    (Server::with_pages(limits(), BodyBudget::default(), pages), asked)
}

fn question(link: &str, body: &str) -> String {
    format!("POST /share/{link}/v1/query HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Answers everything with `body`; gives how much was asked.
fn answering(mut asked: Receiver<Asked>, body: impl Into<Bytes>) -> Rc<Cell<u32>> {
    let count = Rc::new(Cell::new(0));
    let (counting, body) = (Rc::clone(&count), body.into());
    tokio::task::spawn_local(async move {
        while let Some(asked) = asked.recv().await {
            assert_eq!((&*asked.site, &*asked.question.path), ("a.example", "/v1/query"));
            counting.set(counting.get() + 1);
            let _gone = asked.answer.send(Reply { status: StatusCode::OK, content_type: "application/json", body: body.clone() });
        }
    });
    count
}

async fn statuses(server: &Server, request: &str) -> Vec<u16> {
    server.exchange(request.as_bytes()).await.statuses()
}

#[tokio::test]
async fn the_same_question_is_put_once_and_a_link_that_asks_too_much_is_slowed_alone() {
    run(async {
        let (server, asked) = start();
        let count = answering(asked, "{\"rows\":[]}");
        for _ in 0..3 {
            assert!(server.exchange(question("a", "same").as_bytes()).await.answer.contains("{\"rows\":[]}"));
        }
        // Another link to the same site is given the same answer.
        assert_eq!((statuses(&server, &question("b", "same")).await, count.get()), (vec![200], 1));
        // As many as it may ask at once, and those that the test's own slowness allows.
        let mut slowed = None;
        for number in 1..SHARE_BURST * 10 {
            let exchange = server.exchange(question("a", &number.to_string()).as_bytes()).await;
            if exchange.statuses() != [200] {
                slowed = Some(exchange);
                break;
            }
        }
        let slowed = slowed.expect("nobody may ask for ever");
        assert_eq!((slowed.statuses(), slowed.answer.contains("retry-after: 5")), (vec![429], true));
        assert!(count.get() >= SHARE_BURST, "{}", count.get());
        for (request, expected) in [(question("a", "same"), 200), (question("b", "another link"), 200)] {
            assert_eq!(statuses(&server, &request).await, [expected]);
        }
        assert!(server.fake.refused.borrow().is_empty(), "no event was refused");
    })
    .await;
}

#[tokio::test]
async fn so_many_wait_for_an_answer_and_events_wait_for_none_of_them() {
    run(async {
        let (server, asked) = start();
        let mut waiting = Vec::new();
        for number in 0..SHARE_WAITING {
            let mut stream = server.connect().await;
            stream.write_all(question("a", &number.to_string()).as_bytes()).await.unwrap();
            waiting.push(stream);
        }
        while asked.len() < SHARE_WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(statuses(&server, &question("b", "no room")).await, [503]);
        let event = format!("{POST}Content-Length: 2\r\n\r\n{{}}");
        assert_eq!(statuses(&server, &event).await, [204]);
        let count = answering(asked, "{}");
        for mut stream in waiting {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
        assert_eq!(count.get() as usize, SHARE_WAITING);
    })
    .await;
}

#[tokio::test]
async fn questions_and_what_is_kept_of_answers_have_bounds() {
    run(async {
        let (server, asked) = start();
        // An eighth of the room is the most that one answer may take of it.
        let count = answering(asked, Bytes::from(vec![b' '; SHARE_ANSWERS_BYTES / 8 + 1]));
        let ask = async |body: &str| {
            let mut stream = server.connect().await;
            stream.write_all(question("a", body).as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer[9..]).into_owned()
        };
        assert_eq!((ask("large").await, ask("large").await, count.get()), ("200".into(), "200".into(), 2));
        assert_eq!(ask(&" ".repeat(SHARE_QUESTION_BYTES + 1)).await, "413");
        for (request, expected) in [
            ("GET /share/c HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            ("GET /share/ HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            ("GET /share/a/v1/realtime HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            ("GET /share/a/v1/query HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("OPTIONS /share/a/v1/query HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            ("GET /share/a HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ] {
            let answer = server.exchange(request.as_bytes()).await;
            assert_eq!(answer.statuses(), [expected], "{request}");
            assert!(!answer.answer.to_lowercase().contains("access-control-allow-origin"), "{request}");
        }
        assert!(server.fake.refused.borrow().is_empty(), "no event was refused");
    })
    .await;
}
