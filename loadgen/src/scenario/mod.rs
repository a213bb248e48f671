//! Whole experiments: a simulated HSM, a server in front of it, load, and what goes wrong when; from one file to
//! one result.
//!
//! [`file`] reads scenarios; [`stage`] is the folder, the simulator and the server's process; [`play`] runs.
//!
//! Must never be true: a process or a folder of ours that stays behind; a process stopped that is not ours. Called
//! by the command `scenario`.

pub mod file;
pub mod node;
pub mod play;
pub mod stage;
