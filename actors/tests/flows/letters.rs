//! Proof by a letter with a code and a link: the same properties for every flow that sends one, whatever it is for.
//!
//! A flow joins by `impl ByLetter` beside its other tests, and its line at the end. What is special to a flow stands there.

use cairn_actors::flows::challenge::{Challenge, LetterProof, Told, TypedCode};
use cairn_actors::flows::email_change::EmailChange;
use cairn_actors::flows::magic_link::MagicLink;
use cairn_actors::flows::recovery::Recovery;
use cairn_actors::flows::registration::Registration;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{OfPurpose, Purpose, Seal};
use cairn_actors::testing;
use cairn_runtime::{FlowId, Id, Timestamp};
use proptest::prelude::*;

use crate::driver::{Driver, Known, T0, at, cases, json};

/// Wrong codes that a flow takes.
const TRIES: usize = 5;
/// Letters that a flow sends, the first one included.
const LETTERS: usize = 6;

/// A flow that proves an address by a letter.
pub(crate) trait ByLetter: Known + LetterProof {
    /// How long a letter is good, in seconds.
    const GOOD_FOR: i64;
    /// What is written for each wrong code while the proof is awaited.
    const COUNTED: usize;

    /// A flow that waits, with a letter on its way; or the decoy that stands for it where nobody is to get a code.
    fn begun(is_decoy: bool) -> Driver<Self>;
    /// The same state with another challenge, while the proof is awaited.
    fn with_challenge(&self, challenge: Challenge) -> Self;
    /// Types a code.
    fn enter(driver: &Driver<Self>, code: TypedCode) -> Self::Command;
    /// Opens the link of a seal of this flow, or of another, with all that must come with a link.
    fn open(driver: &Driver<Self>, flow: FlowId, seal: &Seal) -> Self::Command;
    /// Asks for another letter.
    fn resend() -> Self::Command;
    /// What an outcome says of the proof.
    fn said(outcome: &Self::Outcome) -> Said;
    /// The seal of a letter that proves, and until when it is good; `None`: another letter.
    fn proves(letter: &Letter) -> Option<(&Seal, Timestamp)>;
}

/// What an outcome says of the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// What every flow says of its letters and codes.
    Told(Told),
    /// No link of this flow.
    Garbage,
    /// The address is proved.
    Proved,
    /// The flow is over.
    Over,
    /// Something that is special to the flow.
    Other,
}

#[derive(Clone, Debug)]
enum Op {
    Code,
    WrongCode(u32),
    Link,
    UnsentLink,
    ForeignLink,
    Resend,
    Wake,
}

fn wrong_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any::<u32>().prop_map(Op::WrongCode),
        1 => Just(Op::UnsentLink),
        1 => Just(Op::ForeignLink),
        4 => Just(Op::Resend),
        1 => Just(Op::Wake),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![1 => Just(Op::Code), 1 => Just(Op::Link), 6 => wrong_op()]
}

/// How far the clock moves before the next input, in seconds: mostly forward, sometimes back.
pub(crate) fn moves() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0..30_i64, 4 => 31..200_i64, 1 => -4_000..0_i64, 1 => 3_000..100_000_i64]
}

fn challenge<F: ByLetter>(driver: &Driver<F>) -> &Challenge {
    driver.state().awaits().expect("it waits").1
}

fn seal<F: ByLetter>(driver: &Driver<F>) -> Seal {
    challenge(driver).last().expect("there is a letter").clone()
}

fn purpose<F: ByLetter>() -> Purpose {
    <F::Link as OfPurpose>::PURPOSE
}

/// Whether the link of a seal is known, as a page or service asks before it does what is dear.
fn knows_link<F: ByLetter>(driver: &Driver<F>, seal: &Seal) -> bool {
    let link = testing::presented(&driver.environment, F::Link::VALUE, driver.flow, seal);
    driver.state().knows_link(&link, &driver.environment)
}

/// A wrong code that leaves so many more.
fn wrong(tries_left: u8) -> Said {
    Said::Told(Told::WrongCode { tries_left })
}

fn typed<F: ByLetter>(driver: &Driver<F>, seal: &Seal) -> TypedCode {
    testing::typed_code(testing::code(&driver.environment, purpose::<F>(), driver.flow, seal))
}

fn mistyped<F: ByLetter>(driver: &Driver<F>, seal: &Seal, number: u32) -> TypedCode {
    testing::typed_code(testing::wrong_code(&driver.environment, purpose::<F>(), driver.flow, [seal], number))
}

/// What an operation asks, with the one seal that all letters carry.
fn command<F: ByLetter>(driver: &Driver<F>, seal: &Seal, op: &Op) -> Option<F::Command> {
    let own = driver.flow;
    Some(match op {
        Op::Code => F::enter(driver, typed(driver, seal)),
        Op::WrongCode(number) => F::enter(driver, mistyped(driver, seal, *number)),
        Op::Link => F::open(driver, own, seal),
        Op::UnsentLink => F::open(driver, own, &seal.next(&driver.environment.ring)),
        Op::ForeignLink => F::open(driver, FlowId(Id::v7(0, [9; 10])), &Seal { salt: [3; 16], ..seal.clone() }),
        Op::Resend => F::resend(),
        Op::Wake => return None,
    })
}

/// One way through a flow, held against what must be so of each.
fn drive<F: ByLetter>(is_decoy: bool, ops: &[(i64, Op)]) {
    let mut driver = F::begun(is_decoy);
    let seal = seal(&driver);
    let (mut now, mut missed, mut counted) = (T0, 0, 0);
    let mut proved: Option<String> = None;
    for (seconds, op) in ops {
        now = Timestamp(now.0 + seconds * 1_000);
        driver.wake(now);
        let Some(command) = command(&driver, &seal, op) else { continue };
        let (awaited, over) = (driver.state().awaits().is_some(), driver.state().is_over());
        let outcome = driver.ask(now, command);
        let said = F::said(&outcome);
        let right = matches!(op, Op::Link) || matches!(op, Op::Code) && missed < TRIES;
        match (op, said) {
            (_, Said::Over) if over => {}
            (_, said) if over => panic!("{op:?} is told {said:?} by what is over"),
            (Op::Code | Op::Link, Said::Proved) => {
                assert!(right && !is_decoy, "{op:?} proved it");
                let first = proved.get_or_insert_with(|| json(&outcome));
                assert_eq!(json(&outcome), *first, "a repeat gets the same answer");
            }
            (_, said) if right && !is_decoy => panic!("{op:?} was right and is told {said:?}"),
            (Op::Code | Op::WrongCode(_), Said::Told(Told::WrongCode { tries_left })) => {
                missed += 1;
                counted += if awaited { F::COUNTED } else { 0 };
                assert!(missed <= TRIES, "a sixth code was looked at");
                assert_eq!(usize::from(tries_left), TRIES - missed);
            }
            (Op::Code | Op::WrongCode(_), Said::Told(Told::OnlyTheLink)) => assert_eq!(missed, TRIES),
            (Op::Link | Op::UnsentLink | Op::ForeignLink, Said::Garbage) => {}
            (
                Op::Resend,
                Said::Told(Told::Awaiting { .. } | Told::TooSoon { .. } | Told::NoMoreLetters) | Said::Over,
            ) => {}
            (op, said) => panic!("{op:?} is told {said:?}"),
        }
        assert_eq!(driver.counted.len(), counted, "each wrong code counts while the proof is awaited, and no other");
    }
    letters_are_few_and_far_between(&driver, is_decoy, &seal);
}

fn letters_are_few_and_far_between<F: ByLetter>(driver: &Driver<F>, is_decoy: bool, seal: &Seal) {
    let all = driver.sent.iter().chain(&driver.to_nobody);
    let carried: Vec<_> = driver.sent.iter().filter(|sent| F::proves(&sent.letter).is_some()).collect();
    assert!(carried.is_empty() == is_decoy, "nobody gets a code where there is none");
    let asked: Vec<_> = all.filter(|sent| sent.expires == Some(at(F::GOOD_FOR))).collect();
    assert!((1..=LETTERS).contains(&asked.len()), "{} letters", asked.len());
    assert!(asked.windows(2).all(|two| two[1].at.since(two[0].at).as_secs() >= 60), "the cool-down");
    for sent in carried {
        let (carries, until) = F::proves(&sent.letter).expect("it was looked at");
        assert_eq!((carries, until, sent.expires), (seal, at(F::GOOD_FOR), Some(at(F::GOOD_FOR))), "always the same");
    }
}

/// The same, done to a flow and to its decoy: what each says, and what shows of it.
fn compare<F: ByLetter>(ops: Vec<(i64, Op)>) {
    let (mut real, mut decoy) = (F::begun(false), F::begun(true));
    let (mut now, seal) = (T0, seal(&real));
    for (seconds, op) in ops {
        now = Timestamp(now.0 + seconds * 1_000);
        let (one, other) = (command(&real, &seal, &op), command(&decoy, &seal, &op));
        let (Some(one), Some(other)) = (one, other) else {
            assert_eq!(real.wake(now), decoy.wake(now));
            continue;
        };
        assert_eq!(json(&real.ask(now, one)), json(&decoy.ask(now, other)));
        assert_eq!((real.version, real.touched, real.phase()), (decoy.version, decoy.touched, decoy.phase()));
        assert_eq!(real.state().wake_at(), decoy.state().wake_at());
        let letters = |driver: &Driver<F>| driver.sent.len() + driver.to_nobody.len();
        assert_eq!(letters(&real), letters(&decoy), "one letter for one, though perhaps to nobody");
    }
}

fn nothing_that_a_decoys_letter_could_have_said_is_right<F: ByLetter>() {
    let mut decoy = F::begun(true);
    let seal = seal(&decoy);
    assert!(knows_link(&decoy, &seal), "it costs a hash all the same");
    assert!(!knows_link(&decoy, &seal.next(&decoy.environment.ring)));
    let code = F::enter(&decoy, typed(&decoy, &seal));
    assert_eq!(F::said(&decoy.ask(at(1), code)), wrong(4));
    let link = F::open(&decoy, decoy.flow, &seal);
    assert_eq!(F::said(&decoy.ask(at(1), link)), Said::Garbage);
    assert!(decoy.writes.is_empty());
}

fn no_code_is_right_while_no_letter_went_out<F: ByLetter>() {
    let mut driver = F::begun(false);
    let seal = seal(&driver);
    let knows =
        |driver: &Driver<F>, code: &TypedCode| driver.state().knows_code(code, driver.flow, &driver.environment);
    assert!(!knows(&driver, &TypedCode { delivered: false, ..typed(&driver, &seal) }));
    assert!(knows(&driver, &typed(&driver, &seal)) && !knows(&driver, &mistyped(&driver, &seal, 1)));
    let unsent = F::enter(&driver, TypedCode { delivered: false, ..typed(&driver, &seal) });
    assert_eq!(F::said(&driver.ask(at(1), unsent)), wrong(4));
    assert_eq!(driver.counted.len(), F::COUNTED, "and it counts for the address");
    let sent = F::enter(&driver, typed(&driver, &seal));
    assert_eq!(F::said(&driver.ask(at(2), sent)), Said::Proved);
    assert!(knows(&driver, &typed(&driver, &seal)), "a repeat is worth as much");
    for number in 0..4 {
        let wrong = F::enter(&driver, mistyped(&driver, &seal, number));
        driver.ask(at(3), wrong);
    }
    assert!(!knows(&driver, &typed(&driver, &seal)), "five wrong ones, and none is looked at any more");
}

fn each_letter_of_a_flow_that_an_older_release_began_is_good<F: ByLetter>() {
    for which in [0, 1] {
        let mut driver = F::begun(false);
        let mut challenge = challenge(&driver).clone();
        challenge.issues.push(seal(&driver).next(&driver.environment.ring));
        let seal = challenge.issues[which].clone();
        driver.state = Some(driver.state().with_challenge(challenge));
        let command = F::enter(&driver, typed(&driver, &seal));
        assert_eq!(F::said(&driver.ask(at(1), command)), Said::Proved);
    }
}

fn a_link_is_known_from_its_letter_until_the_flow_is_over<F: ByLetter>() {
    let mut driver = F::begun(false);
    let seal = seal(&driver);
    for _ in 0..2 {
        assert!(knows_link(&driver, &seal));
        assert!(!knows_link(&driver, &seal.next(&driver.environment.ring)), "not yet sent");
        let link = F::open(&driver, driver.flow, &seal);
        assert_eq!(F::said(&driver.ask(at(1), link)), Said::Proved);
    }
    while let Some(due) = driver.state().wake_at() {
        driver.wake(due);
    }
    assert!(!knows_link(&driver, &seal));
}

/// Makes every property the tests of each flow.
macro_rules! proved_by_letter {
    ($($name:ident: $flow:ty),+ $(,)?) => { $(
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(cases(400))]

                #[test]
                fn whatever_is_typed_five_wrong_codes_are_looked_at_and_one_proof_counts(
                    is_decoy in prop::bool::weighted(0.2),
                    ops in prop::collection::vec((moves(), op()), 0..24),
                ) {
                    drive::<$flow>(is_decoy, &ops);
                }

                #[test]
                fn who_cannot_read_the_mail_cannot_tell_a_decoy(
                    ops in prop::collection::vec((moves(), wrong_op()), 0..24),
                ) {
                    compare::<$flow>(ops);
                }
            }

            proved_by_letter!($flow =>
                nothing_that_a_decoys_letter_could_have_said_is_right,
                no_code_is_right_while_no_letter_went_out,
                each_letter_of_a_flow_that_an_older_release_began_is_good,
                a_link_is_known_from_its_letter_until_the_flow_is_over,
            );
        }
    )+ };
    ($flow:ty => $($property:ident),+ $(,)?) => { $(
        #[test]
        fn $property() {
            super::$property::<$flow>();
        }
    )+ };
}

proved_by_letter!(
    registration: Registration,
    recovery: Recovery,
    email_change: EmailChange,
    magic_link: MagicLink,
);
