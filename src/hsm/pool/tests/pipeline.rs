//! What one connection takes when several messages may be under way on it.

use super::*;

#[test]
fn a_connection_takes_full_messages_of_its_share() {
    // Messages at once, connections, jobs waiting, jobs under way elsewhere; jobs taken.
    let rows = [
        ("off", 1, 1, 1000, 0, 32),
        ("little to do", 4, 2, 5, 0, 32),
        ("one message each", 4, 4, 128, 0, 32),
        ("one each, three taken already", 4, 4, 32, 96, 32),
        ("nearer to one message than to two", 4, 4, 188, 0, 32),
        ("nearer to two", 4, 4, 200, 0, 64),
        ("four each, the first to come", 4, 4, 512, 0, 128),
        ("four each, the last to come", 4, 4, 125, 384, 128),
        ("more than it may take", 4, 2, 1000, 128, 128),
        ("one connection", 16, 1, 64, 0, 64),
    ];
    for (name, pipeline_max, connections, waiting, under_way, want) in rows {
        let plan = PoolPlan {
            name: "fake",
            connections,
            batch_max: 32,
            pipeline_max,
            queue_max: 1000,
            connect_timeout: LONG,
        };
        assert_eq!(plan.take_max(32, waiting, under_way), want, "{name}");
    }
}

/// Tells the sizes of the messages it is given.
struct Pipelined(Sender<Vec<usize>>, Receiver<()>);

impl Session for Pipelined {
    fn describe(&self) -> String {
        "fake".into()
    }
    fn serve(&mut self, jobs: Vec<Job>, until: Option<Instant>) -> Served {
        self.serve_pipelined(vec![jobs], until)
    }
    fn serve_pipelined(&mut self, messages: Vec<Vec<Job>>, _: Option<Instant>) -> Served {
        self.0
            .send(messages.iter().map(Vec::len).collect())
            .unwrap();
        self.1.recv_timeout(PATIENCE).unwrap();
        answer(messages.into_iter().flatten().collect())
    }
    fn is_quiet(&mut self) -> bool {
        true
    }
    fn probe(&mut self, _: Instant) -> Result<(), Ailment> {
        Ok(())
    }
}

struct Once(Mutex<Option<Pipelined>>);

impl Connector for Once {
    fn servers(&self) -> Vec<Arc<str>> {
        vec!["fake".into()]
    }
    fn connect(&self, _: usize, _: Instant) -> Result<Box<dyn Session>, String> {
        let session = self.0.lock().take().ok_or("only once")?;
        Ok(Box::new(session))
    }
}

#[test]
fn a_second_message_exists_only_when_the_first_is_full() {
    let ((sizes, at_hsm), (open, gate)) = (channel(), channel());
    let plan = PoolPlan {
        name: "fake",
        connections: 1,
        batch_max: 2,
        pipeline_max: 3,
        queue_max: 16,
        connect_timeout: LONG,
    };
    let connector = Once(Mutex::new(Some(Pipelined(sizes, gate))));
    let hsm = Pool::start(plan, Box::new(connector)).unwrap();
    let mut waiting = vec![ask(&hsm, "first", LONG)];
    let next = || at_hsm.recv_timeout(PATIENCE).unwrap();
    assert_eq!(next(), [1], "a lone job waits for no company");
    for (name, asked, messages) in [
        (
            "as many as may be under way",
            7,
            &[&[2, 2, 2][..], &[1]][..],
        ),
        ("one message", 2, &[&[2]]),
        ("one and a half", 3, &[&[2, 1]]),
    ] {
        waiting.extend((0..asked).map(|n| ask(&hsm, &n.to_string(), LONG)));
        for message in messages {
            open.send(()).unwrap();
            assert_eq!(next(), *message, "{name}");
        }
    }
    open.send(()).unwrap();
    for results in &waiting {
        assert_eq!(outcome(results), Ok(()));
    }
    hsm.shutdown();
    assert_eq!(hsm.shared.under_way.load(Ordering::SeqCst), 0);
}
