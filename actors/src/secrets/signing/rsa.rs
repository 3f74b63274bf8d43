//! Generating RSA keys, which ring cannot: two primes, and what RFC 8017 derives from them. Once it is generated, a key
//! is used by ring alone.

use std::convert::Infallible;

use cairn_runtime::clock::derive_bytes;
use crypto_bigint::rand_core::{TryCryptoRng, TryRng};
use crypto_bigint::{BoxedUint, ConcatenatingMul, Lcm, Limb, NonZero, Odd, Resize};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};
use zeroize::Zeroizing;

/// Bits of each prime: half of the modulus.
const PRIME_BITS: u32 = 1_024;
/// The public exponent.
const EXPONENT: u32 = 65_537;
/// The primes must differ within their first hundred bits (FIPS 186-5, appendix A.1.3).
const LEAST_DIFFERENCE_BITS: u32 = PRIME_BITS - 100;

/// A private key of 2048 bits in DER (RFC 8017, appendix A.1.2), which follows from a seed. It takes a moment. `None`
/// only if the arithmetic fails.
pub(super) fn generate(seed: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
    let mut random = Expanded { seed, blocks: 0 };
    let (p, q) = loop {
        let (one, other) = (prime(&mut random)?, prime(&mut random)?);
        let (p, q) = if one > other { (one, other) } else { (other, one) };
        if p.wrapping_sub(&q).bit_width() > LEAST_DIFFERENCE_BITS {
            break (p, q);
        }
    };
    let one = BoxedUint::one_with_precision(PRIME_BITS);
    let (p_less, q_less) = (p.wrapping_sub(&one), q.wrapping_sub(&one));
    let n = p.concatenating_mul(&q);
    let order = p_less.lcm(&q_less);
    let e = BoxedUint::from(EXPONENT).resize(order.bits_precision());
    let d = e.invert_mod(&nonzero(order)?).into_option()?;
    let d_p = d.rem(&nonzero(p_less)?);
    let d_q = d.rem(&nonzero(q_less)?);
    let q_inverse = q.invert_odd_mod(&Odd::new(p.clone()).into_option()?).into_option()?;
    let mut content = Zeroizing::new(Vec::new());
    for number in [&BoxedUint::zero(), &n, &e, &d, &p, &q, &d_p, &d_q, &q_inverse] {
        let bytes = Zeroizing::new(number.to_be_bytes().into_vec());
        integer(&mut content, &bytes)?;
    }
    let mut key = Zeroizing::new(Vec::new());
    tagged(&mut key, 0x30, content.len())?;
    key.extend_from_slice(&content);
    Some(key)
}

/// A prime of which the exponent is invertible, and large enough that two of them make a modulus of full length.
fn prime(random: &mut Expanded<'_>) -> Option<BoxedUint> {
    let candidates = SmallFactorsSieveFactory::new(Flavor::Any, PRIME_BITS, SetBits::TwoMsb).ok()?;
    let exponent = NonZero::new(Limb::from(EXPONENT)).into_option()?;
    let fits = |candidate: &BoxedUint| candidate.rem_limb(exponent) != Limb::ONE && is_prime(Flavor::Any, candidate);
    sieve_and_find(random, candidates, |_, candidate| fits(candidate)).ok()?
}

fn nonzero(number: BoxedUint) -> Option<NonZero<BoxedUint>> {
    NonZero::new(number).into_option()
}

/// Appends a non-negative INTEGER in DER.
fn integer(to: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    let leading = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(leading..)?;
    // With its first bit set it would be negative; and zero has one byte.
    let padded = digits.first().is_none_or(|first| *first >= 0x80);
    tagged(to, 0x02, digits.len() + usize::from(padded))?;
    to.extend(padded.then_some(0));
    to.extend_from_slice(digits);
    Some(())
}

/// Appends a tag and a length of less than 64 KiB.
fn tagged(to: &mut Vec<u8>, tag: u8, length: usize) -> Option<()> {
    let [high, low] = u16::try_from(length).ok()?.to_be_bytes();
    to.push(tag);
    match (high, low) {
        (0, 0..0x80) => to.push(low),
        (0, _) => to.extend([0x81, low]),
        _ => to.extend([0x82, high, low]),
    }
    Some(())
}

/// As many random bytes as are asked for, from one seed of full entropy. It cannot fail in the middle, as the operating
/// system's could.
struct Expanded<'a> {
    seed: &'a [u8; 32],
    blocks: u64,
}

impl TryRng for Expanded<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        for part in to.chunks_mut(32) {
            let block: [u8; 32] = derive_bytes(self.seed, "RSA key", self.blocks);
            self.blocks += 1;
            part.iter_mut().zip(block).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

impl TryCryptoRng for Expanded<'_> {}

#[cfg(test)]
mod tests {
    use ::ring::signature::RsaKeyPair;

    use super::*;

    #[test]
    fn a_key_follows_from_its_seed_has_2048_bits_and_ring_finds_it_consistent() {
        let key = generate(&[1; 32]).unwrap();
        assert_eq!(key, generate(&[1; 32]).unwrap());
        let pair = RsaKeyPair::from_der(&key).unwrap();
        assert_eq!(pair.public().modulus_len(), 256);
        let other = RsaKeyPair::from_der(&generate(&[2; 32]).unwrap()).unwrap();
        assert_ne!(pair.public().as_ref(), other.public().as_ref());
    }

    #[test]
    fn numbers_are_written_as_der_demands() {
        for (number, written) in [
            (&[0_u8, 0][..], &[2_u8, 1, 0][..]),
            (&[0, 0x7f], &[2, 1, 0x7f]),
            (&[0x80], &[2, 2, 0, 0x80]),
            (&[1, 0], &[2, 2, 1, 0]),
        ] {
            let mut to = Vec::new();
            integer(&mut to, number).unwrap();
            assert_eq!(to, written);
        }
        for (length, written) in [(127, &[4_u8, 127][..]), (128, &[4, 0x81, 128]), (256, &[4, 0x82, 1, 0])] {
            let mut to = Vec::new();
            tagged(&mut to, 4, length).unwrap();
            assert_eq!(to, written);
        }
        assert_eq!(tagged(&mut Vec::new(), 4, 1 << 16), None);
    }

    #[test]
    fn random_bytes_never_repeat_between_requests() {
        let seed = [7; 32];
        let mut random = Expanded { seed: &seed, blocks: 0 };
        let (mut one, mut other) = ([0; 40], [0; 40]);
        random.try_fill_bytes(&mut one).unwrap();
        random.try_fill_bytes(&mut other).unwrap();
        assert_ne!(one, other);
        assert_ne!(one[..8], one[32..]);
        assert_ne!(u64::from(random.try_next_u32().unwrap()), random.try_next_u64().unwrap());
    }
}
