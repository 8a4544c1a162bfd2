//! The fingerprint of RSA keys made by the broken Infineon generator (ROCA, CVE-2017-15361).
//!
//! Such primes are a multiple of a primorial plus a power of 65537, so the modulus is a power of 65537
//! modulo every small prime. One sound key in two hundred million is that by chance. The private key
//! of an affected modulus can be computed.

/// The odd primes that divide the primorial of every affected key size.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a big-endian modulus carries the fingerprint.
pub(super) fn is_affected(modulus: &[u8]) -> bool {
    PRIMES
        .iter()
        .all(|prime| is_power_of_65537(remainder(modulus, *prime), *prime))
}

fn remainder(modulus: &[u8], prime: u32) -> u32 {
    modulus
        .iter()
        .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime)
}

/// Walks the subgroup 65537 generates modulo the prime.
fn is_power_of_65537(rest: u32, prime: u32) -> bool {
    let generator = 65_537 % prime;
    let mut power = 1;
    loop {
        if power == rest {
            return true;
        }
        power = power * generator % prime;
        if power == 1 {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_of_65537_has_the_fingerprint_and_its_neighbour_has_not() {
        // 65537² = 0x1_0002_0001
        assert!(is_affected(&[0x01, 0x00, 0x02, 0x00, 0x01]));
        assert!(!is_affected(&[0x01, 0x00, 0x02, 0x00, 0x03]));
    }

    #[test]
    fn the_walk_ends_for_every_rest() {
        for prime in PRIMES {
            let powers = (0..prime).filter(|rest| is_power_of_65537(*rest, prime));
            assert!(powers.count() < prime as usize, "{prime}");
        }
    }
}
