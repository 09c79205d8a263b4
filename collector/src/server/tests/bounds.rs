//! The bounds of connections and bodies: what is late, too much or left over ends, and nobody else notices.

use super::*;

#[tokio::test]
async fn a_connection_is_closed_after_its_last_request() {
    run(async {
        let server = Server::start(Limits { requests: 3, ..limits() });
        let exchange = server.exchange(format!("{POST}Content-Length: 2\r\n\r\n{{}}").repeat(5).as_bytes()).await;
        assert_eq!(exchange.statuses(), [204, 204, 204]);
        assert!(exchange.closed);
    })
    .await;
}

#[tokio::test]
async fn bodies_over_the_common_budget_are_turned_away_with_503() {
    run(async {
        let server = Server::with_budget(limits(), BodyBudget::of(10_000));
        let first =
            server.exchange(format!("{POST}Connection: close\r\nContent-Length: 9000\r\n\r\n{}", "x".repeat(9_000)).as_bytes()).await;
        let second =
            server.exchange(format!("{POST}Connection: close\r\nContent-Length: 11000\r\n\r\n{}", "x".repeat(11_000)).as_bytes()).await;
        assert_eq!((first.statuses(), second.statuses()), (vec![204], vec![503]));
        assert!(second.answer.contains("retry-after: "));
        assert_eq!(*server.fake.refused.borrow(), [Refused::Unavailable]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_late_is_ended() {
    let second = Duration::from_secs(1);
    let post = format!("{POST}Content-Length: 2\r\n\r\n{{}}");
    let cases: [(Limits, Vec<u8>, Ended, &[u16]); 5] = [
        (Limits { head: second, ..patient() }, Vec::new(), Ended::HeadLate, &[]),
        (Limits { head: second, ..patient() }, b"POST /e HTT".to_vec(), Ended::HeadLate, &[]),
        (Limits { body: second, ..patient() }, post.as_bytes()[..post.len() - 1].to_vec(), Ended::BodyLate, &[408]),
        (Limits { idle: second, ..patient() }, post.clone().into_bytes(), Ended::IdleTooLong, &[204]),
        (Limits { head: second, ..patient() }, format!("{post}POST /").into_bytes(), Ended::IdleTooLong, &[204]),
    ];
    for (mut limits, sent, why, statuses) in cases {
        // A pipelined head that stops is between two requests as far as the socket can tell.
        if why == Ended::IdleTooLong {
            limits.idle = second;
        }
        run(async {
            let server = Server::start(limits);
            let mut stream = server.connect().await;
            stream.write_all(&sent).await.unwrap();
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer).await;
            let exchange = Exchange { answer: String::from_utf8(answer).unwrap(), closed: true };
            assert_eq!(exchange.statuses(), statuses, "{why:?}");
            assert_eq!(server.ended(why), 1, "{why:?}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_does_not_hold_its_connection_for_ever() {
    run(async {
        let server = Server::start(Limits { answer: Duration::from_secs(1), ..patient() });
        server.fake.stuck.set(true);
        let mut stream = server.connect().await;
        stream.write_all(format!("{POST}Content-Length: 2\r\n\r\n{{}}").as_bytes()).await.unwrap();
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), 0);
        assert_eq!(server.ended(Ended::AnswerNotTaken), 1);
    })
    .await;
}

#[tokio::test]
async fn at_the_cap_the_oldest_waiting_connection_gives_way() {
    run(async {
        let server = Server::start(Limits { connections: 1_000, ..limits() });
        let mut waiting = Vec::new();
        for _ in 0..1_000 {
            waiting.push(server.connect().await);
        }
        let exchange = server.exchange(format!("{POST}Connection: close\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes()).await;
        assert_eq!(exchange.statuses(), [204]);
        assert_eq!(server.ended(Ended::Evicted), 10);
        assert!(server.counts.connections_open() <= 1_000);
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_answers_what_is_queued_and_resets_nobody() {
    run(async {
        let server = Server::start(limits());
        let mut idle = server.connect().await;
        idle.write_all(format!("{POST}Content-Length: 2\r\n\r\n{{}}").as_bytes()).await.unwrap();
        assert!(idle.read(&mut [0; 1_024]).await.unwrap() > 0);
        let mut uploading = server.connect().await;
        uploading.write_all(format!("{POST}Content-Length: 2\r\n\r\n{{").as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        let queued = std::net::TcpStream::connect(server.address).unwrap();
        server.stop.send(()).unwrap();
        queued.set_nonblocking(true).unwrap();
        let mut queued = TcpStream::from_std(queued).unwrap();
        queued.write_all(format!("{POST}Content-Length: 2\r\n\r\n{{}}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        queued.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer:?}");
        uploading.write_all(b"}").await.unwrap();
        let mut answer = String::new();
        uploading.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204") && answer.contains("connection: close"), "{answer:?}");
        assert_eq!(idle.read(&mut [0; 64]).await.unwrap(), 0);
        drop((queued, uploading, idle));
        server.served.await.unwrap().unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
    })
    .await;
}
