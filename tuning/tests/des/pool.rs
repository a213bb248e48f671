//! The connections of one node: clients' jobs first, in the order they came; those for nobody in spare capacity.

use std::collections::VecDeque;

#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub key: u64,
    pub ahead: bool,
}

pub struct Message {
    pub connection: usize,
    pub jobs: Vec<Job>,
}

pub struct Pool {
    batch_max: usize,
    connections: usize,
    idle: Vec<usize>,
    waiting: VecDeque<Job>,
    spare: VecDeque<Job>,
}

impl Pool {
    pub fn new(connections: usize, batch_max: usize) -> Self {
        Self {
            batch_max,
            connections,
            idle: (0..connections).collect(),
            waiting: VecDeque::new(),
            spare: VecDeque::new(),
        }
    }

    /// False: one for nobody that there is no capacity for.
    pub fn push(&mut self, job: Job) -> bool {
        if !job.ahead {
            self.waiting.push_back(job);
            return true;
        }
        let has_room = self.spare.len() < self.connections * self.batch_max;
        let is_quiet = self.waiting.len() < self.batch_max;
        if has_room && is_quiet {
            self.spare.push_back(job);
        }
        has_room && is_quiet
    }

    /// Somebody waits for it now. False: it is under way already, or was somebody's.
    pub fn raise(&mut self, key: u64) -> bool {
        let Some(at) = self.spare.iter().position(|job| job.key == key) else {
            return false;
        };
        self.waiting.extend(self.spare.remove(at));
        true
    }

    /// Whether no connection is free for one that comes now.
    pub fn is_busy(&self) -> bool {
        self.idle.is_empty()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn take(&mut self) -> Option<Message> {
        let least_idle = usize::from(self.connections > 1);
        let (from, max) = if !self.waiting.is_empty() {
            (&mut self.waiting, self.batch_max)
        } else if !self.spare.is_empty() && self.idle.len() > least_idle {
            let max = if self.connections > 1 {
                self.batch_max
            } else {
                1
            };
            (&mut self.spare, max)
        } else {
            return None;
        };
        let connection = self.idle.pop()?;
        let jobs = from.drain(..from.len().min(max)).collect();
        Some(Message { connection, jobs })
    }

    pub fn free(&mut self, connection: usize) {
        self.idle.push(connection);
    }
}
