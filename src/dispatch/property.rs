//! The property test: random schedules of everything that can happen, against a model of the broker (P2, P3, P4).
//!
//! `HOOKSWITCH_SCHEDULES=1000000 cargo test --release --lib dispatch::property -- --nocapture` runs a million of them;
//! `HOOKSWITCH_SEED` repeats a run by the seed that it printed.

mod broker;
mod world;

use std::{cell::RefCell, time::Instant};

use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, RngSeed, TestError, TestRunner},
};

use world::{EnabledRules, Figures, World};

/// Maximum steps of one schedule.
const STEPS: usize = 400;

fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

fn run_one(kept: EnabledRules, numbers: &[u64]) -> Result<Figures, String> {
    let first = numbers.first().copied().unwrap_or_default();
    let mut world = World::new(kept, first);
    for (step, number) in numbers.iter().enumerate() {
        world.act(*number);
        if let Some(broken) = world.broken {
            return Err(format!("step {step}: {broken}"));
        }
    }
    world.finish(first.rotate_left(32));
    match world.broken {
        Some(broken) => Err(format!("while draining: {broken}")),
        None => Ok(world.figures),
    }
}

/// Runs schedules until one breaks a promise.
fn run(kept: EnabledRules, schedules: u64, seed: u64, shrink: u32) -> Result<Figures, String> {
    let figures = RefCell::new(Figures::default());
    let config = Config {
        cases: u32::try_from(schedules).unwrap_or(u32::MAX),
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: shrink,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&vec(any::<u64>(), 1..=STEPS), |numbers| {
        let one = run_one(kept, &numbers).map_err(proptest::test_runner::TestCaseError::fail)?;
        figures.borrow_mut().add(&one);
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(figures.into_inner()),
        Err(TestError::Fail(reason, numbers)) => Err(format!(
            "{reason}\nseed {seed}, shrunk to {} steps: {numbers:?}",
            numbers.len()
        )),
        Err(TestError::Abort(reason)) => panic!("the runner gave up: {reason}"),
    }
}

#[test]
fn no_schedule_of_faults_breaks_order_loses_a_delivery_or_holds_up_a_neighbour() {
    let schedules = number_from_environment("HOOKSWITCH_SCHEDULES").unwrap_or(2_000);
    let seed = number_from_environment("HOOKSWITCH_SEED").unwrap_or_else(rand::random);
    let began = Instant::now();
    match run(EnabledRules::ALL, schedules, seed, 3_000) {
        Err(broken) => panic!("{broken}"),
        Ok(figures) => {
            println!(
                "{schedules} schedules, seed {seed}, {:.1} s: {figures:?}",
                began.elapsed().as_secs_f64()
            );
            // A schedule without faults shows nothing.
            for (what, count) in [
                ("losses", figures.losses),
                ("fences", figures.fences),
                ("fences passed by", figures.passed),
                ("restarts", figures.restarts),
                ("late copies", figures.late),
                ("late copies behind a passed fence", figures.strays),
                ("repeats", figures.repeats),
                ("nacks", figures.nacks),
                ("returns", figures.returns),
                ("returns on the wrong confirmation", figures.mispaired),
                ("sent alone", figures.alone),
                ("poisoned", figures.poisoned),
                ("forgotten", figures.forgotten),
                ("closed after a stall", figures.closes),
            ] {
                assert!(count > schedules / 20, "hardly any {what}: {figures:?}");
            }
        }
    }
}

/// Disables a rule and expects the property to fail with this promise.
fn must_break(kept: EnabledRules, promise: &str) {
    match run(kept, 2_000, 7, 0) {
        Ok(figures) => panic!("{kept:?} broke nothing: {figures:?}"),
        Err(broken) => assert!(broken.contains(promise), "{promise} expected: {broken}"),
    }
}

#[test]
fn without_one_unconfirmed_per_call_order_breaks() {
    must_break(
        EnabledRules {
            one_per_lane: false,
            ..EnabledRules::ALL
        },
        "P2",
    );
}

#[test]
fn without_the_fence_order_breaks() {
    must_break(
        EnabledRules {
            fence: false,
            ..EnabledRules::ALL
        },
        "P2",
    );
}

#[test]
fn without_polling_all_confirmations_a_returned_delivery_counts_as_done() {
    must_break(
        EnabledRules {
            poll_all: false,
            ..EnabledRules::ALL
        },
        "P3",
    );
}

#[test]
fn without_waiting_for_the_journal_a_killed_process_leaves_an_older_one_after_a_newer_one() {
    must_break(
        EnabledRules {
            await_settled: false,
            ..EnabledRules::ALL
        },
        "P2",
    );
}

#[test]
fn behind_a_passed_fence_only_the_sequence_tells_a_late_copy_from_a_newer_event() {
    must_break(
        EnabledRules {
            drop_repeats: false,
            ..EnabledRules::ALL
        },
        "P2: an older one after a newer one",
    );
}
