//! Java's `SplittableRandom`, and the draws of the generator on it.
//!
//! The state is one number that grows by a constant with every draw, so the n-th draw can be computed by itself: the
//! columnar path for bids ([`super::bids`]) rests on that.

/// What the state grows by.
pub(super) const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The 64-bit draw at a state.
#[inline]
pub(super) fn mix64(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The 32-bit draw at a state.
#[inline]
pub(super) fn mix32(mut z: u64) -> u32 {
    z = (z ^ (z >> 33)).wrapping_mul(0x62a9_d9ed_7997_05f5);
    ((z ^ (z >> 28)).wrapping_mul(0xcb24_d0a5_c88c_35b3) >> 32) as u32
}

/// A generator at some state.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Seeded.
    #[inline]
    pub(super) fn new(seed: i64) -> Self {
        Self(seed as u64)
    }

    #[inline]
    fn step(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        self.0
    }

    /// Any 32-bit number.
    #[inline]
    pub(super) fn int(&mut self) -> i32 {
        mix32(self.step()) as i32
    }

    /// Any 64-bit number.
    #[inline]
    pub(super) fn long(&mut self) -> i64 {
        mix64(self.step()) as i64
    }

    /// In `0.0..1.0`.
    #[inline]
    pub(super) fn double(&mut self) -> f64 {
        unit(self.long() as u64)
    }

    /// In `0..n`, for a positive `n` below 2^31: rejects draws that would make small numbers likelier.
    #[inline]
    pub(super) fn below(&mut self, n: u32) -> u32 {
        let draw = self.int() as u32;
        if n.is_power_of_two() {
            return draw & (n - 1);
        }
        let mut u = draw >> 1;
        loop {
            let r = u % n;
            if (u - r).wrapping_add(n - 1) as i32 >= 0 {
                return r;
            }
            u = self.int() as u32 >> 1;
        }
    }

    /// In `0..n`, for any positive `n`.
    pub(super) fn bounded(&mut self, n: i64) -> i64 {
        match u32::try_from(n) {
            Ok(small) if small < i32::MAX as u32 => self.below(small).into(),
            _ => (self.long() % n).wrapping_abs(),
        }
    }

    /// Appends text of 3 to `max - 1` characters, without spaces at its ends.
    pub(super) fn text(&mut self, max: u32, special: u8, out: &mut String) {
        let start = out.len();
        let len = 3 + self.below(max - 3);
        for _ in 0..len {
            let byte = if self.below(13) == 0 { special } else { b'a' + self.below(26) as u8 };
            out.push(char::from(byte));
        }
        if special == b' ' {
            let end = start + out[start..].trim_end_matches(' ').len();
            out.truncate(end);
            let leading = out[start..].len() - out[start..].trim_start_matches(' ').len();
            out.drain(start..start + leading);
        }
    }
}

/// A draw as a number in `0.0..1.0`.
#[inline]
pub(super) fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Remainders of a fixed divisor by two multiplications.
///
/// # Source
/// Lemire, Kaser, Kurz: *Faster remainder by direct computation*, 2019. Exact for 32-bit numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remainder {
    reciprocal: u64,
    divisor: u32,
}

impl Remainder {
    /// By `divisor`, which is positive.
    pub(super) fn by(divisor: u32) -> Self {
        Self { reciprocal: (u64::MAX / u64::from(divisor)).wrapping_add(1), divisor }
    }

    /// `u % divisor`
    #[inline]
    pub(super) fn of(self, u: u32) -> u32 {
        let low = self.reciprocal.wrapping_mul(u.into());
        ((u128::from(low) * u128::from(self.divisor)) >> 64) as u32
    }

    /// Whether [`Random::below`] might reject the 31-bit draw `u`: says yes a little too often.
    #[inline]
    pub(super) fn may_reject(self, u: u32) -> bool {
        u > i32::MAX as u32 - self.divisor
    }

    /// The divisor.
    pub(super) fn divisor(self) -> u32 {
        self.divisor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_javas() {
        let mut r = Random::new(2);
        assert_eq!(
            [r.int(), r.int(), r.int(), r.int()],
            [-1_576_239_296, -2_032_653_123, -1_018_719_803, -1_079_856_879]
        );
        assert_eq!(Random::new(2).long(), -7_541_218_347_953_203_506);
        assert_eq!(Random::new(2).double(), 0.591_189_734_198_079_4);
        let mut r = Random::new(2);
        assert_eq!([0; 8].map(|_| r.below(50)), [0, 36, 46, 8, 22, 15, 26, 30]);
        let before = Random::new(2).int();
        let mut r = Random::new(2);
        assert_eq!((r.below(1), r.int() != before), (0, true), "a draw below 1 is a draw");
    }

    #[test]
    fn remainders_are_exact_and_rejections_are_foreseen() {
        let mut r = Random::new(9);
        for n in [1, 3, 28, 111, 1_010, 10_000, 1_048_494, 1_048_576, i32::MAX as u32] {
            let remainder = Remainder::by(n);
            let edge = i32::MAX as u32;
            for u in (0..10_000).map(|_| r.int() as u32 >> 1).chain([0, 1, edge, edge - n / 2, edge - n]) {
                assert_eq!(remainder.of(u), u % n, "{u} % {n}");
                let rejected = ((u - u % n).wrapping_add(n - 1) as i32) < 0;
                assert!(!rejected || remainder.may_reject(u), "{u} below {n}");
            }
        }
    }
}
