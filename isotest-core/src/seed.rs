//! Numbers that follow from a seed: SplitMix64 (Steele, Lea, Flood 2014), whose outputs for different
//! inputs differ.

/// The increment of SplitMix64: 2^64 divided by the golden ratio, odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Output number `number` of the generator that starts at `seed`.
pub fn nth(seed: u64, number: u64) -> u64 {
    mix(seed.wrapping_add(number.wrapping_add(1).wrapping_mul(STEP)))
}

/// The output of a state of the generator.
pub fn mix(state: u64) -> u64 {
    let bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::nth;

    #[test]
    fn the_outputs_are_those_of_the_published_generator() {
        // The first outputs of the reference implementation for the seed 1234567.
        let expected =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([0, 1, 2].map(|number| nth(1_234_567, number)), expected);
    }
}
