//! Random operations against the reference model. What fails is shrunk, and printed as what it is and as the bytes of a file
//! for `fuzz/corpus/model`, all of which every run replays.
//!
//! A normal run always tries the same cases, so that what fails is what was changed. `KUBETETHER_PROOF_CASES` sets how many
//! cases are tried, others each time; `KUBETETHER_PROOF_BYTES` (hexadecimal) is the only one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence, RngSeed, TestCaseError, TestError, TestRunner},
};

use crate::support::{self, model};

/// Runs one case; says what was not as it must be.
fn check(bytes: &[u8]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| model::run(bytes))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").to_owned()
    })
}

/// What a case is.
fn show(bytes: &[u8]) -> String {
    let operations = model::Op::decode_all(bytes.get(1..).unwrap_or(&[]));
    let operations: String = operations.iter().map(|operation| format!("{operation:?}\n")).collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{operations}KUBETETHER_PROOF_BYTES={hex}")
}

fn explore(cases: u32, most: usize) {
    if let Ok(hex) = std::env::var("KUBETETHER_PROOF_BYTES") {
        let byte = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(byte).collect();
        println!("{}", show(&bytes));
        return model::run(&bytes);
    }
    let seeds = FileFailurePersistence::Direct("tests/proof/random.regressions");
    let explores = std::env::var("KUBETETHER_PROOF_CASES").is_ok();
    let config = Config {
        cases: support::cases(cases),
        failure_persistence: Some(Box::new(seeds)),
        max_shrink_iters: 4000,
        rng_seed: if explores { RngSeed::Random } else { RngSeed::Fixed(u64::from(cases)) },
        source_file: Some(file!()),
        ..Config::default()
    };
    let operations = prop::collection::vec(any::<[u8; 4]>(), 1..most);
    let strategy = (any::<u8>(), operations)
        .prop_map(|(preset, operations)| [&[preset][..], operations.as_flattened()].concat());
    let explored = TestRunner::new(config).run(&strategy, |bytes| check(&bytes).map_err(TestCaseError::fail));
    match explored {
        Ok(()) => {}
        Err(TestError::Fail(reason, bytes)) => panic!("{reason}\n{}", show(&bytes)),
        Err(abort) => panic!("{abort}"),
    }
}

#[test]
fn short_lives() {
    explore(800, 60);
}

#[test]
fn long_lives() {
    explore(150, 500);
}
