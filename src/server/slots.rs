//! Numbered places for connections, with a generation that tells a reused place from its former holder.

/// A growable table of places; its owner bounds how many are taken.
pub(super) struct Slots<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    generation: u32,
    held: Option<T>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Takes a place for what `make` builds from its index and generation.
    pub(super) fn insert_with(&mut self, make: impl FnOnce(u32, u32) -> T) -> Option<u32> {
        let index = if let Some(index) = self.free.pop() {
            index
        } else {
            let index = u32::try_from(self.places.len()).ok()?;
            self.places.push(Place {
                generation: 0,
                held: None,
            });
            index
        };
        let place = self.places.get_mut(index as usize)?;
        place.held = Some(make(index, place.generation));
        Some(index)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.held.as_mut()
    }

    /// The holder of `index`, if it is still of `generation`.
    pub(super) fn get_of(&mut self, index: u32, generation: u32) -> Option<&mut T> {
        let place = self.places.get_mut(index as usize)?;
        if place.generation == generation {
            place.held.as_mut()
        } else {
            None
        }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let place = self.places.get_mut(index as usize)?;
        let held = place.held.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(index);
        Some(held)
    }

    /// Places ever taken: the range to sweep over.
    pub(super) fn span(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_place_is_of_another_generation() {
        let mut slots = Slots::new();
        let mut seen = Vec::new();
        let index = slots.insert_with(|index, generation| {
            seen.push((index, generation));
            'a'
        });
        assert_eq!((index, slots.len()), (Some(0), 1));
        assert_eq!(slots.get_of(0, 0), Some(&mut 'a'));
        assert_eq!(slots.remove(0), Some('a'));
        assert_eq!(slots.remove(0), None, "twice");
        slots.insert_with(|index, generation| {
            seen.push((index, generation));
            'b'
        });
        assert_eq!(seen, [(0, 0), (0, 1)]);
        assert_eq!(slots.get_of(0, 0), None, "a stale ticket");
        assert_eq!(slots.get_of(0, 1), Some(&mut 'b'));
        assert_eq!((slots.span(), slots.len()), (1, 1));
    }
}
