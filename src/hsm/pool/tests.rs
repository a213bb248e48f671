//! The pool over fake connections: every test decides when a connection is made, dies or answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::super::Request;
use super::*;

mod cold;
mod pipeline;
mod servers;
mod turns;
const LONG: Duration = Duration::from_mins(1);
/// No test waits so long unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

type Results = Receiver<Result<Answer, HsmError>>;
type Serve = Box<dyn FnMut(Vec<Job>) -> Served + Send>;
type Connect = Box<dyn Fn(usize) -> Result<FakeSession, String> + Send + Sync>;

struct FakeConnector {
    attempts: AtomicUsize,
    connect: Connect,
}

impl Connector for FakeConnector {
    fn servers(&self) -> Vec<Arc<str>> {
        vec!["fake".into()]
    }
    fn connect(&self, _: usize, _: Instant) -> Result<Box<dyn Session>, String> {
        let session = (self.connect)(self.attempts.fetch_add(1, Ordering::SeqCst));
        session.map(|session| Box::new(session) as Box<dyn Session>)
    }
}

struct FakeSession {
    serve: Serve,
    quiet: Arc<AtomicBool>,
}

impl Session for FakeSession {
    fn describe(&self) -> String {
        "fake".into()
    }
    fn serve(&mut self, jobs: Vec<Job>, _: Option<Instant>) -> Served {
        (self.serve)(jobs)
    }
    fn is_quiet(&mut self) -> bool {
        self.quiet.load(Ordering::SeqCst)
    }
    fn probe(&mut self, _: Instant) -> Result<(), Ailment> {
        Ok(())
    }
}

fn session(serve: impl FnMut(Vec<Job>) -> Served + Send + 'static) -> FakeSession {
    FakeSession {
        serve: Box::new(serve),
        quiet: Arc::new(AtomicBool::new(true)),
    }
}

fn pool(
    connections: usize,
    batch_max: usize,
    connect: impl Fn(usize) -> Result<FakeSession, String> + Send + Sync + 'static,
) -> Pool {
    let plan = PoolPlan {
        name: "fake",
        connections,
        batch_max,
        pipeline_max: 1,
        queue_max: 8,
        connect_timeout: LONG,
    };
    let connector = FakeConnector {
        attempts: AtomicUsize::new(0),
        connect: Box::new(connect),
    };
    Pool::start(plan, Box::new(connector)).unwrap()
}

fn job(name: &str, patience: Duration) -> (Job, Results) {
    let (tx, rx) = channel();
    let request = Request::Find { name: name.into() };
    let done = Box::new(move |result| drop(tx.send(result)));
    (Job::new(request, Instant::now() + patience, done), rx)
}

fn ask(pool: &Pool, name: &str, patience: Duration) -> Results {
    let (job, rx) = job(name, patience);
    pool.submit(job);
    rx
}

fn outcome(results: &Results) -> Result<(), HsmError> {
    let result = results.recv_timeout(PATIENCE).expect("an outcome");
    assert!(results.try_recv().is_err(), "told twice");
    result.map(drop)
}

fn name(job: &Job) -> String {
    match &job.request {
        Request::Find { name } => name.to_string(),
        other => panic!("{other:?}"),
    }
}

fn answer(jobs: Vec<Job>) -> Served {
    for job in jobs {
        (job.done)(Ok(Answer::Key(None)));
    }
    Served::default()
}

fn die(jobs: Vec<Job>) -> Served {
    Served {
        retry: jobs,
        broken: Some("reset".into()),
        ..Served::default()
    }
}

fn unavailable(why: &str) -> Result<(), HsmError> {
    Err(HsmError::Unavailable(why.into()))
}

/// Blocks a fake until the test lets it go on, and tells the test that it got there.
struct Gate {
    reached: Sender<Vec<String>>,
    go: Mutex<Receiver<()>>,
}

fn gate() -> (Arc<Gate>, Receiver<Vec<String>>, Sender<()>) {
    let (reached, at_gate) = channel();
    let (open, go) = channel();
    let go = Mutex::new(go);
    (Arc::new(Gate { reached, go }), at_gate, open)
}

impl Gate {
    fn pass(&self, jobs: &[Job]) {
        drop(self.reached.send(jobs.iter().map(name).collect()));
        // An error: the test has ended.
        let _ = self.go.lock().recv();
    }
}

#[test]
fn refused_connections_fail_jobs_at_once_and_are_tried_again() {
    let (tx, attempts) = channel();
    let hsm = pool(1, 8, move |attempt| {
        tx.send(Instant::now()).unwrap();
        if attempt < 4 {
            Err("nobody listens".into())
        } else {
            Ok(session(answer))
        }
    });
    assert_eq!(
        outcome(&ask(&hsm, "early", LONG)),
        unavailable("fake: nobody listens"),
        "long before its deadline"
    );
    let times: Vec<Instant> = (0..5)
        .map(|_| attempts.recv_timeout(PATIENCE).unwrap())
        .collect();
    for pair in times.windows(2) {
        assert!(
            pair[1] - pair[0] >= Duration::from_millis(20),
            "attempts need a pause"
        );
    }
    assert_eq!(outcome(&ask(&hsm, "late", LONG)), Ok(()));
    let health = hsm.health();
    assert!(
        health.up && health.was_up && health.detail == "fake",
        "{health:?}"
    );
}

#[test]
fn a_job_that_died_with_its_connection_is_asked_once_more() {
    for (deaths, want) in [
        (0, Ok(())),
        (1, Ok(())),
        (2, unavailable("reset")),
        (3, unavailable("reset")),
    ] {
        let hsm = pool(1, 8, move |attempt| {
            Ok(session(if attempt < deaths { die } else { answer }))
        });
        assert_eq!(outcome(&ask(&hsm, "a", LONG)), want, "{deaths} deaths");
    }
}

/// Queues `names` behind a gate, so that they are served together.
fn ask_together(hsm: &Pool, open: &Sender<()>, names: &[&str]) -> Vec<Results> {
    let all = names.iter().map(|name| ask(hsm, name, LONG)).collect();
    open.send(()).unwrap();
    all
}

#[test]
fn a_job_that_kills_connections_takes_no_other_with_it() {
    let (gate, at_gate, open) = gate();
    let hsm = pool(1, 8, move |attempt| {
        let gate = Arc::clone(&gate);
        Ok(session(move |jobs| {
            if attempt == 0 && jobs.len() == 1 {
                gate.pass(&jobs);
                return answer(jobs);
            }
            if jobs.iter().any(|job| name(job) == "poison") {
                die(jobs)
            } else {
                answer(jobs)
            }
        }))
    });
    let first = ask(&hsm, "first", LONG);
    at_gate.recv_timeout(PATIENCE).unwrap();
    let all = ask_together(&hsm, &open, &["a", "poison", "b", "c"]);
    assert_eq!(outcome(&first), Ok(()));
    let got: Vec<_> = all.iter().map(outcome).collect();
    assert_eq!(got, [Ok(()), unavailable("reset"), Ok(()), Ok(())]);
}

#[test]
fn a_job_that_was_never_sent_does_not_count_as_tried() {
    let hsm = pool(1, 8, |attempt| {
        Ok(session(move |jobs| match attempt {
            0..3 => Served {
                unsent: jobs,
                broken: Some("reset".into()),
                ..Served::default()
            },
            3 => die(jobs),
            _ => answer(jobs),
        }))
    });
    assert_eq!(outcome(&ask(&hsm, "a", LONG)), Ok(()));
}

#[test]
fn idle_connections_that_all_died_cost_no_job_an_error() {
    let (up, connected) = channel();
    let quiet: Arc<Mutex<Vec<Arc<AtomicBool>>>> = Arc::default();
    let flags = Arc::clone(&quiet);
    let hsm = pool(3, 8, move |attempt| {
        let mut fake = session(if attempt < 3 { die } else { answer });
        fake.quiet = Arc::new(AtomicBool::new(attempt >= 3));
        flags.lock().push(Arc::clone(&fake.quiet));
        up.send(()).unwrap();
        Ok(fake)
    });
    for _ in 0..3 {
        connected.recv_timeout(PATIENCE).unwrap();
    }
    for n in 0..6 {
        assert_eq!(outcome(&ask(&hsm, "a", LONG)), Ok(()), "job {n}");
    }
}

#[test]
fn waiting_jobs_expire_while_every_thread_is_busy() {
    let (gate, at_gate, open) = gate();
    let hsm = pool(1, 8, move |_| {
        gate.pass(&[]);
        Ok(session(answer))
    });
    at_gate.recv_timeout(PATIENCE).unwrap();
    let late = ask(&hsm, "late", Duration::from_millis(1));
    let patient = ask(&hsm, "patient", LONG);
    assert_eq!(outcome(&late), Err(HsmError::TimedOut));
    assert_eq!(hsm.health().queued, 1);
    open.send(()).unwrap();
    assert_eq!(outcome(&patient), Ok(()));
}

#[test]
fn a_full_queue_refuses_and_a_stop_abandons_what_waits() {
    let (gate, at_gate, open) = gate();
    let hsm = pool(1, 8, move |_| {
        let gate = Arc::clone(&gate);
        Ok(session(move |jobs| {
            gate.pass(&jobs);
            answer(jobs)
        }))
    });
    let flying = ask(&hsm, "flying", LONG);
    at_gate.recv_timeout(PATIENCE).unwrap();
    let waiting: Vec<_> = (0..8).map(|_| ask(&hsm, "waiting", LONG)).collect();
    assert_eq!(
        outcome(&ask(&hsm, "too many", LONG)),
        Err(HsmError::Overloaded)
    );
    std::thread::scope(|scope| {
        scope.spawn(|| hsm.shutdown());
        for waiter in &waiting {
            assert_eq!(outcome(waiter), Err(HsmError::Abandoned));
        }
        open.send(()).unwrap();
    });
    assert_eq!(outcome(&flying), Ok(()), "what flew is answered");
    assert_eq!(outcome(&ask(&hsm, "after", LONG)), Err(HsmError::Abandoned));
}

#[test]
fn a_batch_grows_while_the_last_one_flies() {
    let (gate, at_gate, open) = gate();
    let hsm = pool(1, 3, move |_| {
        let gate = Arc::clone(&gate);
        Ok(session(move |jobs| {
            gate.pass(&jobs);
            answer(jobs)
        }))
    });
    let first = ask(&hsm, "0", LONG);
    assert_eq!(
        at_gate.recv_timeout(PATIENCE).unwrap(),
        ["0"],
        "a lone job does not wait"
    );
    let rest = ask_together(&hsm, &open, &["1", "2", "3", "4", "5"]);
    for want in [&["1", "2", "3"][..], &["4", "5"]] {
        assert_eq!(at_gate.recv_timeout(PATIENCE).unwrap(), want);
        open.send(()).unwrap();
    }
    for results in rest.iter().chain([&first]) {
        assert_eq!(outcome(results), Ok(()));
    }
}

#[test]
fn a_panic_costs_no_thread() {
    let jobs_that_panic = || Job {
        request: Request::Find { name: "a".into() },
        deadline: Instant::now() + LONG,
        client: crate::hsm::ClientTag::default(),
        sent: None,
        done: Box::new(|_| panic!("expected by this test")),
    };
    let (gate, at_gate, open) = gate();
    // One job a message: those beside one that panics are dropped, and so abandoned.
    let hsm = pool(1, 1, move |attempt| {
        if attempt == 0 {
            gate.pass(&[]);
            return Err("refused".into());
        }
        Ok(session(answer))
    });
    at_gate.recv_timeout(PATIENCE).unwrap();
    // The first is told while connecting, a second while being swept, a third while being served.
    hsm.submit(jobs_that_panic());
    hsm.submit(Job {
        deadline: Instant::now(),
        ..jobs_that_panic()
    });
    let swept = ask(&hsm, "swept", Duration::from_millis(1));
    assert_eq!(outcome(&swept), Err(HsmError::TimedOut));
    open.send(()).unwrap();
    let mut last = outcome(&ask(&hsm, "b", LONG));
    if last.is_err() {
        last = outcome(&ask(&hsm, "b", LONG));
    }
    assert_eq!(last, Ok(()));
    hsm.submit(jobs_that_panic());
    assert_eq!(outcome(&ask(&hsm, "c", LONG)), Ok(()));
}

#[test]
fn the_pool_is_up_while_one_connection_stands() {
    let (up, connected) = channel();
    let (tx, rx) = channel::<()>();
    let rx = Arc::new(Mutex::new(Some(rx)));
    let scripts = Mutex::new(VecDeque::from([die as fn(Vec<Job>) -> Served, answer]));
    let hsm = pool(2, 1, move |_| {
        let Some(serve) = scripts.lock().pop_front() else {
            // Further attempts wait for the end of the test.
            if let Some(rx) = rx.lock().take() {
                let _ = rx.recv();
            }
            return Err("gone".into());
        };
        up.send(()).unwrap();
        Ok(session(serve))
    });
    for _ in 0..2 {
        connected.recv_timeout(PATIENCE).unwrap();
    }
    // Until the connection that dies has been met, and beyond.
    for _ in 0..16 {
        assert_eq!(outcome(&ask(&hsm, "a", LONG)), Ok(()));
        assert!(hsm.health().up, "{:?}", hsm.health());
    }
    drop(tx);
}
