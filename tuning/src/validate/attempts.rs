//! A stage that is played again when its measurement cannot be believed: other guests took the CPU, the generator was
//! late or too busy, or the clock jumped.
//!
//! Must never be true: a stage that is played again for what the site did, or for a figure out of its band; an attempt
//! that the report does not tell of. Called by [`super::stages`].

/// What one attempt at a stage showed.
#[derive(Debug, Default)]
pub(super) struct Played<T> {
    /// What was measured.
    pub figures: T,
    /// Reasons not to believe them.
    pub doubts: Vec<String>,
    /// What the site did wrong, whatever the figures are.
    pub faults: Vec<String>,
}

/// Plays a stage until it is believed, so often at most. The last attempt's figures, and why those before it were not
/// believed.
pub(super) fn until_believed<T>(
    attempts_max: u32,
    mut play: impl FnMut() -> Result<Played<T>, String>,
    say: &mut dyn FnMut(&str),
) -> Result<(Played<T>, Vec<String>), String> {
    let mut unbelieved = Vec::new();
    let mut attempts = 1;
    loop {
        let played = play()?;
        let is_sure = played.doubts.is_empty() || !played.faults.is_empty();
        if is_sure || attempts >= attempts_max {
            return Ok((played, unbelieved));
        }
        attempts += 1;
        let doubts = played.doubts.join("; ");
        say(&format!("played again, for {doubts}"));
        unbelieved.push(doubts);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn played(doubts: usize, faults: usize) -> Played<()> {
        Played {
            figures: (),
            doubts: vec!["doubt".to_owned(); doubts],
            faults: vec!["fault".to_owned(); faults],
        }
    }

    /// A name, doubts and faults of each attempt, most attempts, doubts that are left and attempts that were not believed.
    type Row = (&'static str, &'static [(usize, usize)], u32, usize, usize);

    #[test]
    fn a_stage_is_played_again_for_doubts_alone() {
        let rows: [Row; 5] = [
            ("believed", &[(0, 0)], 3, 0, 0),
            ("believed at last", &[(2, 0), (1, 0), (0, 0)], 3, 0, 2),
            ("never", &[(1, 0), (1, 0), (2, 0)], 3, 2, 2),
            ("asked for once", &[(1, 0)], 1, 1, 0),
            ("the site's fault", &[(1, 1)], 3, 1, 0),
        ];
        for (name, attempts, most, left, before) in rows {
            let mut told = 0;
            let mut next = attempts.iter();
            let mut play = || {
                let (doubts, faults) = *next.next().ok_or("once too often")?;
                Ok(played(doubts, faults))
            };
            let (last, unbelieved) = until_believed(most, &mut play, &mut |_| told += 1).unwrap();
            assert_eq!(
                (last.doubts.len(), unbelieved.len()),
                (left, before),
                "{name}"
            );
            assert_eq!(told, before, "{name}");
            assert!(next.next().is_none(), "{name}: too few attempts");
        }
    }
}
