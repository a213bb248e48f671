//! Valid inputs, spoilt: by a few small changes each, the same ones for the same seed.

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap() % end
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// Values at the edges of what fields hold; written in 1, 2, 4 or 8 bytes, big-endian.
const EDGES: [u64; 12] = [
    0,
    1,
    7,
    8,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    u64::MAX,
];

/// Makes inputs of `seeds`.
pub struct Mutator<'a> {
    pub random: Random,
    pub seeds: &'a [Vec<u8>],
    pub tokens: &'a [&'a [u8]],
}

impl Mutator<'_> {
    /// The next one.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.seeds[self.random.below(self.seeds.len())].clone();
        for _ in 0..=self.random.below(4) {
            self.change(&mut input);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        let span = at..(at + 1 + self.random.below(16)).min(input.len()).max(at);
        match self.random.below(10) {
            0 => touch(input, at, |byte| byte ^ 1 << (at & 7)),
            1 => {
                let value = self.random.byte();
                touch(input, at, |_| value);
            }
            2 => input.insert(at, self.random.byte()),
            3 => drop(input.drain(span)),
            4 => input.truncate(at),
            5 => {
                let piece = input[span].to_vec();
                let to = self.random.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            6 => self.edge(input, at),
            7 => self.splice(input, at),
            8 => {
                let token = self.tokens[self.random.below(self.tokens.len())];
                input.splice(at..at, token.iter().copied());
            }
            _ => {
                let token = self.tokens[self.random.below(self.tokens.len())];
                let end = (at + token.len()).min(input.len());
                input.splice(at..end, token.iter().copied());
            }
        }
    }

    /// The front of one seed, the end of another.
    fn splice(&mut self, input: &mut Vec<u8>, at: usize) {
        let other = &self.seeds[self.random.below(self.seeds.len())];
        let from = self.random.below(other.len() + 1);
        input.truncate(at);
        input.extend_from_slice(&other[from..]);
    }

    fn edge(&mut self, input: &mut [u8], at: usize) {
        let edge = EDGES[self.random.below(EDGES.len())].to_be_bytes();
        let width = [1, 2, 4, 8][self.random.below(4)];
        let end = (at + width).min(input.len());
        let field = &edge[8 - width..];
        input[at..end].copy_from_slice(&field[..end - at]);
    }
}

fn touch(input: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte = change(*byte);
    }
}
