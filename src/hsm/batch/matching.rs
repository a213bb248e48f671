//! Which answer belongs to which question: by id, and only if the ids came in the order they were sent.

use super::{Batch, Reply};

/// What came back for one item: for each of its operations a reply.
pub(super) type Answers<'r, 'a> = [Option<&'r Reply<'a>>; 2];

/// Why no answer of a message is believed.
pub(super) enum Distrust {
    /// The ids do not add up.
    Ids(&'static str),
    /// They do, but in another order.
    Order,
}

impl Batch {
    /// For each item its reply. An error distrusts the whole message.
    pub(super) fn match_ids<'r, 'a>(
        &self,
        replies: &'r [Reply<'a>],
    ) -> Result<Vec<Answers<'r, 'a>>, Distrust> {
        let mut by_item = vec![[None; 2]; self.items.len()];
        let (mut last, mut is_ordered) = (0, true);
        for reply in replies {
            let id = id_of(reply).map_err(Distrust::Ids)?;
            let slot = self
                .place_of(id)
                .and_then(|(at, nth)| by_item.get_mut(at)?.get_mut(nth));
            match slot {
                Some(slot @ None) => *slot = Some(reply),
                Some(Some(_)) => {
                    let why = "two answered items bear the same Unique Batch Item ID";
                    return Err(Distrust::Ids(why));
                }
                None => {
                    let why = "an answered item bears a Unique Batch Item ID that was not asked";
                    return Err(Distrust::Ids(why));
                }
            }
            is_ordered &= last < id;
            last = id;
        }
        // What is left out may be there under another's id.
        let is_whole = self.items.iter().zip(&by_item).all(|(item, replies)| {
            let asked = replies.iter().take(item.ask_count());
            asked.into_iter().all(Option::is_some)
        });
        if !is_whole {
            return Err(Distrust::Ids("an item that was asked has no answer"));
        }
        if is_ordered {
            Ok(by_item)
        } else {
            Err(Distrust::Order)
        }
    }

    /// Which operation of which item bears `id`.
    fn place_of(&self, id: u64) -> Option<(usize, usize)> {
        // Ids rise within a batch.
        let at = self
            .items
            .partition_point(|item| item.id <= id)
            .checked_sub(1)?;
        let item = self.items.get(at)?;
        let nth = usize::try_from(id - item.id).ok()?;
        (nth < item.ask_count()).then_some((at, nth))
    }
}

fn id_of(reply: &Reply<'_>) -> Result<u64, &'static str> {
    let id = reply
        .id
        .ok_or("an answered item bears no Unique Batch Item ID")?;
    let id = <[u8; 8]>::try_from(id)
        .map_err(|_| "an answered item bears a Unique Batch Item ID that was never sent")?;
    Ok(u64::from_be_bytes(id))
}
