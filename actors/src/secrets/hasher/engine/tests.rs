//! The fast implementation beside defective ones: what is found out, what is said, and that no tag is ever wrong.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::*;

/// A small cost.
fn params() -> Params {
    Params::new(32, 2, 2, Some(HASH_LEN)).unwrap()
}

fn input(params: &Params) -> Input<'_> {
    Input::new(Algorithm::Argon2id, Version::V0x13, params, b"correct horse", b"some salt of its")
}

fn expected(params: &Params) -> Tag {
    reference(&input(params), &mut Vec::new()).unwrap()
}

fn engines(fast: Compute) -> Engines {
    Engines { fast, ..Engines::new(HashEngine::Fast) }
}

fn run(engines: &Engines, params: &Params) -> Tag {
    engines.run(&input(params), &mut Memory::default()).unwrap()
}

fn wrong(input: &Input<'_>, kept: &mut Option<argon2_rust::Hasher>) -> Result<Tag, argon2_rust::Error> {
    let mut tag = compute_fast(input, kept)?;
    *tag.first_mut().unwrap() ^= 1;
    Ok(tag)
}

fn wrong_with_long_passwords(
    input: &Input<'_>,
    kept: &mut Option<argon2_rust::Hasher>,
) -> Result<Tag, argon2_rust::Error> {
    if input.password.len() > 128 { wrong(input, kept) } else { compute_fast(input, kept) }
}

fn wrong_at_the_ordinary_cost(
    input: &Input<'_>,
    kept: &mut Option<argon2_rust::Hasher>,
) -> Result<Tag, argon2_rust::Error> {
    if input.params.m_cost() == 4_096 { wrong(input, kept) } else { compute_fast(input, kept) }
}

fn wrong_with_mapped_memory(
    input: &Input<'_>,
    kept: &mut Option<argon2_rust::Hasher>,
) -> Result<Tag, argon2_rust::Error> {
    if input.params.m_cost() >= 2_048 { wrong(input, kept) } else { compute_fast(input, kept) }
}

fn wrong_where_answers_are_published(
    input: &Input<'_>,
    kept: &mut Option<argon2_rust::Hasher>,
) -> Result<Tag, argon2_rust::Error> {
    if input.secret.is_empty() { compute_fast(input, kept) } else { wrong(input, kept) }
}

fn panics(_: &Input<'_>, _: &mut Option<argon2_rust::Hasher>) -> Result<Tag, argon2_rust::Error> {
    panic!("a defect of the fast one")
}

/// Right once for each cost, and never again.
fn panics_with_one_password(
    input: &Input<'_>,
    kept: &mut Option<argon2_rust::Hasher>,
) -> Result<Tag, argon2_rust::Error> {
    if input.password == b"the other" { panics(input, kept) } else { compute_fast(input, kept) }
}

fn refuses_one_password(input: &Input<'_>, kept: &mut Option<argon2_rust::Hasher>) -> Result<Tag, argon2_rust::Error> {
    if input.password == b"the other" {
        Err(argon2_rust::Error::MemoryAllocationError)
    } else {
        compute_fast(input, kept)
    }
}

fn refuses(_: &Input<'_>, _: &mut Option<argon2_rust::Hasher>) -> Result<Tag, argon2_rust::Error> {
    Err(argon2_rust::Error::IncorrectParameter)
}

/// Keeps what is logged as errors.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{}={value:?} ", field.name());
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        lock(&self.0).push(text.0);
    }

    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What is said aloud meanwhile.
fn errors_of(work: impl FnOnce()) -> Vec<String> {
    let errors = Errors::default();
    tracing::subscriber::with_default(errors.clone(), work);
    let said = lock(&errors.0);
    said.clone()
}

#[test]
fn both_have_the_answers_of_rfc_9106() {
    let params = published_params().unwrap();
    for (algorithm, tag) in PUBLISHED {
        let input = Input::new(algorithm, Version::V0x13, &params, &[1; 32], &[2; 16]);
        let input = Input { secret: &[3; 8], ..input };
        assert_eq!(reference(&input, &mut Vec::new()).unwrap().as_slice(), tag);
        assert_eq!(compute_fast(&input, &mut None).unwrap().as_slice(), tag);
    }
}

#[test]
fn a_proved_engine_computes_and_both_tell_the_same() {
    for engine in [HashEngine::Fast, HashEngine::Reference] {
        let engines = Engines::new(engine);
        assert_eq!(errors_of(|| engines.prove().unwrap()), [""; 0]);
        assert_eq!(engines.in_use(), engine);
        assert_eq!(run(&engines, &params()), expected(&params()));
    }
}

#[test]
fn the_fast_one_is_what_runs() {
    let engines = engines(panics_with_one_password);
    run(&engines, &params());
    let params = params();
    let other = Input { password: b"the other", ..input(&params) };
    engines.run(&other, &mut Memory::default()).unwrap();
    assert_eq!(engines.in_use(), HashEngine::Reference, "it was asked, and panicked");
}

#[test]
fn whatever_the_fast_one_does_the_tag_is_right() {
    for defective in [wrong, panics, refuses] as [Compute; 3] {
        let engines = engines(defective);
        assert_eq!(run(&engines, &params()), expected(&params()), "the first run finds it out");
        assert_eq!(engines.in_use(), HashEngine::Reference);
        assert_eq!(run(&engines, &params()), expected(&params()));
    }
}

#[test]
fn a_panic_later_on_costs_nobody_their_verdict() {
    for defective in [panics_with_one_password, refuses_one_password] as [Compute; 2] {
        let (engines, params) = (engines(defective), params());
        run(&engines, &params);
        let other = Input { password: b"the other", ..input(&params) };
        let tag = engines.run(&other, &mut Memory::default()).unwrap();
        assert_eq!(tag, reference(&other, &mut Vec::new()).unwrap());
    }
}

#[test]
fn memory_that_the_fast_one_does_not_get_is_no_reason_to_mistrust_it() {
    let (engines, params) = (engines(refuses_one_password), params());
    run(&engines, &params);
    let other = Input { password: b"the other", ..input(&params) };
    assert!(engines.run(&other, &mut Memory::default()).is_ok());
    assert_eq!(engines.in_use(), HashEngine::Fast);
}

#[test]
fn a_cost_for_which_there_is_no_memory_yet_is_met_another_time() {
    let (engines, params) = (engines(refuses_one_password), params());
    let other = Input { password: b"the other", ..input(&params) };
    assert!(engines.run(&other, &mut Memory::default()).is_ok());
    assert_eq!((engines.in_use(), lock(&engines.held_equal).len()), (HashEngine::Fast, 0));
}

#[test]
fn the_start_finds_what_differs_and_says_so_once() {
    let ordinary = Params::new(4_096, 1, 1, Some(HASH_LEN)).unwrap();
    for (defective, why) in [
        (wrong as Compute, "RFC 9106"),
        (wrong_where_answers_are_published, "RFC 9106"),
        (wrong_with_long_passwords, "the reference"),
        (wrong_with_mapped_memory, "the reference"),
        (panics, "it panicked"),
    ] {
        let engines = engines(defective);
        let said = errors_of(|| engines.prove().unwrap());
        assert_eq!(engines.in_use(), HashEngine::Reference);
        assert!(said.len() == 1 && said.iter().all(|said| said.contains(why)), "{said:?}");
        assert_eq!(run(&engines, &ordinary), expected(&ordinary));
    }
}

#[test]
fn each_cost_is_proved_when_it_is_first_met() {
    let engines = engines(wrong_at_the_ordinary_cost);
    engines.prove().unwrap();
    assert_eq!(engines.in_use(), HashEngine::Fast, "nothing was wrong at the costs of the start");
    let met = Params::new(4_096, 1, 1, Some(HASH_LEN)).unwrap();
    assert_eq!(run(&engines, &met), expected(&met));
    assert_eq!(engines.in_use(), HashEngine::Reference);
}

#[test]
fn the_memory_of_one_is_given_back_before_the_other_takes_its_own() {
    let (engines, params, mut memory) = (Engines::new(HashEngine::Fast), params(), Memory::default());
    for _ in 0..2 {
        engines.run(&input(&params), &mut memory).unwrap();
        assert_eq!(memory.blocks(), 32);
    }
    engines.fall_back("a test");
    for _ in 0..2 {
        engines.run(&input(&params), &mut memory).unwrap();
        assert_eq!((memory.blocks(), memory.fast.is_none()), (32, true));
    }
}

#[test]
fn nothing_of_a_password_is_left_in_the_references_memory() {
    let (params, mut memory) = (params(), Vec::new());
    reference(&input(&params), &mut memory).unwrap();
    assert_eq!(memory.len(), 32);
    assert!(memory.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
}

#[test]
fn parameters_that_argon2_has_not_are_the_references_fault() {
    let engines = Engines::new(HashEngine::Fast);
    let params = params();
    let short = Input { salt: b"short", ..input(&params) };
    let fault = engines.run(&short, &mut Memory::default()).unwrap_err();
    assert_eq!(fault, HashFault::Damaged("argon2 refuses its parameters"));
    assert_eq!(engines.in_use(), HashEngine::Fast);
}

#[test]
fn an_engine_is_named_in_the_settings() {
    assert_eq!("fast".parse(), Ok(HashEngine::Fast));
    assert_eq!("reference".parse(), Ok(HashEngine::Reference));
    assert_eq!("argon2".parse::<HashEngine>(), Err(()));
}

/// More of them in the longer run of the tests.
fn cases(few: u32, many: u32) -> ProptestConfig {
    ProptestConfig::with_cases(if std::env::var_os("CAIRN_PROVE").is_some() { many } else { few })
}

proptest! {
    #![proptest_config(cases(256, 4_096))]

    #[test]
    fn both_compute_the_same_of_whatever_there_is(
        algorithm in prop::sample::select(vec![Algorithm::Argon2d, Algorithm::Argon2i, Algorithm::Argon2id]),
        version in prop::sample::select(vec![Version::V0x10, Version::V0x13]),
        memory_kib in 8_u32..1_100,
        passes in 1_u32..=4,
        lanes in 1_u32..=4,
        tag_len in 4_usize..=130,
        password in prop::collection::vec(any::<u8>(), 0..400),
        salt in prop::collection::vec(any::<u8>(), 8..=64),
        secret in prop::collection::vec(any::<u8>(), 0..=32),
        data in prop::collection::vec(any::<u8>(), 0..=32),
    ) {
        let data = argon2::AssociatedData::new(&data).unwrap();
        let params = argon2::ParamsBuilder::new()
            .m_cost(memory_kib.max(8 * lanes)).t_cost(passes).p_cost(lanes).data(data).output_len(tag_len)
            .build().unwrap();
        let input = Input { secret: &secret, ..Input::new(algorithm, version, &params, &password, &salt) };
        let expected = reference(&input, &mut Vec::new()).unwrap();
        let mut kept = None;
        for turn in ["memory of its own", "memory of the one before"] {
            prop_assert_eq!(&compute_fast(&input, &mut kept).unwrap(), &expected, "{}", turn);
        }
    }
}
